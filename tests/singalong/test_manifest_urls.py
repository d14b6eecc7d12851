"""Manifests that name clips, songs, stems and pictures at URLs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from singalong.contracts import PairRow
from singalong.errors import ManifestError, UsageError
from singalong.manifest import COLUMNS, ManifestPart, check_parts, read_manifest
from singalong.manifest_readers import read_raw
from singalong.objects import ObjectFolder
from tests.object_server import ObjectServer


@pytest.fixture
def media(bucket_url: str) -> str:
    folder = ObjectFolder.at(f"{bucket_url}/media")
    for name in ("a.mp4", "b c.mp4", "song.wav", "voice.wav", "anna.jpg"):
        folder.write(f"in/{name}", b"x")
    return f"{folder.url}/in"


def write(folder: Path, *rows: str) -> Path:
    path = folder / "m.csv"
    path.write_text("\n".join(["clip,song,vocals,face", *rows]) + "\n")
    return path


def at_url(path: Path, base: str) -> list[PairRow]:
    """The manifest as one that lies at `base`."""
    return check_parts([ManifestPart(read_raw(path, known_columns=frozenset(COLUMNS)), base)], path)


def test_every_kind_of_medium_may_lie_at_a_url(media: str, tmp_path: Path) -> None:
    row = f"{media}/b c.mp4,{media}/song.wav,{media}/voice.wav,like:{media}/anna.jpg"
    (pair,) = read_manifest(write(tmp_path, row))
    assert (pair.clip, pair.song) == (f"{media}/b c.mp4", f"{media}/song.wav")
    assert (pair.vocals, pair.face) == (f"{media}/voice.wav", f"like:{media}/anna.jpg")
    assert pair.pair_id == "b-c__song"


def test_names_in_a_manifest_at_a_url_are_relative_to_it(media: str, tmp_path: Path) -> None:
    (pair,) = at_url(write(tmp_path, "a.mp4,../in/song.wav,auto,like:anna.jpg"), media)
    assert (pair.clip, pair.song, pair.face) == (f"{media}/a.mp4", f"{media}/song.wav", f"like:{media}/anna.jpg")


def test_all_missing_objects_are_told_with_their_rows(media: str, tmp_path: Path) -> None:
    manifest = write(tmp_path, f"{media}/none.mp4,{media}/song.wav,,", f"{media}/a.mp4,{media}/no.wav,,")
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest)
    assert [(problem.row, problem.column, problem.problem.split(" [")[0]) for problem in caught.value.problems] == [
        (1, "clip", "no such object"),
        (2, "song", "no such object"),
    ]


@pytest.mark.parametrize(
    "name", ["s3://b/../secret/a.mp4", "s3://bucket//a.mp4", "s3://bucket", "s3://bucket/", "S3://x/a/./b", "s3:///a"]
)
def test_urls_that_cannot_be_are_told_as_cells(name: str, tmp_path: Path, object_server: ObjectServer) -> None:
    with pytest.raises(ManifestError, match="cannot be the name of an object"):
        read_manifest(write(tmp_path, f"{name},{name},,"))


def test_media_must_lie_in_the_roots(media: str, bucket_url: str, tmp_path: Path) -> None:
    ObjectFolder.at(bucket_url).write("media/inside/a.mp4", b"x")
    ObjectFolder.at(bucket_url).write("media/in2/a.mp4", b"x")
    (tmp_path / "local.mp4").write_bytes(b"x")
    good = f"{media}/song.wav"
    roots = [f"{media}/"]
    assert read_manifest(write(tmp_path, f"{media}/a.mp4,{good},,"), roots=roots)
    for outside in (f"{bucket_url}/media/in2/a.mp4", f"{media}side/a.mp4", "local.mp4"):
        with pytest.raises(ManifestError, match="lies outside"):
            read_manifest(write(tmp_path, f"{outside},{good},,"), roots=roots)
    with pytest.raises(ManifestError, match="lies outside"):
        read_manifest(write(tmp_path, f"{media}/a.mp4,{good},,"), roots=[str(tmp_path)])


def test_a_missing_bucket_is_told_as_such(tmp_path: Path, object_server: ObjectServer) -> None:
    with pytest.raises(UsageError, match="no such bucket"):
        read_manifest(write(tmp_path, "s3://no-such-bucket/a.mp4,s3://no-such-bucket/b.wav,,"))


def test_many_objects_are_looked_at_at_once(media: str, tmp_path: Path, object_server: ObjectServer) -> None:
    for number in range(40):
        ObjectFolder.at(media).write(f"{number}.mp4", b"x")
    manifest = write(tmp_path, *(f"{media}/{number}.mp4,{media}/song.wav,," for number in range(40)))
    object_server.delay(0.1)
    object_server.requests()
    started = time.monotonic()
    assert len(read_manifest(manifest)) == 40
    assert time.monotonic() - started < 41 * 0.1  # one by one they take that long for waiting alone
    assert len(object_server.requests()) == 41
