"""What goes to and comes from object stores is counted as the store itself sees it, once, and carried on."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

import singalong.disk_cache as disk_cache
from singalong.disk_cache import DiskCache
from singalong.media_cache import HashBook, MediaCache
from singalong.objects import PART_BYTES, ObjectFolder
from singalong.run_logs import RunLogs
from singalong.traffic import Traffic, count, rows_of, take, traffic_of
from tests.object_server import ObjectServer
from tests.sudden_deaths import exit_code, fork_that_dies

_METHODS = {"get": "GET", "head": "HEAD", "put": "PUT", "copy": "PUT", "list": "GET", "delete": "DELETE"}


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    take()


def requests_in(traffic: Traffic) -> Counter[str]:
    """Requests that were counted, by what a server calls them; parts of uploads begin and end with a POST."""
    counted: Counter[str] = Counter()
    for (name, label), amount in traffic.items():
        if name == "object_requests":
            counted[_METHODS[label]] += int(amount)
    return counted


def test_each_request_and_each_byte_is_counted_once(
    bucket_url: str, object_server: ObjectServer, tmp_path: Path
) -> None:
    folder, small, large = ObjectFolder.at(f"{bucket_url}/in"), b"x" * 1000, tmp_path / "large"
    large.write_bytes(os.urandom(PART_BYTES + 5))
    object_server.requests()
    folder.write("a", small)
    folder.create("b", small)
    with pytest.raises(FileExistsError):
        folder.create("b", small)
    folder.upload("large", large)
    assert folder.read("a") == small
    folder.download("large", tmp_path / "back")
    folder.copy_from("c", folder, "a")
    assert folder.head("nothing") is None
    assert len(list(folder.list())) == 4
    folder.delete("c")
    traffic, seen = take(), object_server.requests()
    assert traffic["object_bytes", "sent"] == 2 * len(small) + PART_BYTES + 5
    assert traffic["object_bytes", "fetched"] == len(small) + PART_BYTES + 5
    methods = Counter(request.split()[0] for request in seen)
    counted = requests_in(traffic)
    assert methods.pop("POST") == 2, "an upload in parts begins and ends with one each"
    counted["PUT"] -= 2
    assert counted == methods
    assert traffic["object_seconds", "put"] > 0
    assert not [key for key in traffic if key[0] in ("object_retries", "object_wait_seconds")]
    assert not take(), "what was taken is not taken again"


def test_tries_again_and_the_wait_for_them_are_counted(bucket_url: str, object_server: ObjectServer) -> None:
    object_server.answer_next(2, 503, "SlowDown")
    ObjectFolder.at(bucket_url).write("a", b"data")
    traffic = take()
    assert (traffic["object_requests", "put"], traffic["object_retries", "put"]) == (3, 2)
    assert 0.2 < traffic["object_wait_seconds", "put"] < traffic["object_seconds", "put"]
    assert traffic["object_bytes", "sent"] == 4


def test_what_the_cache_has_what_it_has_not_and_what_goes_is_counted(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "GRACE_S", 0.0)
    folder = ObjectFolder.at(bucket_url)
    for name in ("one.wav", "two.wav"):
        folder.write(name, os.urandom(900))
    disk = DiskCache(tmp_path, limit_bytes=1000)
    media = MediaCache(disk, HashBook(tmp_path / "hashes"))
    take()
    for name in ("one.wav", "one.wav", "two.wav"):
        media.path(folder.join(name))
    traffic = take()
    assert (traffic["cache_hits", "media"], traffic["cache_misses", "media"]) == (1, 2)
    assert (traffic["cache_evictions", "media"], traffic["cache_evicted_bytes", "media"]) == (1, 900)
    assert traffic["object_bytes", "fetched"] == 1800


def test_many_threads_lose_nothing_whoever_takes_it() -> None:
    taken: list[Traffic] = []

    def work() -> None:
        for _ in range(2000):
            count("object_bytes", "sent", 3)
        taken.append(take())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.get(("object_bytes", "sent"), 0) for one in [*taken, take()]) == 8 * 2000 * 3


def test_a_forked_child_counts_from_nothing() -> None:
    count("object_bytes", "sent", 3)

    def check() -> None:
        assert not take()

    assert exit_code(fork_that_dies(check, at=1, calls=[])) == 0
    assert take() == {("object_bytes", "sent"): 3}


@pytest.mark.parametrize(
    "noted",
    [b"", b"[", b"{}", b"null", b'[["object_bytes", "up", 1], ["other", "sent", 1], 7, ["object_bytes", "sent", "x"]]'],
)
def test_notes_that_do_not_read_count_for_nothing(tmp_path: Path, noted: bytes) -> None:
    logs = RunLogs(tmp_path)
    traffic: Traffic = {("object_bytes", "sent"): 12.0, ("cache_hits", "work"): 1.0}
    logs.note_traffic(traffic)
    assert logs.read_traffic() == traffic == traffic_of(rows_of(traffic))
    (tmp_path / "logs" / "traffic.json").write_bytes(noted)
    assert logs.read_traffic() == {}
