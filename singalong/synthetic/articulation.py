"""From timed phonemes to the mouth's shape at every video frame.

Coarticulation is a weighted mean in time: every phoneme pulls the columns that matter to it with a weight, the rest
is left to its neighbours, and a Gaussian spreads both (a plain form of Cohen and Massaro's dominance functions, 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.phonemes import MOUTH_NAMES, PHONEMES, PhonemeSpan

_GRID_HZ = 200
_COLUMN = {name: index for index, name in enumerate(MOUTH_NAMES)}
_LOWEST = np.array([-1.0 if name in ("width", "smile") else 0.0 for name in MOUTH_NAMES], np.float32)


@dataclass(frozen=True)
class MouthStyle:
    """How one person articulates, and what the mouth does at rest.

    effort scales openings (0.7 mumbles, 1.2 is theatrical); smear_s is the reach of coarticulation, seconds; rest_* is
    the mouth's shape in silence: rest_gap parted lips, rest_teeth how much they show, rest_smile the corners' lift.
    """

    effort: float = 1.0
    smear_s: float = 0.032
    variation: float = 0.08
    rest_gap: float = 0.0
    rest_teeth: float = 0.0
    rest_smile: float = 0.1
    rest_width: float = 0.0

    @classmethod
    def from_seed(cls, seed: int) -> MouthStyle:
        """A random style: most mouths rest closed, some smile with their teeth, some stand a little open."""
        rng = np.random.default_rng([seed, 11])
        smiling, parted = rng.random() < 0.3, rng.random() < 0.25
        return cls(
            effort=float(rng.uniform(0.75, 1.15)),
            smear_s=float(rng.uniform(0.024, 0.042)),
            variation=float(rng.uniform(0.03, 0.12)),
            rest_gap=float(rng.uniform(0.1, 0.3)) if parted else 0.0,
            rest_teeth=float(rng.uniform(0.4, 1.0)) if parted and smiling else 0.0,
            rest_smile=float(rng.uniform(0.3, 0.9)) if smiling else float(rng.uniform(0.0, 0.45)),
            rest_width=float(rng.uniform(0.2, 0.6)) if smiling else float(rng.uniform(-0.1, 0.15)),
        )

    def rest(self) -> Floats:
        """The mouth at rest, (9,) float32."""
        values = {
            "opening": self.rest_gap,
            "jaw": self.rest_gap * 0.35,
            "teeth": self.rest_teeth,
            "width": self.rest_width,
            "smile": self.rest_smile,
        }
        return np.array([values.get(name, 0.0) for name in MOUTH_NAMES], np.float32)


def mouth_track(
    phonemes: Sequence[PhonemeSpan], times_s: Floats, *, style: MouthStyle | None = None, seed: int = 0
) -> Floats:
    """The mouth's shape at the given times.

    phonemes: in order, gaps between them are silence. times_s: (n,) seconds.
    Returns (n, 9) float32, columns MOUTH_NAMES.
    """
    style = style or MouthStyle()
    times_s = np.asarray(times_s, np.float64)
    if times_s.size == 0:
        return np.zeros((0, len(MOUTH_NAMES)), np.float32)
    start_s = float(times_s.min()) - 0.5
    num_steps = int((float(times_s.max()) + 0.5 - start_s) * _GRID_HZ) + 2
    grid_s = start_s + np.arange(num_steps) / _GRID_HZ
    targets, weights = _targets(phonemes, style, seed)
    step = _phoneme_at(phonemes, grid_s)
    weight = weights[step]
    smooth = _gaussian(style.smear_s * _GRID_HZ)
    track = _spread(targets[step] * weight, smooth) / _spread(weight, smooth)
    position = (times_s - start_s) * _GRID_HZ
    columns = [np.interp(position, np.arange(num_steps), track[:, column]) for column in range(track.shape[1])]
    return np.clip(np.stack(columns, axis=1), _LOWEST, 1.0).astype(np.float32)


def still_mouth(num_frames: int, *, style: MouthStyle | None = None) -> Floats:
    """A mouth that rests, (n, 9) float32."""
    return np.repeat((style or MouthStyle()).rest()[None], num_frames, axis=0)


def _targets(phonemes: Sequence[PhonemeSpan], style: MouthStyle, seed: int) -> tuple[Floats, Floats]:
    """Targets and weights, (num phonemes * 2 + 1, 9): both halves of each phoneme, then silence."""
    rng = np.random.default_rng([seed, 12])
    rest = style.rest()
    halves = [_lips(symbol, style) for span in phonemes for symbol in _halves(span.symbol)]
    targets = np.stack([*(target for target, _ in halves), rest])
    weights = np.stack([*(weight for _, weight in halves), np.full(len(MOUTH_NAMES), 0.8, np.float32)])
    for index, span in enumerate(phonemes):
        vary = 1 + style.variation * rng.standard_normal(len(MOUTH_NAMES))
        if span.symbol == "SIL":
            targets[2 * index : 2 * index + 2] = rest
        elif PHONEMES[span.symbol].kind == "vowel":
            targets[2 * index : 2 * index + 2] *= vary
    smile = _COLUMN["smile"]
    targets[:, smile] = rest[smile] * (1 - 0.6 * targets[:, _COLUMN["rounding"]])
    return targets.astype(np.float32), weights.astype(np.float32)


def _halves(symbol: str) -> tuple[str, str]:
    return symbol, PHONEMES[symbol].glide or symbol


def _lips(symbol: str, style: MouthStyle) -> tuple[Floats, Floats]:
    lips = PHONEMES[symbol].lips
    target = np.array([getattr(lips, name, 0.0) for name in MOUTH_NAMES], np.float32)
    target[[_COLUMN["opening"], _COLUMN["jaw"]]] *= style.effort
    target[_COLUMN["width"]] += 0.5 * style.rest_width
    if PHONEMES[symbol].kind == "vowel":
        return target, np.ones(len(MOUTH_NAMES), np.float32)
    weight = np.array([lips.hold if name in lips.firm else min(lips.hold, 0.25) for name in MOUTH_NAMES], np.float32)
    return target, weight


def _phoneme_at(phonemes: Sequence[PhonemeSpan], grid_s: Floats) -> Floats:
    """Row of `_targets` in force at each time: the span's first or second half, or silence."""
    if not phonemes:
        return np.zeros(grid_s.shape, np.int64)
    starts = np.array([span.start_s for span in phonemes])
    ends = np.array([span.end_s for span in phonemes])
    index = np.searchsorted(starts, grid_s, side="right") - 1
    inside = (index >= 0) & (grid_s < ends[np.maximum(index, 0)])
    index = np.maximum(index, 0)
    second = grid_s >= 0.45 * starts[index] + 0.55 * ends[index]
    return np.where(inside, 2 * index + second, 2 * len(phonemes))


def _gaussian(sigma: float) -> Floats:
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return f32(kernel / kernel.sum())


def _spread(values: Floats, kernel: Floats) -> Floats:
    return np.stack([np.convolve(column, kernel, mode="same") for column in values.T], axis=1)
