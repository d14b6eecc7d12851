"""Writing the reports: tables, kept frames, and a page that is safe to open whatever the manifest says."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import singalong
from models import registry
from singalong.config import Settings
from singalong.contracts import Failure, Plan, ShardPlan, ShardResult, Status, SyncScore
from singalong.errors import ErrorClass, InputError
from singalong.frames_table import NUM_OFFSETS, WindowRows, frames_table
from singalong.plan import montages
from singalong.reviews import Decision, Ruling, record_decision
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds, score_rows
from singalong.store import Store
from tasks import report_page
from tasks.credentials import signing_of
from tasks.films import pair_films
from tasks.jobs import FilmFacts
from tasks.report import write_reports
from tasks.report_files import ReportFiles
from tasks.report_page import bar, histogram
from tasks.standing import scorer_thresholds
from tests.singalong.builders import attempt, model, pair_row, plan_of, sha, shard_result, touch

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
NO_SCORE = SyncScore()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make_run(path: Path, plan: Plan) -> RunFolder:
    return RunFolder.create(path, plan, Settings())


def distances(shard: ShardPlan, *, sharp: bool) -> np.ndarray[Any, Any]:
    """A window every frame but the last four; a sharp minimum at offset 0, or none to speak of."""
    rng = np.random.default_rng(shard.index)
    rows = rng.uniform(9.0, 9.5, (shard.num_frames - 4, NUM_OFFSETS)).astype(np.float32)
    rows[:, NUM_OFFSETS // 2] -= 6.0 if sharp else 0.0
    return rows


def finish(run: RunFolder, store: Store, shard: ShardPlan, *, sharp: bool = True) -> ShardResult:
    """Commit a result with a true frames table, and record it."""
    rows = distances(shard, sharp=sharp)
    table = frames_table(
        start_frame=shard.start_frame,
        source_s=np.zeros(shard.num_frames),
        outcomes=["synced"] * shard.num_frames,
        boxes=[None] * shard.num_frames,
        voiced=[True] * shard.num_frames,
        windows=replace(
            WindowRows.none(),
            start_frames=shard.start_frame + np.arange(len(rows)),
            distances=rows,
            mismatched=rows,
        ),
    )
    folder = store.new_temp_dir()
    pq.write_table(table, folder / "frames.parquet")
    score = score_rows(rows, scorer="expert", min_windows=10)
    result = store.commit(
        shard_result(shard, score=score if run.plan.scorer else NO_SCORE),
        segment=touch(folder / "segment.mp4", shard.shard_id.encode()),
        frames=folder / "frames.parquet",
    )
    run.record(attempt(shard, run.next_attempt(shard.shard_id), result=result))
    return result


def join_films(run: RunFolder, store: Store) -> None:
    """Stand in for the join: films, thumbnails and records of all pairs whose shards are done."""
    found = {shard.shard_id: store.find(shard.work_key) for shard in run.plan.shards}
    results = {shard_id: result for shard_id, result in found.items() if result is not None}
    for film in pair_films(run.path, run.plan, results, store, signing=signing_of(run.settings)):
        touch(film.output)
        touch(film.thumbnail)
        film.commit(FilmFacts(path=str(film.output), sha256=sha(film.name), num_frames=10, duration_s=0.4))


def read(run: RunFolder, table: Any = "shards") -> list[dict[str, Any]]:
    return list(singalong.load_report(run.path, table).to_dict("records"))


def page(run: RunFolder) -> str:
    return (run.path / "index.html").read_text(encoding="utf-8")


# ---- tables


def test_a_finished_run_is_reported_shard_by_shard_and_pair_by_pair(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=16, tags={"a": "b"}), pair_row(2, song_end_s=4)]))
    results = [finish(run, store, shard) for shard in run.plan.shards]
    join_films(run, store)
    written = write_reports(run, store)
    assert [path.name for path in written] == ["report.parquet", "pairs.parquet", "montages.parquet", "index.html"]
    shards, pairs = read(run), read(run, "pairs")
    assert [row["output"] for row in shards] == [str(store.segment_path(result)) for result in results]
    assert {name: pairs[0][name] for name in ("pair_id", "status", "verdict", "tag_a")} == {
        **{"pair_id": "p1", "status": "done", "verdict": "review", "tag_a": "b"},
    }
    assert (pairs[0]["output"], pairs[0]["thumbnail"]) == ("outputs/p1.mp4", "outputs/p1.jpg")
    assert read(run, "montages") == []


def test_the_score_of_a_pair_is_that_of_all_its_windows(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=16)]))
    for number, shard in enumerate(run.plan.shards):
        finish(run, store, shard, sharp=number == 0)
    write_reports(run, store)
    rows = np.concatenate([distances(shard, sharp=n == 0) for n, shard in enumerate(run.plan.shards)])
    expected = score_rows(rows, scorer="expert", min_windows=10)
    (pair,) = read(run, "pairs")
    assert pair["sync_confidence"] == pytest.approx(expected.confidence)
    assert pair["num_windows"] == len(rows)


def test_frames_are_kept_in_the_run_folder_and_serve_when_the_store_is_gone(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=16)]))
    results = [finish(run, store, shard) for shard in run.plan.shards]
    write_reports(run, store)
    before = read(run, "pairs")[0]["sync_confidence"]
    kept = run.frames_path(run.plan.shards[0].shard_id)
    assert kept.stat().st_ino == store.frames_path(results[0]).stat().st_ino
    for shard in run.plan.shards:
        store.discard(shard.work_key)
    write_reports(run, store)
    assert read(run, "pairs")[0]["sync_confidence"] == before
    assert singalong.load_report(run.path)["output"].isna().all()


def test_thresholds_make_the_verdicts(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=4), pair_row(2, song_start_s=1, song_end_s=6)]))
    finish(run, store, run.plan.shards[0])
    finish(run, store, run.plan.shards[1], sharp=False)
    write_reports(run, store, thresholds=Thresholds(pass_confidence=4.0, fail_confidence=2.0))
    assert [row["verdict"] for row in read(run)] == ["pass", "fail"]


def test_thresholds_come_from_the_card_of_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(thresholds={"pass_confidence": 4.0, "fail_confidence": 2.0})
    monkeypatch.setattr(registry, "find_card", lambda name, home: card)
    assert scorer_thresholds("expert") == Thresholds(pass_confidence=4.0, fail_confidence=2.0)
    assert scorer_thresholds(None) is None
    for broken in ({}, {"pass_confidence": "high"}):
        card.thresholds = broken
        assert scorer_thresholds("expert") is None

    def gone(name: str, home: Path) -> Any:
        raise InputError("there is no such model")

    monkeypatch.setattr(registry, "find_card", gone)
    assert scorer_thresholds("expert") is None


def test_a_film_of_a_former_plan_is_not_passed_off_as_the_present_one(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=4)]))
    finish(run, store, run.plan.shards[0])
    join_films(run, store)
    edited = RunFolder.create(run.path, plan_of([pair_row(1, song_end_s=5)]), Settings())
    finish(edited, store, edited.plan.shards[0])
    write_reports(edited, store)
    (pair,) = read(edited, "pairs")
    assert pair["status"] == "pending"
    assert singalong.load_report(edited.path, "pairs")["output"].isna().all()


def test_a_join_that_failed_is_reported_with_its_reason(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=4)]))
    result = finish(run, store, run.plan.shards[0])
    (film,) = pair_films(run.path, run.plan, {"p1-0000": result}, store, signing=signing_of(run.settings))
    film.commit_failure(Failure(error_class=ErrorClass.RESOURCE, message="No space left on device"))
    write_reports(run, store)
    (pair,) = read(run, "pairs")
    assert (pair["status"], pair["error_class"]) == ("failed", "RESOURCE")
    assert "No space left on device" in page(run)


def test_montages_are_reported(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(n, montage="film", clip_end_s=2) for n in (1, 2)]))
    for shard in run.plan.shards:
        finish(run, store, shard)
    join_films(run, store)
    record = (run.path / "outputs" / "p1.json").read_bytes()
    assert list(montages(run.plan.pairs)) == ["film"]
    for suffix, content in ((".json", record), (".mp4", b"film"), (".jpg", b"jpg")):
        touch(run.path / "montages" / f"film{suffix}", content)
    write_reports(run, store)
    (row,) = read(run, "montages")
    assert (row["status"], row["output"], row["num_done"]) == (Status.DONE, "montages/film.mp4", 2)
    assert 'src="montages/film.mp4" poster="montages/film.jpg"' in page(run)


# ---- the page


class Reader(HTMLParser):
    """Collects tags, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "poster")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def shown(tmp_path: Path, store: Store) -> Callable[..., Reader]:
    def show(plan: Plan, *, done: bool = True) -> Reader:
        run = make_run(tmp_path / "run", plan)
        for shard in plan.shards if done else ():
            finish(run, store, shard)
        join_films(run, store)
        write_reports(run, store)
        reader = Reader()
        reader.feed(page(run))
        return reader

    return show


