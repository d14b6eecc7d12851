"""A drawn clip of two people side by side, of whom the smaller one is heard."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from singalong.media.audio_out import AudioSpan
from singalong.media.encode import SegmentWriter
from singalong.media.frames import MATRIX_SMPTE170M, RANGE_LIMITED, ColorInfo, bgr_to_frame
from singalong.media.join import join_segments
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav

WIDTH, HEIGHT = 240, 240
FPS = Fraction(25)
SPEAKER, LISTENER = 7_400_002, 7_400_001
_COLOR = ColorInfo(MATRIX_SMPTE170M, RANGE_LIMITED, 6, 6)


def person(seed: int, *, seconds: float, half_height: float, fps: Fraction = FPS) -> TalkingClip:
    """Somebody who talks, facing the camera."""
    return TalkingClip.from_seed(
        seed, width=WIDTH, height=HEIGHT, fps=fps, duration_s=seconds, half_height=half_height, max_yaw=0.15
    )


def write_two_people(path: Path, *, seconds: float = 2.4, late_s: float = 0.0, fps: Fraction = FPS) -> Path:
    """On the left a large face that moves its lips to words nobody hears, on the right a smaller one that is heard.

    `late_s`: how late the sound comes. The pictures are drawn once a folder.
    """
    right = person(SPEAKER, seconds=seconds, half_height=0.22, fps=fps)
    assert right.speech is not None
    segment = path.with_name(f"two-{seconds}-{fps.numerator}-{fps.denominator}.segment")
    if not segment.exists():
        _draw(segment, person(LISTENER, seconds=seconds, half_height=0.34, fps=fps), right)
    speech = np.concatenate([np.zeros(round(late_s * 44100), np.float32), right.speech])
    audio = AudioSpan(write_wav(path.with_suffix(".wav"), speech), 0.0, seconds)
    join_segments([segment], path, fps=fps, audio=[audio], metadata={})
    return path


def _draw(segment: Path, left: TalkingClip, right: TalkingClip) -> None:
    with SegmentWriter(
        segment, width=2 * WIDTH, height=HEIGHT, fps=left.fps, color=_COLOR, crf=20, preset="veryfast"
    ) as writer:
        for index, pair in enumerate(zip(left.frames(), right.frames(), strict=True)):
            writer.write(bgr_to_frame(np.hstack(pair), pts_s=index / float(left.fps), color=_COLOR))
