"""The dispatcher's policies, on a pool that answers as told."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

import pytest

from singalong.contracts import Failure
from singalong.errors import ErrorClass
from tasks.dispatch import FREE_NODE_LOSSES, LOOK_AHEAD, POLICIES, Item, TooManyBugsError, dispatch
from tasks.jobs import Job, Outcome, SongJob


class ScriptedPool:
    """Answers each item's attempts with the given failure classes in turn, then with success."""

    def __init__(self, script: dict[str, list[ErrorClass]], slots: int = 2) -> None:
        self.script = {name: deque(classes) for name, classes in script.items()}
        self.slots = slots
        self.running: deque[str] = deque()
        self.num_chosen = 0
        self.submitted: list[str] = []
        self.refreshed: list[str] = []
        self.most_running = 0

    def free_slots(self) -> int:
        return self.slots - len(self.running) - self.num_chosen

    def choose(self, jobs: Iterable[Job]) -> int | None:
        place = self.place_of(list(jobs)) if self.free_slots() else None
        self.num_chosen += place is not None
        return place

    def place_of(self, jobs: list[Job]) -> int:
        return 0

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
        assert self.num_chosen > 0
        self.num_chosen -= 1
        self.running.append(job_id)
        self.submitted.append(job_id)
        self.most_running = max(self.most_running, len(self.running))

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
        if not self.running:
            return []
        job_id = self.running.popleft()
        answers = self.script.get(job_id)
        if answers:
            return [(job_id, Outcome(failure=Failure(error_class=answers.popleft(), message="told to fail")))]
        return [(job_id, Outcome(folder="done"))]

    def refresh(self, job_id: str) -> None:
        self.refreshed.append(job_id)

    def close(self) -> None:
        pass


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.final: dict[str, Outcome] = {}
        self.attempts: defaultdict[str, int] = defaultdict(int)
        self.waiting: list[str] = []
        self.commits: list[list[str]] = []

    def started(self, item: Item) -> None:
        self.events.append(("started", item.item_id))
        self.waiting.append(item.item_id)
        self.attempts[item.item_id] += 1

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        self.events.append(("ended", item.item_id))
        self.waiting.append(f"-{item.item_id}")
        if final:
            assert item.item_id not in self.final
            self.final[item.item_id] = outcome

    def commit(self) -> None:
        if self.waiting:
            self.commits.append(self.waiting)
            self.waiting = []


def items(names: Iterable[str]) -> list[Item]:
    return [Item(name, SongJob(path=name, sha256="0" * 64)) for name in names]


def run(pool: ScriptedPool, names: Iterable[str], bug_limit: int = 5) -> Log:
    log = Log()
    dispatch(items(names), pool, log, timeout_s=60, bug_limit=bug_limit)
    return log


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    for error_class, policy in list(POLICIES.items()):
        monkeypatch.setitem(POLICIES, error_class, replace(policy, backoff_s=0.0))


@pytest.mark.parametrize(
    ("error_class", "tries"),
    [
        (ErrorClass.INPUT, 1),
        (ErrorClass.BUG, 1),
        (ErrorClass.TIMEOUT, 2),
        (ErrorClass.INFRA, 3),
        (ErrorClass.RESOURCE, 3),
        (ErrorClass.TRANSIENT_IO, 4),
    ],
)
def test_a_failure_that_does_not_pass_is_tried_as_often_as_its_class_says(error_class: ErrorClass, tries: int) -> None:
    log = run(ScriptedPool({"a": [error_class] * 10}), ["a"])
    assert log.attempts["a"] == tries
    assert log.final["a"].failure is not None
    assert log.final["a"].failure.error_class is error_class


def test_a_failure_that_passes_ends_in_success() -> None:
    log = run(ScriptedPool({"a": [ErrorClass.TRANSIENT_IO, ErrorClass.INFRA]}), ["a"])
    assert log.attempts["a"] == 3
    assert log.final["a"].ok


def test_one_bad_item_does_not_stop_the_others() -> None:
    log = run(ScriptedPool({"b": [ErrorClass.INPUT]}), ["a", "b", "c"])
    assert {name: outcome.ok for name, outcome in log.final.items()} == {"a": True, "b": False, "c": True}


