"""Planning, folding and telling of a run of a million pairs, on paper: no media, no models, the real files.

    python -m bench.scale --pairs 1000000 [--work FOLDER] [--out bench/results/scale.json]
    python -m bench.scale --pairs 100000 --times 10   a million planned and recorded in a tenth of the time

Every figure is CPU time, what the process grew by, and the most it ever held. The same is measured at a tenth of the
pairs first: what is linear has the same cost a pair in both columns.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from singalong.attempt_files import SegmentName, hash_of
from singalong.config import Settings
from singalong.contracts import (
    AttemptRow,
    ClipFacts,
    Failure,
    ModelRef,
    PairRow,
    Plan,
    ShardPlan,
    ShardResult,
    SyncScore,
)
from singalong.durable import write_atomic, write_parquet_atomic
from singalong.errors import ErrorClass
from singalong.manifest import read_manifest
from singalong.plan import make_plan
from singalong.runfolder import RunFolder
from tasks.memory import peak_rss_mb
from tests.singalong.builders import clip_facts, sha, song_facts

NUM_CLIPS, NUM_SONGS, PAIRS_A_MONTAGE = 1000, 50, 100
CLIP_S = 8.0
_FAILS_EVERY = 50
_MODEL = ModelRef(name="warper", architecture="warper", weights_sha256="ab" * 32)
_SCORER = ModelRef(name="singalong-expert", architecture="expert", weights_sha256="cd" * 32)


def write_manifest(folder: Path, num_pairs: int) -> Path:
    """A manifest of this many pairs, of files that are there and are empty."""
    for name in [*(f"clip{n}.mp4" for n in range(NUM_CLIPS)), *(f"song{n}.wav" for n in range(NUM_SONGS))]:
        (folder / name).touch()
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("pair_id,clip,song,clip_start_s,clip_end_s,song_start_s,song_end_s,montage,rights,tag_title\n")
        for n in range(num_pairs):
            start_s = n % 1000 * 0.01
            file.write(f"p{n:07d},clip{n % NUM_CLIPS}.mp4,song{n % NUM_SONGS}.wav,0,{CLIP_S},{start_s:.2f},")
            file.write(f"{start_s + CLIP_S:.2f},m{n // PAIRS_A_MONTAGE},owned: us,Take {n}\n")
    return path


def clip_of(path: str) -> ClipFacts:
    """What probing a clip of 20 s would have told."""
    return clip_facts(path, width=1280, height=720, num_frames=500, duration_s=20.0)


def plan_of(rows: list[PairRow]) -> Plan:
    """The plan of these rows, of clips and songs that were never probed."""
    paths = {row.clip for row in rows}, {row.song for row in rows}
    clips = {path: clip_of(path) for path in paths[0]}
    songs = {path: song_facts(path, num_samples=60 * 44100, duration_s=60.0) for path in paths[1]}
    return make_plan(
        rows,
        clips,
        songs,
        settings=Settings(),
        generator_for=lambda _: _MODEL,
        detector=_MODEL,
        scorer=_SCORER,
        run_id="scale",
        created_at="2026-01-01T00:00:00Z",
    )


def record_all(run: RunFolder) -> None:
    """An end of every shard, one in 50 of them a failure, through the ledger as a driver writes it."""
    for number, shard in enumerate(run.plan.shards):
        attempt = run.next_attempt(shard.shard_id)
        run.journal_started(shard.shard_id, attempt, flush=False)
        run.record(_ended(shard, attempt, number), flush=False)
    run.flush_attempts()
    run.fold_journal()


def _ended(shard: ShardPlan, attempt: int, number: int) -> AttemptRow:
    minute, second = divmod(number % 3600, 60)
    failure = Failure(error_class=ErrorClass.INPUT, message="no face") if number % _FAILS_EVERY == 0 else None
    return AttemptRow(
        run_id="scale",
        shard_id=shard.shard_id,
        attempt=attempt,
        work_key=shard.work_key,
        failure=failure,
        result=None if failure else result_of(shard, number),
        started_at=f"2026-01-01T{number // 3600 % 24:02d}:{minute:02d}:{second:02d}.000+00:00",
        finished_at=f"2026-01-01T{number // 3600 % 24:02d}:{minute:02d}:{second:02d}.900+00:00",
        worker=f"node{number % 16}:{number % 256}",
    )


def result_of(shard: ShardPlan, number: int) -> ShardResult:
    """What may have come of a shard; `number` makes it differ from the others."""
    score = SyncScore(
        scorer=_SCORER.name, num_windows=150, confidence=3 + number % 400 / 100, distance=7.0, offset_frames=0
    )
    return ShardResult(
        work_key=shard.work_key,
        segment_sha256=sha(f"s{number}"),
        frames_sha256=sha(f"f{number}"),
        num_frames=shard.num_frames,
        num_face_frames=shard.num_frames - 3,
        passed_through={"turned": 3},
        num_voiced_frames=150,
        rest_motion=0.1,
        score=score,
        device="cpu",
        node=f"node{number % 16}",
        seconds={"decode": 1.5, "generate": 8.0, "encode": 5.0},
        peak_rss_mb=900.0,
        created_at="2026-01-01T00:00:00Z",
    )


# ---- measuring


def measured(action: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What an action returns, its CPU and wall seconds, and by how many MB this process grew."""
    gc.collect()
    before_mb, cpu, wall = _rss_mb(), time.process_time(), time.perf_counter()
    found = action()
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    gc.collect()
    cost |= {"grew_mb": _rss_mb() - before_mb, "peak_mb": peak_rss_mb()}
    return found, {name: round(value, 3) for name, value in cost.items()}


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def plan_part(folder: Path, num_pairs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Manifest to run folder."""
    path = write_manifest(folder, num_pairs)
    rows, cost = measured(lambda: read_manifest(path))
    yield "read the manifest", cost
    plan, cost = measured(lambda: plan_of(rows))
    yield "plan", cost
    _, cost = measured(lambda: RunFolder.create(folder / "run", plan, Settings(), manifest=rows))
    yield "write plan and manifest", cost


def ledger_part(folder: Path, _num_pairs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Read the plan whole, then an attempt for every shard."""
    run = RunFolder.open(folder / "run")
    _, cost = measured(lambda: run.plan)
    yield "read the plan", cost
    _, cost = measured(lambda: record_all(run))
    yield "record an attempt a shard", cost


def multiply(run: Path, target: Path, times: int) -> None:
    """A run like this one with so many times the shards, each of its own key: the files a larger run would have."""
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("attempts", "frames", "*.parquet", "logs"))
    table = pq.read_table(run / "plan.parquet")
    num_pairs = pc.max(table["pair_order"]).as_py() + 1
    parts = []
    for number in range(times):
        part = _renamed(table, ("shard_id", "pair_id"), ("work_key",), number)
        order = pc.add(part["pair_order"], number * num_pairs)
        parts.append(part.set_column(part.schema.get_field_index("pair_order"), part.schema.field("pair_order"), order))
    whole = pa.concat_tables(parts).replace_schema_metadata(table.schema.metadata)
    for name in ("plan.parquet", "plans/0001.parquet"):
        write_parquet_atomic(whole, target / name)
    (target / "attempts" / "segments").mkdir(parents=True)
    last = 0
    for number in range(times):
        for path in sorted((run / "attempts" / "segments").iterdir()):
            last += 1
            part = _renamed(pq.read_table(path), ("shard_id",), ("work_key", "result_work_key"), number)
            buffer = pa.BufferOutputStream()
            pq.write_table(part, buffer, compression="zstd", write_page_checksum=True)
            name = SegmentName(last, last, hash_of(buffer.getvalue().to_pybytes())).file
            (target / "attempts" / "segments" / name).write_bytes(buffer.getvalue().to_pybytes())


