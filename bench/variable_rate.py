"""Pictures of a clip of variable frame rate: when our output shows them, and when counting frames would."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from singalong.contracts import Fit
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip
from singalong.media.timeline import source_times
from singalong.settings import LimitSettings

_SIZE = (64, 48)
_LEVELS = 12
"""Brightnesses that tell pictures apart; each is on screen again only seconds later."""


@dataclass(frozen=True)
class VariableRate:
    """Worst error of when a picture is shown, milliseconds."""

    fps: str
    num_frames: int
    ours_ms: float
    by_counting_ms: float


def variable_rate(folder: Path, *, duration_s: float = 60.0, seed: int = 5) -> VariableRate:
    """A screen recording of sorts: mostly 30 a second, with pictures that stand for up to half a second."""
    rng = np.random.default_rng(seed)
    steps_ms = np.where(rng.random(int(duration_s * 30)) < 0.08, rng.integers(60, 500, int(duration_s * 30)), 33)
    starts_ms = np.concatenate([[0], np.cumsum(steps_ms)])
    starts_ms = starts_ms[starts_ms < duration_s * 1000]
    path = _write(folder / "variable.mkv", starts_ms.tolist())
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    num_frames = round(Fraction(facts.duration_s) * facts.fps)
    times_s = source_times(0, num_frames, fps=facts.fps, clip_start_s=0.0, clip_end_s=facts.duration_s, fit=Fit.CUT)
    worst_ms = 0.0
    with ClipReader(facts) as reader:
        for first in range(0, num_frames, 64):
            wanted = times_s[first : first + 64]
            for time_s, frame in zip(wanted.tolist(), reader.read_chunk(wanted.tolist()), strict=True):
                right = int(np.searchsorted(starts_ms, 1000 * time_s + 1, side="right")) - 1
                if round(float(frame.y.mean() - 26) / 17) != right % _LEVELS:
                    worst_ms = max(worst_ms, 1000 * abs(frame.pts_s - starts_ms[right] / 1000))
    counted_s = np.arange(len(starts_ms)) / float(facts.fps)
    return VariableRate(
        fps=str(facts.fps),
        num_frames=num_frames,
        ours_ms=worst_ms,
        by_counting_ms=float(np.abs(1000 * counted_s - starts_ms).max()),
    )


def _write(path: Path, starts_ms: list[int]) -> Path:
    base = Fraction(1, 1000)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        stream.codec_context.time_base = stream.time_base = base
        for number, start_ms in enumerate(starts_ms):
            grey = np.full((_SIZE[1] * 3 // 2, _SIZE[0]), 128, np.uint8)
            grey[: _SIZE[1]] = 26 + 17 * (number % _LEVELS)
            frame = av.VideoFrame.from_ndarray(grey, "yuv420p")
            frame.pts, frame.time_base = start_ms, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