def test_hostile_text_is_shown_and_not_obeyed(tmp_path: Path, store: Store) -> None:
    rows = [
        pair_row(1, song_end_s=4, tags={"note": HOSTILE}, rights=HOSTILE, clip=f"/clips/{HOSTILE}.mp4"),
        pair_row(2, clip="/clips/bad.mp4"),
        pair_row(3, song_end_s=5, song="/songs/\udcff.wav"),
    ]
    run = make_run(tmp_path / "run", plan_of(rows[:2], clips={"/clips/bad.mp4": InputError(HOSTILE)}))
    run.record(attempt(run.plan.shards[0], failure=Failure(error_class=ErrorClass.BUG, message=HOSTILE), result=None))
    write_reports(run, store)
    reader = Reader()
    reader.feed(page(run))
    assert "script" not in reader.tags
    assert not any(name.startswith("on") for name in reader.attributes)
    assert reader.text.count("<script>alert(1)</script>") >= 4
    assert "{{ 7*7 }}" in reader.text


def test_the_page_needs_nothing_from_outside(shown: Callable[..., Reader]) -> None:
    reader = shown(plan_of([pair_row(1, song_end_s=4), pair_row(2, song_end_s=16)]))
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert reader.links
    assert not [link for link in reader.links if re.match(r"[a-z]+:|/", link)]
    assert {"outputs/p1.mp4", "outputs/p1.jpg", "report.parquet"} <= set(reader.links)


