"""Manifests in object stores: one object, or all below a URL, as folders on a disk are."""

from __future__ import annotations

import pytest

from singalong.contracts import PairRow
from singalong.errors import ManifestError, UsageError
from singalong.manifest_folder import read_manifests
from singalong.objects import ObjectFolder
from tests.object_server import ObjectServer


@pytest.fixture
def folder(bucket_url: str) -> ObjectFolder:
    return ObjectFolder.at(f"{bucket_url}/inbox")


def fill(folder: ObjectFolder, *names: str) -> None:
    for name in names:
        folder.write(name, b"media")


def pairs(folder: ObjectFolder) -> dict[str, tuple[str, str]]:
    rows, _ = read_manifests(folder.url)
    return {row.pair_id: (row.clip, row.song) for row in rows}


def test_a_manifest_means_what_lies_beside_it(folder: ObjectFolder) -> None:
    fill(folder, "clips/a.mp4", "s.wav")
    folder.write("night.csv", b"clip,song\nclips/a.mp4,s.wav\n")
    rows, notes = read_manifests(folder.join("night.csv"))
    assert rows == [PairRow(row=1, pair_id="a__s", clip=folder.join("clips/a.mp4"), song=folder.join("s.wav"))]
    assert notes == []


def test_below_a_url_every_clip_sings_every_song(folder: ObjectFolder, object_server: ObjectServer) -> None:
    fill(folder, "clips/b.mp4", "clips/day/a.mp4", "songs/x.wav", ".hidden/x", "clips/c.mp4.part")
    folder.write("clips", b"")  # as consoles make folders
    object_server.requests()
    assert pairs(folder) == {
        "b__x": (folder.join("clips/b.mp4"), folder.join("songs/x.wav")),
        "day-a-c72595__x": (folder.join("clips/day/a.mp4"), folder.join("songs/x.wav")),
    }
    assert read_manifests(folder.url)[1] == ["left out, still being written: clips/c.mp4.part"]


def test_folders_below_a_url_are_montages(folder: ObjectFolder) -> None:
    fill(folder, "night/b.mp4", "night/a.mp4", "night/s.wav", "night/deep/x.mp4")
    rows, notes = read_manifests(folder.url)
    assert [(row.pair_id, row.montage) for row in rows] == [("night.a", "night"), ("night.b", "night")]
    assert "night/deep/x.mp4" in notes[0]


def test_manifests_below_a_url_count_together_and_say_where_they_are_wrong(folder: ObjectFolder) -> None:
    fill(folder, "a.mp4", "s.wav")
    folder.write("one.csv", b"clip,song,pair_id\na.mp4,s.wav,one\n")
    folder.write("two.csv", b"clip,song,pair_id\na.mp4,none.wav,two\n")
    with pytest.raises(ManifestError) as caught:
        read_manifests(folder.url)
    assert str(caught.value).startswith(f"{folder.url}: ")
    (problem,) = caught.value.problems
    assert str(problem).startswith("two.csv, row 1, column song: no such object")
    fill(folder, "none.wav")
    assert [row.place for row in read_manifests(folder.url)[0]] == ["one.csv, row 1", "two.csv, row 1"]


def test_media_at_urls_stays_within_the_roots(folder: ObjectFolder) -> None:
    fill(folder, "a.mp4", "a.wav")
    with pytest.raises(ManifestError, match="outside the places"):
        read_manifests(folder.url, roots=["/srv/media"])
    assert read_manifests(folder.url, roots=[folder.url])[0]


def test_what_is_not_there_is_named(folder: ObjectFolder, bucket_url: str) -> None:
    with pytest.raises(ManifestError, match=f"(?s)^{folder.url}/none.csv: .*no such object"):
        read_manifests(folder.join("none.csv"))
    with pytest.raises(ManifestError, match="nothing to do in this folder"):
        read_manifests(f"{bucket_url}/nothing")
    with pytest.raises(UsageError, match="no such bucket"):
        read_manifests("s3://no-such-bucket-of-ours/x")
    with pytest.raises(UsageError, match="two slashes"):
        read_manifests("s3:/bucket/x.csv")
