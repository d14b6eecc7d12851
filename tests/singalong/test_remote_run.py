"""Run folders at URLs: written through, fetched when changed, and cleared of what never arrived."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from singalong.config import Settings
from singalong.contracts import Status
from singalong.errors import HeldError, TransientIOError, UsageError
from singalong.load import load_report
from singalong.objects import ObjectFacts, ObjectFolder
from singalong.remote_run import copy_file, here, mirror_of, refresh, run_at, size_of
from singalong.reviews import Decision, DecisionLog, Ruling
from singalong.runfolder import RunFolder
from tests.object_server import ObjectServer
from tests.singalong.builders import attempt, pair_row, plan_of, touch

PLAN = plan_of([pair_row(1, song_end_s=8), pair_row(2, song_end_s=8)], settings=Settings())


@pytest.fixture
def url(bucket_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("SINGALONG_LEASE_S", "4")
    machine(monkeypatch, tmp_path, "a")
    return f"{bucket_url}/runs/one"


def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Have what follows happen on the machine of this name: each has a cache of its own."""
    monkeypatch.setenv("SINGALONG_CACHE", str(tmp_path / name))


def made(url: str) -> None:
    with run_at(url) as path:
        RunFolder.create(path, PLAN, Settings())


def statuses(url: str) -> list[Status]:
    with run_at(url) as path:
        return [shard.status for shard in RunFolder.open(path).fold().shards.values()]


def keys(url: str, top: str = "") -> list[str]:
    return [facts.key for facts in ObjectFolder.at(url).list(top)]


def test_a_path_is_itself(tmp_path: Path) -> None:
    with run_at(tmp_path) as path:
        assert path == tmp_path
        assert mirror_of(path) is None
        assert size_of(touch(tmp_path / "x")) == 5


@pytest.mark.parametrize("place", ["s3:/bucket/run", "gs://bucket/run", "https://somewhere/run", "S3:/x"])
def test_a_url_of_another_kind_is_refused_and_no_folder_is_named_after_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="s3://bucket/folder"), run_at(place):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_written_on_one_machine_is_seen_on_another(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(url)
    machine(monkeypatch, tmp_path, "b")
    with run_at(url) as path:
        run = RunFolder.open(path)
        assert run.plan == PLAN
        assert run.location == url
        with run.lock():
            run.record(attempt(PLAN.shards[0]))
    machine(monkeypatch, tmp_path, "c")
    assert statuses(url) == [Status.DONE, Status.PENDING]


def test_a_start_is_at_the_url_before_the_attempt_may_start_and_its_end_before_it_counts(url: str) -> None:
    made(url)
    with run_at(url) as path:
        run = RunFolder.open(path)
        with run.lock():
            for number, act in enumerate(
                (lambda: run.journal_started(PLAN.shards[0].shard_id, 1), lambda: run.record(attempt(PLAN.shards[0]))),
                start=1,
            ):
                act()
                assert len(keys(url, "attempts")) == number


def test_many_starts_and_ends_are_one_request(url: str, object_server: ObjectServer) -> None:
    made(url)
    with run_at(url) as path:
        run = RunFolder.open(path)
        with run.lock():
            run.next_attempt(PLAN.shards[0].shard_id)
            object_server.requests()
            run.journal_started(PLAN.shards[0].shard_id, 1, flush=False)
            run.journal_started(PLAN.shards[1].shard_id, 1, flush=False)
            run.record(attempt(PLAN.shards[0]), flush=False)
            run.flush_attempts()
            assert sum("attempts" in request for request in object_server.requests()) == 1


def test_only_what_changed_is_fetched(url: str, object_server: ObjectServer) -> None:
    made(url)
    statuses(url)
    object_server.requests()
    statuses(url)
    assert not [
        request for request in object_server.requests() if request.startswith("GET") and "list-type" not in request
    ]


def test_what_never_arrived_counts_on_no_machine(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, object_server: ObjectServer
) -> None:
    made(url)
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.3")
    with pytest.raises(TransientIOError), run_at(url) as path:  # noqa: PT012 - it fails as it ends
        run = RunFolder.open(path)
        with run.lock():
            object_server.lose()
            try:
                run.record(attempt(PLAN.shards[0]))
            finally:
                object_server.regain()
                monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "20")
    assert list(path.glob("attempts/journal/*"))  # it was written here, as the first step
    assert statuses(url) == [Status.PENDING, Status.PENDING]
    machine(monkeypatch, tmp_path, "b")
    with run_at(url) as other:
        run = RunFolder.open(other)
        with run.lock():
            run.record(attempt(PLAN.shards[1]))  # takes the place of the batch that never arrived
    machine(monkeypatch, tmp_path, "a")
    assert statuses(url) == [Status.PENDING, Status.DONE]


