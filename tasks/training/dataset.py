"""Training examples on disk: shards of raw arrays that are mapped into memory, outside the repository.

A shard is a folder `s<first seed>` with one .npy file per field of an example, the examples stacked along a new first
axis. It appears whole or not at all, so rendering can be stopped and resumed, and shared by several processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.training.clips import TrainingClip, make_clip
from tasks.training.portraits import Portrait, make_portrait
from tasks.training.sounds import TrainingSound, make_sound

SHARD_EXAMPLES = 16

MAKERS: dict[str, tuple[type[Any], Callable[[int], Any]]] = {
    "clips": (TrainingClip, make_clip),
    "portraits": (Portrait, make_portrait),
    "sounds": (TrainingSound, make_sound),
}
"""Kinds of examples: talking people for the expert, faces with two mouths for the brush, voices for the ear."""

_log = logging.getLogger(__name__)


def render_shards(
    folder: Path, kind: str, *, first_seed: int, num_examples: int, worker: int = 0, num_workers: int = 1
) -> None:
    """Make the examples of seeds [first_seed, first_seed + num_examples), skipping the shards that are there.

    Worker w of n makes every n-th shard.
    """
    example, make = MAKERS[kind]
    names = [field.name for field in fields(example)]
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(range(first_seed, first_seed + num_examples, SHARD_EXAMPLES)):
        final = folder / f"s{seed:08d}"
        if index % num_workers != worker or final.exists():
            continue
        made = [make(seed + k) for k in range(min(SHARD_EXAMPLES, first_seed + num_examples - seed))]
        temporary = folder / f".{final.name}-{os.getpid()}"
        temporary.mkdir()
        for name in names:
            stacked = np.stack([getattr(row, name) for row in made])
            np.save(temporary / f"{name}.npy", stacked.astype(_stored_type(stacked.dtype)))
        if final.exists():
            shutil.rmtree(temporary)
        else:
            temporary.rename(final)
        _log.info("%s", final)


def _stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype == np.uint8 else np.dtype(np.float16)


class ExampleSet:
    """The examples of the first `num_shards` shards of a folder, in order of their seeds (None: all there are)."""

    def __init__(self, folder: Path, *, num_shards: int | None = None) -> None:
        paths = sorted(folder.glob("s*"))[:num_shards]
        if not paths:
            raise FileNotFoundError(f"no training examples in {folder}: run tasks.training.dataset")
        self._shards = [{file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")} for path in paths]
        self._where = [(s, c) for s, shard in enumerate(self._shards) for c in range(len(next(iter(shard.values()))))]

    def __len__(self) -> int:
        return len(self._where)

    def get(self, example: int, name: str) -> NDArray[np.generic]:
        """One field of one example, still on disk: index it before computing with it."""
        shard, place = self._where[example]
        return np.asarray(self._shards[shard][name][place])


def main() -> None:
    """Make training examples; several workers may share a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=list(MAKERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--num-examples", type=int, default=1200)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--num-workers", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(1)
    render_shards(
        args.folder,
        args.kind,
        first_seed=args.first_seed,
        num_examples=args.num_examples,
        worker=args.worker,
        num_workers=args.num_workers,
    )


if __name__ == "__main__":
    main()
