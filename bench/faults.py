"""Never lose a shard: every fault we know of, done for real to small runs, and what came of it.

    python -m bench.faults                 all of them, some 15 minutes on two cores
    python -m bench.faults --only disk     those whose name has this

Of each: what the run said (exit code, classes of failures), finished shards that were made again (must be 0), whether
anything half-written is visible, and whether the same command then comes to the end, with the very same bytes as an
undisturbed run. Writes bench/results/faults.json; with --only its
other entries stay.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.bed import Came, Fault, make_bed
from bench.faults_disks import DISK_FAULTS
from bench.faults_media import MEDIA_FAULTS
from bench.faults_processes import PROCESS_FAULTS

RESULTS = Path(__file__).parent / "results"


def run_faults(faults: dict[str, Fault], home: Path) -> dict[str, Came]:
    """Suffer all faults, one after the other; none stops the others."""
    bed, came = make_bed(home), dict[str, Came]()
    for name, fault in faults.items():
        started = time.monotonic()
        try:
            came[name] = fault(bed)
        except Exception as error:  # noqa: BLE001 - the table goes on
            came[name] = Came(-1, f"{type(error).__name__}: {error}", False, 0, None, False)
        mark = "ok " if came[name].good else "BAD"
        print(f"{mark} {name}: {came[name]} ({time.monotonic() - started:.0f} s)", flush=True)
    return came


def show(came: dict[str, Came]) -> None:
    """Print the table."""
    table = Table(title="faults", title_justify="left")
    for column in ("fault", "exit", "what came of it", "s", "sound", "redone", "resumed", "good"):
        table.add_column(column)
    for name, found in came.items():
        seconds = "" if found.seconds is None else f"{found.seconds:.1f}"
        resumed = {None: "", True: "yes", False: "no"}[found.resumed]
        cells: Sequence[object] = (
            *(name, found.exit_code, found.what[:60], seconds, found.sound, found.num_redone, resumed, found.good),
        )
        table.add_row(*map(str, cells))
    Console(width=170).print(table)


def main() -> None:
    """Suffer the faults, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression for names of faults")
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays")
    options = parser.parse_args()
    home = options.keep or Path(tempfile.mkdtemp(prefix="singalong-faults-"))
    home.mkdir(parents=True, exist_ok=True)
    every: dict[str, Fault] = {**PROCESS_FAULTS, **DISK_FAULTS, **MEDIA_FAULTS}
    came = run_faults({name: fault for name, fault in every.items() if re.search(options.only, name)}, home)
    show(came)
    RESULTS.mkdir(exist_ok=True)
    results = RESULTS / "faults.json"
    known = json.loads(results.read_text()) if options.only and results.exists() else {}
    known |= {name: asdict(found) | {"good": found.good} for name, found in came.items()}
    results.write_text(json.dumps(known, indent=1) + "\n")
    if options.keep is None:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
