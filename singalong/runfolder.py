"""The run folder: one run's plan, what was tried, and what came of it. Its files are the truth about the run.

    run.json                        says that this is a run folder, and of which version; written first
    plan.parquet                    the plan in force
    manifest.parquet  config.toml   the manifest and the settings it was made from, for people to look at
    plans/<n>.*                     every plan the run ever had, with its manifest and settings
    attempts/                       what was tried, and what came of it: see `singalong.attempts`
    frames/<shard>.parquet          the frames table of a finished shard, the store's own file if possible
    logs/                           what workers told of each attempt (`singalong.run_logs`); not the truth
    pass.json  takes/<n>.parquet    of a run that makes part of another one again: what of it, and the takes before

Every file is written whole or not at all. One driver at a time works on a run (`RunFolder.lock`); any number
of readers may look on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.attempts import AttemptLog, LogContent
from singalong.config import Settings, dump_settings, load_settings
from singalong.contracts import AttemptRow, PairRow, Plan
from singalong.durable import link_or_copy, link_unflushed, make_dirs, write_atomic, write_parquet_atomic
from singalong.errors import TransientIOError, UsageError
from singalong.fold import RunFold, fold_parts
from singalong.heritage import read_heritage, write_heritage
from singalong.listeners import Listeners
from singalong.newer import refuse_newer
from singalong.plan_table import PLAN_VERSION_KEY, PlanOutline, plan_from_table, plan_to_table, read_plan_table
from singalong.remote_run import location_of, mirror_of
from singalong.run_logs import RunLogs
from singalong.run_place import MARKER, check_is_ours, driving, iter_names, writable
from singalong.runlock import lock_holder
from singalong.tables import from_table, to_table
from singalong.takes import Heritage
from singalong.written import Removals

RUN_SCHEMA_VERSION = 2
"""1: every attempt in files of its own; such a run becomes one of version 2 when it goes on."""
_PLAN_AGAIN = "Run the manifest on this folder again; no work is lost."


_UNREADABLE = (pa.ArrowException, ValueError, LookupError, TypeError, OSError)
"""What reading a damaged table may raise."""


class RunFolder:
    """An existing run folder; make one with `create`, come back to it with `open`."""

    def __init__(self, path: Path, *, outline: PlanOutline, version: int, settings: Settings) -> None:
        self.path = path
        self.outline = outline
        self.settings = settings
        self.version = version
        self._log = AttemptLog(path / "attempts", watcher=Removals(), before_first=lambda: _raise_version(path))
        self._folded: tuple[LogContent, RunFold] | None = None
        self.logs = RunLogs(path)
        self.listeners = Listeners()

    # ---- making and opening

    @classmethod
    def create(
        cls,
        path: Path,
        plan: Plan,
        settings: Settings,
        *,
        manifest: Sequence[PairRow] = (),
        heritage: Heritage | None = None,
    ) -> RunFolder:
        """Make a run folder, or give an existing one a new plan.

        An existing run keeps its run id and all its attempts; of these count again those whose work the new
        plan asks for too. Its old plan stays under plans/. With nothing changed, nothing is written.
        `heritage`: of a plan that makes part of another run again.

        Raises UsageError when the folder holds something else, is of a newer version, or is being worked on.
        """
        path = path.expanduser().absolute()
        check_is_ours(path)
        with writable(path):
            make_dirs(path)
        with driving(path):
            run_id = _claim(path, plan.run_id)
            plan = plan.model_copy(update={"run_id": run_id})
            standing = cls._standing(path)
            if standing is not None and standing._asks_for(plan, settings, manifest):
                return standing
            if heritage is not None:
                write_heritage(path, heritage)
            version = _next_version(path)
            _write_plan(path, version, plan, settings, manifest)
        run = cls(path, outline=PlanOutline.of(plan), version=version, settings=settings)
        run.plan = plan
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run folder. Raises UsageError when it is none, is damaged, or is of a newer version."""
        path = path.expanduser().absolute()
        _read_marker(path)
        try:
            outline = PlanOutline.read(path / "plan.parquet")
        except FileNotFoundError:
            raise UsageError(
                "the run was never planned to the end", file=path, action="Run its manifest on this folder again."
            ) from None
        except UsageError:
            raise
        except _UNREADABLE as exc:
            outline = _newest_outline(path, exc)
        settings = load_settings(_version_path(path, outline.version, ".toml"))
        return cls(path, outline=outline, version=outline.version, settings=settings)

    @classmethod
    def _standing(cls, path: Path) -> RunFolder | None:
        """The run as it stands; None where it has no plan, or one that must be written anew because it is damaged."""
        try:
            _read_plan(path / "plan.parquet")
            return cls.open(path)
        except UsageError:
            raise
        except _UNREADABLE as exc:
            if isinstance(exc, OSError) and exc.errno not in (None, errno.ENOENT):  # None: damage, in Arrow's words
                raise
            return None

    @property
    def run_id(self) -> str:
        """Id of the run; stays the same when the plan changes."""
        return self.outline.head.run_id

    @cached_property
    def plan(self) -> Plan:
        """The plan that was in force when the folder was opened; read when it is first asked for."""
        kept = _version_path(self.path, self.version, ".parquet")
        for file in (kept, self.path / "plan.parquet"):
            with contextlib.suppress(*_UNREADABLE):
                plan, version = _read_plan(file)
                if version == self.version:
                    return plan
        raise UsageError("the plan cannot be read", file=kept, action=_PLAN_AGAIN)

    def plan_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The table of that plan, or some of its columns; much smaller than the plan. See `singalong.plan_table`."""
        kept = _version_path(self.path, self.version, ".parquet")
        for file in (kept, self.path / "plan.parquet"):
            with contextlib.suppress(*_UNREADABLE):
                table = read_plan_table(file, columns)
                if int(table.schema.metadata[PLAN_VERSION_KEY]) == self.version:
                    return table
        raise UsageError("the plan cannot be read", file=kept, action=_PLAN_AGAIN)

    @property
    def manifest(self) -> list[PairRow]:
        """The manifest rows the plan was made from."""
        return from_table(PairRow, pq.read_table(_version_path(self.path, self.version, ".manifest.parquet")))

    @cached_property
    def heritage(self) -> Heritage | None:
        """What this run makes again of another one, and the takes before; None for a run of its own."""
        heritage = read_heritage(self.path)
        if heritage is None or heritage.order.parent_run_id != self.outline.head.parent_run_id:
            return None  # the folder was given a plan of its own since
        return heritage

    def makes(self, pair_id: str) -> bool:
        """Whether it is for this run to make a pair; a pass leaves the others as they were."""
        return self.heritage is None or pair_id in self._made_again

    @cached_property
    def _work_keys(self) -> dict[str, str]:
        return dict(zip(self.outline.shard_ids, self.outline.work_keys, strict=True))

    @cached_property
    def _made_again(self) -> frozenset[str]:
        return frozenset(self.heritage.order.pairs if self.heritage else ())

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the run for one driver; UsageError naming the holder when there is another."""
        return driving(self.path)

    def holder(self) -> str | None:
        """Who is working on this run at the moment, in words; None when nobody is."""
        mirror = mirror_of(self.path)
        return lock_holder(self.path / ".lock") if mirror is None else mirror.lease.holder()

    @property
    def location(self) -> str:
        """Where the run is for everybody: its folder, or its URL."""
        return location_of(self.path)

    def check_is_there(self) -> None:
        """Raise TransientIOError when the folder was deleted or moved: writing on would make one that is no run."""
        if not (self.path / MARKER).exists():
            raise TransientIOError(
                "the run folder is gone", file=self.path, action="Run the manifest again; finished shards are kept."
            )

    # ---- attempts

    def next_attempt(self, shard_id: str) -> int:
        """The number of the next attempt at a shard: one more than any that was started or recorded."""
        return self._log.next_number(shard_id)

    def journal_started(self, shard_id: str, attempt: int, worker: str = "", *, flush: bool = True) -> None:
        """Write that an attempt is about to start; returns when that is safe on the disk.

        Without `flush` it is once `flush_attempts` returns: many share one write.
        """
        self.check_is_there()
        self._log.mark_started(shard_id, attempt, work_key=self._work_keys[shard_id], worker=worker, flush=flush)

    def record(self, attempt: AttemptRow, *, flush: bool = True) -> None:
        """Write how an attempt ended; returns when that is safe on the disk, `flush` as in `journal_started`.

        Raises FileExistsError if it was written before.
        """
        self.check_is_there()
        self._log.record(attempt, flush=flush)
        self.listeners.expect(attempt)
        if flush:
            self.listeners.tell()

    def flush_attempts(self) -> None:
        """Return when all starts and ends that were told of are safe on the disk."""
        self.check_is_there()
        self._log.flush()
        self.listeners.tell()

    def fold_journal(self) -> None:
        """Fold the many small files of a driver's work into one, if they are many; for the driver alone."""
        self.check_is_there()
        self._log.flush()
        self._log.fold_at_end()

    def attempts(self, shard_id: str | None = None) -> list[AttemptRow]:
        """All recorded attempts, of one shard or of all, also those of former plans; by shard, then
        number.
        """
        return self._log.read().rows_of(shard_id)

    def each_attempt(self) -> Iterator[AttemptRow]:
        """The same, one after the other in no order: a million of them at once would fill the memory."""
        return self._log.read().each_row()

    def fold(self) -> RunFold:
        """Where every shard of the current plan stands. Reads only what was written since the last call."""
        log, outline = self._log.read(), self.outline
        if self._folded is None or self._folded[0] is not log:
            fold = fold_parts(outline.shard_ids, outline.work_keys, log.parts, log.marks, damaged=log.damaged)
            self._folded = log, fold
        return self._folded[1]

    # ---- frames

    def frames_path(self, shard_id: str) -> Path:
        """Where the frames table of a shard is, once it is done."""
        return self.path / "frames" / f"{shard_id}.parquet"

    def keep_frames(self, shard_id: str, source: Path) -> Path:
        """Have the store's frames table in the run folder, as a hard link where the file systems allow it.

        A new link is not flushed: the store's table is safe, and writing the report links it again.
        """
        self.check_is_there()
        target = self.frames_path(shard_id)
        if not link_unflushed(source, target) and not (target.exists() and _same_content(source, target)):
            link_or_copy(source, target)
        return target

    def _asks_for(self, plan: Plan, settings: Settings, manifest: Sequence[PairRow]) -> bool:
        """Whether a new plan asks for just what this one does; when and by which parent does not matter."""
        when = {"created_at": self.plan.created_at, "parent_run_id": self.plan.parent_run_id}
        return (
            plan.model_copy(update=when) == self.plan and settings == self.settings and list(manifest) == self.manifest
        )


