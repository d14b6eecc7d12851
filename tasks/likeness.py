"""LIKENESS: what the face in a picture looks like, once for all pairs whose face is to be like it.

picture, upright -> detect -> the largest face -> its look
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singalong.contracts import ClipFacts
from singalong.errors import NoFaceError
from singalong.linking import NUM_LANDMARKS
from singalong.looks import look_of
from singalong.media.decode import SmallFrame, iter_small_frames
from singalong.settings import AnalysisSettings
from singalong.store import Store
from tasks.clues import FACTS_FILE, LIKENESS_KIND, LOOK_FILE

if TYPE_CHECKING:
    from models.detectors import Detector

MAX_SIDE_PX = 1280
"""Pictures are looked at larger than the frames of clips: a face may be a small part of one, and there is only one."""


def find_likeness(
    image: ClipFacts, *, version: str, detector: Detector, settings: AnalysisSettings, store: Store
) -> Path:
    """Find the largest face of a picture, unless the store holds its look; the folder for `tasks.clues.clues_of`.

    `version` as `tasks.clues.likeness_version` names it. Raises NoFaceError where the picture shows none, MediaError
    where it cannot be decoded.
    """

    def build(folder: Path) -> None:
        frame = next(iter_small_frames(image, max_side_px=max(MAX_SIDE_PX, settings.detect_side_px)))
        box, landmarks = _largest_face(image, frame, detector, settings)
        np.save(folder / LOOK_FILE, look_of(frame.bgr, box, landmarks))
        facts = {"image": image.path, "box": [round(float(side / frame.scale), 1) for side in box]}
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    return store.commit_cache(LIKENESS_KIND, image.sha256, version, build)


def _largest_face(
    image: ClipFacts, frame: SmallFrame, detector: Detector, settings: AnalysisSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Box (4,) and landmarks (5,2), NaN where the detector gives none, in pixels of the frame."""
    found = detector.detect([frame.bgr])[0]
    boxes = found.boxes.astype(np.float64)
    heights_px = (boxes[:, 3] - boxes[:, 1]) / frame.scale
    fit = np.flatnonzero((found.scores >= settings.min_score) & (heights_px >= settings.min_face_px))
    if not len(fit):
        raise NoFaceError(
            "no face is found in this picture",
            file=image.path,
            expected="a picture that shows the face of the person who is to sing, from the front",
            action="Give another picture after like:, or say who sings with index:N or at:X,Y@T.",
        )
    areas = np.prod(boxes[fit, 2:] - boxes[fit, :2], axis=1)
    best = int(fit[np.argmax(areas)])
    landmarks = np.full((NUM_LANDMARKS, 2), np.nan)
    if found.landmarks is not None:
        landmarks = found.landmarks[best].astype(np.float64)
    return boxes[best], landmarks
