"""Clips and songs at URLs: fetched once, known by what they hold, and by all machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from singalong.errors import ChangedFileError
from singalong.objects import ObjectFolder
from singalong.remote_store import open_store
from singalong.store import Store
from tests.object_server import ObjectServer
from tests.singalong.conftest import Machine
from tests.singalong.test_remote_store import write_two
from tests.singalong.test_store import KEY, SHA, made, shard_result


@pytest.fixture
def clip_url(bucket_url: str) -> str:
    ObjectFolder.at(bucket_url).write("media/my clip #1.mp4", b"a clip")
    return f"{bucket_url}/media/my clip #1.mp4"


@pytest.fixture(params=["folder", "url"])
def any_store(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Store:
    return open_store(tmp_path / "store" if request.param == "folder" else url, cache_dir=tmp_path / "cache")


def test_media_at_a_url_are_fetched_once_under_their_name(
    any_store: Store, clip_url: str, object_server: ObjectServer
) -> None:
    path = any_store.local_media(clip_url)
    assert (path.name, path.read_bytes()) == ("my clip #1.mp4", b"a clip")
    object_server.requests()
    assert any_store.local_media(clip_url) == path
    assert [request.split()[0] for request in object_server.requests()] == ["HEAD"]


def test_an_object_that_changes_is_another_clip(any_store: Store, clip_url: str, bucket_url: str) -> None:
    before = any_store.file_sha256(clip_url)
    any_store.check_unchanged(clip_url, before)
    ObjectFolder.at(bucket_url).write("media/my clip #1.mp4", b"b clip")
    assert any_store.local_media(clip_url).read_bytes() == b"b clip"
    assert any_store.file_sha256(clip_url) != before
    with pytest.raises(ChangedFileError, match=r"s3://.*changed since this run was planned"):
        any_store.check_unchanged(clip_url, before)
    ObjectFolder.at(bucket_url).delete("media/my clip #1.mp4")
    with pytest.raises(ChangedFileError, match=r"s3://.*cannot be read any more"):
        any_store.check_unchanged(clip_url, before)


def test_a_missing_object_is_a_missing_file(any_store: Store, bucket_url: str) -> None:
    with pytest.raises(FileNotFoundError, match="s3://"):
        any_store.local_media(f"{bucket_url}/media/none.mp4")


def test_other_machines_know_a_clips_hash_without_fetching_it(
    machine: Machine, clip_url: str, object_server: ObjectServer
) -> None:
    known = machine().file_sha256(clip_url)
    object_server.requests()
    assert machine().file_sha256(clip_url) == known
    assert not [request for request in object_server.requests() if "GET" in request and "my clip" in request]


def test_nothing_is_committed_of_media_that_changed_meanwhile(any_store: Store, clip_url: str, bucket_url: str) -> None:
    from tasks.checked_store import checked_store

    checked = checked_store(any_store, [(clip_url, any_store.file_sha256(clip_url))])
    ObjectFolder.at(bucket_url).write("media/my clip #1.mp4", b"b clip")
    with pytest.raises(ChangedFileError):
        checked.commit(shard_result(), **made(checked))
    with pytest.raises(ChangedFileError):
        checked.commit_cache("songs", SHA, "v1", write_two)
    assert any_store.find(KEY) is None
    assert any_store.cached("songs", SHA, "v1") is None
