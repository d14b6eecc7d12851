"""Files of a newer singalong are refused in plain words and left alone; files of this one are read by the next.

`tests/fixtures/run-v1` is a run folder as this version writes it: three pairs, one of them of a clip that is no clip,
one accepted by a person. Whoever changes a schema makes it readable, and adds a folder of the new kind beside it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import singalong
from singalong.config import Settings, load_settings
from singalong.contracts import ErrorClass, Status
from singalong.errors import UsageError
from singalong.frames_table import NUM_OFFSETS, read_frames
from singalong.heritage import read_heritage, write_heritage
from singalong.newer import refuse_newer, version_in
from singalong.reviews import Ruling, read_decisions
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.takes import PASS_SCHEMA_VERSION, EarlierRun, Heritage, Pass
from tests.singalong.builders import attempt, pair_row, plan_of, sha

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-v1"
NEWER = r"newer singalong.*version 99.*Update singalong"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the run of version 1, which may be changed."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "run"))


def make_newer(path: Path, key: str) -> None:
    """Write a Parquet file again with another version."""
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), key.encode(): b"99"}), path)


# ---- what this version wrote


def test_the_run_of_version_1_is_small_and_holds_no_media() -> None:
    files = [path for path in FIXTURE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    assert {path.suffix for path in files} <= {".parquet", ".json", ".toml", ".started"}


def test_the_run_of_version_1_tells_where_its_shards_stand() -> None:
    run = RunFolder.open(FIXTURE)
    fold = run.fold()
    assert {status: count for status, count in fold.counts().items() if count} == {Status.DONE: 2}
    assert fold.damaged == ()
    assert [row.pair_id for row in run.manifest] == ["one", "two", "broken"]
    assert run.manifest[0].tags == {"scene": "first"}
    assert run.settings.plan.shard_s == 3
    assert run.heritage is None
    assert [pair.pair_id for pair in run.plan.pairs] == ["one", "two"]


def test_the_reports_of_version_1_load() -> None:
    shards, pairs, montages = (singalong.load_report(FIXTURE, table) for table in ("shards", "pairs", "montages"))
    assert list(pairs.pair_id) == ["one", "two", "broken"]
    assert set(shards.status) == {"done", "quarantined"}
    broken = pairs[pairs.pair_id == "broken"].iloc[0]
    assert broken.error_class == ErrorClass.INPUT
    assert "bad.mp4" in broken.error_message
    assert list(montages.montage) == ["film"]


def test_the_frames_of_version_1_score() -> None:
    tables = [read_frames(path) for path in sorted((FIXTURE / "frames").glob("*.parquet"))]
    assert sum(table.num_rows for table in tables) == 44
    rows = tables[0]["distances"].chunk(0).flatten()
    assert rows.type.list_size == NUM_OFFSETS


def test_the_decisions_of_version_1_count() -> None:
    assert {pair: decision.ruling for pair, decision in read_decisions(FIXTURE).items()} == {"one": Ruling.ACCEPT}


def test_a_run_of_version_1_can_be_planned_again(old: Path) -> None:
    run = RunFolder.open(old)
    again = RunFolder.create(old, run.plan, run.settings, manifest=run.manifest)
    assert again.version == run.version
    assert again.fold().counts() == run.fold().counts()


# ---- what a newer one wrote


def test_a_newer_plan_is_refused_as_such_not_as_damage(old: Path) -> None:
    table = pq.read_table(old / "plan.parquet")
    metadata = dict(table.schema.metadata)
    content = json.loads(metadata[b"singalong.plan"]) | {"schema_version": 99, "something": "new"}
    metadata[b"singalong.plan"] = json.dumps(content).encode()
    pq.write_table(table.replace_schema_metadata(metadata), old / "plan.parquet")
    before = (old / "plan.parquet").read_bytes()
    for use in (lambda: RunFolder.open(old), lambda: RunFolder.create(old, plan_of([pair_row()]), Settings())):
        with pytest.raises(UsageError, match=NEWER) as caught:
            use()
        assert caught.value.file == old / "plan.parquet"
        assert "delete" not in str(caught.value)
    assert (old / "plan.parquet").read_bytes() == before


def test_a_newer_attempt_is_refused_not_taken_for_damage(old: Path) -> None:
    path = next((old / "attempts").glob("*/*.parquet"))
    make_newer(path, "singalong.attempt")
    with pytest.raises(UsageError, match=NEWER) as caught:
        RunFolder.open(old).fold()
    assert caught.value.file == path


def test_a_newer_pack_is_only_a_memory_and_is_passed_over(old: Path) -> None:
    path = next((old / "attempts").glob("*/*.parquet"))
    shutil.copy(path, old / "attempts" / "pack.parquet")
    make_newer(old / "attempts" / "pack.parquet", "singalong.attempt")
    assert RunFolder.open(old).fold().counts() == RunFolder.open(FIXTURE).fold().counts()


def test_a_newer_table_of_frames_is_refused(old: Path) -> None:
    path = next((old / "frames").glob("*.parquet"))
    make_newer(path, "singalong.frames")
    with pytest.raises(UsageError, match=NEWER):
        read_frames(path, ["frame"])


@pytest.mark.parametrize("table", ["shards", "pairs", "montages"])
def test_a_newer_report_is_refused(old: Path, table: str) -> None:
    make_newer(old / {"shards": "report.parquet"}.get(table, f"{table}.parquet"), "singalong.report")
    with pytest.raises(UsageError, match=NEWER):
        singalong.load_report(old, table)  # type: ignore[arg-type]


def test_a_newer_decision_is_refused_not_passed_over(old: Path) -> None:
    make_newer(next((old / "reviews").glob("*.parquet")), "singalong.review")
    with pytest.raises(UsageError, match=NEWER):
        read_decisions(old)


def heritage() -> Heritage:
    earlier = (EarlierRun(run_id="run-0", path="/runs/0"),)
    order = Pass(parent="/runs/0", parent_run_id="run-0", selection=("--failed",), pairs=("p1",), earlier=earlier)
    return Heritage(order, (plan_of([pair_row()]),))


def test_a_pass_comes_back_also_where_it_says_no_version(tmp_path: Path) -> None:
    write_heritage(tmp_path, heritage())
    assert read_heritage(tmp_path) == heritage()
    content = json.loads((tmp_path / "pass.json").read_text())
    assert content.pop("schema_version") == PASS_SCHEMA_VERSION
    (tmp_path / "pass.json").write_text(json.dumps(content))
    assert read_heritage(tmp_path) == heritage()


def test_a_newer_pass_and_a_newer_take_are_refused(tmp_path: Path) -> None:
    write_heritage(tmp_path, heritage())
    path = tmp_path / "takes" / "0001.parquet"
    table = pq.read_table(path)
    content = json.loads(table.schema.metadata[b"singalong.plan"]) | {"schema_version": 99}
    pq.write_table(table.replace_schema_metadata({b"singalong.plan": json.dumps(content).encode()}), path)
    with pytest.raises(UsageError, match=NEWER):
        read_heritage(tmp_path)
    content = json.loads((tmp_path / "pass.json").read_text()) | {"schema_version": 99, "something": "new"}
    (tmp_path / "pass.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=NEWER):
        read_heritage(tmp_path)


def _newer_marker(path: Path) -> Callable[[], bytes]:
    content = json.loads(path.read_text()) | {"store_version": 99, "something": "new"}
    path.write_text(json.dumps(content))
    return path.read_bytes


def test_newer_results_in_the_store_are_refused_and_not_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    result = attempt(plan_of([pair_row()]).shards[0]).result
    assert result is not None
    segment, frames = tmp_path / "s.mp4", tmp_path / "f.parquet"

    def commit() -> None:
        segment.write_bytes(b"segment")
        frames.write_bytes(b"frames")
        store.commit(result, segment=segment, frames=frames)

    commit()
    marker = next(store.root.glob("work/*/*/commit.json"))
    content = _newer_marker(marker)
    before = content()
    for use in (commit, lambda: store.find(result.work_key), lambda: store.verify(result.work_key)):
        with pytest.raises(UsageError, match=NEWER):
            use()
    assert content() == before


def test_newer_caches_are_refused_and_not_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def build(folder: Path) -> None:
        (folder / "a.txt").write_text("x")

    folder = store.commit_cache("kind", sha("a"), "v1", build)
    content = _newer_marker(folder / "complete.json")
    before = content()
    for use in (
        lambda: store.cached("kind", sha("a"), "v1"),
        lambda: store.commit_cache("kind", sha("a"), "v1", build),
    ):
        with pytest.raises(UsageError, match=NEWER):
            use()
    assert content() == before


def test_settings_of_a_newer_version_say_so(tmp_path: Path, old: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[plan]\nshard_s = 5\n[lipsync]\nsmile = 1\n")
    with pytest.raises(UsageError, match=r"unknown setting lipsync\.smile.*newer singalong.*update"):
        load_settings(path)
    with (old / "plans" / "0001.toml").open("a") as file:
        file.write("\n[choreography]\nsteps = 3\n")
    with pytest.raises(UsageError, match=r"0001\.toml.*choreography.*newer singalong"):
        RunFolder.open(old)


@pytest.mark.parametrize("found", [None, "x", b"\xff", [], {}, 1, "1", b"0", -3])
def test_what_is_no_newer_version_is_for_others_to_judge(found: object) -> None:
    refuse_newer("it", found, 1)


@pytest.mark.parametrize("found", [2, "2", b"99", 10**30])
def test_versions_are_compared_as_numbers(found: object) -> None:
    with pytest.raises(UsageError, match="it was written by a newer"):
        refuse_newer("it", found, 1)


def test_the_version_in_a_document_is_found_or_left_to_others() -> None:
    assert version_in(b'{"v": 7}', "v") == 7
    assert [version_in(data, "v") for data in (b"", b"{", b"[1]", b"{}", b"[" * 100_000)] == [1] * 5