def _claim(path: Path, run_id: str) -> str:
    """Mark a folder as that of a run; returns the id of the run it belongs to."""
    if not (path / MARKER).exists():
        marker = {
            "schema_version": RUN_SCHEMA_VERSION,
            "run_id": run_id,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomic(path / MARKER, json.dumps(marker, indent=1).encode(), replace=False)
    return _read_marker(path)


def _read_marker(path: Path) -> str:
    try:
        marker = json.loads((path / MARKER).read_bytes())
        version, run_id = int(marker["schema_version"]), str(marker["run_id"])
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            "not a run folder", file=path, expected=f"a folder with {MARKER}, as singalong run makes it"
        ) from None
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"damaged: {exc}", file=path / MARKER) from exc
    refuse_newer("the run", version, RUN_SCHEMA_VERSION, file=path)
    return run_id


def _raise_version(path: Path) -> None:
    """Keep older versions from a run that is written on: they would see none of what comes now."""
    marker = json.loads((path / MARKER).read_bytes())
    if marker["schema_version"] != RUN_SCHEMA_VERSION:
        write_atomic(path / MARKER, json.dumps(marker | {"schema_version": RUN_SCHEMA_VERSION}, indent=1).encode())


def _read_plan(file: Path) -> tuple[Plan, int]:
    table = pq.read_table(file, page_checksum_verification=True)
    return plan_from_table(table, file=file), int(table.schema.metadata[PLAN_VERSION_KEY])


