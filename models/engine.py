"""Running generators fast: batch norms folded, bfloat16 where the device gains, batches that fit the memory.

Two kinds make lips, behind one interface (`load_engine`): the paper's generator paints a face of 96x96 anew, the
warper says how to bend the face at whatever size it has (`models.warper`).

Shape suffixes: B frames, H and W 96 pixels, C 3 channels BGR, M 80 mel bands, S mel steps.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.batch_fit import BatchFit, DeviceMemory, memory_of
from models.cards import UNTRAINED_SEED, UNTRAINED_SHA256, file_sha256
from models.checkpoints import load_network
from models.fold import fold_batch_norms
from models.generator import FACE_PX, MEL_STEPS, NUM_MELS, Generator
from models.seeded import seed_weights
from models.warper import EAR_LEAD_STEPS, EAR_STEPS, Warper
from singalong.contracts import ModelRef
from singalong.errors import InputError, ResourceError, UsageError, WeightsError

Precision = Literal["float32", "bfloat16"]
NetworkT = TypeVar("NetworkT", bound=nn.Module)

_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SIZE_STEP = 4
# CPU features that multiply bfloat16 natively; without one it is emulated and slower than float32.
_NATIVE_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


class Bend(NamedTuple):
    """How to change one face: flow (96, 96, 2) and patch (4, 96, 96), float32, as `singalong.media.warp` takes them."""

    flow: NDArray[np.float32]
    patch: NDArray[np.float32]


Drawing = NDArray[np.uint8] | Bend
"""What an engine makes of one frame: the face anew, (96, 96, 3) BGR, or how to bend the one there is."""


class Engine(ABC):
    """A network that makes lips, ready to use on one device, for one thread.

    Attributes:
        fit: how many frames are computed at once: it grows with a GPU's free memory, and is halved for good when
            the device runs out of it.
        device_name: device and precision in words, e.g. "cpu (bfloat16)" or "cuda:0 NVIDIA H200 (bfloat16)".
        mel_steps: steps of the mel chunk that drives a frame.
        mel_lead_steps: how many of them lie before the frame's own.
        can_rest: whether it can be told to move lips less than it hears.
    """

    mel_steps: ClassVar[int]
    mel_lead_steps: ClassVar[int]
    can_rest: ClassVar[bool] = False

    def __init__(
        self,
        ref: ModelRef,
        *,
        device: str | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_size: int = 8,
        gpu_share: float = 1.0,
        memory: DeviceMemory | None = None,
    ) -> None:
        """Choose device and precision, and load the weights.

        batch_size: frames computed at once, to begin with. gpu_share: of the GPU's memory, in (0, 1]. memory: what to
        grow into, if not that share. Raises UsageError for a device there is not, WeightsError if the file is not the
        weights that `ref` names.
        """
        self._device = pick_device(device)
        self.fit = BatchFit(batch_size, memory or memory_of(self._device, gpu_share))
        self.precision = pick_precision(str(self._device)) if precision == "auto" else precision
        self.device_name = f"{_describe(self._device)} ({self.precision})"
        self._load(ref)

    @property
    def batch_size(self) -> int:
        """Frames computed at once."""
        return self.fit.size

    def generate(
        self, mel: NDArray[np.float32], faces: NDArray[np.uint8], sung: NDArray[np.float32] | None = None
    ) -> list[Drawing]:
        """Lips for any number of frames.

        mel (B, 80, mel_steps) in [-4, 4], one chunk a frame; faces (B, 96, 96, 3) BGR uint8, unmasked: they are both
        what is changed and the reference. sung (B,) in [0, 1], where the engine can rest: how much of the mouth that
        each frame's sound asks for is shown; 0 shuts it.
        Raises ResourceError if not even one frame fits the memory, InputError for a mel that is not finite.
        """
        assert faces.dtype == np.uint8, faces.dtype
        assert faces.shape[1:] == (FACE_PX, FACE_PX, 3), faces.shape
        assert mel.shape == (len(faces), NUM_MELS, self.mel_steps), mel.shape
        assert sung is None or self.can_rest
        if not np.isfinite(mel).all():
            raise InputError("the mel spectrogram holds NaN or infinity", action="Check the song's samples.")
        drawings: list[Drawing] = []
        while len(drawings) < len(faces):
            span = slice(len(drawings), min(len(drawings) + self.batch_size, len(faces)))
            made = self._try_batch(mel[span], faces[span], None if sung is None else sung[span])
            if made is None:
                self._shrink(span.stop - span.start)
            else:
                drawings += made
        return drawings

    def _try_batch(
        self, mel: NDArray[np.float32], faces: NDArray[np.uint8], sung: NDArray[np.float32] | None
    ) -> Sequence[Drawing] | None:
        """One batch, or None where memory ran out; the frames of the failed call are freed on return."""
        try:
            self.fit.start()
            made = self._batch(mel, faces, sung)
            self.fit.fitted(len(faces))
            return made
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            return None

    def _shrink(self, num_frames: int) -> None:
        if not self.fit.failed(num_frames):
            raise ResourceError(
                "out of memory: not even one frame can be generated",
                value=self.device_name,
                action="Run fewer actors (--set run.num_actors=N), or give each a larger share of the GPU.",
            )
        self._drop_buffers()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @abstractmethod
    def _load(self, ref: ModelRef) -> None:
        """Read the weights and make the network ready on the device."""

    @abstractmethod
    def _batch(
        self, mel: NDArray[np.float32], faces: NDArray[np.uint8], sung: NDArray[np.float32] | None
    ) -> Sequence[Drawing]:
        """One drawing a frame, of one batch."""

    @abstractmethod
    def _drop_buffers(self) -> None:
        """Free what is kept between batches."""

    def _ready(self, network: nn.Module) -> None:
        """Bring a network to the device in the engine's precision, batch norms folded, one layer after the other."""

        def bring(module: nn.Module) -> None:
            module.to(self._device, _DTYPES[self.precision])
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs

        fold_batch_norms(network, finish=bring)
        bring(network)

    def _mel_input(self, mel: NDArray[np.float32], size: int) -> Tensor:
        """Mel chunks as input (size, 1, 80, S); what lies behind those given is zero."""
        shape = (size, 1, NUM_MELS, self.mel_steps)
        mel_B1MS = torch.zeros(shape, dtype=_DTYPES[self.precision], device=self._device)
        mel_B1MS[: len(mel), 0] = torch.from_numpy(np.ascontiguousarray(mel, np.float32)).to(mel_B1MS)
        return mel_B1MS

    def _check_finite(self, output: Tensor) -> None:
        if not bool(torch.isfinite(output.sum())):
            raise WeightsError(
                "the generator's output is not finite",
                value=self.device_name,
                action="Try --set lipsync.precision=float32; if that fails too, the weights are bad.",
            )

    def _padded_size(self, num_frames: int) -> int:
        """Frames to compute: the CPU library keeps buffers for every size it ever saw, so there must be few."""
        return max(num_frames, min(self.batch_size, -(-num_frames // _SIZE_STEP) * _SIZE_STEP))


class GeneratorEngine(Engine):
    """The paper's generator: drawings are faces (96, 96, 3)."""

    mel_steps = MEL_STEPS
    mel_lead_steps = 0

    def _load(self, ref: ModelRef) -> None:
        network = load_generator(ref)
        # The last layer stays in float32: bfloat16 logits would show as banding in smooth skin.
        self._last = copy.deepcopy(network.output_block[1]).to(self._device)
        self._ready(network)
        self._network = network
        self._faces = self._new_buffer(0)

    @torch.inference_mode()
    def _batch(
        self, mel: NDArray[np.float32], faces: NDArray[np.uint8], sung: NDArray[np.float32] | None
    ) -> Sequence[Drawing]:
        """As in the paper's inference, values times 255 are truncated, not rounded."""
        assert sung is None
        num_frames, size = len(faces), self._padded_size(len(faces))
        mel_B1MS = self._mel_input(mel, size)
        # TF32 would cost float32 mode its promise to be the paper's arithmetic.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features_BCHW = self._network.features(mel_B1MS, self._input(faces, size))
            logits_BCHW = self._last(features_BCHW[:num_frames].float())
        self._check_finite(logits_BCHW)
        levels_BCHW = torch.sigmoid(logits_BCHW).mul_(255).to(torch.uint8)
        return list(levels_BCHW.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def _drop_buffers(self) -> None:
        self._faces = self._new_buffer(0)

    @torch.inference_mode()
    def _input(self, faces: NDArray[np.uint8], size: int) -> Tensor:
        """The network's input (size, 6, 96, 96) in [0, 1]: BGR with rows 48.. zero, then BGR; a view of one buffer.

        What lies behind the faces given is of earlier frames; nobody looks at what becomes of it.
        """
        if len(self._faces) < size:
            self._faces = self._new_buffer(size)
        self._fill(self._faces[: len(faces)], faces)
        return self._faces[:size].permute(0, 3, 1, 2)

    def _fill(self, buffer_BHWC: Tensor, faces: NDArray[np.uint8]) -> None:
        reference_BHWC = buffer_BHWC[..., 3:]
        reference_BHWC.copy_(torch.from_numpy(np.ascontiguousarray(faces)).to(self._device)).div_(255)
        # The lower half of the masked copy was zeroed when the buffer was made, and is never written.
        buffer_BHWC[:, : FACE_PX // 2, :, :3] = reference_BHWC[:, : FACE_PX // 2]

    def _new_buffer(self, num_frames: int) -> Tensor:
        shape = (num_frames, FACE_PX, FACE_PX, 6)
        return torch.zeros(shape, dtype=_DTYPES[self.precision], device=self._device)


class WarperEngine(Engine):
    """The small generator: drawings are bends."""

    mel_steps = EAR_STEPS
    mel_lead_steps = EAR_LEAD_STEPS
    can_rest = True

    def _load(self, ref: ModelRef) -> None:
        self._network = _load_planned(ref, "singalong_warper", Warper).eval().requires_grad_(False)
        self._ready(self._network)

    @torch.inference_mode()
    def _batch(
        self, mel: NDArray[np.float32], faces: NDArray[np.uint8], sung: NDArray[np.float32] | None
    ) -> Sequence[Drawing]:
        size = self._padded_size(len(faces))
        faces_BHWC = torch.zeros((size, FACE_PX, FACE_PX, 3), dtype=_DTYPES[self.precision], device=self._device)
        faces_BHWC[: len(faces)] = torch.from_numpy(np.ascontiguousarray(faces)).to(self._device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            mouth_BK = self._network.ear(self._mel_input(mel, size))
            if sung is not None:  # a mouth at rest is all zeros
                mouth_BK[: len(sung)] *= torch.from_numpy(sung).to(mouth_BK)[:, None]
            flow_BHW2, patch_B4HW = self._network.brush(mouth_BK, faces_BHWC.permute(0, 3, 1, 2) / 255)
        flow_BHW2, patch_B4HW = flow_BHW2[: len(faces)], patch_B4HW[: len(faces)]
        self._check_finite(flow_BHW2)
        self._check_finite(patch_B4HW)
        return [Bend(*fields) for fields in zip(flow_BHW2.cpu().numpy(), patch_B4HW.cpu().numpy(), strict=True)]

    def _drop_buffers(self) -> None:
        """Nothing is kept."""


def load_engine(
    ref: ModelRef,
    *,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    batch_size: int = 8,
    gpu_share: float = 1.0,
) -> Engine:
    """The engine for the weights that `ref` names. Arguments and errors as of `Engine`."""
    kind = WarperEngine if ref.architecture == "singalong_warper" else GeneratorEngine
    return kind(ref, device=device, precision=precision, batch_size=batch_size, gpu_share=gpu_share)


def load_generator(ref: ModelRef) -> Generator:
    """The generator that `ref` names, in eval mode, float32, on the CPU.

    Raises WeightsError if the file is missing, is no generator, or is not the one that was planned with.
    """
    if ref.path is None:
        assert ref.weights_sha256 == UNTRAINED_SHA256, ref
        with torch.device("meta"):
            network = Generator()
        # not `to_empty`: from the meta device it brings in torch's compiler, 73 MB and a second
        blank = {key: torch.empty(value.shape, dtype=value.dtype) for key, value in network.state_dict().items()}
        network.load_state_dict(blank, assign=True)
        network.eval()
        seed_weights(network, UNTRAINED_SEED)
        return network
    return _load_planned(ref, "wav2lip_generator", Generator)


def _load_planned(ref: ModelRef, architecture: str, network_type: type[NetworkT]) -> NetworkT:
    """The network of `ref`, float32, on the CPU; WeightsError if its file changed since the run was planned."""
    assert ref.path is not None, ref
    loaded = load_network(ref.path, architecture)
    digest = file_sha256(Path(ref.path))
    if digest != ref.weights_sha256:
        raise WeightsError(
            f"the weights of {ref.name!r} changed since the run was planned",
            file=ref.path,
            value=digest,
            expected=ref.weights_sha256,
            action="Plan the run again.",
        )
    assert isinstance(loaded, network_type)
    return loaded


def pick_device(device: str | None = None) -> torch.device:
    """The device of this name; by default the first GPU, else the CPU. Raises UsageError if there is none such."""
    if device is None:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as exc:
        raise UsageError("unknown device", value=device, expected="cpu, cuda or cuda:N") from exc
    if picked.type == "cuda":
        picked = torch.device("cuda", picked.index or 0)
        if (picked.index or 0) >= torch.cuda.device_count():
            raise UsageError(
                "there is no such GPU",
                value=device,
                expected=f"one of {torch.cuda.device_count()} that torch sees",
                action="Use cpu, or install a CUDA build of the same torch version.",
            )
    return picked


def pick_precision(device: str) -> Precision:
    """`bfloat16` where the device multiplies it natively, else `float32`."""
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        features = torch.cpu.get_capabilities()
        native = any(features.get(feature, False) for feature in _NATIVE_BFLOAT16)
    else:
        native = False
    return "bfloat16" if native else "float32"


def limit_threads(num_threads: int = 1) -> None:
    """Keep torch to this many threads in this process: actors are the parallelism."""
    torch.set_num_threads(num_threads)
    with contextlib.suppress(RuntimeError):  # allowed only before the first parallel work
        torch.set_num_interop_threads(num_threads)


def _describe(device: torch.device) -> str:
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether torch says, in one of its many ways, that a device or the computer ran out of memory."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "could not create a memory")
    return isinstance(exc, MemoryError | torch.OutOfMemoryError) or any(word in str(exc) for word in words)
