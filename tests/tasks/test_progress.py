"""How far a run is, from its folder alone."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.config import Settings
from singalong.runfolder import RunFolder
from tasks.progress import progress_of
from tests.singalong.builders import attempt, pair_row, plan_of

SETTINGS = Settings()
NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


def times(start_s: int, end_s: int) -> dict[str, str]:
    stamps = (f"2026-01-01T00:{s // 60:02d}:{s % 60:02d}+00:00" for s in (start_s, end_s))
    return dict(zip(("started_at", "finished_at"), stamps, strict=True))


def make_run(tmp_path: Path) -> RunFolder:
    """Four shards of 100 frames: two done by a, one of them slow; one failed by b; one not begun."""
    run = RunFolder.create(tmp_path / "run", plan_of([pair_row(n, song_end_s=4) for n in range(1, 5)]), Settings())
    one, two, three, _ = run.plan.shards
    run.record(attempt(one, worker="box:a", **times(0, 10)))
    run.record(attempt(two, worker="box:a", **times(10, 50)))
    run.record(attempt(three, outcome="BUG", worker="box:b", **times(0, 5)))
    return run


def test_counts_rate_and_time_left_come_from_the_attempts(tmp_path: Path) -> None:
    progress = progress_of(make_run(tmp_path), now=NOW)
    assert progress.shards == {"pending": 1, "done": 2, "failed": 1}
    assert progress.failures == {"BUG": 1}
    assert progress.frames_per_s == 200 / 50
    assert progress.seconds_left == 200 / 4.0


def test_the_slowest_shards_come_first(tmp_path: Path) -> None:
    progress = progress_of(make_run(tmp_path), now=NOW)
    assert [(shard.shard_id, shard.frames_per_s) for shard in progress.slowest] == [("p2-0000", 2.5), ("p1-0000", 10.0)]


def test_workers_are_told_by_what_they_recorded_and_when(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    states = {state.worker: state for state in progress_of(run, now=NOW).workers}
    assert (states["box:a"].num_done, states["box:a"].num_failed, states["box:a"].last_seen_s) == (2, 0, 550.0)
    assert (states["box:b"].num_done, states["box:b"].num_failed) == (0, 1)
    assert not any(state.quiet for state in states.values()), "nobody works on it"
    with run.lock():
        assert all(state.quiet for state in progress_of(run, now=NOW).workers)
        soon = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        assert {state.worker for state in progress_of(run, now=soon).workers if state.quiet} == {"box:b"}


@settings(max_examples=25)
@given(
    clocks=st.lists(st.tuples(st.integers(0, 3599), st.integers(0, 3599)), min_size=3, max_size=3),
    now=st.datetimes(datetime(2025, 12, 31), datetime(2026, 1, 2), timezones=st.just(UTC)),
)
def test_a_clock_that_jumps_makes_no_nonsense(clocks: list[tuple[int, int]], now: datetime) -> None:
    """The system's time is set back or on between attempts, and between start and end of one."""
    with TemporaryDirectory() as folder:
        run = RunFolder.create(
            Path(folder) / "run", plan_of([pair_row(n, song_end_s=4) for n in range(1, 4)]), SETTINGS
        )
        failed, done, again = clocks
        shard, other, _ = run.plan.shards
        run.record(attempt(shard, 1, "INFRA", worker="box:a", **times(*failed)))
        run.record(attempt(shard, 2, worker="box:a", **times(*done)))
        run.record(attempt(other, 1, worker="box:b", **times(*again)))
        progress = progress_of(run, now=now)
    assert progress.shards == {"done": 2, "pending": 1}, "numbers decide, not times"
    assert progress.frames_per_s is None or progress.frames_per_s > 0
    assert progress.seconds_left is None or progress.seconds_left > 0
    assert all(shard.seconds > 0 for shard in progress.slowest)
    assert all(worker.last_seen_s >= 0 for worker in progress.workers)
