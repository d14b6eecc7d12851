"""The speaker and a person like one in a picture: what a plan checks of them, and their work keys."""

from __future__ import annotations

import pytest

from singalong import work_keys
from singalong.contracts import ClipFacts, ModelRef, Plan
from singalong.errors import MediaError
from tests.singalong.builders import clip_facts, model, pair_row, plan_of, sha, still_facts


def keys(plan: Plan) -> list[str]:
    return [shard.work_key for shard in plan.shards]


def with_face(face: str, **pictures: str) -> list[str]:
    shown = {f"/{name}.png": still_facts(f"/{name}.png", sha256=sha(content)) for name, content in pictures.items()}
    return keys(plan_of([pair_row(face=face)], pictures=shown))


def test_work_keys_hang_on_what_a_picture_shows_and_not_on_its_path() -> None:
    ada = with_face("like:/a.png", a="ada")
    assert with_face("like:/b.png", b="ada") == ada
    assert not set(with_face("like:/a.png", a="ben")) & set(ada)


def test_another_way_of_finding_the_speaker_concerns_only_pairs_that_ask_for_the_speaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = with_face("speaker"), with_face("largest")
    assert before[0] != before[1]
    monkeypatch.setattr(work_keys, "SPEAKERS_VERSION", "next")
    after = with_face("speaker"), with_face("largest")
    assert not set(before[0]) & set(after[0])
    assert before[1] == after[1]


def test_another_way_of_reading_pictures_concerns_only_pairs_that_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = with_face("like:/a.png", a="ada"), with_face("index:1")
    monkeypatch.setattr(work_keys, "LIKENESS_VERSION", "next")
    after = with_face("like:/a.png", a="ada"), with_face("index:1")
    assert not set(before[0]) & set(after[0])
    assert before[1] == after[1]


@pytest.mark.parametrize(
    ("clip", "scorer", "words"),
    [
        (clip_facts(has_audio=False), model("expert"), "no sound"),
        (still_facts("/clips/a.mp4"), model("expert"), "still picture"),
        (clip_facts(), None, "no sync scorer"),
    ],
    ids=["no sound", "still", "no scorer"],
)
def test_a_speaker_who_cannot_be_told_is_a_problem_of_the_row_that_says_what_to_do(
    clip: ClipFacts, scorer: ModelRef | None, words: str
) -> None:
    rows = [pair_row(1, song_end_s=2.0, face="speaker"), pair_row(2, song_end_s=2.0)]
    plan = plan_of(rows, clips={"/clips/a.mp4": clip}, scorer=scorer)
    assert [pair.pair_id for pair in plan.pairs] == ["p2"]
    (problem,) = plan.problems
    assert problem.row == 1
    for part in ("/clips/a.mp4", "row 1", words, "index:N", "at:X,Y@T"):
        assert part in problem.error_message


def test_a_picture_that_cannot_be_read_is_a_problem_of_its_rows_alone() -> None:
    broken = MediaError("the picture cannot be decoded", file="/a.png")
    rows = [pair_row(1, face="like:/a.png"), pair_row(2)]
    plan = plan_of(rows, pictures={"/a.png": broken})
    assert [pair.pair_id for pair in plan.pairs] == ["p2"]
    assert [(problem.row, "/a.png" in problem.error_message) for problem in plan.problems] == [(1, True)]
