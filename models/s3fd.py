"""S3FD, the face detector the paper used (file s3fd.pth).

Paper: "S3FD: Single Shot Scale-invariant Face Detector", Zhang et al., ICCV 2017. Reference implementation:
github.com/Rudrabha/Wav2Lip, `face_detection/detection/sfd`; same state-dict keys, colour order, priors and
suppression, including three habits that must be kept because the published results were made with them:
the colour means are subtracted in the order opposite to the network's training, fc6 pads by 3 without
dilation (its map is 4 cells larger), and the priors ignore that enlarged border.

Shape suffixes: B batch, C channels, H height, W width, N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Boxes = NDArray[np.float32]
"""(n, 5): x1, y1, x2, y2 in pixels, score."""

CANDIDATE_SCORE = 0.05
FACE_SCORE = 0.5
NMS_IOU = 0.3
# Subtracted after the channels are reversed to RGB, i.e. 104 from red; see above.
_MEANS = (104.0, 117.0, 123.0)
_VARIANCES = (0.1, 0.2)
_STRIDES = (4, 8, 16, 32, 64, 128)
_MIN_SIDE_PX = 32  # five poolings

_TRUNK = {
    "conv1": (3, 64, 2),
    "conv2": (64, 128, 2),
    "conv3": (128, 256, 3),
    "conv4": (256, 512, 3),
    "conv5": (512, 512, 3),
}
# Feature taps: name, channels, classes predicted.
_HEADS = (
    ("conv3_3_norm", 256, 4),
    ("conv4_3_norm", 512, 2),
    ("conv5_3_norm", 512, 2),
    ("fc7", 1024, 2),
    ("conv6_2", 512, 2),
    ("conv7_2", 256, 2),
)


class ChannelNorm(nn.Module):
    """x / |x| over channels, times one learned scale a channel."""

    def __init__(self, num_channels: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((num_channels,), scale))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape."""
        norm_B1HW = x_BCHW.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10
        return x_BCHW / norm_B1HW * self.weight.view(1, -1, 1, 1)


