"""The paper's smoothing of face boxes over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntBoxes = NDArray[np.int64]


def smooth_boxes(boxes: IntBoxes, window: int = 5) -> IntBoxes:
    """Smooth the boxes of one face over time exactly as Wav2Lip's inference program does.

    Each box becomes the mean of itself and the `window - 1` boxes after it, truncated towards zero. Where
    fewer follow, it becomes the mean of the last `window` boxes as they stand by then, smoothed ones
    included. A track shorter than the window keeps the program's quirk of counting its start from the end: of
    3 boxes with a window of 5 the last two are averaged, of 4 every box becomes the last one.

    Args:
        boxes: integers (n, 4), one row a frame, in time order.
        window: frames averaged; 1 changes nothing.

    Returns:
        Integers (n, 4), a new array.
    """
    smooth = np.array(boxes, dtype=np.int64)
    num_full = len(smooth) - window + 1
    if num_full > 0:
        # Rows are replaced front to back, and a full window looks only forward, at rows not yet replaced.
        windows = np.lib.stride_tricks.sliding_window_view(smooth, window, axis=0)
        smooth[:num_full] = np.trunc(windows.sum(axis=-1) / window)
    for row in range(max(num_full, 0), len(smooth)):
        smooth[row] = np.trunc(smooth[len(smooth) - window :].mean(axis=0))
    return smooth
