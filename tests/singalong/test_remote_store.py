"""A store at a URL: what one machine commits another finds; machines here are caches of their own."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import singalong.disk_cache as disk_cache
from singalong.errors import TransientIOError, UsageError
from singalong.objects import ObjectFolder
from singalong.remote_store import open_store
from singalong.store import Store
from tests.object_server import ObjectServer
from tests.singalong.conftest import Machine
from tests.singalong.test_store import KEY, SHA, made, shard_result


def objects(url: str) -> list[str]:
    return [facts.key for facts in ObjectFolder.at(url).list()]


def write_two(folder: Path) -> None:
    (folder / "a.json").write_bytes(b"aaa")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.npy").write_bytes(b"bbbbb")


def fails(_: Path) -> None:
    raise AssertionError("it was made already")


# ---- opening


def test_a_path_opens_a_folder_and_a_url_a_store_there(tmp_path: Path) -> None:
    assert type(open_store(tmp_path)) is Store
    assert type(open_store(str(tmp_path))) is Store
    assert open_store("s3://bucket/x/", cache_dir=tmp_path).location == "s3://bucket/x"


def test_it_travels_by_its_url(machine: Machine) -> None:
    store = machine()
    result = store.commit(shard_result(), **made(store))
    again = pickle.loads(pickle.dumps(store))
    assert (again.location, again.root) == (store.location, store.root)
    assert again.find(KEY) == result


def test_a_store_that_writes_over_markers_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine().check_reachable()
    monkeypatch.setattr(ObjectFolder, "create", ObjectFolder.write)  # a server that ignores If-None-Match
    with pytest.raises(UsageError, match="If-None-Match"):
        machine().check_reachable()


# ---- finished shards


def test_what_one_machine_commits_another_finds_and_fetches(machine: Machine, url: str) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    assert there.find(KEY) == result
    assert there.segment_path(result).read_bytes() == b"segment"
    assert there.frames_path(result).read_bytes() == b"frames"
    assert there.verify(KEY)
    assert len(objects(url)) == 3


def test_finding_fetches_no_films(machine: Machine, object_server: ObjectServer) -> None:
    here, there = machine(), machine()
    here.commit(shard_result(), **made(here))
    object_server.requests()
    there.find(KEY)
    there.find(KEY)
    assert len(object_server.requests()) == 2  # the marker, and one listing; the second time nothing


def test_places_of_one_machine_are_found_on_another(machine: Machine) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    folder = here.commit_cache("songs", SHA, "v1", write_two)
    assert there.here(here.segment_place(result)).read_bytes() == b"segment"
    assert there.here(here.frames_place(result)).read_bytes() == b"frames"
    assert (there.here(str(folder)) / "sub" / "b.npy").read_bytes() == b"bbbbb"
    assert there.here(str(folder / "a.json")).read_bytes() == b"aaa"
    assert there.here(str(folder)).is_relative_to(there.root)


def test_what_vanished_from_the_store_is_named_as_lying_in_it(machine: Machine) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    here.discard(KEY)
    with pytest.raises(FileNotFoundError) as caught:
        there.here(here.segment_place(result))
    assert Path(caught.value.filename).is_relative_to(there.root)


def test_the_first_commit_of_a_key_stands_and_the_second_leaves_nothing(machine: Machine, url: str) -> None:
    here, there = machine(), machine()
    first = here.commit(shard_result(), **made(here, segment=b"first"))
    assert there.commit(shard_result(), **made(there, segment=b"second")) == first
    assert len(objects(url)) == 3


def test_who_loses_the_race_at_the_marker_takes_the_standing_result(
    machine: Machine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = machine(), machine()
    real, winner = ObjectFolder.create, []

    def late(folder: ObjectFolder, key: str, data: bytes) -> None:
        if not winner:
            monkeypatch.setattr(ObjectFolder, "create", real)
            winner.append(here.commit(shard_result(), **made(here, segment=b"first")))
        real(folder, key, data)

    monkeypatch.setattr(ObjectFolder, "create", late)
    assert [there.commit(shard_result(), **made(there, segment=b"second"))] == winner
    assert len(objects(url)) == 3
    assert there.segment_path(winner[0]).read_bytes() == b"first"


def test_of_processes_that_commit_the_same_key_all_get_one_result(url: str, tmp_path: Path) -> None:
    script = """if True:
        import sys, pathlib
        from singalong.remote_store import open_store
        from tests.singalong.test_store import made, shard_result
        store = open_store(sys.argv[1], cache_dir=sys.argv[2])
        store.check_reachable(); print("ready", flush=True); sys.stdin.readline()
        for number in range(5):
            done = store.commit(shard_result(f"{number:040x}"), **made(store, segment=sys.argv[2].encode()))
            print(done.segment_sha256, store.segment_path(done).read_bytes().decode())
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", script, url]
    children = [
        subprocess.Popen([*command, str(tmp_path / f"m{n}")], env=dict(os.environ), **pipes)  # type: ignore
        for n in range(3)
    ]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    told = [child.communicate(timeout=60)[0] for child in children]
    assert told[0].count("\n") == 5
    assert told[0] == told[1] == told[2]
    assert len(objects(url)) == 3 * 5


