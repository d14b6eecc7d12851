"""Cutting a stream of small frames into shots, without decoding it twice or holding more than a few frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from singalong.media.decode import SmallFrame
from singalong.media.small import SmallPlanes, bgr_of

SHOT_SIDE_PX = 256
"""Longest side of the picture in which cuts are looked for; PySceneDetect, too, scales films to about this."""

MIN_SHOT_FRAMES = 3
"""A cut sooner after another is a flash."""

WINDOW_FRAMES = 2
"""Frames to either side a change is compared with (PySceneDetect's default)."""

MAX_LIKENESS = 0.9
"""Frames more alike than this belong to one shot, however much their colours differ. Measured on real clips:
-0.17 to 0.66 at true cuts, 0.96 to 1.0 where only the exposure or the colour jumped."""

_LIKENESS_SIZE = (64, 48)


@dataclass(frozen=True)
class ShotFrame:
    """A small frame that knows its place.

    Attributes:
        index: number of the frame in the clip.
        pts_s: its presentation time.
        picture: the small picture, see `SmallFrame`.
        scale: side of the small picture over that of the upright source frame.
        starts_shot: whether a cut lies just before it; true of the first frame.
    """

    index: int
    pts_s: float
    picture: NDArray[np.uint8] | SmallPlanes
    scale: float
    starts_shot: bool

    @property
    def bgr(self) -> NDArray[np.uint8]:
        """The picture, upright, uint8 (h, w, 3); made when it is asked for first."""
        return bgr_of(self.picture)


def split_shots(frames: Iterable[SmallFrame]) -> Iterator[ShotFrame]:
    """Number the frames and mark where shots start; runs `WINDOW_FRAMES` behind its input."""
    finder = CutFinder()
    waiting: deque[tuple[int, SmallFrame]] = deque()
    for index, frame in enumerate(frames):
        waiting.append((index, frame))
        decided = finder.push(frame.picture)
        if len(waiting) > WINDOW_FRAMES:
            yield _marked(*waiting.popleft(), decided)
    for _ in range(len(waiting)):
        yield _marked(*waiting.popleft(), finder.repeat())


def _marked(index: int, frame: SmallFrame, is_cut: bool) -> ShotFrame:
    return ShotFrame(index, frame.pts_s, frame.picture, frame.scale, starts_shot=index == 0 or is_cut)


class CutFinder:
    """Finds hard cuts in a stream of pictures, `WINDOW_FRAMES` pictures late.

    PySceneDetect's AdaptiveDetector proposes a cut where the colours change much more than around it; it stands
    when the brightness pattern changes as well. A webcam that adapts its exposure does only the first.
    """

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=MIN_SHOT_FRAMES, window_width=WINDOW_FRAMES)
        self._patterns: deque[NDArray[np.float32]] = deque(maxlen=WINDOW_FRAMES + 2)
        self._num_seen = 0
        self._last: NDArray[np.uint8] | None = None

    def push(self, picture: NDArray[np.uint8] | SmallPlanes) -> bool:
        """Take the next picture; whether a cut lies just before the picture `WINDOW_FRAMES` back."""
        small = _shrunk(picture)
        if self._last is None:
            # As if the first picture had stood still before: so a cut may come right after it.
            for _ in range(WINDOW_FRAMES):
                self._push_small(small)
        self._last = small
        return self._push_small(small)

    def repeat(self) -> bool:
        """Take the last picture again, to learn about the last ones when no more come."""
        assert self._last is not None
        return self._push_small(self._last)

    def _push_small(self, small: NDArray[np.uint8]) -> bool:
        self._patterns.append(_pattern(small))
        proposed = self._detector.process_frame(FrameTimecode(self._num_seen, 25.0), small)
        self._num_seen += 1
        return bool(proposed) and float(np.mean(self._patterns[0] * self._patterns[1])) < MAX_LIKENESS


def _shrunk(bgr: NDArray[np.uint8] | SmallPlanes) -> NDArray[np.uint8]:
    """The picture at most `SHOT_SIDE_PX` large, by a whole factor: averaging whole pixels is ten times as fast."""
    if isinstance(bgr, SmallPlanes):
        return bgr.coarse_bgr(SHOT_SIDE_PX)
    height, width = bgr.shape[:2]
    factor = -(-max(height, width) // SHOT_SIDE_PX)
    if factor == 1:
        return bgr
    cut = bgr[: max(height // factor, 1) * factor, : max(width // factor, 1) * factor]
    size = max(width // factor, 1), max(height // factor, 1)
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _pattern(bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness, coarse, with mean 0 and deviation 1: the mean product of two is their correlation."""
    grey = cv2.resize(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), _LIKENESS_SIZE, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1)
    return np.asarray((soft - soft.mean()) / (soft.std() + 1e-3), dtype=np.float32)