def test_every_start_is_journalled_before_its_end_and_slots_are_never_exceeded() -> None:
    pool = ScriptedPool({"a": [ErrorClass.INFRA], "c": [ErrorClass.TIMEOUT]}, slots=2)
    log = run(pool, "abcdef")
    open_items: set[str] = set()
    for event, name in log.events:
        if event == "started":
            assert name not in open_items
            open_items.add(name)
        else:
            open_items.remove(name)
    assert not open_items
    assert pool.most_running == 2


def test_items_start_in_the_order_given() -> None:
    pool = ScriptedPool({}, slots=1)
    run(pool, "abcd")
    assert pool.submitted == list("abcd")


def test_out_of_memory_is_tried_on_a_fresh_worker() -> None:
    pool = ScriptedPool({"a": [ErrorClass.RESOURCE]})
    assert run(pool, ["a"]).final["a"].ok
    assert pool.refreshed == ["a"]


def test_a_burst_of_bugs_stops_the_run() -> None:
    pool = ScriptedPool({name: [ErrorClass.BUG] for name in "abcdef"}, slots=1)
    with pytest.raises(TooManyBugsError, match="told to fail"):
        run(pool, "abcdef", bug_limit=3)
    assert pool.submitted == list("abc")


class LosingPool(ScriptedPool):
    """Loses the node of each attempt's worker so often, then answers as told."""

    def __init__(self, losses: int, script: dict[str, list[ErrorClass]]) -> None:
        super().__init__(script, slots=1)
        self.losses = losses

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
        if not self.running or not self.losses:
            return super().wait(timeout_s)
        self.losses -= 1
        failure = Failure(error_class=ErrorClass.INFRA, message="the node was lost")
        return [(self.running.popleft(), Outcome(failure=failure, node_lost=True))]


def test_a_lost_node_is_not_held_against_what_was_done_there() -> None:
    log = run(LosingPool(FREE_NODE_LOSSES, {"a": [ErrorClass.INFRA] * 2}), ["a"])
    assert log.final["a"].ok
    assert log.attempts["a"] == FREE_NODE_LOSSES + 3


def test_what_loses_every_node_it_is_done_on_is_given_up() -> None:
    log = run(LosingPool(1000, {}), ["a"])
    assert log.final["a"].failure is not None
    assert log.attempts["a"] == FREE_NODE_LOSSES + 3


class LatePool(ScriptedPool):
    """Has no worker until it was waited for some times."""

    def __init__(self) -> None:
        super().__init__({}, slots=0)
        self.waits = 0

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
        self.waits += 1
        self.slots = int(self.waits > 3)
        return super().wait(timeout_s)


def test_items_wait_for_workers_and_are_not_journalled_before() -> None:
    pool, log = LatePool(), Log()
    dispatch(items("ab"), pool, log, timeout_s=60, bug_limit=5)
    assert pool.waits > 3
    assert [event for event, _ in log.events] == ["started", "ended"] * 2


class PickyPool(ScriptedPool):
    """Takes the last of the jobs it is shown."""

    def place_of(self, jobs: list[Job]) -> int:
        return len(jobs) - 1


def test_a_pool_may_choose_among_what_is_next_in_line() -> None:
    pool = PickyPool({}, slots=1)
    names = [f"{number:03}" for number in range(LOOK_AHEAD + 1)]
    assert run(pool, names).final.keys() == set(names)
    assert pool.submitted[0] == names[LOOK_AHEAD - 1]


def test_what_ends_and_starts_at_once_is_committed_together_and_before_it_starts() -> None:
    class Strict(ScriptedPool):
        def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
            assert not log.waiting, "an item starts that is not journalled yet"
            super().submit(job_id, job, timeout_s=timeout_s)

        def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
            return [answer for _ in range(len(self.running)) for answer in super(Strict, self).wait(timeout_s)]

    log = Log()
    dispatch(items("abcdef"), Strict({}, slots=3), log, timeout_s=60, bug_limit=5)
    assert log.commits == [["a", "b", "c"], ["-a", "-b", "-c", "d", "e", "f"], ["-d", "-e", "-f"]]


def test_what_ended_is_committed_when_the_run_is_interrupted() -> None:
    class Interrupted(ScriptedPool):
        def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
            if len(self.submitted) > 2:
                raise KeyboardInterrupt
            return super().wait(timeout_s)

    log = Log()
    with pytest.raises(KeyboardInterrupt):
        dispatch(items("abcd"), Interrupted({}, slots=1), log, timeout_s=60, bug_limit=5)
    assert not log.waiting
    assert log.commits[-1] == ["-b", "c"]