def test_an_untrained_generator_and_a_missing_scorer_are_said_plainly(shown: Callable[..., Reader]) -> None:
    reader = shown(
        plan_of([pair_row(1, song_end_s=4)], scorer=None, generator_for=lambda _: model("untrained", trained=False))
    )
    assert "'untrained' has untrained weights" in reader.text
    assert "No scorer was used" in reader.text
    assert "not scorable" in reader.text


def test_a_pair_without_rights_says_so(shown: Callable[..., Reader]) -> None:
    text = shown(plan_of([pair_row(1, song_end_s=4), pair_row(2, song_end_s=5, rights="CC BY 4.0")])).text
    assert text.count("none given") == 1
    assert text.count("CC BY 4.0") == 1


def test_a_run_that_has_not_begun_has_a_page_too(shown: Callable[..., Reader]) -> None:
    assert "0 of 1" in shown(plan_of([pair_row(1)]), done=False).text


def test_an_empty_run_has_a_page_too(shown: Callable[..., Reader]) -> None:
    assert "There are none." in shown(plan_of([])).text


def test_failures_of_one_kind_stand_together(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(n, song_end_s=1 + n) for n in range(1, 9)]))
    for shard in run.plan.shards:
        failure = Failure(error_class=ErrorClass.TIMEOUT, message="ran for 1800 s")
        run.record(attempt(shard, failure=failure, result=None))
    write_reports(run, store)
    text = page(run)
    assert text.count("<td>8</td>") == 1
    assert "Raise that, or make shards shorter" in text
    assert "and 3 more" in text


def test_the_worst_pairs_are_shown_first_and_the_rest_follows_in_lines(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_page, "MAX_CARDS", 3)
    monkeypatch.setattr(report_page, "PAIRS_A_GROUP", 1)
    run = make_run(tmp_path / "run", plan_of([pair_row(n, song_end_s=3 + n) for n in range(1, 6)]))
    shards = run.plan.shards
    finish(run, store, shards[0])
    finish(run, store, shards[1], sharp=False)
    run.record(attempt(shards[3], 1, "INPUT"))
    run.record(attempt(shards[4], 1, "BUG"))
    join_films(run, store)
    write_reports(run, store)
    assert re.findall(r"<h3><span>(?:<a[^>]*>)?(p\d)", page(run)) == ["p5", "p4", "p3"]
    folded = r'<details class="more">\s*<summary>([^<]*)</summary>.*?<td class="wrap">(?:<a[^>]*>)?(p\d)'
    lines = re.findall(folded, page(run), re.DOTALL)
    assert [name for _, name in lines] == ["p2", "p1"]
    assert lines[0][0].startswith("review, 1 to 1 of 2: confidence ")


