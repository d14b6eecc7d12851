"""The array type of this package."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]
"""An array of floats, float32 wherever it is large; shapes are in the docstrings."""


def f32(values: Any) -> Floats:
    """The values as float32, copied only if they are not."""
    return np.asarray(values, np.float32)
