"""What rough handling of runs needs: small inputs, commands in sessions of their own, their processes, and the truth.

Nothing here imitates: commands are the real ones, processes are ended by real signals, disks are really full.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq

from singalong.attempts import AttemptLog
from singalong.contracts import AttemptRow, Status
from singalong.durable import sha256_of
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song

_COMMON = ("run.num_actors=1", "plan.shard_s=0.2")
_POLL_S = 0.05


def make_inputs(folder: Path, *, song_s: float = 1.0) -> Path:
    """Two clips, a song, and a manifest of two pairs and a montage of them; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    song = Song.from_seed(9, song_s, snr_db=6.0, intro=False)
    write_wav(folder / "song.wav", song.mix)
    write_wav(folder / "vocals.wav", song.vocals)
    rows = ["pair_id,clip,song,vocals,song_start_s,song_end_s,montage,position"]
    for number, seed in enumerate((33, 34), start=1):
        clip = TalkingClip.from_seed(
            seed, width=640, height=360, fps=Fraction(25), duration_s=1.0, half_height=0.3, max_yaw=0.25
        )
        clip.write(folder / f"clip{number}.mp4")
        rows.append(f"pair{number},clip{number}.mp4,song.wav,vocals.wav,0,{song_s},mix,{number}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest


@dataclass
class Command:
    """A `singalong run` in a session of its own, and all its processes."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        """Of the driver."""
        return self.process.pid

    def processes(self) -> dict[int, str]:
        """Process ids of the driver's descendants, with their command lines."""
        children: dict[int, list[int]] = {}
        for pid in _pids():
            children.setdefault(_parent_of(pid), []).append(pid)
        found, todo = dict[int, str](), [self.pid]
        while todo:
            for child in children.get(todo.pop(), ()):
                found[child] = _command_line(child)
                todo.append(child)
        return found

    def named(self, word: str) -> list[int]:
        """Process ids of descendants with this word in their command line."""
        return [pid for pid, line in self.processes().items() if word in line]

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return self.named("ray::WorkerActor")

    def wait(self, timeout_s: float = 300.0) -> int:
        """The exit code; ends it for certain when it takes too long, which gives -9."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.end()
            return self.process.wait()

    def end(self) -> None:
        """Kill it with all its processes."""
        for pid in (*self.processes(), self.pid):
            kill(pid, signal.SIGKILL)

    def said(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace")


@dataclass
class Place:
    """Where one run lives: manifest, store, run folder, and what it is told."""

    manifest: Path
    store: Path
    run: Path
    home: Path
    settings: tuple[str, ...] = ()
    logs: list[Path] = field(default_factory=list)
    damaged: set[Path] = field(default_factory=set)
    """Files that were damaged on purpose and stay so: they are history."""

    def command(self, *overrides: str, limit: Callable[[], None] | None = None) -> Command:
        """Start (or resume) the run."""
        told = [word for value in (*_COMMON, *self.settings, *overrides) for word in ("--set", value)]
        log = self.home / f"{self.run.parent.name}-{len(self.logs)}.log"
        self.logs.append(log)
        arguments = [sys.executable, "-m", "flows", "run", str(self.manifest), "--run", str(self.run), *told]
        with log.open("w") as file:
            process = subprocess.Popen(
                arguments, env=self.environment(), stdout=file, stderr=file, text=True, start_new_session=True,
                preexec_fn=limit,
            )  # fmt: skip
        return Command(process, log)

    def environment(self) -> dict[str, str]:
        """Nothing of the user's Prefect, Ray, store or models."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
        own = {
            "PREFECT_HOME": str(self.home / "prefect"),
            "SINGALONG_STORE": str(self.store),
            "SINGALONG_MODELS": str(self.home / "models"),
        }
        return kept | own | {"OMP_NUM_THREADS": "1"}

    # ---- the truth, read from the files

    def rows(self) -> list[AttemptRow]:
        """Every attempt that was recorded and can be read."""
        return AttemptLog(self.run / "attempts").read().rows

    def finished(self) -> dict[str, str]:
        """Shards that were made and recorded, with the SHA-256 of their segments."""
        return {row.shard_id: row.result.segment_sha256 for row in self.rows() if row.result is not None}

    def running(self) -> list[str]:
        """Attempts that were started and not recorded."""
        marks = AttemptLog(self.run / "attempts").read().marks
        return [f"{mark.shard_id} {mark.attempt}" for mark in marks]

    def made_twice(self) -> list[str]:
        """Shards whose work was done more than once to its end."""
        made = Counter(row.shard_id for row in self.rows() if row.result is not None and not row.reused)
        return sorted(name for name, count in made.items() if count > 1)

    def failures(self) -> Counter[str]:
        """Recorded failures by class."""
        return Counter(row.failure.error_class.value for row in self.rows() if row.failure is not None)

    def unsound(self) -> list[str]:
        """What is visible and not whole: files of the run, and committed work whose bytes are not those committed."""
        wrong = []
        for path in set(self.run.rglob("*.parquet")) - self.damaged:
            try:
                pq.ParquetFile(path).read()
            except (OSError, ValueError):
                wrong.append(str(path))
        for path in (*self.run.rglob("outputs/*.json"), *self.run.rglob("montages/*.json")):
            record = json.loads(path.read_bytes())
            if record["film"] and sha256_of(Path(record["film"]["path"])) != record["film"]["sha256"]:
                wrong.append(str(path))
        store = Store(self.store)
        return wrong + [str(key) for key in store_keys(self.store) if store.find(key) and not store.verify(key)]

    def untold(self) -> list[str]:
        """Shards of which the fold says something else than the files do."""
        fold, finished = RunFolder.open(self.run).fold(), self.finished()
        return [name for name, shard in fold.shards.items() if (shard.status is Status.DONE) != (name in finished)]

    def copy(self, name: str, *, with_work: bool = True) -> Place:
        """The same run again, in another place of its own."""
        folder = self.home / name
        other = Place(self.manifest, folder / "store", folder / "run", self.home, self.settings)
        shutil.copytree(
            self.store if with_work else self.store / "cache", other.store if with_work else other.store / "cache"
        )
        if with_work and self.run.exists():
            shutil.copytree(self.run, other.run)
        return other


def store_keys(store: Path) -> Iterator[str]:
    """Work keys with a marker."""
    yield from (marker.parent.name for marker in store.glob("work/*/*/commit.json"))


def until(condition: Callable[[], object], *, command: Command | None = None, timeout_s: float = 240.0) -> bool:
    """Wait until something is so; False when it took too long or the command ended before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        if command is not None and command.process.poll() is not None:
            return bool(condition())
        time.sleep(_POLL_S)
    return False


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def segments(place: Place) -> Mapping[str, str]:
    """SHA-256 of every shard's segment, as it stands in the store."""
    store, run = Store(place.store), RunFolder.open(place.run)
    found = {shard.shard_id: store.find(shard.work_key) for shard in run.plan.shards}
    return {name: sha256_of(store.segment_path(result)) for name, result in found.items() if result is not None}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
