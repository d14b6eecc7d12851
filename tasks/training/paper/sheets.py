"""Sample sheets: what the generator was shown, what it made of it, and what was to come out.

Shape suffixes: B windows, T frames of each, H and W 96 pixels, C 3 channels BGR.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

COLUMNS = ("reference", "masked input", "output", "ground truth")
"""In the order of the reference implementation's collages."""
NUM_WINDOWS = 6
SHOWN_FRAMES = [0, 4]
"""Of each window: neighbours hardly differ."""
_HEADER_PX = 16
_GAP_PX = 2


def draw_sheet(references_BTHWC: U8, masked_BTHWC: U8, outputs_BTHWC: U8, truths_BTHWC: U8) -> U8:
    """One picture (H, W, 3) BGR: a row for each frame, a column for each of COLUMNS, names above."""
    parts = (references_BTHWC, masked_BTHWC, outputs_BTHWC, truths_BTHWC)
    rows = [
        np.concatenate([_framed(part[item, frame]) for part in parts], axis=1)
        for item in range(len(truths_BTHWC))
        for frame in range(truths_BTHWC.shape[1])
    ]
    header = np.full((_HEADER_PX, rows[0].shape[1], 3), 255, np.uint8)
    for column, name in enumerate(COLUMNS):
        place = (column * rows[0].shape[1] // len(COLUMNS) + 2, _HEADER_PX - 4)
        cv2.putText(header, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([header, *rows])


def encode_png(picture: U8) -> bytes:
    """The bytes of a PNG file."""
    encoded, data = cv2.imencode(".png", picture)
    assert encoded
    return data.tobytes()


def _framed(face: U8) -> U8:
    return np.pad(face, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255)
