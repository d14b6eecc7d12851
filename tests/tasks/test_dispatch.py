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
        self.submitted: list[str] = []
        self.refreshed: list[str] = []
        self.most_running = 0

    def free_slots(self) -> int:
        return self.slots - len(self.running)

    def choose(self, jobs: Iterable[Job]) -> int | None:
        return 0 if self.free_slots() else None

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
        assert self.free_slots() > 0
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

    def started(self, item: Item) -> None:
        self.events.append(("started", item.item_id))
        self.attempts[item.item_id] += 1

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        self.events.append(("ended", item.item_id))
        if final:
            assert item.item_id not in self.final
            self.final[item.item_id] = outcome


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

    def choose(self, jobs: Iterable[Job]) -> int | None:
        return len(list(jobs)) - 1 if self.free_slots() else None


def test_a_pool_may_choose_among_what_is_next_in_line() -> None:
    pool = PickyPool({}, slots=1)
    names = [f"{number:03}" for number in range(LOOK_AHEAD + 1)]
    assert run(pool, names).final.keys() == set(names)
    assert pool.submitted[0] == names[LOOK_AHEAD - 1]
