"""Planning: spans, montages laid end to end, shards that tile, work keys that differ exactly when they
must."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.config import Settings
from singalong.contracts import ClipFacts, Fit, PairPlan, PairRow, Plan
from singalong.errors import ErrorClass, InputError, MediaError
from singalong.plan import cut_into_shards, estimate_cost, plan_summary
from tests.singalong.builders import NTSC, clip_facts, model, pair_row, plan_of, sha, song_facts, still_facts


def pair_of(row: PairRow, **options: Any) -> PairPlan:
    plan = plan_of([row], **options)
    assert not plan.problems
    return plan.pairs[0]


def problem_of(row: PairRow, **options: Any) -> str:
    plan = plan_of([row], **options)
    assert not plan.pairs
    assert not plan.shards
    return plan.problems[0].error_message


def song_span(pair: PairPlan) -> tuple[float, float]:
    return pair.song_start_s, pair.song_end_s


# ---- spans of one pair


def test_by_default_the_whole_clip_sings_the_whole_song() -> None:
    pair = pair_of(pair_row())
    assert (pair.clip_start_s, pair.clip_end_s, *song_span(pair)) == (0.0, 8.0, 0.0, 30.0)
    assert pair.num_frames == 750


def test_given_spans_stand() -> None:
    pair = pair_of(pair_row(clip_start_s=1.5, clip_end_s=4, song_start_s=10, song_end_s=20.5))
    assert (pair.clip_start_s, pair.clip_end_s, *song_span(pair)) == (1.5, 4.0, 10.0, 20.5)
    assert pair.num_frames == round(Fraction(21, 2) * 25)


def test_frame_rate_and_size_are_the_clips() -> None:
    pair = pair_of(pair_row(song_end_s=10), clips={"/clips/a.mp4": clip_facts(fps=NTSC, width=360, height=480)})
    assert (pair.fps, pair.width, pair.height, pair.num_frames) == (NTSC, 360, 480, 300)


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"clip_end_s": 8.03}, "clip_end_s"),
        ({"clip_start_s": 8.0}, "clip_start_s"),
        ({"song_end_s": 30.03}, "song_end_s"),
        ({"song_start_s": 31.0}, "song_start_s"),
    ],
)
def test_a_span_beyond_its_medium_names_row_column_value_and_length(values: dict[str, float], column: str) -> None:
    message = problem_of(pair_row(7, **values))
    assert f"row 7, column {column}:" in message
    assert f"(saw {next(iter(values.values()))})" in message
    assert ("8.000 s long" if column.startswith("clip") else "30.000 s long") in message


def test_half_a_frame_beyond_the_end_is_cut_off() -> None:
    pair = pair_of(pair_row(clip_end_s=8.02, song_end_s=30.02))
    assert (pair.clip_end_s, pair.song_end_s) == (8.0, 30.0)


@pytest.mark.parametrize("values", [{"clip_start_s": 7.99}, {"song_start_s": 29.99}, {"song_end_s": 0.01}])
def test_a_span_without_a_single_frame_is_a_problem(values: dict[str, float]) -> None:
    assert "frame" in problem_of(pair_row(**values))


@pytest.mark.parametrize("fit", list(Fit))
def test_only_cut_ends_with_the_clip(fit: Fit) -> None:
    pair = pair_of(pair_row(fit=fit, clip_end_s=2, song_start_s=5))
    assert song_span(pair) == ((5.0, 7.0) if fit is Fit.CUT else (5.0, 30.0))


def test_cut_leaves_a_song_span_alone_that_is_shorter_than_the_clip() -> None:
    assert song_span(pair_of(pair_row(fit=Fit.CUT, song_end_s=3.3))) == (0.0, 3.3)


def test_a_still_stands_as_long_as_its_song_whatever_its_span() -> None:
    stills = {"/clips/still.png": still_facts()}
    for values in ({}, {"clip_start_s": 3.0, "clip_end_s": 5.0}):
        pair = pair_of(pair_row(clip="/clips/still.png", song_end_s=12, **values), clips=stills)
        assert (pair.clip_start_s, pair.clip_end_s, pair.num_frames) == (0.0, 12.0, 300)
    cut = pair_of(pair_row(clip="/clips/still.png", clip_end_s=2, fit=Fit.CUT), clips=stills)
    assert song_span(cut) == (0.0, 2.0)


# ---- vocals


def test_a_stem_drives_the_lips_and_the_song_is_kept_for_the_film() -> None:
    pair = pair_of(pair_row(vocals="/songs/v.wav"), songs={"/songs/v.wav": song_facts("/songs/v.wav")})
    assert (pair.voice, pair.voice_sha256) == ("/songs/v.wav", sha("/songs/v.wav"))
    assert (pair.song, pair.song_sha256) == ("/songs/s.wav", sha("/songs/s.wav"))
    for vocals in ("auto", "none"):
        assert pair_of(pair_row(vocals=vocals)).voice == "/songs/s.wav"


def test_the_voice_is_looked_for_in_a_mix_only() -> None:
    songs = {"/songs/v.wav": song_facts("/songs/v.wav")}
    found = {name: pair_of(pair_row(vocals=name), songs=songs).finds_voice for name in ("auto", "none", "/songs/v.wav")}
    assert found == {"auto": True, "none": False, "/songs/v.wav": False}


def test_a_stem_that_does_not_cover_the_span_is_a_problem() -> None:
    songs = {"/songs/v.wav": song_facts("/songs/v.wav", duration_s=20.0)}
    assert "column vocals: /songs/v.wav is 20.000 s long" in problem_of(pair_row(vocals="/songs/v.wav"), songs=songs)
    assert pair_of(pair_row(vocals="/songs/v.wav", song_end_s=20), songs=songs).num_frames == 500


def test_a_stem_a_few_samples_short_of_its_song_sets_the_end() -> None:
    songs = {"/songs/v.wav": song_facts("/songs/v.wav", duration_s=29.95)}
    assert song_span(pair_of(pair_row(vocals="/songs/v.wav"), songs=songs)) == (0.0, 29.95)


# ---- bad rows


def test_unreadable_media_are_problems_of_their_rows_and_the_others_go_on() -> None:
    rows = [pair_row(1), pair_row(2, clip="/clips/bad.mp4", montage="m", tags={"a": "b"}, rights="mine"), pair_row(3)]
    plan = plan_of(rows, clips={"/clips/bad.mp4": MediaError("no video stream", file="/clips/bad.mp4")})
    assert [pair.pair_id for pair in plan.pairs] == ["p1", "p3"]
    (problem,) = plan.problems
    assert (problem.pair_id, problem.row, problem.error_class) == ("p2", 2, ErrorClass.INPUT)
    assert (problem.montage, problem.tags, problem.rights) == ("m", {"a": "b"}, "mine")
    assert problem.error_message == "/clips/bad.mp4: no video stream"


def test_an_unknown_generator_is_a_problem_of_its_row() -> None:
    def generator_for(name: str | None) -> Any:
        if name == "lost":
            raise InputError("not installed", value=name)
        return model()

    plan = plan_of([pair_row(1, generator="lost"), pair_row(2)], generator_for=generator_for)
    assert [problem.row for problem in plan.problems] == [1]
    assert [pair.row for pair in plan.pairs] == [2]


# ---- shards


@given(num_frames=st.integers(1, 5000), shard_frames=st.integers(0, 700))
def test_shards_tile_the_pair_on_a_fixed_grid_and_none_is_too_short(num_frames: int, shard_frames: int) -> None:
    ranges = cut_into_shards(num_frames, shard_frames)
    assert [frame for start, end in ranges for frame in range(start, end)] == list(range(num_frames))
    size = max(shard_frames, 5)
    assert [start for start, _ in ranges] == [size * index for index in range(len(ranges))]
    assert all(end - start >= min(5, num_frames) for start, end in ranges)
    assert all(end - start < size + 5 for start, end in ranges)


def test_shards_are_done_by_priority_then_row() -> None:
    rows = [pair_row(1, song_end_s=25), pair_row(2, priority=5), pair_row(3, priority=-1), pair_row(4, priority=5)]
    plan = plan_of(rows)
    assert list(dict.fromkeys(shard.pair_id for shard in plan.shards)) == ["p2", "p4", "p1", "p3"]
    first = [shard for shard in plan.shards if shard.pair_id == "p1"]
    assert [(shard.shard_id, shard.start_frame, shard.end_frame) for shard in first] == [
        *[("p1-0000", 0, 250), ("p1-0001", 250, 500), ("p1-0002", 500, 625)],
    ]


# ---- work keys


def keys(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for shard in plan.shards:
        found.setdefault(shard.pair_id, []).append(shard.work_key)
    return found


BASE = {"clip_start_s": 1.0, "clip_end_s": 5.0, "song_start_s": 2.0, "song_end_s": 22.0}


@pytest.mark.parametrize(
    "change",
    [
        {"row": {"clip_start_s": 1.5}},
        {"row": {"clip_end_s": 5.5}},
        {"row": {"song_start_s": 1.999999}},
        {"row": {"song_end_s": 22.001}},
        {"row": {"fit": Fit.LOOP}},
        {"row": {"face": "index:1"}},
        {"row": {"generator": "other"}},
        {"row": {"vocals": "/songs/v.wav"}},
        {"row": {"vocals": "none"}},
        {"clip": {"sha256": sha("other bytes")}},
        {"clip": {"width": 320}},
        {"clip": {"fps": NTSC}},
        {"song": {"sha256": sha("other bytes")}},
        {"options": {"generator_for": lambda _: model("g", weights_sha256=sha("new"))}},
        {"options": {"generator_for": lambda _: model("g", architecture="other")}},
        {"options": {"detector": model("other")}},
        {"options": {"scorer": model("other")}},
        {"options": {"scorer": None}},
        {"options": {"enhancer": model("gfpgan")}},
        *[
            {"settings": section}
            for section in (
                {"lipsync": {"crf": 20}},
                {"lipsync": {"pads": (0, 20, 0, 0)}},
                {"lipsync": {"precision": "float32"}},
                {"lipsync": {"feather": 0.2}},
                {"lipsync": {"rest": False}},
                {"lipsync": {"match_color": False}},
                {"lipsync": {"keep_detail": False}},
                {"lipsync": {"preset": "slow"}},
                {"analysis": {"min_score": 0.6}},
                {"analysis": {"smooth_window": 1}},
                {"score": {"min_windows": 20}},
            )
        ],
    ],
)
def test_work_keys_change_with_everything_that_changes_pixels_or_scores(change: dict[str, Any]) -> None:
    before, after = keys(planned({})), keys(planned(change))
    assert not set(before["p1"]) & set(after["p1"])


@pytest.mark.parametrize(
    "change",
    [
        {"row": {"pair_id": "other"}},
        {"row": {"row": 9}},
        {"row": {"montage": "film", "position": 3.0}},
        {"row": {"tags": {"a": "b"}, "rights": "mine", "priority": 7}},
        {"clip": {"path": "/elsewhere/a.mp4", "sha256": sha("/clips/a.mp4"), "codec": "hevc", "warnings": ("late",)}},
        {"song": {"path": "/elsewhere/s.wav", "sha256": sha("/songs/s.wav")}},
        {"options": {"run_id": "other", "created_at": "later", "parent_run_id": "run-0"}},
        {"options": {"detector": model("renamed", weights_sha256=sha("centerface"))}},
        {"options": {"generator_for": lambda _: model("renamed", weights_sha256=sha("g"), path="/w", trained=False)}},
        *[
            {"settings": section}
            for section in (
                {"run": {"batch_size": 3, "num_actors": 7, "chunk_frames": 64, "executor": "inprocess"}},
                {"lipsync": {"generator": "g"}},
                {"lipsync": {"enhancer": "named otherwise", "enhancer_weight": 0.3}},
                {"analysis": {"detector": "s3fd"}},
                {"score": {"scorer": "expert"}},
                {"limits": {"max_duration_s": 100.0}},
                {"plan": {"still_fps": 30}},
            )
        ],
    ],
)
def test_work_keys_do_not_depend_on_names_paths_or_how_the_work_is_done(change: dict[str, Any]) -> None:
    before, after = keys(planned({})), keys(planned(change))
    assert list(before.values()) == list(after.values())


def planned(change: dict[str, Any]) -> Plan:
    return plan_of(
        [pair_row(**BASE | change.get("row", {}))],
        clips={"/clips/a.mp4": clip_facts(**change.get("clip", {}))},
        songs={
            "/songs/s.wav": song_facts(**change.get("song", {})),
            "/songs/v.wav": song_facts("/songs/v.wav"),
        },
        settings=Settings.model_validate(change.get("settings", {})),
        **change.get("options", {}),
    )


def test_the_song_behind_a_stem_matters_to_the_film_only() -> None:
    row, stem = pair_row(vocals="/songs/v.wav"), {"/songs/v.wav": song_facts("/songs/v.wav")}
    other = {"/songs/s.wav": song_facts(sha256=sha("remastered"))}
    assert keys(plan_of([row], songs=stem)) == keys(plan_of([row], songs=stem | other))


def test_work_keys_are_forty_hex_digits_and_differ_from_shard_to_shard() -> None:
    plan = plan_of([pair_row(**BASE)])
    assert len(set(keys(plan)["p1"])) == 2
    assert all(len(key) == 40 and set(key) <= set("0123456789abcdef") for key in keys(plan)["p1"])


def rows_strategy() -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries(
        {
            "clip": st.sampled_from(["/clips/a.mp4", "/clips/b.mp4"]),
            "song": st.sampled_from(["/songs/s.wav", "/songs/t.wav"]),
            "song_start_s": st.sampled_from([0.0, 1.25, 3.0]),
            "song_end_s": st.sampled_from([4.0, 17.5, 30.0]),
            "fit": st.sampled_from(list(Fit)),
            "priority": st.integers(0, 2),
            "montage": st.sampled_from([None, "film"]),
        }
    )
    return st.lists(row, min_size=1, max_size=6)


@settings(max_examples=60)
@given(rows=rows_strategy(), data=st.data())
def test_the_order_of_the_rows_does_not_matter_to_the_keys(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    one = plan_of([pair_row(n + 1, pair_id=f"x{n}", **rows[n]) for n in range(len(rows))])
    two = plan_of([pair_row(place + 1, pair_id=f"x{n}", **rows[n]) for place, n in enumerate(order)])
    assert keys(one) == keys(two)


@settings(max_examples=60)
@given(rows=rows_strategy(), data=st.data())
def test_editing_one_row_changes_its_keys_and_no_others(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    edited = data.draw(st.integers(0, len(rows) - 1))
    changed = [row | {"song_start_s": 2.5} if n == edited else row for n, row in enumerate(rows)]
    before = keys(plan_of([pair_row(n + 1, **row) for n, row in enumerate(rows)]))
    after = keys(plan_of([pair_row(n + 1, **row) for n, row in enumerate(changed)]))
    for pair_id, old in before.items():
        same = after[pair_id] == old
        assert same if pair_id != f"p{edited + 1}" else not set(after[pair_id]) & set(old)


@settings(max_examples=60)
@given(
    fps=st.fractions(min_value=1, max_value=120, max_denominator=1001),
    duration_s=st.floats(0.5, 60),
    values=st.fixed_dictionaries(
        {
            "fit": st.sampled_from(list(Fit)),
            "clip_end_s": st.none() | st.floats(0.01, 80),
            "song_start_s": st.none() | st.floats(0, 40),
            "song_end_s": st.none() | st.floats(0.01, 40),
            "montage": st.sampled_from([None, "film"]),
        }
    ),
)
def test_every_plan_counts_its_frames_by_the_one_rule(fps: Fraction, duration_s: float, values: dict[str, Any]) -> None:
    facts: ClipFacts = clip_facts(fps=fps, duration_s=duration_s)
    plan = plan_of([pair_row(**values), pair_row(2, **values)], clips={"/clips/a.mp4": facts})
    for pair in plan.pairs:
        assert pair.num_frames == round(Fraction(pair.song_end_s - pair.song_start_s) * pair.fps) >= 1
        assert 0 <= pair.song_start_s < pair.song_end_s <= 30 + 1e-9
        assert 0 <= pair.clip_start_s < pair.clip_end_s <= duration_s
        own = [shard for shard in plan.shards if shard.pair_id == pair.pair_id]
        assert sum(shard.num_frames for shard in own) == pair.num_frames
    assert len(plan.pairs) + len(plan.problems) == 2


# ---- cost


def test_cost_counts_work_shared_by_pairs_once_and_skips_what_is_finished() -> None:
    plan = plan_of([pair_row(1, song_end_s=20), pair_row(2, song_end_s=20), pair_row(3, song_end_s=10.0)])
    cost = estimate_cost(plan)
    assert (cost.num_pairs, cost.num_shards, cost.num_frames, cost.output_s) == (3, 5, 1250, 50.0)
    assert (cost.num_todo_shards, cost.num_todo_frames) == (3, 750)
    assert estimate_cost(plan, {plan.shards[0].work_key}).num_todo_frames == 500


def test_the_summary_is_ready_for_json_and_names_what_is_untrained() -> None:
    plan = plan_of(
        [pair_row(1, montage="film"), pair_row(2, clip_end_s=99)],
        generator_for=lambda _: model("seeded", trained=False),
    )
    summary = plan_summary(plan)
    assert summary["montages"] == {"film": 1}
    assert summary["untrained_generators"] == ["seeded"]
    assert summary["problems"][0]["row"] == 2


def test_pairs_know_their_place_in_the_manifest_for_messages() -> None:
    plan = plan_of([pair_row(1, place="people/b.csv row 1"), pair_row(2)])
    assert [pair.place for pair in plan.pairs] == ["people/b.csv row 1", None]
