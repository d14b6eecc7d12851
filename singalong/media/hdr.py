"""High dynamic range: what PQ and HLG samples mean as light, and how they look on an ordinary screen, and back.

Networks, reports and people's SDR screens see HDR pictures through `to_display`; `from_display` undoes it. Values are
R'G'B' as coded, 0 to 1, and light relative to diffuse white, 203 cd/m2 (ITU-R BT.2408, section 2.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

TRANSFER_PQ, TRANSFER_HLG = 16, 18
PRIMARIES_BT2020 = 9
WHITE_NITS = 203.0
PQ_PEAK_NITS = 10_000.0
HLG_PEAK_NITS, _HLG_SYSTEM_GAMMA = 1000.0, 1.2
"""HLG is relative; this is its reference display (BT.2100, table 5), on which 75 % HLG is diffuse white."""

_KNEE = 0.8
"""Light up to this share of diffuse white is shown as it is, what is above rolls off towards the screen's white."""
_SCREEN_GAMMA = 2.4
"""Of an SDR screen (BT.1886)."""
_CEILING = 0.998
"""Of the screen's white; beyond it light cannot be told from the picture on the screen."""

# PQ, SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# HLG, BT.2100 table 5
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

# Linear light of BT.2020 in BT.709, columns and rows R, G, B (BT.2087, annex 2), and back.
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_TO_2020 = np.linalg.inv(_TO_709).astype(np.float32)

_CODES = 16384
"""Steps of the tables; finer than a 10-bit sample."""
_MOST_LIGHT = PQ_PEAK_NITS / WHITE_NITS


@dataclass(frozen=True)
class HdrLight:
    """Static metadata (SMPTE ST 2086, CTA-861.3): on which screen the picture was graded, and how bright it gets.

    mastering: x265's words for it, as they need no floats: G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min).
    max_cll, max_fall: cd/m2 of the brightest pixel, and of the brightest frame's mean.
    """

    mastering: str | None = None
    max_cll: int = 0
    max_fall: int = 0


def light_of(side_data: Iterable[Any]) -> HdrLight | None:
    """The static metadata of a decoded frame, from libav's side data; None where it has none."""
    mastering, max_cll, max_fall = None, 0, 0
    for data in side_data:
        if data.type.name == "MASTERING_DISPLAY_METADATA":
            mastering = _mastering(bytes(data))
        elif data.type.name == "CONTENT_LIGHT_LEVEL":
            max_cll, max_fall = struct.unpack_from("=2I", bytes(data))
    return HdrLight(mastering, max_cll, max_fall) if mastering or max_cll or max_fall else None


def to_display(coded: F32, transfer: int, *, is_wide: bool) -> F32:
    """R'G'B' (..., 3) of PQ or HLG as an SDR screen shows it, (..., 3) in [0, 1]; `is_wide` for BT.2020 primaries."""
    table = _light_table(transfer)
    light = table[np.clip(coded * (_CODES - 1) + 0.5, 0, _CODES - 1).astype(np.int32)]
    if is_wide:
        light = light @ _TO_709.T
    # Fourth roots are two square roots, powers take ten times as long; they space the table as the eye would.
    root = np.sqrt(np.sqrt(np.clip(light, 0, _MOST_LIGHT) * np.float32(1 / _MOST_LIGHT)))
    return np.asarray(_shown_table()[(root * (_CODES - 1) + 0.5).astype(np.int32)], np.float32)


def from_display(shown: U8, transfer: int, *, is_wide: bool) -> F32:
    """R'G'B' (..., 3) in PQ or HLG of what stands on an SDR screen, uint8 (..., 3): `to_display` undone."""
    light = _screen_table()[shown]
    if is_wide:
        light = light @ _TO_2020.T
    return _coded(np.maximum(light, 0), transfer)


@lru_cache(maxsize=4)
def _light_table(transfer: int) -> F32:
    """Light relative to diffuse white by code."""
    code = np.arange(_CODES) / (_CODES - 1)
    if transfer == TRANSFER_PQ:
        root = code ** (1 / _M2)
        nits = PQ_PEAK_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    else:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)
        nits = HLG_PEAK_NITS * scene**_HLG_SYSTEM_GAMMA
    return (nits / WHITE_NITS).astype(np.float32)


@lru_cache(maxsize=1)
def _shown_table() -> F32:
    """Level of an SDR screen, 0 to 1, by the fourth root of light."""
    light = (np.arange(_CODES) / (_CODES - 1)) ** 4 * _MOST_LIGHT
    rolled = 1 - (1 - _KNEE) * np.exp(-np.maximum(light - _KNEE, 0) / (1 - _KNEE))
    return (np.where(light <= _KNEE, light, rolled) ** (1 / _SCREEN_GAMMA)).astype(np.float32)


@lru_cache(maxsize=1)
def _screen_table() -> F32:
    """Light relative to diffuse white by level of an SDR screen."""
    shown = np.minimum((np.arange(256) / 255) ** _SCREEN_GAMMA, _CEILING)
    above = _KNEE - (1 - _KNEE) * np.log((1 - np.maximum(shown, _KNEE)) / (1 - _KNEE))
    return np.where(shown <= _KNEE, shown, above).astype(np.float32)


def _coded(light: F32, transfer: int) -> F32:
    if transfer == TRANSFER_PQ:
        power = (light * np.float32(WHITE_NITS / PQ_PEAK_NITS)) ** np.float32(_M1)
        return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** np.float32(_M2), np.float32)
    scene = (light * np.float32(WHITE_NITS / HLG_PEAK_NITS)) ** np.float32(1 / _HLG_SYSTEM_GAMMA)
    low = np.sqrt(3 * np.minimum(scene, 1 / 12))
    high = _A * np.log(12 * np.maximum(scene, 1 / 12) - _B) + _C
    return np.asarray(np.where(scene <= 1 / 12, low, np.minimum(high, 1)), np.float32)


def _mastering(raw: bytes) -> str | None:
    """What libav calls AVMasteringDisplayMetadata: x y of red, green, blue, white, then light limits, in fractions."""
    numbers = struct.unpack_from("=22i", raw)
    value = [n / d if d else 0.0 for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    if not (numbers[20] and numbers[21]):
        return None
    red, green, blue, white = ((round(value[i] * 50_000), round(value[i + 1] * 50_000)) for i in (0, 2, 4, 6))
    dark, bright = (round(v * 10_000) for v in value[8:10])
    points = (f"{name}({x},{y})" for name, (x, y) in zip(("G", "B", "R", "WP"), (green, blue, red, white), strict=True))
    return f"{''.join(points)}L({bright},{dark})"