def test_a_second_driver_is_refused_and_writes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(url)
    with run_at(url, drive=True) as path:
        before = keys(url, "attempts")
        machine(monkeypatch, tmp_path, "b")
        with pytest.raises(HeldError, match=f"^{url}: this run is being worked on by process"), run_at(url, drive=True):
            pass
        with run_at(url) as other:
            run = RunFolder.open(other)
            assert run.holder() is not None
            with pytest.raises(HeldError), run.lock():
                run.record(attempt(PLAN.shards[0]))
        assert keys(url, "attempts") == before
        with RunFolder.open(path).lock():  # but the first may as often as it likes
            pass
    assert statuses(url) == [Status.PENDING, Status.PENDING]


def test_a_driver_that_was_given_up_writes_nothing_more(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(url)
    with pytest.raises(TransientIOError, match="taken over"), run_at(url, drive=True) as path:  # noqa: PT012
        mirror = mirror_of(path)
        assert mirror is not None
        mirror.lease._stop.set()  # it hangs
        monkeypatch.setattr("singalong.lease._machine", lambda: "")
        time.sleep(5.2)
        machine(monkeypatch, tmp_path, "b")
        monkeypatch.setattr("singalong.lease.Holder.is_dead", lambda _: False)
        with run_at(url, drive=True):
            RunFolder.open(path).record(attempt(PLAN.shards[0]))
    assert not keys(url, "attempts")


def test_one_who_looks_on_sees_what_goes_on(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made(url)
    with run_at(url, drive=True) as path:
        run = RunFolder.open(path)
        machine(monkeypatch, tmp_path, "b")
        with run_at(url) as other:
            watched = RunFolder.open(other)
            assert watched.fold().counts()[Status.DONE] == 0
            run.record(attempt(PLAN.shards[0]))
            refresh(other)
            assert watched.fold().counts()[Status.DONE] == 1


def test_several_programs_of_one_machine_look_on_at_once(url: str) -> None:
    made(url)
    with run_at(url) as first, run_at(url) as second:
        assert first != second
        assert RunFolder.open(first).plan == RunFolder.open(second).plan


def test_a_ledger_that_is_folded_meanwhile_is_read_whole(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(url)
    with run_at(url, drive=True) as path:
        run = RunFolder.open(path)
        for number in range(1, 6):
            run.record(attempt(PLAN.shards[0], number, "TRANSIENT_IO", final=False))
        machine(monkeypatch, tmp_path, "b")
        with run_at(url) as other:
            assert len(RunFolder.open(other).attempts()) == 5
            run._log.fold()
            mirror = mirror_of(path)
            assert mirror is not None
            mirror.settle()
            assert [key for key in keys(url, "attempts") if "journal" in key] == []
            refresh(other)
            assert len(RunFolder.open(other).attempts()) == 5


def test_a_decision_is_at_the_url_when_it_is_answered(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(url)
    decision = Decision(pair_id="p1", ruling=Ruling.REJECT, reviewer="anna", decided_at="2026-01-01T00:00:00.000+00:00")
    with run_at(url, drive=True):  # also while a driver works on it
        machine(monkeypatch, tmp_path, "b")
        with run_at(url) as path:
            assert DecisionLog(path).record(decision)
            assert len(keys(url, "reviews")) == 1
    with run_at(url) as path:
        assert list(DecisionLog(path).standing()) == ["p1"]


def test_a_decision_that_is_written_during_a_look_stays(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(url)
    decision = Decision(pair_id="p1", ruling=Ruling.REJECT, reviewer="anna", decided_at="2026-01-01T00:00:00.000+00:00")
    with run_at(url) as path:
        mirror = mirror_of(path)
        assert mirror is not None
        listed = mirror._list

        def slow_list() -> dict[str, ObjectFacts]:
            there = listed()
            DecisionLog(path).record(decision, name="one")
            return there

        monkeypatch.setattr(mirror, "_list", slow_list)
        refresh(path)
        assert list(DecisionLog(path).standing()) == ["p1"]
        assert size_of(path / "reviews" / "one.parquet")
    assert keys(url, "reviews") == ["reviews/one.parquet"]


def test_films_are_fetched_when_they_are_wanted(url: str, object_server: ObjectServer) -> None:
    made(url)
    ObjectFolder.at(url).write("outputs/p1.mp4", b"film")
    with run_at(url) as path:
        film = path / "outputs" / "p1.mp4"
        assert size_of(film) == 4
        assert not film.exists()
        assert here(film).read_bytes() == b"film"
        ObjectFolder.at(url).write("outputs/p1.mp4", b"once more")
        refresh(path)
        assert here(film).read_bytes() == b"once more"
        assert here(path / "outputs" / "none.mp4").exists() is False


def test_what_is_no_run_is_refused_by_its_url(bucket_url: str, tmp_path: Path, object_server: ObjectServer) -> None:
    folder = ObjectFolder.at(f"{bucket_url}/holiday")
    folder.write("beach.jpg", b"")
    with (
        pytest.raises(UsageError, match=r"holiday: what lies there is not a run \(saw 'beach.jpg'\)"),
        run_at(folder.url),
    ):
        pass
    with (
        pytest.raises(UsageError, match=f"^{bucket_url}/nothing: not a run folder"),
        run_at(f"{bucket_url}/nothing") as path,
    ):
        RunFolder.open(path)
    assert keys(f"{bucket_url}/nothing") == []


def test_a_key_that_would_lie_outside_the_folder_is_not_fetched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from singalong.mirror import _is_safe

    assert _is_safe("plans/0001.parquet")
    assert not any(map(_is_safe, ("../x", "a/../../x", "/etc/passwd", "a//b", "", "./a", "a/")))


def test_a_store_that_is_away_for_seconds_is_waited_for(url: str, object_server: ObjectServer) -> None:
    made(url)
    with run_at(url, drive=True) as path:
        object_server.lose()
        threading.Timer(1.0, object_server.regain).start()
        RunFolder.open(path).record(attempt(PLAN.shards[0]))
    assert statuses(url) == [Status.DONE, Status.PENDING]


def test_a_report_that_is_not_there_names_the_url(url: str) -> None:
    with pytest.raises(UsageError, match=f"{url}/report.parquet: there is no report"):
        load_report(url)


def test_a_film_of_another_run_is_copied_without_being_fetched(url: str, object_server: ObjectServer) -> None:
    made(url)
    made(f"{url}.2")
    ObjectFolder.at(url).write("outputs/p1.mp4", b"film")
    with run_at(url) as first, run_at(f"{url}.2") as second:
        object_server.requests()
        copy_file(first / "outputs" / "p1.mp4", second / "outputs" / "p1.mp4")
        assert not [request for request in object_server.requests() if request.startswith("GET")]
        assert size_of(second / "outputs" / "p1.mp4") == 4
        with pytest.raises(FileNotFoundError):
            copy_file(first / "outputs" / "none.mp4", second / "outputs" / "none.mp4")
    assert ObjectFolder.at(f"{url}.2").read("outputs/p1.mp4") == b"film"


def test_films_that_were_looked_at_and_runs_that_nobody_looks_at_leave_this_disk(url: str, tmp_path: Path) -> None:
    made(url)
    ObjectFolder.at(url).write("outputs/p1.mp4", b"film")
    with run_at(url) as path:
        assert here(path / "outputs" / "p1.mp4").exists()
    assert not (path / "outputs" / "p1.mp4").exists()
    for lock in path.parent.glob("*.lock"):
        os.utime(lock, (1e9, 1e9))
    made(f"{url}.2")
    assert not path.exists()
    assert statuses(url) == [Status.PENDING, Status.PENDING]