@pytest.mark.parametrize("damage", ["no marker", "torn marker", "short segment", "lost frames"])
def test_what_is_damaged_in_the_store_counts_as_absent_and_can_be_made_again(
    machine: Machine, url: str, damage: str
) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    folder = ObjectFolder.at(f"{url}/work/{KEY[:2]}/{KEY}")
    if damage == "no marker":
        folder.delete("commit.json")
    elif damage == "torn marker":
        folder.write("commit.json", folder.read("commit.json")[:40])
    elif damage == "short segment":
        folder.write(f"{result.segment_sha256}.mp4", b"seg")
    else:
        folder.delete(f"{result.frames_sha256}.frames.parquet")
    assert there.find(KEY) is None
    again = there.commit(shard_result(), **made(there, segment=b"again", frames=b"anew"))
    assert machine().find(KEY) == again
    assert machine().segment_path(again).read_bytes() == b"again"


def test_a_flipped_bit_in_the_store_is_noticed_when_it_is_fetched(machine: Machine, url: str) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    ObjectFolder.at(url).write(f"work/{KEY[:2]}/{KEY}/{result.segment_sha256}.mp4", b"segmenT")
    with pytest.raises(TransientIOError, match=r"s3://.*damaged in the store.*run again"):
        there.segment_path(result)
    assert machine().find(KEY) is None


def test_a_file_damaged_on_one_machine_is_fetched_again(machine: Machine) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    there.segment_path(result).write_bytes(b"segmenT")
    assert there.verify(KEY)
    assert there.segment_path(result).read_bytes() == b"segment"


def test_verify_notices_what_is_damaged_in_the_store(machine: Machine, url: str) -> None:
    here, there = machine(), machine()
    result = here.commit(shard_result(), **made(here))
    ObjectFolder.at(url).write(f"work/{KEY[:2]}/{KEY}/{result.frames_sha256}.frames.parquet", b"frameS")
    assert not there.verify(KEY)


def test_what_is_discarded_is_gone_everywhere(machine: Machine, url: str) -> None:
    here = machine()
    here.commit(shard_result(), **made(here))
    here.discard(KEY)
    here.discard(KEY)
    assert objects(url) == []
    assert here.find(KEY) is None
    assert machine().find(KEY) is None


