"""What the small networks are asked for, beyond the paper's losses in `models.losses`.

Shape suffixes: P pictures, A sounds, B frames, D embedding size, C channels, H and W 96 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_ALIKE = 0.06
"""Mouths that differ by less than this (root mean square over the columns that show) cannot be told apart."""
_SHOWN = (1.0, 0.7, 0.7, 0.7, 0.4, 0.7, 0.0, 0.3, 0.0)
"""How well each column of MOUTH_NAMES shows in a picture."""


def confusable(mouths_P5K: Tensor, mouths_A5K: Tensor) -> Tensor:
    """Whether the mouth does about the same in a picture's window and in a sound's, bool (P, A)."""
    weight_K = torch.tensor(_SHOWN).sqrt()
    flat_PD, flat_AD = ((m * weight_K).flatten(1) for m in (mouths_P5K, mouths_A5K))
    limit = float(_ALIKE * (5 * sum(_SHOWN)) ** 0.5)
    return torch.cdist(flat_PD, flat_AD).lt(limit)


def contrastive(cosine_PA: Tensor, match_PA: Tensor, excluded_PA: Tensor, scale: float) -> Tensor:
    """InfoNCE both ways: each picture finds its sound among all sounds, each such sound its picture.

    match (P, A) bool, one per row; excluded pairs are neither right nor wrong. `scale` multiplies the cosines.
    """
    logits_PA = (cosine_PA * scale).masked_fill(excluded_PA & ~match_PA, -1e4)
    target_P = match_PA.float().argmax(dim=1)
    to_sound = functional.cross_entropy(logits_PA, target_P)
    own_PP = logits_PA[:, target_P]
    to_picture = functional.cross_entropy(own_PP.T, torch.arange(len(own_PP)))
    return 0.5 * (to_sound + to_picture)


def balanced_bce(cosine_PA: Tensor, match_PA: Tensor, excluded_PA: Tensor) -> Tensor:
    """Cross entropy of cosines as probabilities (section 3 of the paper); matches and mismatches weigh the same."""
    probability_PA = cosine_PA.clamp(1e-4, 1 - 1e-4)
    wrong_PA = ~match_PA & ~excluded_PA
    return -0.5 * (probability_PA[match_PA].log().mean() + (1 - probability_PA[wrong_PA]).log().mean())


def change_weighted_l1(out_BCHW: Tensor, target_BCHW: Tensor, reference_BCHW: Tensor) -> Tensor:
    """L1 that counts most where target and reference differ: plain L1 is content to copy the reference."""
    change_B1HW = (target_BCHW - reference_BCHW).abs().amax(dim=1, keepdim=True)
    weight_B1HW = 1 + 12 * functional.avg_pool2d(change_B1HW, 5, stride=1, padding=2)
    return ((out_BCHW - target_BCHW).abs() * weight_B1HW).mean()


def flow_difference(flow_B2HW: Tensor, truth_B2HW: Tensor, weight_B1HW: Tensor) -> Tensor:
    """How far the flow misses, in its own units; Charbonnier, weighted mean."""
    miss_B1HW = ((flow_B2HW - truth_B2HW).square().sum(dim=1, keepdim=True) + 1e-6).sqrt()
    return (miss_B1HW * weight_B1HW).sum() / weight_B1HW.sum().clamp(min=1)


def total_variation(field_BCHW: Tensor) -> Tensor:
    """Mean absolute difference of neighbours."""
    down = (field_BCHW[:, :, 1:] - field_BCHW[:, :, :-1]).abs().mean()
    right = (field_BCHW[:, :, :, 1:] - field_BCHW[:, :, :, :-1]).abs().mean()
    return down + right


def edge_difference(out_BCHW: Tensor, target_BCHW: Tensor, where_B1HW: Tensor) -> Tensor:
    """L1 between the gradients of two pictures where the mask is 1: L1 alone blurs teeth and lips."""
    miss_BCHW = (out_BCHW - target_BCHW) * where_B1HW
    return total_variation(miss_BCHW)
