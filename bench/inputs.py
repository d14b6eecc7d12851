"""Clips and songs for measurements, made by the project itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song

ClipKind = Literal["ordinary", "noisy"]
CLIP_KINDS: tuple[ClipKind, ...] = get_args(ClipKind)


@dataclass(frozen=True)
class _Making:
    """How a kind of clip is made: noise of the sensor in grey levels, and the encoder's rate factor and preset."""

    noise: float
    crf: int
    preset: str


_MAKING: dict[ClipKind, _Making] = {
    "ordinary": _Making(noise=3.2, crf=20, preset="medium"),
    "noisy": _Making(noise=4.96, crf=20, preset="veryfast"),
}


def make_clip(
    path: Path,
    *,
    seconds: float,
    width: int = 1280,
    height: int = 720,
    kind: ClipKind = "noisy",
    noise: float | None = None,
) -> Path:
    """A synthetic person talking, 25 fps.

    `ordinary` has about 5 Mb/s at 1280x720, as clips of telephones and of the web have; `noisy` 16, most of them the
    noise of a dark room. `noise` is the deviation of that noise in grey levels, where it is not to be the kind's own.
    """
    making = _MAKING[kind]
    clip = TalkingClip.from_seed(
        7, width=width, height=height, fps=Fraction(25), duration_s=seconds, speaks=True, half_height=0.3, max_yaw=0.25
    )
    quality = replace(clip.scene.quality, noise=making.noise if noise is None else noise)
    clip = replace(clip, scene=replace(clip.scene, quality=quality))
    return clip.write(path, crf=making.crf, preset=making.preset)


def megabits_per_s(path: Path, *, seconds: float) -> float:
    """Bit rate of a file, sound included."""
    return path.stat().st_size * 8e-6 / seconds


def make_song(path: Path, *, seconds: float, seed: int = 5) -> Path:
    """A synthetic song with a band."""
    return write_wav(path, Song.from_seed(seed, seconds, snr_db=6.0).mix)
