"""Clips and songs for measurements, made by the project itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song


def make_clip(path: Path, *, seconds: float, width: int = 1280, height: int = 720) -> Path:
    """A synthetic person talking, 25 fps."""
    clip = TalkingClip.from_seed(
        7, width=width, height=height, fps=Fraction(25), duration_s=seconds, speaks=True, half_height=0.3, max_yaw=0.25
    )
    return clip.write(path)


def make_song(path: Path, *, seconds: float, seed: int = 5) -> Path:
    """A synthetic song with a band."""
    return write_wav(path, Song.from_seed(seed, seconds, snr_db=6.0).mix)
