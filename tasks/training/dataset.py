"""Training clips on disk: shards of raw arrays that are mapped into memory, outside the repository.

A shard is a folder `s<first seed>` with one .npy file per field of TrainingClip, the clips stacked along a new first
axis. It appears whole or not at all, so rendering can be stopped and resumed, and shared by several processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.training.clips import TrainingClip, make_clip

SHARD_CLIPS = 16
_DTYPES = {"faces": np.uint8, "references": np.uint8}
_FIELDS = tuple(field.name for field in fields(TrainingClip))

_log = logging.getLogger(__name__)


def render_shards(folder: Path, *, first_seed: int, num_clips: int, worker: int = 0, num_workers: int = 1) -> None:
    """Render the clips of seeds [first_seed, first_seed + num_clips), skipping the shards that are there.

    Worker w of n makes every n-th shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(range(first_seed, first_seed + num_clips, SHARD_CLIPS)):
        final = folder / f"s{seed:08d}"
        if index % num_workers != worker or final.exists():
            continue
        clips = [make_clip(seed + k) for k in range(min(SHARD_CLIPS, first_seed + num_clips - seed))]
        temporary = folder / f".{final.name}-{os.getpid()}"
        temporary.mkdir()
        for name in _FIELDS:
            stacked = np.stack([getattr(clip, name) for clip in clips])
            np.save(temporary / f"{name}.npy", stacked.astype(_DTYPES.get(name, np.float16)))
        if final.exists():
            shutil.rmtree(temporary)
        else:
            temporary.rename(final)
        _log.info("%s", final)


class ClipSet:
    """The clips of the first `num_shards` shards of a folder, in order of their seeds (None: all there are)."""

    def __init__(self, folder: Path, *, num_shards: int | None = None) -> None:
        paths = sorted(folder.glob("s*"))[:num_shards]
        if not paths:
            raise FileNotFoundError(f"no training clips in {folder}: run tasks.training.dataset")
        self._shards = [{name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _FIELDS} for path in paths]
        self._where = [(s, c) for s, shard in enumerate(self._shards) for c in range(len(shard["faces"]))]

    def __len__(self) -> int:
        return len(self._where)

    def get(self, clip: int, name: str) -> NDArray[np.generic]:
        """One field of one clip, still on disk: index it before computing with it."""
        shard, place = self._where[clip]
        return self._shards[shard][name][place]  # type: ignore[no-any-return]


def main() -> None:
    """Render training clips; several workers may share a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--num-clips", type=int, default=1200)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--num-workers", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(1)
    render_shards(
        args.folder,
        first_seed=args.first_seed,
        num_clips=args.num_clips,
        worker=args.worker,
        num_workers=args.num_workers,
    )


if __name__ == "__main__":
    main()
