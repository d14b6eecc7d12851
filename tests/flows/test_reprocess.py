"""Making part of a run again: nothing else is touched, the best take stands, the rest is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import singalong
from singalong.attempts import AttemptLog
from singalong.reviews import Decision, Ruling, read_decisions, record_decision
from singalong.runfolder import RunFolder
from tests.flows.conftest import SETTINGS


def inodes(run: Path, *names: str) -> list[int]:
    return [(run / name).stat().st_ino for name in names]


def table(run: Path, name: Any) -> dict[str, dict[str, Any]]:
    rows: list[dict[str, Any]] = singalong.load_report(run, name).to_dict("records")
    return {row["pair_id"] + (f" {row['take']}" if name == "takes" else ""): row for row in rows}


def attempted(run: Path) -> set[str]:
    """Shards that were worked on in this run."""
    return {row.shard_id for row in AttemptLog(run / "attempts").read().rows if row.worker}


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(finished: Path, call: Any) -> None:
    code, told = call("reprocess", finished, "--where", "pair_id = 'part1'", "--dry-run", "--set", "lipsync.crf=30")
    assert (code, [pair["pair_id"] for pair in told["pairs"]], told["montages"]) == (0, ["part1"], ["demo"])
    assert told["frames"] == next(p for p in RunFolder.open(finished).plan.pairs if p.pair_id == "part1").num_frames
    assert not Path(told["run"]).exists()


def test_a_pass_makes_what_was_chosen_and_takes_over_the_rest(finished: Path, call: Any, tmp_path: Path) -> None:
    child = tmp_path / "child"
    asked = ("reprocess", finished, "--run", child, "--where", "pair_id = 'part1'", "--set", "lipsync.crf=40")
    code, told = call(*asked)
    assert (code, told["num_pairs"]) == (0, 1)
    assert attempted(child) == {
        shard.shard_id for shard in RunFolder.open(child).plan.shards if shard.pair_id == "part1"
    }
    untouched = ("outputs/part2.mp4", "outputs/whole_song.mp4")
    assert inodes(child, *untouched) == inodes(finished, *untouched)
    pairs, takes = table(child, "pairs"), table(child, "takes")
    assert set(pairs) == {"part1", "part2", "whole_song"}
    assert {row["status"] for row in pairs.values()} == {"done"}
    assert (pairs["part1"]["num_takes"], pairs["part2"]["num_takes"]) == (2, 1)
    assert set(takes) == {"part1 1", "part1 2"}
    stands = max(takes.values(), key=lambda row: (row["verdict"] == "pass", row["sync_confidence"], row["take"]))
    assert stands["stands"]
    assert pairs["part1"]["take_run_id"] == stands["take_run_id"]
    assert pairs["part1"]["sync_confidence"] == pytest.approx(stands["sync_confidence"])
    assert RunFolder.open(child).plan.parent_run_id == RunFolder.open(finished).run_id

    before = inodes(child, "outputs/part1.mp4", "montages/demo.mp4", "report.parquet")
    assert call(*asked)[0] == 0, "the same pass again"
    assert inodes(child, "outputs/part1.mp4", "montages/demo.mp4", "report.parquet") == before


def test_a_worse_take_is_listed_and_the_earlier_one_stays_in_the_films(
    finished: Path, call: Any, tmp_path: Path
) -> None:
    child = tmp_path / "worse"
    untrained = ("--set", "lipsync.generator=untrained")
    code, _ = call("reprocess", finished, "--run", child, "--where", "pair_id = 'part1'", *untrained)
    assert code == 0
    takes = table(child, "takes")
    assert (takes["part1 1"]["stands"], takes["part1 2"]["stands"]) == (True, False)
    assert takes["part1 2"]["generator"] == "untrained"
    assert takes["part1 1"]["sync_confidence"] > takes["part1 2"]["sync_confidence"]
    films = ("outputs/part1.mp4", "montages/demo.mp4")
    assert inodes(child, *films) == inodes(finished, *films), "the best take is the one there was"
    assert table(child, "pairs")["part1"]["generator"] != "untrained"


def test_what_a_person_rejected_gives_way_even_to_a_lower_score(finished: Path, call: Any, tmp_path: Path) -> None:
    parent = tmp_path / "judged"
    shutil.copytree(finished, parent)
    decision = {"pair_id": "part1", "reviewer": "ann", "decided_at": "2026-01-01T00:00:00.000+00:00"}
    record_decision(parent, Decision(**decision, ruling=Ruling.REJECT))
    record_decision(parent, Decision(**decision | {"pair_id": "part2"}, ruling=Ruling.ACCEPT))
    code, told = call("reprocess", parent, "--rejected", "--set", "lipsync.generator=untrained")
    assert code == 0
    child = Path(told["run"])
    assert child == parent.with_name("judged.2")
    takes = table(child, "takes")
    assert takes["part1 1"]["rejected"]
    assert takes["part1 2"]["stands"]
    pairs = table(child, "pairs")
    assert pairs["part1"]["generator"] == "untrained"
    assert pairs["part1"]["confidence_before"] == pytest.approx(takes["part1 1"]["sync_confidence"])
    assert (pairs["part2"]["review_ruling"], pairs["part2"]["reviewer"]) == ("accept", "ann"), "it is the same film"
    assert set(read_decisions(child)) == {"part2"}

    code, told = call("reprocess", child, "--where", "pair_id = 'part1'", "--set", "lipsync.generator=auto")
    assert code == 0
    grandchild = table(Path(told["run"]), "takes")
    assert [row["rejected"] for row in grandchild.values()] == [True, False, False]
    assert grandchild["part1 3"]["stands"], "found in the store again, and wanted now"
    assert attempted(Path(told["run"])) == set()


def test_what_failed_is_done_once_its_input_is_mended(demo_inputs: Path, call: Any, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(demo_inputs, inputs)
    clips = sorted(inputs.glob("clip*.mp4"))
    good = clips[1].read_bytes()
    clips[1].write_bytes(b"not a video")
    run = tmp_path / "run"
    code, told = call("run", inputs / "manifest.csv", "--run", run, *SETTINGS)
    assert (code, len(told["films"])) == (1, 2)
    assert call("reprocess", run, "--below", "-100") == (0, {"pairs": []})

    clips[1].write_bytes(good)
    code, told = call("reprocess", run, "--failed")
    assert (code, told["failures"]) == (0, [])
    child = Path(told["run"])
    assert {row["status"] for row in table(child, "pairs").values()} == {"done"}
    assert singalong.load_report(child, "montages")["missing"].map(len).tolist() == [0]
    assert inodes(child, "outputs/part1.mp4") == inodes(run, "outputs/part1.mp4")


def test_what_was_not_chosen_keeps_its_failure_and_does_not_fail_the_pass(
    demo_inputs: Path, call: Any, tmp_path: Path
) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(demo_inputs, inputs)
    with (inputs / "manifest.csv").open("a") as manifest:
        manifest.write("faceless,blank.png,song.wav,vocals.wav,,\n")
    cv2.imwrite(str(inputs / "blank.png"), np.full((240, 320, 3), 90, np.uint8))
    run = tmp_path / "run"
    assert call("run", inputs / "manifest.csv", "--run", run, *SETTINGS)[0] == 1
    code, told = call("reprocess", run, "--where", "pair_id = 'part1'", "--set", "lipsync.crf=40")
    assert (code, told["failures"]) == (0, [])
    row = table(Path(told["run"]), "pairs")["faceless"]
    assert (row["status"], row["error_class"]) == ("quarantined", "INPUT")
    assert "face" in row["error_message"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "--failed"),
        (("--where", "nonsense < 3"), "sync_confidence"),
        (("--failed", "--set", "lipsync.crv=3"), "lipsync.crf"),
    ],
)
def test_wrong_use_is_explained(finished: Path, call: Any, options: tuple[str, ...], expected: str) -> None:
    code, message = call("reprocess", finished, *options)
    assert code == 2
    assert expected in message


def test_the_folder_of_another_run_is_refused(finished: Path, call: Any) -> None:
    code, message = call("reprocess", finished, "--below", "100", "--run", finished)
    assert code == 2
    assert "another run" in message


def test_two_runs_side_by_side_show_what_changed(finished: Path, call: Any, tmp_path: Path) -> None:
    parent = tmp_path / "first"
    shutil.copytree(finished, parent)
    decision = {"pair_id": "part1", "reviewer": "ann", "decided_at": "2026-01-01T00:00:00.000+00:00"}
    record_decision(parent, Decision(**decision, ruling=Ruling.REJECT))
    _, told = call("reprocess", parent, "--rejected", "--set", "lipsync.generator=untrained")
    code, compared = call("report", parent, told["run"])
    assert code == 0
    changes = {pair["pair_id"]: pair["change"] for pair in compared["pairs"]}
    assert changes == {"part1": "worse", "part2": "same", "whole_song": "same"}
    assert compared["pairs"][0]["pair_id"] == "part1"
    assert compared["pairs"][0]["confidence_change"] < 0
    assert [run["num_done"] for run in compared["runs"]] == [3, 3]
