"""One pair from end to end in this process, stage by stage: what the measurements of speed and memory run."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singalong.config import load_settings
from singalong.contracts import ModelRef
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.analyse import AnalysisFacts
from tasks.dispatch import Item
from tasks.film_steps import join_pairs
from tasks.jobs import LipsyncJob, Outcome
from tasks.plan_run import plan_run
from tasks.session import Session

FULL_SIZE, SMALL = "untrained", "singalong-warper"


@dataclass
class Ours:
    """One pair made by us: frames, seconds a stage, wall and CPU seconds of all, clips analysed, mean scores."""

    frames: int
    stages: dict[str, float]
    wall_s: float
    cpu_s: float
    num_analysed: int
    film: Path
    confidence: float | None = None
    distance: float | None = None

    @property
    def wall_ms(self) -> float:
        """Milliseconds a frame, as a clock on the wall shows them."""
        return 1000 * self.wall_s / self.frames

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of computing a frame; not disturbed by what else the machine does."""
        return 1000 * self.cpu_s / self.frames


@dataclass
class Counted:
    """A watcher that counts the jobs of each kind."""

    jobs: Counter[str] = field(default_factory=Counter)

    def begin(self, stage: str, total: int) -> None:
        """Nothing to count yet."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """Count a job; fail with what failed: a measurement of half a run means nothing."""
        assert outcome.failure is None, f"{stage} {item.item_id}: {outcome.failure}"
        self.jobs[type(item.job).__name__] += 1


def run_ours(
    clip: Path,
    song: Path,
    folder: Path,
    seconds: float,
    *,
    generator: str,
    shard_s: float = 10.0,
    store: Path | None = None,
    overrides: tuple[str, ...] = (),
) -> Ours:
    """Plan, analyse, lip-sync and join one pair in this process; `overrides` as of `--set`."""
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.csv"
    manifest.write_text(f"pair_id,clip,song,song_end_s\nbench,{clip},{song},{seconds}\n")
    own = ["run.executor=inprocess", f"run.store={store or folder / 'store'}", f"plan.shard_s={shard_s}"]
    settings = load_settings(None, [*own, f"lipsync.generator={generator}", *overrides])
    stages: defaultdict[str, float] = defaultdict(float)
    started, started_cpu = time.perf_counter(), time.process_time()
    plan, rows = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    stages["probe and plan"] = time.perf_counter() - started
    counted = Counted()
    with Session(RunFolder.create(folder / "run", plan, settings, manifest=rows), counted) as session:
        begun = time.perf_counter()
        items = session.prepare(session.pending())
        _add_preparation(stages, items, time.perf_counter() - begun, is_new=counted.jobs["AnalyseJob"] > 0)
        begun = time.perf_counter()
        session.lipsync(items)
        lipsync_s = time.perf_counter() - begun
        results = session.standing().results.values()
        for result in results:
            for stage, took in result.seconds.items():
                stages[stage] += took
                lipsync_s -= took
        stages["load weights, commit"] = lipsync_s
        begun = time.perf_counter()
        join_pairs(session)
        stages["join"] = time.perf_counter() - begun
        film = next((session.run.path / "outputs").glob("*.mp4"))
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    scores = [result.score for result in results]
    return Ours(
        frames=plan.pairs[0].num_frames,
        stages=dict(stages),
        wall_s=wall_s,
        cpu_s=cpu_s,
        num_analysed=counted.jobs["AnalyseJob"],
        film=film,
        confidence=_mean([score.confidence for score in scores]),
        distance=_mean([score.distance for score in scores]),
    )


def _mean(values: list[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _add_preparation(stages: dict[str, float], items: list[Item], took_s: float, *, is_new: bool) -> None:
    """Split the time of preparing into the analysis's own stages, and the rest, which is the song's."""
    job = items[0].job
    assert isinstance(job, LipsyncJob)
    if is_new:
        facts = AnalysisFacts.model_validate_json((Path(job.analysis) / "facts.json").read_bytes())
        for stage, seconds in facts.seconds.items():
            stages[f"analyse: {stage}"] = seconds
            took_s -= seconds
    stages["song, load detector"] = max(0.0, took_s)


def generator_only(name: str, *, num_frames: int, chunk: int = 16) -> tuple[float, float]:
    """Wall and CPU milliseconds a frame of a generator by itself, warm, on noise, in chunks as shards have them."""
    from models import registry
    from models.engine import load_engine

    ref: ModelRef | None = registry.resolve(name, "generator", home=Path("nowhere"))
    assert ref is not None, name
    engine = load_engine(ref)
    rng = np.random.default_rng(0)
    mel = rng.uniform(-4, 4, (chunk, 80, engine.mel_steps)).astype(np.float32)
    faces = rng.integers(0, 256, (chunk, 96, 96, 3), dtype=np.uint8)
    engine.generate(mel, faces)
    num_chunks = max(1, num_frames // chunk)
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(num_chunks):
        engine.generate(mel, faces)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    return 1000 * wall_s / (num_chunks * chunk), 1000 * cpu_s / (num_chunks * chunk)
