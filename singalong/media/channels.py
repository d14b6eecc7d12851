"""The channels of a sound: mixed down, one of them alone, and whether they cancel each other out."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Samples (n, num_channels), nominally in [-1, 1)."""

# Shares of (left, right) of each speaker in a stereo downmix: centre and surrounds at -3 dB, low-frequency
# effects left out (ITU-R BS.775-3, table 2). Speakers not listed go to both sides alike.
_HALF = sqrt(0.5)
_DOWNMIX: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("FL", "FLC", "WL", "DL"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "FRC", "WR", "DR"), (0.0, 1.0)),
    **dict.fromkeys(("BL", "SL", "TFL", "TBL", "TSL"), (_HALF, 0.0)),
    **dict.fromkeys(("BR", "SR", "TFR", "TBR", "TSR"), (0.0, _HALF)),
    "FC": (_HALF, _HALF),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
}

_LOST_SHARE = 0.1
"""Of a sound's power, in blocks that cancel out: more than that is missed."""

_CANCELLED = 0.1
"""A mean this far below that of unrelated channels is lost: -10 dB. In 50 stereo sounds, made and real, no block comes
closer than 2.7 times this, and that in a fading echo; one inverted side leaves less than a tenth of it."""

_JUDGED_SAMPLES = 4096


def mix(block: Samples, names: Sequence[str], num_channels: int) -> Samples:
    """Samples of so many channels, 1 or 2, of a block whose channels feed the speakers `names`."""
    if block.shape[1] == num_channels:
        return block
    if num_channels == 1:
        mono: Samples = block.mean(axis=1, dtype=np.float32, keepdims=True)
        return mono
    if block.shape[1] == 1:
        return np.repeat(block, 2, axis=1)
    weights = np.array([_DOWNMIX.get(name, (0.5, 0.5)) for name in names])
    weights /= max(1.0, weights.sum(axis=0).max())  # so that full scale on all speakers does not clip
    return block @ weights.astype(np.float32)


def only_channel(block: Samples, channel: int) -> Samples:
    """One channel (n, 1); silence in a part of the track that does not have it."""
    return block[:, channel : channel + 1] if channel < block.shape[1] else np.zeros((len(block), 1), np.float32)


class CancellationMeter:
    """Finds sound whose channels cancel each other out when they are averaged, as in stereo with one side inverted.

    Channels that have nothing to do with each other leave a mean of the sum of their powers over the square of their
    number, whatever their levels; a mean far below that is what cancelling leaves. Judged block by block, because it
    may befall a part of a song only.
    """

    def __init__(self) -> None:
        self._channel_powers = np.zeros(0)
        self._cancelled_power = 0.0

    def add(self, block: Samples) -> None:
        """Take the next samples (n, num_channels)."""
        for first in range(0, len(block), _JUDGED_SAMPLES):
            self._judge(block[first : first + _JUDGED_SAMPLES])

    def _judge(self, block: Samples) -> None:
        powers = np.einsum("nc,nc->c", block, block, dtype=np.float64)
        missing = len(powers) - len(self._channel_powers)
        if missing > 0:
            self._channel_powers = np.pad(self._channel_powers, (0, missing))
        self._channel_powers[: len(powers)] += powers
        mean = block.mean(axis=1, dtype=np.float64)
        if mean @ mean < _CANCELLED * powers.sum() / len(powers) ** 2:
            self._cancelled_power += float(powers.sum())

    @property
    def heard_channel(self) -> int | None:
        """The loudest channel, where the mean of all loses much of what they say; else None."""
        if self._cancelled_power <= _LOST_SHARE * self._channel_powers.sum():
            return None
        return int(np.argmax(self._channel_powers))
