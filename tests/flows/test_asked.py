"""What people ask for as they reject a take is done, for each pair its own, in one pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from singalong.heritage import read_pass
from singalong.reviews import Decision, Ruling, record_decision
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.reprocess import plan_pass
from tasks.selection import Wanted
from tests.flows.test_reprocess import attempted, inodes, table


def reject(run: Path, pair_id: str, *settings: str, reason: str = "") -> None:
    told = {"reviewer": "ann", "decided_at": "2026-01-01T00:00:00.000+00:00", "ruling": Ruling.REJECT}
    record_decision(run, Decision(pair_id=pair_id, settings=settings, reason=reason, **told))


@pytest.fixture
def judged(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be judged."""
    return Path(shutil.copytree(finished, tmp_path / "judged"))


def keys(run: Path, pair_id: str) -> list[str]:
    return [shard.work_key for shard in RunFolder.open(run).plan.shards if shard.pair_id == pair_id]


def test_each_rejected_pair_is_made_with_what_was_asked_for_it_and_the_others_are_left_alone(
    judged: Path, call: Any
) -> None:
    reject(judged, "part1", "lipsync.mask=box", "lipsync.feather=0", reason="seam")
    reject(judged, "part2", "lipsync.generator=untrained")
    code, told = call("reprocess", judged, "--rejected", "--set", "lipsync.mask=lower_face", "--set", "lipsync.crf=21")
    assert code == 0, told
    child = Path(told["run"])
    assert inodes(child, "outputs/whole_song.mp4") == inodes(judged, "outputs/whole_song.mp4")
    assert {shard.rsplit("-", 1)[0] for shard in attempted(child)} == {"part1", "part2"}
    rows = table(child, "pairs")
    assert (rows["part1"]["generator"] == "untrained", rows["part2"]["generator"]) == (False, "untrained")
    assert list(rows["part1"]["asked_settings"]) == ["lipsync.mask=box", "lipsync.feather=0"]
    assert (rows["part1"]["asked_by"], rows["part1"]["asked_reason"]) == ("ann", "seam")
    assert rows["part1"]["confidence_before"] == pytest.approx(table(judged, "pairs")["part1"]["sync_confidence"])
    assert list(rows["whole_song"]["asked_settings"]) == []
    page = (child / "index.html").read_text()
    assert "lipsync.mask=box" in page
    store = Store(RunFolder.open(child).settings.store_path)
    films = {name: (child / "outputs" / f"{name}.mp4").read_bytes() for name in ("part1", "part2")}
    assert films["part1"] != (judged / "outputs" / "part1.mp4").read_bytes()
    # the very work that a pass with these settings for all would have made, and would take for its own
    for pair_id, settings in (
        ("part1", ("lipsync.mask=box", "lipsync.feather=0", "lipsync.crf=21")),
        ("part2", ("lipsync.generator=untrained", "lipsync.crf=21")),
    ):
        options = [word for one in settings for word in ("--set", one)]
        _, plan = call("reprocess", judged, "--where", f"pair_id = '{pair_id}'", "--dry-run", *options)
        assert (len(plan["pairs"]), plan["shards"]) == (1, 0)
        assert all(store.find(key) is not None for key in keys(child, pair_id))


def test_the_face_and_the_part_of_the_song_that_were_asked_for_are_taken_and_stay_in_later_passes(
    judged: Path, call: Any
) -> None:
    reject(judged, "part2", "song_start_s=0.5", "song_end_s=2.5", "face=index:0", "analysis.min_face_px=20")
    code, told = call("reprocess", judged, "--rejected")
    assert code == 0, told
    child = RunFolder.open(Path(told["run"]))
    pair = next(pair for pair in child.plan.pairs if pair.pair_id == "part2")
    assert (pair.song_start_s, pair.song_end_s, pair.face) == (0.5, 2.5, "index:0")
    assert pair.overrides == ("analysis.min_face_px=20",)
    made = keys(child.path, "part2")

    reject(child.path, "part2", "lipsync.feather=0.3")
    planned = plan_pass(child, Store(child.settings.store_path), Wanted(rejected=True), overrides=[])
    assert planned is not None
    pair = next(pair for pair in planned.plan.pairs if pair.pair_id == "part2")
    assert (pair.song_start_s, pair.face) == (0.5, "index:0")
    assert pair.overrides == ("analysis.min_face_px=20", "lipsync.feather=0.3")
    assert not {shard.work_key for shard in planned.plan.shards if shard.pair_id == "part2"} & set(made)
    row = next(row for row in planned.manifest if row.pair_id == "part2")
    assert (row.song_start_s, row.overrides) == (0.5, pair.overrides)
    assert "song_start_s=0.5" in table(child.path, "pairs")["part2"]["asked_settings"]


def test_what_would_only_come_out_as_it_is_is_not_made_but_told(judged: Path, call: Any) -> None:
    reject(judged, "part1")
    reject(judged, "part2", "lipsync.mask=lower_face")  # as it was
    code, told = call("reprocess", judged, "--rejected")
    assert (code, told["pairs"], sorted(told["refused"])) == (0, [], ["part1", "part2"])
    assert all("just as it is" in why and "--set" in why for why in told["refused"].values())
    assert not judged.with_name("judged.2").exists()
    reject(judged, "whole_song", "lipsync.mask=box")
    _, told = call("reprocess", judged, "--rejected", "--dry-run")
    assert ([pair["pair_id"] for pair in told["pairs"]], len(told["refused"])) == (["whole_song"], 2)
    _, told = call("reprocess", judged, "--rejected", "--dry-run", "--set", "lipsync.feather=0.2")
    assert (len(told["pairs"]), told["refused"]) == (3, {})


def test_what_cannot_be_done_any_more_is_told_and_the_rest_is_made(judged: Path, call: Any) -> None:
    reject(judged, "part1", "song_start_s=5000")
    reject(judged, "part2", "score.min_windows=3")
    reject(judged, "whole_song", "lipsync.mask=box")
    code, told = call("reprocess", judged, "--rejected", "--dry-run")
    assert code == 0
    assert [pair["pair_id"] for pair in told["pairs"]] == ["whole_song"]
    assert "5000" in told["refused"]["part1"]
    assert "ann asked" in told["refused"]["part2"]
    assert "--set score.min_windows=3" in told["refused"]["part2"]


def test_decisions_made_after_a_pass_get_a_pass_of_their_own(judged: Path, call: Any) -> None:
    reject(judged, "part1", "lipsync.crf=35")
    _, told = call("reprocess", judged, "--rejected")
    first = Path(told["run"])
    assert call("reprocess", judged, "--rejected")[1]["run"] == str(first), "the same decisions: the same pass"
    reject(judged, "part2", "lipsync.crf=35")
    _, told = call("reprocess", judged, "--rejected")
    assert Path(told["run"]) == judged.with_name("judged.3")
    order = read_pass(Path(told["run"]))
    assert order is not None
    assert [one.pair_id for one in order.asked] == ["part1", "part2"]
    assert not any(shard.startswith("part1") for shard in attempted(Path(told["run"]))), "made once is enough"
