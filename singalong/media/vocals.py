"""Where in a song somebody sings, and how lips come to rest elsewhere.

A mix is judged by the mouth that the warper's ear hears in it. That ear was trained on voices under bands, and learned
to keep the mouth shut for a band alone; so how far it opens, against how firmly it presses the lips, tells voices from
instruments. The limits below were chosen on a dozen made songs of known voices, 0 to 12 dB above their bands, on
speech, on solo singing, on one song with its band and on one instrumental piece.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from singalong.media.units import MEL_STEPS_PER_S

HEARD_EVERY_STEPS = 4
"""Mel steps from one mouth that is judged to the next: 20 a second."""

_OPENING, _PRESS = 0, 4
"""Of the ear's values (see `models.warper.NUM_MOUTH_VALUES`)."""
_QUIET = 0.1
"""Keeps the measure small where the mouth does nothing at all."""
# Windows in mouths of 1/20 s, and limits of the measure's mean over them. The instrumental piece reaches 0.42 in the
# song's window, the least of the voices 0.51.
_SONG_WINDOW, _SONG_LIMIT = 31, 0.46
_PHRASE_WINDOW, _PHRASE_LIMIT = 15, 0.3
_WORD_WINDOW, _WORD_LIMIT = 13, 0.15

# Lips get ready before a sound is heard and leave it slowly: they rest only further away.
_KEPT_STEPS = round(0.5 * MEL_STEPS_PER_S)
_FADE_STEPS = round(0.5 * MEL_STEPS_PER_S)


def sung_steps(mouths: NDArray[np.float32], loud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which mel steps of a mix are sung: bool (T,).

    Args:
        mouths: what the ear hears at every HEARD_EVERY_STEPS-th step, (ceil(T / 4), 8).
        loud: bool (T,), see `voice_activity`; a step that is not loud is not sung.

    A song in which the mouth opens nowhere for a second and a half has no voice. In any other a phrase is where it
    opens for three quarters of one, and reaches as far around as it opens a little.
    """
    if len(mouths) == 0:
        return np.zeros_like(loud)
    opening, press = mouths[:, _OPENING].astype(np.float64), mouths[:, _PRESS].astype(np.float64)
    voice = opening / (np.abs(opening) + np.maximum(press, 0) + _QUIET)
    if _mean_around(voice, _SONG_WINDOW).max() < _SONG_LIMIT:
        return np.zeros_like(loud)
    phrase = _mean_around(voice, _PHRASE_WINDOW) >= _PHRASE_LIMIT
    near = phrase | (_mean_around(voice, _WORD_WINDOW) >= _WORD_LIMIT)
    edges = np.flatnonzero(np.diff(near, prepend=False, append=False))
    sung = np.zeros(len(near), np.bool_)
    for start, end in list(pairwise(edges.tolist()))[::2]:
        sung[start:end] = phrase[start:end].any()
    return np.repeat(sung, HEARD_EVERY_STEPS)[: len(loud)] & loud


def rest_gain(voiced: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much of the mouth they hear lips should show at each mel step, float32 (T,): 0 where they should rest.

    All of it to 0.5 s from a voiced step, nothing from 1 s on. To shut the mouth itself is better than to let the ear
    hear silence: an ear that hears a band begin or end moves the lips.
    """
    distance = np.minimum(_steps_since(voiced), _steps_since(voiced[::-1])[::-1])
    gain: NDArray[np.float32] = np.clip((_KEPT_STEPS + _FADE_STEPS - distance) / _FADE_STEPS, 0, 1).astype(np.float32)
    return gain


def _steps_since(voiced: NDArray[np.bool_]) -> NDArray[np.int64]:
    steps = np.arange(len(voiced))
    never = -len(voiced) - _KEPT_STEPS - _FADE_STEPS
    since: NDArray[np.int64] = steps - np.maximum.accumulate(np.where(voiced, steps, never))
    return since


def _mean_around(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over `window` values (odd) centred on each, over fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = np.arange(len(values))
    first, last = np.maximum(centres - window // 2, 0), np.minimum(centres + window // 2 + 1, len(values))
    means: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return means
