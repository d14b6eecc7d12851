"""Decisions of people: the last one counts, and none is lost."""

from pathlib import Path

import pytest

from singalong.reviews import Decision, DecisionLog, inherit_decisions, read_decisions, record_decision


def decision(pair_id: str, ruling: str, at: str, reviewer: str = "ann", **more: object) -> Decision:
    values = {"pair_id": pair_id, "ruling": ruling, "reviewer": reviewer, "decided_at": at, "reason": "wrong mouth"}
    return Decision.model_validate(values | more)


def decide(run: Path, pair_id: str, ruling: str, at: str, reviewer: str = "ann") -> Path:
    return record_decision(run, decision(pair_id, ruling, at, reviewer))


def test_the_last_decision_on_a_pair_counts(tmp_path: Path) -> None:
    decide(tmp_path, "a", "reject", "2026-01-01T00:00:02.000+00:00")
    decide(tmp_path, "a", "accept", "2026-01-01T00:00:01.000+00:00")
    decide(tmp_path, "b", "accept", "2026-01-01T00:00:01.000+00:00")
    found = read_decisions(tmp_path)
    assert {name: decision.ruling for name, decision in found.items()} == {"a": "reject", "b": "accept"}
    assert found["a"].reason == "wrong mouth"


def test_undo_takes_back_what_stood(tmp_path: Path) -> None:
    decide(tmp_path, "a", "reject", "2026-01-01T00:00:01.000+00:00")
    decide(tmp_path, "a", "undo", "2026-01-01T00:00:02.000+00:00")
    assert read_decisions(tmp_path) == {}


def test_a_damaged_file_hides_no_other(tmp_path: Path) -> None:
    path = decide(tmp_path, "a", "reject", "2026-01-01T00:00:01.000+00:00")
    path.with_name("x.parquet").write_bytes(b"PAR1 nonsense")
    assert list(read_decisions(tmp_path)) == ["a"]
    assert read_decisions(tmp_path / "nowhere") == {}


def test_an_undo_takes_back_ones_own_decision_and_leaves_what_others_said(tmp_path: Path) -> None:
    for second, (ruling, reviewer) in enumerate(
        [("reject", "ann"), ("accept", "bob"), ("reject", "bob"), ("accept", "ann"), ("undo", "bob"), ("undo", "ann")]
    ):
        decide(tmp_path, "a", ruling, f"2026-01-01T00:00:0{second}.000+00:00", reviewer)
    standing = read_decisions(tmp_path)["a"]
    assert (standing.ruling, standing.reviewer) == ("accept", "bob")
    for second in (6, 7):
        decide(tmp_path, "a", "undo", f"2026-01-01T00:00:0{second}.000+00:00", "cy")
    assert read_decisions(tmp_path) == {}
    assert [one.reviewer for one in DecisionLog(tmp_path).all()["a"]][-2:] == ["cy", "cy"], "nothing is ever lost"


def test_a_decision_under_a_name_that_was_written_is_not_written_again(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    assert log.record(decision("a", "accept", "2026-01-01T00:00:00.000+00:00"), name="x")
    assert not log.record(decision("a", "reject", "2026-01-01T00:00:01.000+00:00"), name="x")
    assert log.standing()["a"].ruling == "accept"


def test_files_that_were_read_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        decide(tmp_path, name, "reject", "2026-01-01T00:00:00.000+00:00")
    log = DecisionLog(tmp_path)
    assert (set(log.standing()), log.version()) == ({"a", "b"}, 2)
    (tmp_path / "reviews").rename(tmp_path / "aside")
    (tmp_path / "reviews").mkdir()
    decide(tmp_path, "c", "accept", "2026-01-01T00:00:00.000+00:00")
    assert set(log.standing()) == {"a", "b", "c"}


def test_a_run_inherits_what_was_decided_about_takes_it_did_not_make_again(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    for name in "abc":
        decide(parent, name, "accept", "2026-01-01T00:00:00.000+00:00")
    for _ in range(2):
        inherit_decisions(child, parent, "run-1", ["a", "b", "never judged"])
    assert set(read_decisions(child)) == {"a", "b"}
    decide(child, "a", "undo", "2026-01-02T00:00:00.000+00:00")
    assert set(read_decisions(child)) == {"b"}


def test_a_decision_is_about_the_film_that_was_judged() -> None:
    at = "2026-01-01T00:00:00.000+00:00"
    of_one, of_none, of_any = (decision("a", "reject", at, output_sha256=judged) for judged in ("one", "", None))
    assert [of_one.is_of(film) for film in ("one", "another", None)] == [True, False, False]
    assert [of_none.is_of(film) for film in ("made since", None)] == [False, True]
    assert [of_any.is_of(film) for film in ("one", None)] == [True, True]
