"""Face detectors behind one interface: pictures in, boxes and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from singalong.contracts import ModelRef
from singalong.errors import InputError, ResourceError

if TYPE_CHECKING:
    from models.s3fd import S3FD

Image = NDArray[np.uint8]
"""BGR uint8 (height, width, 3)."""


@dataclass(frozen=True)
class Detections:
    """Faces of one image, best first, in its pixels.

    boxes: (n, 4) float32 x1, y1, x2, y2. scores: (n,) float32 in 0..1. landmarks: (n, 5, 2) float32 x, y of left eye,
    right eye, nose, left and right mouth corner as seen in the image, or None where the detector finds none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.scores)


class Detector(Protocol):
    """Finds faces."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Faces of each BGR uint8 image (height, width, 3), of any sizes."""


def load_detector(ref: ModelRef, *, device: str | None = None) -> Detector:
    """The detector that `ref` names, ready to use.

    `device` is a torch device for S3FD (default: the first GPU, else the CPU); CenterFace picks its own. Raises
    WeightsError for weights of something else, InputError for a model that is no detector.
    """
    if ref.architecture == "centerface":
        from models.centerface import CenterFace

        assert ref.path is not None
        return CenterFace(Path(ref.path))
    if ref.architecture == "s3fd":
        from models.checkpoints import load_network
        from models.s3fd import S3FD

        assert ref.path is not None
        network = load_network(ref.path, "s3fd")
        assert isinstance(network, S3FD)
        return S3FDDetector(network, device=device)
    raise InputError(
        f"the model {ref.name!r} is no face detector", value=ref.architecture, expected="centerface or s3fd"
    )


class S3FDDetector:
    """S3FD behind the common interface: batches of bounded size, boxes clipped to the image."""

    # The first layers hold two maps of 64 channels at full size: 0.5 kB a pixel, 1 GB at this size.
    max_batch_px = 1920 * 1080

    def __init__(self, network: S3FD, *, device: str | None = None, max_side_px: int | None = None) -> None:
        """Images whose longer side exceeds `max_side_px` are shrunk to it; None sees them whole, like the paper."""
        from models.engine import pick_device

        self._network = network.requires_grad_(False).to(pick_device(device))
        self._max_side_px = max_side_px

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Faces above a score of 0.5. Raises ResourceError where not even one image fits the memory."""
        found: list[Detections] = []
        for batch in _batches(images, self.max_batch_px):
            found += self._detect_batch(batch)
        return found

    def _detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        from models.engine import is_out_of_memory

        try:
            small = [_shrink(image, self._max_side_px) for image in images]
            boxes = self._network.detect([image for image, _ in small])
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            boxes = None
        if boxes is None:
            if len(images) > 1:  # half at a time, as the paper's code does
                half = len(images) // 2
                return self._detect_batch(images[:half]) + self._detect_batch(images[half:])
            raise ResourceError(
                "out of memory: S3FD cannot look at even one image",
                value=f"{images[0].shape[1]}x{images[0].shape[0]}",
                action="Lower analysis.detect_side_px, or run fewer actors.",
            )
        return [_detections(found, scale, image) for found, (_, scale), image in zip(boxes, small, images, strict=True)]


def _detections(found: NDArray[np.float32], scale: tuple[float, float], image: Image) -> Detections:
    height, width = image.shape[:2]
    limits = np.array([width, height, width, height], np.float32)
    boxes = found[:, :4] * np.array(scale * 2, np.float32)
    return Detections(boxes=boxes.clip(0, limits), scores=found[:, 4].copy())


def _shrink(image: Image, max_side_px: int | None) -> tuple[Image, tuple[float, float]]:
    """The image with no side longer than this, and what x and y are to be multiplied with to get back."""
    import cv2

    height, width = image.shape[:2]
    longer = max(height, width)
    if max_side_px is None or longer <= max_side_px:
        return image, (1.0, 1.0)
    size = max(1, round(width * max_side_px / longer)), max(1, round(height * max_side_px / longer))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, (width / size[0], height / size[1])


def _batches(images: Sequence[Image], max_px: int) -> list[Sequence[Image]]:
    """Neighbours together while their pixels stay below the limit; at least one image each."""
    batches: list[Sequence[Image]] = []
    start = num_px = 0
    for index, image in enumerate(images):
        size = image.shape[0] * image.shape[1]
        if index > start and num_px + size > max_px:
            batches.append(images[start:index])
            start, num_px = index, 0
        num_px += size
    return [*batches, images[start:]] if len(images) > start else batches
