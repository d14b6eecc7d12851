"""Damaged manifests and media by the thousand: each must be read or refused, by an error of ours, and in time.

    python -m bench.fuzz --seconds 60 --seed 0

Small manifests, clips, songs and pictures are made, damaged (see `bench.mutations`), and read by a child process with a
limit on its memory and on its time, as the product reads them: the manifest reader; the probe, then the readers of
what passed it. Where real media lie in ../shared/data, their first megabyte is used too. What goes wrong is kept:

    bug      an exception that is not ours                  a fault of ours, always
    hang     no answer in time                              a fault; of media, the product kills its child, too
    crash    the child died, of libav or of its limits      of a manifest a fault; of media the product refuses the row

Exit code 1 if there was a fault of ours. The same seed makes the same files in the same order.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.fuzz_inputs import Seed, make_seeds
from bench.mutations import mutate
from tasks.child import Child, ChildGoneError

CHILD = "bench.fuzz_child"
TIMEOUT_S = 20.0
FAULTS = frozenset({"bug", "hang", "manifest crash"})


@dataclass
class Tally:
    """How many files of a kind came out how, and those that are worth a look."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[tuple[str, Path, str]] = field(default_factory=list)

    @property
    def num_files(self) -> int:
        """All files that were tried."""
        return sum(self.counts.values())

    @property
    def faults(self) -> list[tuple[str, Path, str]]:
        """The findings that are faults of ours."""
        return [finding for finding in self.findings if finding[0] in FAULTS]


class _Reader:
    """The child, started again whenever it is gone."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def read(self, kind: str, path: Path) -> tuple[str, str]:
        """Outcome and text."""
        self._child = self._child or Child(CHILD)
        try:
            answer = self._child.ask({"kind": kind, "path": str(path)}, TIMEOUT_S)
        except TimeoutError:
            self.close()
            return "hang", f"no answer within {TIMEOUT_S:g} s"
        except ChildGoneError:
            reason = self.close(grace_s=1.0)
            return ("manifest crash" if kind == "manifest" else "crash"), reason
        return answer["outcome"], answer["text"]

    def close(self, grace_s: float = 0.0) -> str:
        """What the child died of."""
        child, self._child = self._child, None
        return child.close(grace_s) if child else ""


def fuzz(folder: Path, *, seconds: float, seed: int, keep: Path | None = None, shared: Path | None = None) -> Tally:
    """Try damaged files until the time is up; what is found is copied into `keep`."""
    seeds = make_seeds(folder, shared)
    end, tally, reader = time.monotonic() + seconds, Tally(), _Reader()
    try:
        for seed_file, number, data in _files(seeds, seed):
            if time.monotonic() >= end:
                break
            path = folder / f"damaged{seed_file.suffix}"
            path.write_bytes(data)
            outcome, text = reader.read(seed_file.kind, path)
            tally.counts[seed_file.kind, outcome] += 1
            if outcome in FAULTS or outcome == "crash":
                name = f"{outcome.replace(' ', '-')}-{seed}-{number}-{seed_file.name}{seed_file.suffix}"
                target = (keep or folder) / name
                target.write_bytes(data)
                tally.findings.append((outcome, target, text))
    finally:
        reader.close()
    return tally


def _files(seeds: list[Seed], seed: int) -> Iterator[tuple[Seed, int, bytes]]:
    """Damaged files without end; the kinds take turns, and so do the files of a kind."""
    kinds = list(dict.fromkeys(one.kind for one in seeds))
    contents = {kind: [one.data for one in seeds if one.kind == kind] for kind in kinds}
    number = 0
    while True:
        for kind in kinds:
            rng = random.Random(f"{seed}/{number}")
            chosen = rng.choice([one for one in seeds if one.kind == kind])
            is_text = kind == "manifest" and chosen.suffix != ".parquet"
            yield chosen, number, mutate(chosen.data, contents[kind], rng, is_text=is_text)
            number += 1


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where found files go")
    args = parser.parse_args()
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="singalong-fuzz-") as folder:
        tally = fuzz(
            Path(folder),
            seconds=args.seconds,
            seed=args.seed,
            keep=args.keep,
            shared=shared if shared.is_dir() else None,
        )
    for (kind, outcome), count in sorted(tally.counts.items()):
        print(f"{kind:10} {outcome:16} {count:7}")
    for outcome, path, text in tally.findings:
        print(f"\n{outcome}: {path}\n{text}")
    print(f"\n{tally.num_files} files, {len(tally.findings)} findings, {len(tally.faults)} faults of ours")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