class S3FD(nn.Module):
    """A VGG-16 trunk with six detection heads at strides 4 to 128."""

    def __init__(self) -> None:
        super().__init__()
        for stage, (num_in, num_out, num_layers) in _TRUNK.items():
            for index in range(1, num_layers + 1):
                conv = nn.Conv2d(num_in if index == 1 else num_out, num_out, 3, padding=1)
                self.add_module(f"{stage}_{index}", conv)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        self.conv3_3_norm = ChannelNorm(256, 10.0)
        self.conv4_3_norm = ChannelNorm(512, 8.0)
        self.conv5_3_norm = ChannelNorm(512, 5.0)
        for name, num_channels, num_classes in _HEADS:
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(num_channels, num_classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(num_channels, 4, 3, padding=1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw heads [cls1, reg1, ..., cls6, reg6] of images (B, 3, H, W), RGB minus means, sides >= 32.

        cls is (B, 2, h, w): background and face, before softmax; reg is (B, 4, h, w): dx, dy, dw, dh.
        """
        heads: list[Tensor] = []
        for (name, _, num_classes), features_BCHW in zip(_HEADS, self._taps(images), strict=True):
            cls_BCHW = self._layer(f"{name}_mbox_conf")(features_BCHW)
            if num_classes == 4:  # three backgrounds compete on the finest level ("max-out background label")
                background = cls_BCHW[:, :3].amax(dim=1, keepdim=True)
                cls_BCHW = torch.cat((background, cls_BCHW[:, 3:]), dim=1)
            heads += [cls_BCHW, self._layer(f"{name}_mbox_loc")(features_BCHW)]
        return heads

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Faces of BGR uint8 images (H, W, 3), best first: one (n, 5) array each, after NMS, above 0.5.

        Images of one size go through the network together: pass no more at once than memory allows.
        """
        faces: dict[int, Boxes] = {}
        for indices in _by_shape(images):
            candidates = self.candidates([images[index] for index in indices])
            for row, index in enumerate(indices):
                boxes = candidates[:, row]
                # A box never suppresses one of a higher score, so dropping the low ones first is exact.
                boxes = boxes[boxes[:, 4] > FACE_SCORE]
                faces[index] = boxes[suppress(boxes)]
        return [faces[index] for index in range(len(images))]

    @torch.inference_mode()
    def candidates(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """All candidates of equally sized images, (N, B, 5), in the order of the reference.

        As there, a position that passes 0.05 in any image is listed for all images, once for each image in
        which it passes; with none at all there is one row of zeros.
        """
        parameter = self.fc7.weight
        batch = preprocess(images).to(parameter.device, parameter.dtype)
        heads = [head.float() for head in self(batch)]
        rows = [decode_level(heads[2 * level], heads[2 * level + 1], stride) for level, stride in enumerate(_STRIDES)]
        found = torch.cat(rows).cpu().numpy()
        return found if len(found) else np.zeros((1, len(images), 5), np.float32)

    def _layer(self, name: str) -> nn.Module:
        return self.get_submodule(name)

    def _taps(self, x_BCHW: Tensor) -> list[Tensor]:
        taps: list[Tensor] = []
        for stage, (_, _, num_layers) in _TRUNK.items():
            for index in range(1, num_layers + 1):
                x_BCHW = self._layer(f"{stage}_{index}")(x_BCHW).relu_()
            if num_layers == 3:
                taps.append(self._layer(f"{stage}_3_norm")(x_BCHW))
            x_BCHW = nn.functional.max_pool2d(x_BCHW, 2)
        x_BCHW = self.fc7(self.fc6(x_BCHW).relu_()).relu_()
        taps.append(x_BCHW)
        for name in ("conv6", "conv7"):
            x_BCHW = self._layer(f"{name}_1")(x_BCHW).relu_()
            x_BCHW = self._layer(f"{name}_2")(x_BCHW).relu_()
            taps.append(x_BCHW)
        return taps


def preprocess(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Equally sized BGR uint8 images to the network's (B, 3, H, W); tiny ones are padded with mean colour."""
    rgb_BHWC = np.stack([image[..., ::-1] for image in images]).astype(np.float32)
    rgb_BHWC -= np.asarray(_MEANS, np.float32)
    height, width = rgb_BHWC.shape[1:3]
    pad_h, pad_w = max(0, _MIN_SIDE_PX - height), max(0, _MIN_SIDE_PX - width)
    padded = np.pad(rgb_BHWC, ((0, 0), (0, pad_h), (0, pad_w), (0, 0))) if pad_h or pad_w else rgb_BHWC
    return torch.from_numpy(np.ascontiguousarray(padded.transpose(0, 3, 1, 2)))


def decode_level(cls_BCHW: Tensor, reg_BCHW: Tensor, stride: int) -> Tensor:
    """Candidates (N, B, 5) of one level: priors of side 4 * stride, moved and scaled by the regression."""
    scores_BHW = cls_BCHW.softmax(dim=1)[:, 1]
    _, rows_N, columns_N = torch.nonzero(scores_BHW > CANDIDATE_SCORE, as_tuple=True)
    centers_N2 = stride / 2 + torch.stack((columns_N, rows_N), dim=1).to(reg_BCHW.dtype) * stride
    priors_N4 = torch.cat((centers_N2, torch.full_like(centers_N2, 4.0 * stride)), dim=1)
    reg_NB4 = reg_BCHW[:, :, rows_N, columns_N].permute(2, 0, 1)
    boxes_NB4 = decode(reg_NB4, priors_N4.unsqueeze(1))
    return torch.cat((boxes_NB4, scores_BHW[:, rows_N, columns_N].T.unsqueeze(-1)), dim=-1)


def decode(reg: Tensor, priors: Tensor) -> Tensor:
    """Corner boxes (..., 4) of regressions (..., 4) on priors (..., 4): centre x, y, width, height."""
    centers = priors[..., :2] + reg[..., :2] * _VARIANCES[0] * priors[..., 2:]
    sizes = priors[..., 2:] * torch.exp(reg[..., 2:] * _VARIANCES[1])
    corners = centers - sizes / 2
    return torch.cat((corners, corners + sizes), dim=-1)


def suppress(boxes: Boxes, iou: float = NMS_IOU) -> NDArray[np.int64]:
    """Indices of the boxes that survive greedy non-maximum suppression, best first.

    Widths, heights and areas count pixels inclusively ("+1"), as in the reference.
    """
    x1, y1, x2, y2, scores = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    order = scores.argsort()[::-1]
    keep: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(int(best))
        widths = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1
        heights = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1
        overlap = np.maximum(0.0, widths) * np.maximum(0.0, heights)
        order = rest[overlap / (areas[best] + areas[rest] - overlap) <= iou]
    return np.asarray(keep, np.int64)


def best_box(boxes: Boxes) -> tuple[int, int, int, int] | None:
    """The paper's box of a frame: the best face, negatives clipped to 0, truncated to integers.

    `boxes` is one result of `detect`; None without a face. There is no clipping at the right and bottom edge.
    """
    if not len(boxes):
        return None
    x1, y1, x2, y2 = (int(value) for value in np.clip(boxes[0, :4], 0, None))
    return x1, y1, x2, y2


def _by_shape(images: Sequence[NDArray[np.uint8]]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    return list(groups.values())
