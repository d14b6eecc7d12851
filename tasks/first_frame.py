"""What all shards of a pair take from the pair's first frame, remembered: a shard begins elsewhere in the clip."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from singalong.contracts import ClipFacts
from singalong.media.decode import ClipReader
from singalong.media.frames import ColorInfo

_KEPT = 256
"""Pairs that are remembered; a few hundred bytes each."""


@dataclass(frozen=True)
class FirstFrame:
    """How a pair's frames are coded: all its segments say the same, even if the clip changes its mind."""

    color: ColorInfo
    is_deep: bool
    num_bytes: int


_known: OrderedDict[tuple[str, str, float], FirstFrame] = OrderedDict()


def first_frame(clip: ClipFacts, clip_start_s: float, reader: ClipReader) -> FirstFrame:
    """What is known of the frame shown at `clip_start_s`; read from the clip where this process never saw it.

    In a clip with long groups of pictures that takes the decoding of half a group, as much again as a shard's own
    beginning. Raises as `ClipReader.read_chunk` does.
    """
    key = clip.path, clip.sha256, clip_start_s
    known = _known.pop(key, None)
    if known is None:
        frame = reader.read_chunk([clip_start_s])[0]
        known = FirstFrame(frame.color, frame.is_deep, frame.num_bytes)
    _known[key] = known
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return known
