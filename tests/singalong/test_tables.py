"""Records survive the way to a table and back, whatever they hold."""

from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.contracts import AttemptRow, Fit, PairPlan, PairRow, Plan, Rate, Row, ShardResult, SongFacts, Status
from singalong.plan_table import plan_from_table, plan_to_table
from singalong.tables import from_table, schema_of, to_table
from tests.singalong.builders import attempt, clip_facts, pair_row, plan_of, song_facts

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)


class Inner(Row):
    key: str
    note: str | None = None
    seconds: dict[str, float]


class Outer(Row):
    name: str
    rate: Rate
    fit: Fit
    words: tuple[str, ...] = ()
    maybe: float | None = None
    inner: Inner | None = None
    sure: Inner


inners = st.builds(Inner, key=texts, note=st.none() | texts, seconds=st.dictionaries(texts, floats, max_size=3))


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.builds(
            Outer,
            name=texts,
            rate=st.fractions(min_value=1, max_value=200, max_denominator=2000),
            fit=st.sampled_from(list(Fit)),
            words=st.lists(texts, max_size=3).map(tuple),
            maybe=st.none() | floats,
            inner=st.none() | inners,
            sure=inners,
        ),
        max_size=4,
    )
)
def test_any_record_comes_back_as_it_was(rows: list[Outer]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(Outer, rows), sink)
    assert from_table(Outer, pq.read_table(pa.BufferReader(sink.getvalue()))) == rows


def test_nested_records_are_flattened_under_a_prefix() -> None:
    assert schema_of(Outer).names == [
        *("name", "rate", "fit", "words", "maybe", "inner_key", "inner_note", "inner_seconds"),
        *("sure_key", "sure_note", "sure_seconds"),
    ]


def test_a_column_that_an_older_file_lacks_takes_the_default() -> None:
    table = to_table(PairRow, [pair_row(priority=3)]).drop_columns(["fit", "rights", "tags"])
    assert from_table(PairRow, table) == [pair_row(priority=3)]


def test_attempts_come_back_as_they_were() -> None:
    shard = plan_of([pair_row()]).shards[0]
    rows = [attempt(shard), attempt(shard, 2, "INFRA", final=False), attempt(shard, 3, reused=True)]
    assert from_table(AttemptRow, to_table(AttemptRow, rows)) == rows


def test_an_empty_list_of_records_is_a_table_with_all_columns() -> None:
    table = to_table(ShardResult, [])
    assert table.num_rows == 0
    assert table.schema.field("score_confidence").type == pa.float64()
    assert from_table(ShardResult, table) == []


def plan_with_everything() -> Plan:
    rows = [
        pair_row(1, tags={"b": "2", "a": "é"}, rights="mine", song_end_s=0.1 + 0.2),
        pair_row(2, montage="film", position=1.5, priority=3, face="index:1"),
        pair_row(3, clip_end_s=99.0),
        pair_row(4, clip="/clips/n.mp4", fit=Fit.LOOP, vocals="/songs/v.wav"),
    ]
    clips = {"/clips/n.mp4": clip_facts("/clips/n.mp4", fps=Fraction(30000, 1001))}
    songs: dict[str, SongFacts] = {"/songs/v.wav": song_facts("/songs/v.wav")}
    return plan_of(rows, clips=clips, songs=songs, parent_run_id="run-0")


def test_a_plan_comes_back_exactly(tmp_path: Path) -> None:
    for plan in (plan_with_everything(), plan_of([pair_row(1, clip_end_s=99.0)]), plan_of([])):
        pq.write_table(plan_to_table(plan), tmp_path / "plan.parquet")
        assert plan_from_table(pq.read_table(tmp_path / "plan.parquet")) == plan


def test_a_plan_table_has_one_row_a_shard_with_its_pairs_columns() -> None:
    plan = plan_with_everything()
    table = plan_to_table(plan)
    assert table.num_rows == len(plan.shards)
    pair = next(pair for pair in plan.pairs if pair.pair_id == plan.shards[-1].pair_id)
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    assert {"clip": last["clip"], "fps": last["fps"], "generator_name": last["generator_name"]} == {
        "clip": pair.clip,
        "fps": f"{pair.fps.numerator}/{pair.fps.denominator}",
        "generator_name": "g",
    }
    assert set(schema_of(PairPlan).names) <= set(table.column_names)


def test_statuses_are_stored_by_value() -> None:
    class Stated(Row):
        status: Status

    assert to_table(Stated, [Stated(status=Status.DONE)])["status"].to_pylist() == ["done"]
