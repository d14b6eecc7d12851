"""Sync scorers: the two networks that put lips and sound into one space, with the cropping each was made for.

- `syncnet_v2`: SyncNet, Chung and Zisserman, "Out of time", ACCV 2016 workshops; gave the published LSE-C and LSE-D.
  Crop: step 5 of its `run_pipeline`, around the face, with margins. Sound: MFCC.
- `lipsync_expert`: the expert of Wav2Lip, Prajwal et al., ACM MM 2020. Crop: the face's box, lower half. Sound: mel.

Scorers read no media: they are given pixels through a callable and sound as cut windows.

Shape legend: N crops, B windows, H height, W width, M 80 mel bands or 13 MFCC coefficients, S steps, D
embedding size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.architectures import ARCHITECTURES
from models.checkpoints import load_network
from models.fold import fold_batch_norms
from models.sync_expert import NUM_WINDOW_FRAMES
from models.syncnet import LIP_PX
from singalong.contracts import ModelRef
from singalong.errors import WeightsError

Box = tuple[int, int, int, int]
ReadRegion = Callable[[Box], NDArray[np.uint8]]
"""Gives the BGR pixels (h, w, 3) of a box that lies inside the frame."""

CROP_SCALE = 0.40
"""Margin of SyncNet's crop (`crop_scale` of run_pipeline): 1.4 s to left and right, s above, 1.8 s below the
centre."""
PADDING_GRAY = 110
"""What SyncNet's crops show beyond the frame's edge (run_pipeline)."""
EXPERT_PX = 96


class Scorer(ABC):
    """Embeds windows of lips and of sound, 25 a second each, so that their distance says how well they fit.

    Attributes:
        name: registry name of the model.
        audio_feature: "mel" for windows (80, 16) of log-mel columns, "mfcc" for windows (13, 20).
        crop_shape: height, width and channels of one crop.
        batch_size: windows embedded at once; bounds the memory.
    """

    audio_feature: Literal["mel", "mfcc"]
    crop_shape: tuple[int, int, int]
    batch_size: int

    def __init__(self, network: torch.nn.Module, *, name: str, device: str | None = None) -> None:
        self.name = name
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network: Any = network.eval().requires_grad_(False).to(self.device)

    @property
    def device_name(self) -> str:
        """The device in words, for reports."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    @abstractmethod
    def crop(self, read: ReadRegion, box: Box, *, width: int, height: int) -> NDArray[np.uint8] | None:
        """One frame's crop, uint8 BGR of `crop_shape`; None if no part of it lies inside the frame.

        Args:
            read: called once, with a box inside the frame, for the pixels needed.
            box: the face as detected, without the generator's pads; may reach beyond the frame.
            width: of the frame.
            height: of the frame.
        """

    @abstractmethod
    def crop_whole(self, frame_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop of a frame that shows little but the face, like LRS2 has; the aspect ratio is lost."""

    def embed_faces(self, crops_NHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (N - 4, D) of all complete 5-frame windows of consecutive crops."""
        num_windows = max(0, len(crops_NHW3) - NUM_WINDOW_FRAMES + 1)
        return self.embed_windows([crops_NHW3[k : k + NUM_WINDOW_FRAMES] for k in range(num_windows)])

    def embed_windows(self, windows: Sequence[NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]) -> NDArray[np.float32]:
        """Embeddings (B, D) of windows, each five crops in time order."""
        return self._in_batches(windows, self._face_batch)

    def embed_audio(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (B, D) of sound windows (B, 80, 16) or (B, 13, 20), see `audio_feature`."""
        return self._in_batches(windows, self._audio_batch)

    def _in_batches(
        self, items: Sequence[Any] | NDArray[np.float32], embed: Callable[[Any], Tensor]
    ) -> NDArray[np.float32]:
        parts = [np.empty((0, self.embedding_size), np.float32)]
        # No TF32: a score must not depend on the generation of the GPU.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(items), self.batch_size):
                parts.append(embed(items[start : start + self.batch_size]).float().cpu().numpy())
        return np.concatenate(parts)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    @property
    @abstractmethod
    def embedding_size(self) -> int:
        """D."""

    @abstractmethod
    def _face_batch(self, windows: Any) -> Tensor:
        """Embeddings of at most `batch_size` windows of five crops."""

    @abstractmethod
    def _audio_batch(self, windows_BMS: NDArray[np.float32]) -> Tensor:
        """Embeddings of at most `batch_size` sound windows."""


class ExpertScorer(Scorer):
    """The paper's expert. Its embeddings have length 1: distances lie in [0, 1.42] and are not the published LSE-D."""

    audio_feature = "mel"
    crop_shape = (EXPERT_PX // 2, EXPERT_PX, 3)
    batch_size = 32

    def __init__(self, network: torch.nn.Module, *, name: str, device: str | None = None) -> None:
        super().__init__(network, name=name, device=device)
        if self.device.type == "cpu":  # 48 instead of 42 windows a second on one core
            self._network.to(memory_format=torch.channels_last)

    def crop(self, read: ReadRegion, box: Box, *, width: int, height: int) -> NDArray[np.uint8] | None:
        """The lower half of the box at 96x96; a box that reaches beyond the frame is cut off at its edge."""
        x1, y1, x2, y2 = box
        inside = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            return None
        height_px, width_px = inside[3] - inside[1], inside[2] - inside[0]
        first = max(0, height_px // 2 - 1)  # rows above have no part in the lower half: they need not be read
        face = np.zeros((height_px, width_px, 3), np.uint8)
        face[first:] = read((inside[0], inside[1] + first, inside[2], inside[3]))
        return self.crop_whole(face)

    def crop_whole(self, frame_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The lower half of the frame at 96x96."""
        face: NDArray[np.uint8] = np.asarray(cv2.resize(frame_HW3, (EXPERT_PX, EXPERT_PX)), np.uint8)
        return face[EXPERT_PX // 2 :].copy()

    @property
    def embedding_size(self) -> int:
        """512 for the paper's width."""
        return int(self._network.num_embedding)

    def _face_batch(self, windows: Any) -> Tensor:
        faces_B5HWC = np.asarray(windows)
        num_windows, _, height, width, _ = faces_B5HWC.shape
        stacked_BCHW = faces_B5HWC.transpose(0, 1, 4, 2, 3).reshape(num_windows, -1, height, width)
        embedding_BD: Tensor = self._network.embed_face(self._tensor(stacked_BCHW).float() / 255)
        return embedding_BD

    def _audio_batch(self, windows_BMS: NDArray[np.float32]) -> Tensor:
        embedding_BD: Tensor = self._network.embed_audio(self._tensor(windows_BMS).float()[:, None])
        return embedding_BD


class SmallExpertScorer(ExpertScorer):
    """singalong's own expert, which reads each frame by itself: one that five windows share is read once."""

    def _face_batch(self, windows: Any) -> Tensor:
        crops = {_place(crop): crop for window in windows for crop in window}
        rows = {place: row for row, place in enumerate(crops)}
        frames_NHWC = self._tensor(np.stack(list(crops.values())))
        features_NC = self._network.read_each(frames_NHWC.permute(0, 3, 1, 2).float() / 255)
        index_BF = torch.tensor([[rows[_place(crop)] for crop in window] for window in windows], device=self.device)
        embedding_BD: Tensor = self._network.embed_features(features_NC[index_BF])
        return embedding_BD


class SyncNetScorer(Scorer):
    """SyncNet. Embeddings are left as they are, so distances are the published ones (talking people: about 7)."""

    audio_feature = "mfcc"
    crop_shape = (LIP_PX, LIP_PX, 3)
    batch_size = 8

    def __init__(self, network: torch.nn.Module, *, name: str, device: str | None = None) -> None:
        super().__init__(network, name=name, device=device)
        if self.device.type == "cpu":  # 28 instead of 20 windows a second on one core
            self._network.netcnnlip.to(memory_format=torch.channels_last_3d)

    def crop(self, read: ReadRegion, box: Box, *, width: int, height: int) -> NDArray[np.uint8] | None:
        """The face with SyncNet's margins, 224x224."""
        x1, y1, x2, y2 = box
        half_side = max(x2 - x1, y2 - y1) / 2
        return self.crop_around(read, (x1 + x2) / 2, (y1 + y2) / 2, half_side, width=width, height=height)

    def crop_around(
        self, read: ReadRegion, x: float, y: float, half_side: float, *, width: int, height: int
    ) -> NDArray[np.uint8] | None:
        """Rows y - s ... y + 1.8 s and columns x - 1.4 s ... x + 1.4 s at 224x224, gray beyond the frame's edge."""
        region = syncnet_region(x, y, half_side)
        x1, y1, x2, y2 = region
        inside = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            return None
        canvas = np.full((y2 - y1, x2 - x1, 3), PADDING_GRAY, np.uint8)
        canvas[inside[1] - y1 : inside[3] - y1, inside[0] - x1 : inside[2] - x1] = read(inside)
        return self.crop_whole(canvas)

    def crop_whole(self, frame_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame at 224x224."""
        return np.asarray(cv2.resize(frame_HW3, (LIP_PX, LIP_PX)), np.uint8)

    @property
    def embedding_size(self) -> int:
        """1024 for the published file."""
        return int(self._network.netfclip[-1].out_features)

    def _face_batch(self, windows: Any) -> Tensor:
        frames_B5HWC = np.asarray(windows)
        embedding_BD: Tensor = self._network.embed_face(self._tensor(frames_B5HWC.transpose(0, 4, 1, 2, 3)).float())
        return embedding_BD

    def _audio_batch(self, windows_BMS: NDArray[np.float32]) -> Tensor:
        embedding_BD: Tensor = self._network.embed_audio(self._tensor(windows_BMS).float()[:, None])
        return embedding_BD


def _place(crop: NDArray[np.uint8]) -> int:
    """Where a crop's pixels lie in memory: the same for all windows that share it, however they were cut."""
    return int(crop.__array_interface__["data"][0])


def syncnet_region(x: float, y: float, half_side: float) -> Box:
    """What SyncNet's crop covers, in pixels of the frame; may reach beyond it.

    Truncates in the coordinates of the padded image, as the reference does: there all coordinates are positive.
    """
    pad = int(half_side * (1 + 2 * CROP_SCALE))
    x, y = x + pad, y + pad
    side, below = half_side * (1 + CROP_SCALE), half_side * (1 + 2 * CROP_SCALE)
    return int(x - side) - pad, int(y - half_side) - pad, int(x + side) - pad, int(y + below) - pad


_SCORERS: dict[str, type[Scorer]] = {
    "lipsync_expert": ExpertScorer,
    "singalong_expert": SmallExpertScorer,
    "syncnet_v2": SyncNetScorer,
}


def load_scorer(ref: ModelRef, *, device: str | None = None) -> Scorer:
    """The scorer of a model; `device` None takes the GPU if there is one.

    Raises WeightsError for weights that cannot be read or belong to a network that scores nothing.
    """
    if ref.architecture not in _SCORERS:
        raise WeightsError(
            f"the model {ref.name} is no sync scorer",
            file=ref.path,
            value=ref.architecture,
            expected=" or ".join(_SCORERS),
            action="Choose another with --set score.scorer=NAME; `singalong models list` shows them.",
        )
    if ref.path is not None:
        network = load_network(ref.path, ref.architecture)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = ARCHITECTURES[ref.architecture].network()
    fold_batch_norms(network)  # of SyncNet, which is built of other blocks, none
    return _SCORERS[ref.architecture](network, name=ref.name, device=device)


class SlidingEmbedder:
    """Embeds the lip windows of a stream of crops that come one at a time, 25 a second.

    A window needs five crops of consecutive steps; a step without a crop breaks the row. Holds at most
    `batch_size` + 4 crops, whatever the length of the stream.
    """

    def __init__(self, scorer: Scorer, *, wanted: Callable[[int], bool] = lambda _step: True) -> None:
        """`wanted` says which windows to embed, by their first step; the others cost nothing."""
        self._scorer = scorer
        self._wanted = wanted
        self._row: list[NDArray[np.uint8]] = []
        self._next_step: int | None = None
        self._windows: list[list[NDArray[np.uint8]]] = []
        self._starts: list[int] = []

    def push(self, step: int, crop: NDArray[np.uint8] | None) -> bool:
        """Take the crop of a step, None if it shows no face; steps ascend. True when a batch is ready to `take`."""
        if crop is None:
            self.cut()
            return False
        if step != self._next_step:
            self.cut()
        self._next_step = step + 1
        self._row = [*self._row[1 - NUM_WINDOW_FRAMES :], crop]
        start = step - NUM_WINDOW_FRAMES + 1
        if len(self._row) == NUM_WINDOW_FRAMES and self._wanted(start):
            self._windows.append(self._row)
            self._starts.append(start)
        return len(self._windows) >= self._scorer.batch_size

    def cut(self) -> None:
        """Break the row: no window holds crops of before and after."""
        self._row = []

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """First steps (B,) and embeddings (B, D) of the windows not taken yet."""
        starts, windows = self._starts, self._windows
        self._starts, self._windows = [], []
        return np.asarray(starts, np.int64), self._scorer.embed_windows(windows)
