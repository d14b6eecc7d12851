"""Decisions of people: the last one counts, and none is lost."""

from pathlib import Path

from singalong.reviews import Decision, read_decisions, record_decision


def decide(run: Path, pair_id: str, ruling: str, at: str) -> Path:
    values = {"pair_id": pair_id, "ruling": ruling, "reviewer": "ann", "decided_at": at, "reason": "wrong mouth"}
    return record_decision(run, Decision.model_validate(values))


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
