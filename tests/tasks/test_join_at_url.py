"""Films that workers bring to a URL: whole, or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from singalong.errors import ChangedFileError
from singalong.objects import ObjectFolder
from singalong.store import Store
from tasks import join as join_module
from tasks.jobs import FilmFacts, JoinJob
from tasks.join import join


@pytest.fixture
def job(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> JoinJob:
    """A film to be at a URL; what is in it does not matter here."""

    def write(job: JoinJob, _store: Store) -> FilmFacts:
        Path(job.output).write_bytes(b"film")
        Path(job.thumbnail).write_bytes(b"thumbnail")
        return FilmFacts(path=job.output, sha256="0" * 64, num_frames=1, duration_s=1.0)

    monkeypatch.setattr(join_module, "_join", write)
    places = {"output": f"{bucket_url}/run/outputs/p.mp4", "thumbnail": f"{bucket_url}/run/outputs/p.jpg"}
    return JoinJob(name="p", segments=(), audio=(), fps=Fraction(25), metadata={}, **places)


def test_film_and_thumbnail_are_put_there_and_leave_this_disk(job: JoinJob, bucket_url: str, tmp_path: Path) -> None:
    facts = join(job, Store(tmp_path))
    assert (facts.path, facts.num_bytes) == (job.output, 4)
    assert {facts.key for facts in ObjectFolder.at(bucket_url).list()} == {"run/outputs/p.mp4", "run/outputs/p.jpg"}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".mp4", ".jpg")]


def test_a_film_whose_song_changed_while_it_was_made_never_gets_there(
    job: JoinJob, bucket_url: str, tmp_path: Path
) -> None:
    def check() -> None:
        raise ChangedFileError("changed since this run was planned")

    ObjectFolder.at(bucket_url).write("run/outputs/p.mp4", b"the film before")
    with pytest.raises(ChangedFileError):
        join(job, Store(tmp_path), check=check)
    assert ObjectFolder.at(bucket_url).read("run/outputs/p.mp4") == b"the film before"
    assert ObjectFolder.at(bucket_url).head("run/outputs/p.jpg") is None