def test_work_that_was_finished_while_the_store_was_away_is_put_there_later(
    machine: Machine, url: str, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine()
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.2")
    real = ObjectFolder.upload

    def lost(folder: ObjectFolder, key: str, path: Path) -> None:
        object_server.lose()
        real(folder, key, path)

    monkeypatch.setattr(ObjectFolder, "upload", lost)
    with pytest.raises(TransientIOError):
        here.commit(shard_result(), **made(here))
    monkeypatch.setattr(ObjectFolder, "upload", real)
    object_server.regain()
    again = open_store(url, cache_dir=here.root.parent)  # another process of this machine
    result = again.find(KEY)
    assert result is not None
    assert machine().segment_path(result).read_bytes() == b"segment"


def test_a_store_lost_in_the_middle_of_a_commit_is_waited_for(machine: Machine, object_server: ObjectServer) -> None:
    here = machine()
    content = os.urandom(9_000_000)
    object_server.lose_for(1.0, after_bytes=100_000)
    result = here.commit(shard_result(), **made(here, segment=content))
    assert machine().segment_path(result).read_bytes() == content


def test_results_of_a_newer_version_are_refused(machine: Machine, url: str) -> None:
    here = machine()
    here.commit(shard_result(), **made(here))
    here.commit_cache("songs", SHA, "v1", write_two)
    remote = ObjectFolder.at(url)
    for key in (f"work/{KEY[:2]}/{KEY}/commit.json", f"cache/songs/{SHA[:2]}/{SHA}/v1/complete.json"):
        remote.write(key, json.dumps(json.loads(remote.read(key)) | {"store_version": 99}).encode())
    there = machine()
    with pytest.raises(UsageError, match=r"s3://.*newer singalong"):
        there.find(KEY)
    with pytest.raises(UsageError, match="newer singalong"):
        there.cached("songs", SHA, "v1")


def test_many_keys_are_looked_up_at_once(machine: Machine, object_server: ObjectServer) -> None:
    here, there = machine(), machine()
    keys = [f"{number:040x}" for number in range(60)]
    for key in keys[:3]:
        here.commit(shard_result(key), **made(here))
    object_server.delay(0.1)
    done = threading.Event()
    timer = threading.Timer(60 * 0.1 / 2, done.set)  # one by one they would take twice that at least
    timer.start()
    found = there.find_many(keys)
    assert not done.is_set()
    timer.cancel()
    assert found.keys() == set(keys[:3])


def test_of_many_keys_only_those_that_are_there_are_asked_for(
    machine: Machine, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine()
    keys = [f"{number:040x}" for number in range(60)]
    for key in keys[:3]:
        here.commit(shard_result(key), **made(here))
    for limit, most in ((1000, 1 + 3), (0, 1 + 60 + 3)):  # where too much lies beside them, each is asked for
        monkeypatch.setattr("singalong.remote_marks._LISTED_A_KEY", limit)
        there = machine()
        object_server.requests()
        assert there.find_many(keys).keys() == set(keys[:3])
        assert 3 < len(object_server.requests()) <= most


def test_ctrl_c_is_heard_while_many_wait_for_a_lost_store(
    url: str, tmp_path: Path, object_server: ObjectServer
) -> None:
    script = """if True:
        import sys
        from singalong.remote_store import open_store
        store = open_store(sys.argv[1], cache_dir=sys.argv[2])
        store.check_reachable(); print("up", flush=True); sys.stdin.readline()
        try:
            print("asks", flush=True)
            store.find_many(f"{number:040x}" for number in range(100))
        except KeyboardInterrupt:
            print("heard")
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = dict(os.environ) | {"SINGALONG_OBJECT_RETRY_S": "100"}
    command = [sys.executable, "-c", script, url, str(tmp_path)]
    with subprocess.Popen(command, env=environment, **pipes) as child:  # type: ignore
        child.stdout.readline()
        object_server.lose()
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[0] == "heard\n"
        assert child.returncode == 0


# ---- caches


def test_a_cache_entry_is_made_once_for_all_machines(machine: Machine) -> None:
    here, there = machine(), machine()
    assert there.cached("songs", SHA, "v1") is None
    here.commit_cache("songs", SHA, "v1", write_two)
    folder = there.commit_cache("songs", SHA, "v1", fails)
    assert (folder / "sub" / "b.npy").read_bytes() == b"bbbbb"
    assert folder.is_relative_to(there.root)


def test_of_two_that_make_an_entry_at_once_both_use_the_first(machine: Machine, url: str) -> None:
    here, there = machine(), machine()

    def other_was_first(folder: Path) -> None:
        here.commit_cache("songs", SHA, "v1", lambda theirs: (theirs / "a").write_bytes(b"theirs"))
        (folder / "a").write_bytes(b"ours!!")

    folder = there.commit_cache("songs", SHA, "v1", other_was_first)
    assert (folder / "a").read_bytes() == b"theirs"
    assert len(objects(url)) == 2


def test_an_entry_damaged_on_one_machine_is_fetched_again(machine: Machine) -> None:
    here, there = machine(), machine()
    here.commit_cache("songs", SHA, "v1", write_two)
    folder = there.cached("songs", SHA, "v1")
    assert folder is not None
    assert not there.drop_if_damaged(folder)
    (folder / "a.json").write_bytes(b"AAA")
    assert there.drop_if_damaged(folder)
    again = there.cached("songs", SHA, "v1")
    assert again is not None
    assert (again / "a.json").read_bytes() == b"aaa"


def test_an_entry_damaged_in_the_store_is_made_anew(machine: Machine, url: str) -> None:
    here = machine()
    here.commit_cache("songs", SHA, "v1", write_two)
    remote = ObjectFolder.at(url)
    for facts in list(remote.list("cache")):
        if not facts.key.endswith("complete.json"):
            remote.write(facts.key, b"x")
    there = machine()
    assert there.cached("songs", SHA, "v1") is None
    there.commit_cache("songs", SHA, "v1", write_two)
    found = machine().cached("songs", SHA, "v1")
    assert found is not None
    assert (found / "a.json").read_bytes() == b"aaa"


def test_an_entry_that_names_files_elsewhere_is_no_entry(machine: Machine, url: str, tmp_path: Path) -> None:
    remote, place = ObjectFolder.at(url), f"cache/songs/{SHA[:2]}/{SHA}/v1"
    marker = {"store_version": 1, "files": {"../../evil": 1}, "sha256": {"../../evil": "00" * 32}}
    remote.write(f"{place}/complete.json", json.dumps(marker).encode())
    assert machine().cached("songs", SHA, "v1") is None
    assert not list(tmp_path.rglob("evil"))


# ---- the cache's limit


def test_the_cache_keeps_its_limit_and_what_it_lost_comes_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "GRACE_S", 0.0)
    store = open_store(url, cache_dir=tmp_path, cache_gb=0.000_025)
    for number in range(8):
        store.commit(shard_result(f"{number:040x}"), **made(store, segment=bytes([number]) * 9000))
        store.commit_cache("songs", f"{number:064x}", "v1", lambda folder: (folder / "x").write_bytes(b"x" * 1000))
        held = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and "uses" not in path.parts)
        assert held < 25_000 + 11_000
    for number in range(8):
        result = store.find(f"{number:040x}")
        assert result is not None
        assert store.segment_path(result).read_bytes() == bytes([number]) * 9000
