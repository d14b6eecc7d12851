"""Training examples on disk for tests, without going through the renderer again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tasks.training.dataset import ExampleSet


def stored(examples: Sequence[Any], folder: Path) -> ExampleSet:
    """The examples as one shard of a folder."""
    shard = folder / "s0"
    shard.mkdir(parents=True)
    for field in fields(examples[0]):
        array = np.stack([getattr(example, field.name) for example in examples])
        np.save(shard / f"{field.name}.npy", array if array.dtype == np.uint8 else array.astype(np.float16))
    return ExampleSet(folder)
