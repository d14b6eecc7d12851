"""The fuzzer itself: it finds what is planted, the same seed makes the same files, and a short run finds nothing."""

import random
from pathlib import Path

import pytest

from bench import fuzz
from bench.fuzz_inputs import make_seeds
from bench.mutations import MAX_BYTES, mutate

PLANTED = """
import os, time
from tasks.child import serve

def answer(request):
    data = open(request["path"], "rb").read()
    if request["kind"] == "clip":
        os.abort()
    if request["kind"] == "manifest":
        return {"outcome": "bug", "text": "Traceback of something"}
    return {"outcome": "refused", "text": str(len(data))}

if __name__ == "__main__":
    serve(answer)
"""


def test_the_same_seed_makes_the_same_damage() -> None:
    data, others = bytes(range(256)) * 20, [b"other" * 100]

    def made(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [mutate(data, others, rng, is_text=bool(number % 2)) for number in range(200)]

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert sum(one != data for one in made(1)) > 190
    assert all(0 < len(one) <= MAX_BYTES for one in made(3))


def test_any_content_can_be_damaged() -> None:
    for seed in range(300):
        assert mutate(b"\0", [b""], random.Random(seed), is_text=seed % 2 == 0)


def test_what_goes_wrong_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(fuzz, "CHILD", "planted")
    (tmp_path / "made").mkdir()
    tally = fuzz.fuzz(tmp_path / "made", seconds=2.5, seed=1)
    outcomes = {outcome for outcome, _, _ in tally.findings}
    assert outcomes == {"bug", "crash"}
    assert {outcome for outcome, _, _ in tally.faults} == {"bug"}
    assert all(path.is_file() for _, path, _ in tally.findings)


def test_a_short_run_finds_no_fault(tmp_path: Path) -> None:
    tally = fuzz.fuzz(tmp_path, seconds=4, seed=5)
    assert tally.faults == []
    assert {kind for kind, _ in tally.counts} == {"manifest", "clip", "song"}


def test_seeds_are_sound_and_of_every_kind(tmp_path: Path) -> None:
    seeds = make_seeds(tmp_path, None)
    assert {seed.kind for seed in seeds} == {"manifest", "clip", "song"}
    assert len(seeds) > 25
