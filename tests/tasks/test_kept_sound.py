"""Sound that several films of a run share is encoded once, and never heard damaged."""

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from singalong.errors import ChangedFileError
from singalong.store import Store
from tasks import join as module
from tasks.film_steps import _items
from tasks.jobs import JoinJob, SpanOfSong
from tasks.join import join
from tests.segments import write_segment
from tests.sounds import chirp, write_sound


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often sound is encoded to be kept."""
    counts: Counter[str] = Counter()
    encode = module.encode_soundtrack
    monkeypatch.setattr(module, "encode_soundtrack", lambda *given: (counts.update(["done"]), encode(*given)))
    return counts


def job(folder: Path, name: str, **changes: object) -> JoinJob:
    song = folder / "song.wav"
    if not song.exists():
        write_sound(song, chirp(2.0, 16000), 16000)
    span = SpanOfSong(path=str(song), start_s=0.5, end_s=1.3, sha256="1" * 64)
    values: dict[str, object] = {
        "name": name,
        "segments": (str(write_segment(folder / f"{name}-segment.mp4", range(20))),),
        "audio": (span,),
        "keeps_sound": True,
        "output": str(folder / f"{name}.mp4"),
        "thumbnail": str(folder / f"{name}.jpg"),
        "fps": Fraction(25),
        "metadata": {"title": "the same"},
    }
    return JoinJob.model_validate(values | changes)


def test_films_that_sound_alike_are_encoded_once_and_have_the_bytes_they_would_have(
    tmp_path: Path, encodings: Counter[str]
) -> None:
    store = Store(tmp_path / "store")
    alone = join(job(tmp_path, "alone", keeps_sound=False), store)
    assert not encodings
    films = [join(job(tmp_path, name), store) for name in ("a", "b", "c")]
    assert encodings["done"] == 1
    assert {film.sha256 for film in films} == {alone.sha256}


def test_another_song_span_or_length_is_another_sound(tmp_path: Path, encodings: Counter[str]) -> None:
    store = Store(tmp_path / "store")
    base = job(tmp_path, "a")
    span = base.audio[0]
    shorter = str(write_segment(tmp_path / "shorter.mp4", range(19)))
    others = [
        base.model_copy(update={"audio": (span.model_copy(update={"start_s": 0.51}),)}),
        base.model_copy(update={"audio": (span.model_copy(update={"sha256": "2" * 64}),)}),
        base.model_copy(update={"segments": (shorter,)}),
    ]
    for other in (base, *others, base):
        join(other, store)
    assert encodings["done"] == 4


@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_kept_sound_that_is_damaged_is_made_anew(tmp_path: Path, encodings: Counter[str], harm: str) -> None:
    store = Store(tmp_path / "store")
    before = join(job(tmp_path, "a"), store)
    (kept,) = tmp_path.glob("store/cache/soundtracks/**/sound.aac")
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data if harm == "flipped" else data[:-10])
    assert join(job(tmp_path, "b"), store).sha256 == before.sha256
    assert encodings["done"] == 2


def test_sound_of_a_song_that_changed_is_not_kept(tmp_path: Path) -> None:
    def guard() -> None:
        raise ChangedFileError("changed since this run was planned")

    with pytest.raises(ChangedFileError):
        join(job(tmp_path, "a"), Store(tmp_path / "store").guarded(guard))
    assert not list(tmp_path.glob("store/cache/soundtracks/**/sound.aac"))


def test_only_sound_that_films_share_is_kept(tmp_path: Path) -> None:
    same = [job(tmp_path, name, keeps_sound=False) for name in ("a", "b")]
    lone = same[0].model_copy(update={"audio": (same[0].audio[0].model_copy(update={"end_s": 1.2}),)})
    items = _items({"a": same[0], "b": same[1], "lone": lone})
    assert {item.item_id: item.job.keeps_sound for item in items} == {"a": True, "b": True, "lone": False}
