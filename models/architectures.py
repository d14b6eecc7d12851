"""The networks this package knows: recognised by their state-dict keys, checked key by key, and built.

| name | network | role |
|---|---|---|
| wav2lip_generator | `models.generator.Generator` | generator |
| lipsync_expert | `models.sync_expert.SyncExpert` | expert (also a scorer) |
| visual_quality_disc | `models.discriminator.VisualQualityDiscriminator` | discriminator |
| s3fd | `models.s3fd.S3FD` | detector |
| syncnet_v2 | `models.syncnet.SyncNet` | scorer |
| singalong_warper | `models.warper.Warper` | generator |
| singalong_expert | `models.small_expert.SmallExpert` | expert (also a scorer) |
| sfd_face | the detector of syncnet_python: recognised, so that it is refused by name | |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from models.discriminator import VisualQualityDiscriminator
from models.generator import Generator
from models.s3fd import S3FD
from models.small_expert import SmallExpert
from models.sync_expert import SyncExpert
from models.syncnet import SyncNet
from models.warper import Warper
from singalong.errors import WeightsError

_COUNTER = "num_batches_tracked"
_BUFFERS = ("running_mean", "running_var", _COUNTER)
# A tensor with 512 channels at the paper's width, per network that comes in widths.
_WIDTH_CHANNELS = 512


@dataclass(frozen=True)
class Architecture:
    """A network by its state-dict keys; `width_key` names a tensor with 512 channels at width 1.0."""

    title: str
    network: Callable[..., nn.Module]
    width_key: str | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "wav2lip_generator": Architecture(
        "the lip-sync generator", Generator, "face_encoder_blocks.6.1.conv_block.0.weight"
    ),
    "lipsync_expert": Architecture("the paper's sync expert", SyncExpert, "face_encoder.16.conv_block.0.weight"),
    "visual_quality_disc": Architecture(
        "the visual quality discriminator",
        VisualQualityDiscriminator,
        "face_encoder_blocks.6.1.conv_block.0.weight",
    ),
    "s3fd": Architecture("the face detector S3FD", S3FD),
    "syncnet_v2": Architecture("the sync scorer SyncNet", SyncNet),
    "singalong_warper": Architecture("singalong's own small generator", Warper),
    "singalong_expert": Architecture("singalong's own small sync expert", SmallExpert),
}
# Keys that only the S3FD variant of syncnet_python has.
_SFD_FACE_KEYS = frozenset({"vgg.0.weight", "L2Norm3_3.weight", "extras.0.weight", "loc.0.weight", "conf.0.weight"})


def identify(state: Mapping[str, Tensor], *, file: str | Path | None = None) -> str:
    """The architecture whose keys these are, going by names alone: most keys in common, and more than half.

    Returns a name of the table above. Raises WeightsError for the weights of another network.
    """
    keys = {key for key in state if not key.endswith(_COUNTER)}
    if keys >= _SFD_FACE_KEYS:
        return "sfd_face"
    common = {name: _overlap(keys, set(_shapes(name, 1.0))) for name in ARCHITECTURES}
    best = max(common, key=lambda name: common[name])
    if common[best] <= 0.5:
        raise WeightsError(
            "these are the weights of no network known here",
            file=file,
            value=f"{len(state)} tensors, first {', '.join(list(state)[:3])}",
            expected=", ".join(ARCHITECTURES),
        )
    return best


def check_state(state: Mapping[str, Tensor], architecture: str, *, file: str | Path | None = None) -> float:
    """Check that `state` is exactly the weights of `architecture`; returns its width (1.0 is the paper's).

    Batch-norm counters may be missing. Raises WeightsError that says what the weights look like and names the
    first missing, unexpected and mis-shaped keys.
    """
    assert architecture in ARCHITECTURES, architecture
    looks = identify(state, file=file)
    if looks == "sfd_face":
        raise WeightsError(
            "this is the face detector of syncnet_python (sfd_face.pth), which is not supported",
            file=file,
            expected=_describe(architecture),
            action="Use s3fd.pth, the detector of Wav2Lip, or the built-in centerface.",
        )
    width = _width(state, architecture)
    problems = _problems(state, _shapes(architecture, width))
    if not problems:
        return width
    what = "is damaged or changed" if looks == architecture else f"looks like {_describe(looks)}"
    raise WeightsError(
        f"this file {what}: {'; '.join(problems)}",
        file=file,
        expected=_describe(architecture),
        action="" if looks == architecture else "Check which file belongs where.",
    )


def build(state: Mapping[str, Tensor], architecture: str, *, file: str | Path | None = None) -> nn.Module:
    """The network with these weights, in eval mode and float32, on the CPU.

    Raises WeightsError as `check_state` does.
    """
    width = check_state(state, architecture, file=file)
    with torch.device("meta"):
        network = _new(architecture, width)
    zero = torch.tensor(0, dtype=torch.long)
    values = {key: zero.clone() if key not in state else _as_parameter(state[key]) for key in network.state_dict()}
    network.load_state_dict(values, assign=True)
    return network.eval()


def num_parameters(state: Mapping[str, Tensor]) -> int:
    """Numbers that training learns; the statistics and counters of batch norms are none."""
    return sum(tensor.numel() for key, tensor in state.items() if not key.endswith(_BUFFERS))


def _as_parameter(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _new(architecture: str, width: float) -> nn.Module:
    known = ARCHITECTURES[architecture]
    return known.network(width) if known.width_key else known.network()


@lru_cache(maxsize=16)
def _shapes(architecture: str, width: float) -> dict[str, tuple[int, ...]]:
    """Key to shape; built without memory for the weights."""
    with torch.device("meta"):
        network = _new(architecture, width)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _width(state: Mapping[str, Tensor], architecture: str) -> float:
    """The width that explains the shapes best, from the channels of one tensor."""
    key = ARCHITECTURES[architecture].width_key
    tensor = state.get(key) if key else None
    if tensor is None or tensor.dim() == 0:
        return 1.0
    exact = tensor.shape[0] / _WIDTH_CHANNELS
    # 154 of 512 channels is width 0.3, not 0.30078: the rounding of the other layers tells.
    widths = [width for width in (round(exact, 2), exact) if width > 0]
    return min(widths, key=lambda width: len(_problems(state, _shapes(architecture, width))))


def _problems(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    missing = [key for key in shapes if key not in state and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in shapes]
    wrong = [key for key in shapes if key in state and tuple(state[key].shape) != shapes[key]]
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(shapes)} keys are missing, first {missing[0]}")
    if unexpected:
        problems.append(f"{len(unexpected)} keys are unexpected, first {unexpected[0]}")
    if wrong:
        key = wrong[0]
        problems.append(
            f"{len(wrong)} tensors have another shape, first {key}: {tuple(state[key].shape)} instead of {shapes[key]}"
        )
    return problems


def _overlap(keys: set[str], expected: set[str]) -> float:
    expected = {key for key in expected if not key.endswith(_COUNTER)}
    return len(keys & expected) / max(1, len(keys | expected))


def _describe(architecture: str) -> str:
    known = ARCHITECTURES.get(architecture)
    return f"{known.title} ({architecture})" if known else architecture
