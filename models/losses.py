"""The losses of the paper's three trainings: expert, generator, generator with visual quality discriminator.

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM MM),
sections 3 and 4. Reference implementation: github.com/Rudrabha/Wav2Lip, `color_syncnet_train.py`, `wav2lip_train.py`
and `hq_wav2lip_train.py`; their weights are the constants below.

Shape suffixes: B batch, T 5 frames of a window, C channels, H and W 96 pixels, D embedding size, M 80 mel bands,
S 16 mel steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.discriminator import VisualQualityDiscriminator
from models.sync_expert import SyncExpert

SYNC_WEIGHT = 0.01
"""Weight of the sync loss without discriminator; 0 until the sync loss on validation data is below SYNC_SWITCH."""
GAN_SYNC_WEIGHT = 0.03
"""The same with discriminator."""
PERCEPTUAL_WEIGHT = 0.07
SYNC_SWITCH = 0.75
"""Mean sync loss of an evaluation below which the generator starts to learn from the expert."""


@dataclass(frozen=True)
class GeneratorLoss:
    """The parts of a generator's loss, scalars; parts of weight zero are not computed and None."""

    total: Tensor
    l1: Tensor
    sync: Tensor | None
    perceptual: Tensor | None


def cosine_bce(audio_BD: Tensor, face_BD: Tensor, in_sync_B: Tensor) -> Tensor:
    """Mean cross entropy of the cosine, taken as the probability of being in sync, against 1 or 0 a pair.

    Embeddings are those of the expert: never negative, so that cosines lie in [0, 1]. Section 3 of the paper. As in
    torch, a logarithm is never below -100.
    """
    # Rounding may carry the cosine of equal vectors beyond 1, where the logarithm of 1 - cosine has no value.
    cosine_B = functional.cosine_similarity(audio_BD, face_BD, dim=1)
    return functional.binary_cross_entropy(cosine_B.clamp(0, 1), in_sync_B.to(cosine_B.dtype))


def stack_lower_halves(faces_BCTHW: Tensor) -> Tensor:
    """The expert's input (B, 3 T, H / 2, W) from faces (B, 3, T, H, W): rows from the middle, channel 3 t + c."""
    lower = faces_BCTHW[:, :, :, faces_BCTHW.shape[3] // 2 :]
    return lower.transpose(1, 2).flatten(1, 2)


def sync_loss(expert: SyncExpert, mel_B1MS: Tensor, faces_BCTHW: Tensor) -> Tensor:
    """How far five frames are from being in sync with their sound, by the expert; gradients reach the faces.

    mel (B, 1, 80, 16) of the window's first frame, faces (B, 3, 5, 96, 96). The reference leaves the expert in train
    mode; ours belongs in eval mode, with gradients to its own weights switched off by the caller.
    """
    audio_BD, face_BD = expert(mel_B1MS, stack_lower_halves(faces_BCTHW))
    return cosine_bce(audio_BD, face_BD, torch.ones(len(audio_BD), device=audio_BD.device))


def generator_loss(
    generated_BCTHW: Tensor,
    truth_BCTHW: Tensor,
    *,
    mel_B1MS: Tensor | None = None,
    expert: SyncExpert | None = None,
    sync_weight: float = 0.0,
    discriminator: VisualQualityDiscriminator | None = None,
    perceptual_weight: float = 0.0,
) -> GeneratorLoss:
    """w_s * sync + w_p * perceptual + (1 - w_s - w_p) * L1 (section 4.3 of the paper); L1 over the whole face.

    A positive weight needs its network (and the sync loss its mel).
    """
    l1 = functional.l1_loss(generated_BCTHW, truth_BCTHW)
    total = (1.0 - sync_weight - perceptual_weight) * l1
    sync = perceptual = None
    if sync_weight > 0:
        assert expert is not None
        assert mel_B1MS is not None
        sync = sync_loss(expert, mel_B1MS, generated_BCTHW)
        total = total + sync_weight * sync
    if perceptual_weight > 0:
        assert discriminator is not None
        perceptual = discriminator.perceptual_loss(generated_BCTHW)
        total = total + perceptual_weight * perceptual
    return GeneratorLoss(total, l1, sync, perceptual)


def discriminator_losses(
    discriminator: VisualQualityDiscriminator, truth_BCTHW: Tensor, generated_BCTHW: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean cross entropies (real, fake): true faces against 1 and generated ones, detached, against 0.

    The reference adds them without a factor of one half.
    """
    real_N1, fake_N1 = discriminator(truth_BCTHW), discriminator(generated_BCTHW.detach())
    return (
        functional.binary_cross_entropy(real_N1, torch.ones_like(real_N1)),
        functional.binary_cross_entropy(fake_N1, torch.zeros_like(fake_N1)),
    )
