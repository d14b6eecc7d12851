"""Which moment of the clip each output frame shows; pure.

An output shows the clip span at its own pace, one step of 1/fps a frame, until the span is used up; then the
fit says how it goes on.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from singalong.contracts import Fit
from singalong.media.units import num_output_frames


def source_times(
    start_frame: int, end_frame: int, *, fps: Fraction, clip_start_s: float, clip_end_s: float, fit: Fit
) -> NDArray[np.float64]:
    """Clip times of the output frames [start_frame, end_frame), seconds, float64 (n,).

    The clip span [clip_start_s, clip_end_s) has N = max(1, round(span * fps)) steps. Step of output frame n:

        cut, hold   min(n, N-1): the last step stands (a cut output is planned no longer than N frames)
        loop        n mod N
        bounce      0, 1, ... N-1, N-2, ... 1, 0, 1, ...: there and back, the turning steps shown once

    and its time is clip_start_s + step / fps. Any slice of frames gives the same times as the whole, so the
    size of a shard changes nothing.
    """
    assert 0 <= start_frame <= end_frame, (start_frame, end_frame)
    num_steps = max(1, num_output_frames(clip_end_s - clip_start_s, fps))
    frames = np.arange(start_frame, end_frame, dtype=np.int64)
    # numerator and denominator stay below 2**53, so that each time is rounded once
    return clip_start_s + _steps(frames, num_steps, fit) * fps.denominator / fps.numerator


def _steps(frames: NDArray[np.int64], num_steps: int, fit: Fit) -> NDArray[np.int64]:
    if fit is Fit.LOOP:
        return frames % num_steps
    if fit is Fit.BOUNCE:
        period = max(1, 2 * (num_steps - 1))
        steps = frames % period
        return np.minimum(steps, period - steps) if num_steps > 1 else steps
    return np.minimum(frames, num_steps - 1)
