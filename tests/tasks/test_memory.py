"""What workers do without: each of these libraries costs every worker dozens of MB and up to a second."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from tasks.memory import _clean_code, peak_rss_mb, release_memory

HEAVY = "('pandas', 'sympy', 'scipy', 'numba', 'torch._dynamo', 'librosa')"


def run(code: str, *arguments: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_loading_models_brings_in_no_compiler_and_no_data_frames(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from models import registry
from models.engine import limit_threads, load_engine
from models.scorers import load_scorer
from singalong.config import Settings
from tasks.jobs import WorkerSpec
from tasks.worker import Worker
import tasks.lipsync, tasks.analyse, tasks.prepare_song, tasks.join

home = Path(sys.argv[1])
limit_threads()
detector = registry.resolve("centerface", "detector", home=home)
Worker(WorkerSpec(settings=Settings(), store=sys.argv[1], detector=detector, scorer=None), owns_process=True)
pa.table({{"a": np.arange(3), "b": ["x", None, "z"]}})
for generator in ("untrained", "singalong-warper"):
    engine = load_engine(registry.resolve(generator, "generator", home=home), device="cpu", batch_size=1)
    engine.generate(np.zeros((1, 80, engine.mel_steps), np.float32), np.zeros((1, 96, 96, 3), np.uint8))
load_scorer(registry.resolve("singalong-expert", "scorer", home=home), device="cpu")
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert run(code, str(tmp_path)) == "[]"


def test_pandas_can_still_be_imported_where_pyarrow_does_without() -> None:
    code = """
from tasks.memory import keep_pandas_out
keep_pandas_out()
import pyarrow as pa, sys
pa.array([1, None])
assert "pandas" not in sys.modules
import pandas
print(len(pandas.DataFrame({"a": [1, 2]})))
"""
    assert run(code) == "2"


def test_the_peak_is_this_process_own_and_not_its_parents() -> None:
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    child = float(run("from tasks.memory import peak_rss_mb; print(peak_rss_mb())"))
    assert 10 < child < peak_rss_mb()
    assert peak_rss_mb() > 64


def test_a_full_size_generator_is_never_in_memory_twice() -> None:
    code = """
import gc
from pathlib import Path
from models.engine import limit_threads, load_engine
from models import registry
from tasks.memory import peak_rss_mb
limit_threads()
ref = registry.resolve("untrained", "generator", home=Path("nowhere"))
before = peak_rss_mb()
engine = load_engine(ref, device="cpu", precision="bfloat16")
print(peak_rss_mb() - before)
"""
    assert float(run(code)) < 200  # float32 weights are 138 MB, with those in bfloat16 beside them 207, once twice


def test_code_that_only_the_start_needed_is_handed_back_and_what_is_needed_again_works() -> None:
    code = """
import re
import torch
from tasks.memory import release_code
def files_mb():
    return int(re.search(r"RssFile:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
weights = torch.ones(64, 3, 3, 3)
expected = torch.nn.functional.conv2d(torch.ones(1, 3, 32, 32), weights)
before = files_mb()
release_code()
print(files_mb() / before, bool((torch.nn.functional.conv2d(torch.ones(1, 3, 32, 32), weights) == expected).all()))
"""
    share, is_same = run(code).split()
    assert float(share) < 0.7
    assert is_same == "True"


@pytest.mark.parametrize(("kind", "anonymous"), [("r-xp", 4), ("r--p", 0), ("rw-p", 0)])
def test_mappings_that_were_written_to_or_may_be_are_never_handed_back(kind: str, anonymous: int) -> None:
    smaps = f"7f00-7f10 {kind} 00000000 fe:01 42   /lib/x.so\nRss: 8 kB\nAnonymous: {anonymous} kB\n"
    assert not list(_clean_code(smaps))
    assert list(_clean_code(smaps.replace(f"{anonymous} kB\n", "0 kB\n").replace(kind, "r-xp"))) == [(0x7F00, 0x7F10)]


class _Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_stays_between_jobs_is_not_looked_through_each_time_and_yet_not_kept_for_ever() -> None:
    knot = _Knot()
    seen = weakref.ref(knot)
    try:
        release_memory()
        assert gc.get_freeze_count() > 1000, "all that stays is looked through after every job"
        del knot  # garbage now, but set aside
        for _ in range(64):
            release_memory()
        assert seen() is None
    finally:
        gc.unfreeze()