def _renamed(table: pa.Table, names: Sequence[str], keys: Sequence[str], number: int) -> pa.Table:
    metadata = table.schema.metadata
    for name in (*names, *keys):
        place, column = table.schema.get_field_index(name), table[name]
        text = pa.scalar(f"{number:04x}")
        start = pc.utf8_slice_codeunits(column, 0, 36) if name in keys else column
        renamed = pc.binary_join_element_wise(start, text, "" if name in keys else "x")
        table = table.set_column(place, table.schema.field(place), renamed)
    return table.replace_schema_metadata(metadata)


def status_part(folder: Path, _num_pairs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """What `singalong status` does."""
    from tasks.progress import progress_of

    run, cost = measured(lambda: RunFolder.open(folder / "run"))
    yield "open the run", cost
    _, cost = measured(run.fold)
    yield "read and fold the ledger", cost
    _, cost = measured(lambda: progress_of(run))
    yield "status", cost


def report_part(folder: Path, _num_pairs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """What `singalong report` does, where the store holds nothing of what the run made."""
    from singalong.store import Store
    from tasks.report import write_reports

    run = RunFolder.open(folder / "run")
    run.fold()
    _, cost = measured(lambda: write_reports(run, Store(folder / "store")))
    yield "report", cost


PARTS: dict[str, Callable[[Path, int], Iterator[tuple[str, dict[str, float]]]]] = {
    "plan": plan_part,
    "ledger": ledger_part,
    "status": status_part,
    "report": report_part,
}


def _in_child(name: str, folder: Path, num_pairs: int, answers: Any) -> None:
    found = {}
    for step, cost in PARTS[name](folder, num_pairs):
        print(json.dumps({"pairs": num_pairs, "step": step, **cost}), flush=True)
        found[step] = cost
    answers.put(found)


def run_parts(folder: Path, num_pairs: int, parts: list[str]) -> dict[str, dict[str, float]]:
    """Each part in a process of its own, so that none starts with the memory of the one before."""
    found: dict[str, dict[str, float]] = {}
    context = multiprocessing.get_context("spawn")
    for name in parts:
        answers = context.Queue()
        process = context.Process(target=_in_child, args=(name, folder, num_pairs, answers))
        process.start()
        found |= answers.get()
        process.join()
    return found


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=None, help="folder to work in; kept")
    parser.add_argument("--parts", default="plan,ledger,status,report")
    parser.add_argument(
        "--times", type=int, default=1, help="then status and report of a run of so many times the shards"
    )
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    results: dict[str, Any] = {"pairs": {}}
    for num_pairs in (options.pairs // 10, options.pairs):
        folder = (options.work or Path(tempfile.mkdtemp(prefix="scale-"))) / str(num_pairs)
        folder.mkdir(parents=True, exist_ok=True)
        costs = run_parts(folder, num_pairs, options.parts.split(","))
        results["pairs"][str(num_pairs)] = costs
        results.setdefault("files", {})[str(num_pairs)] = _files(folder / "run")
        if num_pairs == options.pairs and options.times > 1:
            (larger := folder / "larger").mkdir()
            multiply(folder / "run", larger / "run", options.times)
            num_shards = num_pairs * options.times
            results["pairs"][str(num_shards)] = run_parts(larger, num_shards, ["status", "report"])
        if options.work is None:
            shutil.rmtree(folder.parent)
    if options.out is not None:
        write_atomic(options.out, json.dumps(results, indent=1).encode() + b"\n")


def _files(run: Path) -> dict[str, int]:
    """Sizes of what lies in the run folder, bytes."""
    return {
        path.relative_to(run).as_posix() if path.parent == run else path.parent.name + "/": path.stat().st_size
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.stat().st_size > 1 << 16
    }


if __name__ == "__main__":
    main()
