"""Which films stand, and how montages are laid out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.config import Settings
from singalong.contracts import Fit, ModelRef, PairPlan
from singalong.settings import FilmSettings
from singalong.store import Store
from tasks.films import Canvas, Film, FilmRecord, MontagePart, canvas_of, film_metadata, joined_spans, montage_parts
from tasks.jobs import CropGuide, FilmFacts, Segment
from tasks.join import conform_version, conformed

GENERATOR = ModelRef(name="g", architecture="wav2lip_generator", weights_sha256="0" * 64)


def pair(name: str = "a", **changes: object) -> PairPlan:
    values: dict[str, object] = {
        "pair_id": name,
        "row": 1,
        "clip": f"/{name}.mp4",
        "clip_sha256": "1" * 64,
        "song": "/song.wav",
        "song_sha256": "2" * 64,
        "voice": "/song.wav",
        "voice_sha256": "2" * 64,
        "clip_start_s": 0.0,
        "clip_end_s": 2.0,
        "song_start_s": 0.0,
        "song_end_s": 2.0,
        "fps": Fraction(25),
        "width": 640,
        "height": 360,
        "num_frames": 50,
        "face": "largest",
        "fit": Fit.BOUNCE,
        "generator": GENERATOR,
    }
    return PairPlan.model_validate(values | changes)


def record(name: str) -> FilmRecord:
    facts = FilmFacts(path=f"/{name}.mp4", sha256="3" * 64, num_frames=50, duration_s=2.0)
    return FilmRecord(key="k", pairs=(name,), film=facts, num_bytes=1)


RATES = st.sampled_from(
    [Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(12)]
)


@given(st.lists(st.tuples(RATES, st.integers(1, 400)), min_size=1, max_size=60))
def test_a_montage_never_drifts_from_its_songs(parts: list[tuple[Fraction, int]]) -> None:
    pairs = [pair(str(i), fps=fps, num_frames=n) for i, (fps, n) in enumerate(parts)]
    laid = montage_parts(pairs, {p.pair_id: record(p.pair_id) for p in pairs})
    canvas = laid[0].canvas
    frames, seconds = 0, Fraction(0)
    for part in laid:
        frames += part.num_frames
        seconds += part.pair.num_frames / part.pair.fps
        assert abs(frames / canvas.fps - seconds) <= Fraction(1, 2) / canvas.fps
        if part.pair.fps == canvas.fps:
            assert part.num_frames in {part.pair.num_frames - 1, part.pair.num_frames, part.pair.num_frames + 1}


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_parts_that_fit_the_canvas_keep_their_own_frames(counts: list[int]) -> None:
    pairs = [pair(str(i), num_frames=n) for i, n in enumerate(counts)]
    laid = montage_parts(pairs, {p.pair_id: record(p.pair_id) for p in pairs})
    assert all(part.fits for part in laid)
    assert [part.num_frames for part in laid] == counts


def test_the_canvas_is_the_picture_of_most_seconds() -> None:
    pairs = [pair("a", num_frames=50), pair("b", width=360, height=640, num_frames=120), pair("c", num_frames=60)]
    assert canvas_of(pairs) == Canvas(360, 640, Fraction(25))


def test_neighbouring_spans_of_a_song_are_heard_without_a_seam() -> None:
    spans = joined_spans(
        [pair("a"), pair("b", song_start_s=2.0, song_end_s=4.0), pair("c", song_start_s=10.0, song_end_s=12.0)]
    )
    assert [(span.start_s, span.end_s) for span in spans] == [(0.0, 4.0), (10.0, 12.0)]


def test_spans_of_different_songs_stay_apart() -> None:
    spans = joined_spans([pair("a"), pair("b", song="/other.wav", song_start_s=2.0, song_end_s=4.0)])
    assert len(spans) == 2


def film(folder: Path, *ids: str, song_start_s: float = 0.0) -> Film:
    segments = tuple(Segment(path=f"/{content_id}.mp4", content_id=content_id) for content_id in ids)
    return Film("a", folder, (pair(song_start_s=song_start_s, song_end_s=song_start_s + 2),), segments, Fraction(25))


@pytest.fixture
def made(tmp_path: Path) -> Film:
    made = film(tmp_path, "s1", "s2")
    made.output.write_bytes(b"film")
    made.commit(FilmFacts(path=str(made.output), sha256="4" * 64, num_frames=50, duration_s=2.0))
    return made


def test_a_film_stands_once_it_is_committed(made: Film) -> None:
    assert made.standing() is not None


def test_a_changed_segment_or_span_unmakes_a_film(made: Film) -> None:
    assert film(made.folder, "s1", "s3").standing() is None
    assert film(made.folder, "s1", "s2", song_start_s=1.0).standing() is None


def test_a_film_cut_short_or_deleted_does_not_stand(made: Film) -> None:
    made.output.write_bytes(b"fi")
    assert made.standing() is None
    made.output.unlink()
    assert made.standing() is None


def test_the_label_says_that_faces_are_generated_and_by_whose_leave() -> None:
    tags = film_metadata("a", [pair(rights="CC BY 4.0: someone")])
    assert "AI-generated" in tags["comment"]
    assert tags["copyright"] == "CC BY 4.0: someone"
    untrained = GENERATOR.model_copy(update={"trained": False})
    assert "untrained" in film_metadata("a", [pair(generator=untrained)])["comment"]


def guide(**changes: object) -> CropGuide:
    values: dict[str, object] = {"tables": ("/t.parquet",), "content_ids": ("c1",), "width": 360, "height": 640}
    return CropGuide.model_validate(values | changes)


def test_a_part_is_cropped_anew_only_when_what_it_is_cropped_by_changes(tmp_path: Path) -> None:
    part = MontagePart(pair(width=360, height=640), record("a"), Canvas(640, 360, Fraction(25)), 50)
    settings, store = Settings(film=FilmSettings(fill="crop")), Store(tmp_path)

    def stands(crop: CropGuide | None, of: Settings = settings) -> bool:
        return conformed(part.conform_job(of, crop=crop), store) is not None

    done = part.conform_job(settings, crop=guide())
    store.commit_cache("conformed", done.source_sha256, conform_version(done), lambda folder: None)
    assert stands(guide())
    assert stands(guide(tables=("/moved/t.parquet",), shots="/elsewhere/shots.parquet"))
    assert not stands(guide(content_ids=("c2",)))
    assert not stands(guide(label="AI-generated"))
    assert not stands(None, Settings())
