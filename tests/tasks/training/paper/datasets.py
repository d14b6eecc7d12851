"""A small dataset for tests: drawn faces whose mouths open as their sound grows loud."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.training.sequences import SIDE_PX, SequenceWriter, num_mel_steps_needed

NUM_FRAMES = 30


def write_dataset(folder: Path, *, num_videos: int = 4, num_frames: int = NUM_FRAMES) -> Path:
    """A dataset of so many videos, one sequence each; `val.txt` names the last of them."""
    for video in range(num_videos):
        name = f"video-{video}"
        rng = np.random.default_rng(video)
        loudness = 0.5 + 0.5 * np.sin(np.cumsum(rng.uniform(0.2, 1.0, num_frames + 6)))
        with SequenceWriter(folder, name) as writer:
            for frame in range(num_frames):
                writer.add(draw_face(video, loudness[frame]))
            digest = hashlib.sha256(name.encode()).hexdigest()
            writer.finish(mel_of(loudness, num_frames), source=f"{name}.mp4", source_sha256=digest)
    (folder / "val.txt").write_text(f"video-{num_videos - 1}.mp4\n")
    return folder


def draw_face(video: int, openness: float) -> NDArray[np.uint8]:
    """A disc with a mouth, in a colour of its own."""
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    face = np.full((SIDE_PX, SIDE_PX, 3), 30, np.uint8)
    face[rows**2 + columns**2 < 44**2] = (90 + 30 * (video % 3), 120, 180 - 20 * (video % 4))
    face[((rows - 20) / (1 + 14 * openness)) ** 2 + (columns / 20) ** 2 < 1] = (20, 10, 60)
    return face


def mel_of(loudness: NDArray[np.floating], num_frames: int) -> NDArray[np.float32]:
    """Every band as loud as the mouth is open, 3.2 columns a frame."""
    columns = np.arange(num_mel_steps_needed(num_frames)) / 3.2
    level = np.interp(columns, np.arange(len(loudness)), loudness)
    return np.tile(8 * level - 4, (80, 1)).astype(np.float32)