def _newest_outline(path: Path, damage: Exception) -> PlanOutline:
    """The newest plan under plans/ that reads: plan.parquet is a copy of it. Raises UsageError where there is none."""
    for version in range(_next_version(path) - 1, 0, -1):
        try:
            return PlanOutline.read(_version_path(path, version, ".parquet"))
        except UsageError:
            raise
        except _UNREADABLE:
            continue
    raise UsageError(f"the plan cannot be read: {damage}", file=path / "plan.parquet", action=_PLAN_AGAIN) from damage


def _version_path(path: Path, version: int, suffix: str) -> Path:
    return path / "plans" / f"{version:04d}{suffix}"


def _next_version(path: Path) -> int:
    """One more than any number in use; a number whose plan was never finished is used again."""
    numbers = [
        int(found[1]) for entry in iter_names(path / "plans") if (found := re.fullmatch(r"(\d+)\.parquet", entry))
    ]
    return max(numbers, default=0) + 1


def _write_plan(path: Path, version: int, plan: Plan, settings: Settings, manifest: Sequence[PairRow]) -> None:
    """Write a plan with all it was made from; it is in force once the last file stands."""
    rows, config = to_table(PairRow, list(manifest)), dump_settings(settings).encode()
    table = plan_to_table(plan)
    table = table.replace_schema_metadata({**table.schema.metadata, PLAN_VERSION_KEY: str(version)})
    write_parquet_atomic(rows, _version_path(path, version, ".manifest.parquet"))
    write_atomic(_version_path(path, version, ".toml"), config)
    write_parquet_atomic(table, _version_path(path, version, ".parquet"), replace=False)
    # Copies, not links: whoever edits one of these must not edit history.
    write_parquet_atomic(rows, path / "manifest.parquet")
    write_atomic(path / "config.toml", config)
    write_parquet_atomic(table, path / "plan.parquet")


def _same_content(source: Path, target: Path) -> bool:
    ours, theirs = target.stat(), source.stat()
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) or target.read_bytes() == source.read_bytes()