def test_what_people_decided_is_in_the_table_and_on_the_page(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(n, song_end_s=3 + n) for n in (1, 2, 3)]))
    for shard in run.plan.shards:
        finish(run, store, shard)
    join_films(run, store)
    told = {"reviewer": HOSTILE, "decided_at": "2026-01-01T00:00:00.000+00:00", "reason": "wrong face"}
    settings = ("lipsync.crf=30",)
    record_decision(run.path, Decision(pair_id="p1", ruling=Ruling.REJECT, settings=settings, note="left one", **told))
    record_decision(run.path, Decision(pair_id="p2", ruling=Ruling.ACCEPT, output_sha256=sha("p2"), **told))
    record_decision(run.path, Decision(pair_id="p3", ruling=Ruling.ACCEPT, output_sha256=sha("a former film"), **told))
    write_reports(run, store)
    rows = singalong.load_report(run.path, "pairs").set_index("pair_id")
    assert rows["review_ruling"].dropna().to_dict() == {"p1": "reject", "p2": "accept"}
    assert (rows.loc["p1", "review_reason"], rows.loc["p1", "reviewer"]) == ("wrong face; left one", HOSTILE)
    assert list(rows.loc["p1", "review_settings"]) == ["lipsync.crf=30"]
    reader = Reader()
    reader.feed(page(run))
    assert "2 of 3, 1 sent back" in reader.text
    assert f"rejected by {HOSTILE}: wrong face; left one; to be made again with lipsync.crf=30" in reader.text


def test_damaged_attempts_are_mentioned(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path / "run", plan_of([pair_row(1, song_end_s=4)]))
    touch(run.path / "attempts" / "p1-0000" / "0001.parquet", b"")
    write_reports(run, store)
    assert "1 attempt files cannot be read" in page(run)


def test_bars_fill_the_whole_width_in_order() -> None:
    parts = bar({"b": 1, "a": 3, "none": 0}, ["a", "none", "b"])
    assert [(part.label, part.share, part.start) for part in parts] == [("a", 75.0, 0.0), ("b", 25.0, 75.0)]
    assert bar({}, ["a"]) == []


def test_histograms_count_every_value_also_when_all_are_equal() -> None:
    for values in ([1.0, 2.0, 2.5, 9.0], [3.0, 3.0]):
        assert sum(part.amount for part in histogram(values)) == len(values)
        assert max(part.share for part in histogram(values)) == 100.0
    assert histogram([]) == []


def test_a_montages_strip_shows_its_pairs_in_playing_order_as_wide_as_they_are_long(
    tmp_path: Path, store: Store
) -> None:
    rows = [
        pair_row(n, montage="film", position=position, song_start_s=0, song_end_s=end_s)
        for n, position, end_s in ((1, 2, 4), (2, 1, 12))
    ]
    run = make_run(tmp_path / "run", plan_of(rows))
    for shard in run.plan.shards:
        finish(run, store, shard, sharp=shard.pair_id == "p1")
    join_films(run, store)
    write_reports(run, store)
    found = report_page.strips(ReportFiles(run.path), ["film"])["film"]
    assert [(part.pair.pair_id, part.start, part.share) for part in found] == [("p2", 0.0, 75.0), ("p1", 75.0, 25.0)]
    assert page(run).index("<title>p2: ") < page(run).index("<title>p1: ")


def test_a_page_of_too_many_pairs_and_montages_shows_some_and_says_where_all_are(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in {"MAX_CARDS": 1, "MAX_LINES": 2, "MAX_MONTAGES": 1, "MAX_STRIP_PARTS": 1}.items():
        monkeypatch.setattr(report_page, name, limit)
    rows = [pair_row(n, song_end_s=3 + n, montage=f"film{n // 3}") for n in range(1, 6)]
    run = make_run(tmp_path / "run", plan_of(rows))
    write_reports(run, store)
    text = page(run)
    assert "3 worst of 5 pairs" in text
    assert "shows 1 of 2 montages" in text
    assert [name for name in ("p1", "p2", "p3", "p4", "p5") if f">{name}<" in text] == ["p1", "p2", "p3"]
    assert len(read(run, "pairs")) == 5
