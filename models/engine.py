"""Running the generator fast: batch norms folded, bfloat16 where the device gains, batches that fit the memory.

Shape suffixes: B frames, H and W 96 pixels, C 3 channels BGR, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.cards import UNTRAINED_SEED, UNTRAINED_SHA256, file_sha256
from models.checkpoints import load_network
from models.fold import fold_batch_norms
from models.generator import FACE_PX, MEL_STEPS, NUM_MELS, Generator
from models.seeded import seed_weights
from singalong.contracts import ModelRef
from singalong.errors import InputError, ResourceError, UsageError, WeightsError

Precision = Literal["float32", "bfloat16"]

_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SIZE_STEP = 4
# CPU features that multiply bfloat16 natively; without one it is emulated and slower than float32.
_NATIVE_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


class GeneratorEngine:
    """A generator ready to use on one device, for one thread.

    Attributes:
        batch_size: frames computed at once; halved for good when the device runs out of memory.
        device_name: device and precision in words, e.g. "cpu (bfloat16)" or "cuda:0 NVIDIA H200 (bfloat16)".
    """

    def __init__(
        self,
        ref: ModelRef,
        *,
        device: str | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_size: int = 16,
    ) -> None:
        """Load the weights and prepare the network.

        Raises WeightsError if the file is not the weights that `ref` names, UsageError for a device there is not.
        """
        self.batch_size = batch_size
        self._device = pick_device(device)
        self.precision = pick_precision(str(self._device)) if precision == "auto" else precision
        self.device_name = f"{_describe(self._device)} ({self.precision})"
        network = load_generator(ref)
        fold_batch_norms(network)
        # The last layer stays in float32: bfloat16 logits would show as banding in smooth skin.
        self._last = copy.deepcopy(network.output_block[1]).to(self._device)
        self._network = network.to(self._device, _DTYPES[self.precision])
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        self._faces = self._new_buffer(0)

    def generate(self, mel: NDArray[np.float32], faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lip-synced faces (B, 96, 96, 3), BGR uint8, any number of frames.

        mel (B, 80, 16) in [-4, 4], one chunk a frame; faces (B, 96, 96, 3) BGR uint8, unmasked: they are both what
        is changed and the reference. As in the paper's inference, values times 255 are truncated, not rounded.
        Raises ResourceError if not even one frame fits the memory, InputError for a mel that is not finite.
        """
        assert faces.dtype == np.uint8, faces.dtype
        assert faces.shape[1:] == (FACE_PX, FACE_PX, 3), faces.shape
        assert mel.shape == (len(faces), NUM_MELS, MEL_STEPS), mel.shape
        if not np.isfinite(mel).all():
            raise InputError("the mel spectrogram holds NaN or infinity", action="Check the song's samples.")
        out_BHWC = np.empty_like(faces)
        start = 0
        while start < len(faces):
            end = min(start + self.batch_size, len(faces))
            generated = self._try_batch(mel[start:end], faces[start:end])
            if generated is None:
                self._shrink(end - start)
                continue
            out_BHWC[start:end] = generated
            start = end
        return out_BHWC

    def _try_batch(self, mel: NDArray[np.float32], faces: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """One batch, or None where memory ran out; the frames of the failed call are freed on return."""
        try:
            return self._batch(mel, faces)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            return None

    def _shrink(self, num_frames: int) -> None:
        if num_frames <= 1:
            raise ResourceError(
                "out of memory: not even one frame can be generated",
                value=self.device_name,
                action="Run fewer actors (--set run.num_actors=N), or give each a larger share of the GPU.",
            )
        self.batch_size = num_frames // 2
        self._faces = self._new_buffer(0)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _batch(self, mel: NDArray[np.float32], faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
        num_frames, size = len(faces), self._padded_size(len(faces))
        mel_B1MS = torch.zeros((size, 1, NUM_MELS, MEL_STEPS), dtype=_DTYPES[self.precision], device=self._device)
        mel_B1MS[:num_frames, 0] = torch.from_numpy(np.ascontiguousarray(mel, np.float32)).to(mel_B1MS)
        # TF32 would cost float32 mode its promise to be the paper's arithmetic.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features_BCHW = self._network.features(mel_B1MS, self._input(faces, size))
            logits_BCHW = self._last(features_BCHW[:num_frames].float())
        if not bool(torch.isfinite(logits_BCHW.sum())):
            raise WeightsError(
                "the generator's output is not finite",
                value=self.device_name,
                action="Try --set lipsync.precision=float32; if that fails too, the weights are bad.",
            )
        levels_BCHW = torch.sigmoid(logits_BCHW).mul_(255).to(torch.uint8)
        out: NDArray[np.uint8] = levels_BCHW.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return out

    def _padded_size(self, num_frames: int) -> int:
        """Frames to compute: the CPU library keeps buffers for every size it ever saw, so there must be few."""
        return max(num_frames, min(self.batch_size, -(-num_frames // _SIZE_STEP) * _SIZE_STEP))

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


def load_generator(ref: ModelRef) -> Generator:
    """The generator that `ref` names, in eval mode, float32, on the CPU.

    Raises WeightsError if the file is missing, is no generator, or is not the one that was planned with.
    """
    if ref.path is None:
        assert ref.weights_sha256 == UNTRAINED_SHA256, ref
        with torch.device("meta"):
            network = Generator()
        network = network.to_empty(device="cpu").eval()
        seed_weights(network, UNTRAINED_SEED)
        return network
    loaded = load_network(ref.path, "wav2lip_generator")
    digest = file_sha256(Path(ref.path))
    if digest != ref.weights_sha256:
        raise WeightsError(
            f"the weights of {ref.name!r} changed since the run was planned",
            file=ref.path,
            value=digest,
            expected=ref.weights_sha256,
            action="Plan the run again.",
        )
    assert isinstance(loaded, Generator)
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
