"""The bundled warper's ear by itself: the mouths that sounds ask for, whoever draws them in the end.

Always on the CPU in float32, so that a song is heard alike on every machine.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.cards import bundled_cards
from models.checkpoints import load_network
from models.warper import EAR_STEPS, NUM_MOUTH_VALUES, Warper


class BundledEar:
    """What a mouth does that makes a sound."""

    def __init__(self) -> None:
        """Load the weights. Raises WeightsError where the package's own file is damaged."""
        card = next(card for card in bundled_cards() if card.architecture == "singalong_warper")
        assert card.weights is not None, card
        network = load_network(card.weights, card.architecture)
        assert isinstance(network, Warper)
        self._ear = network.ear.requires_grad_(False)

    @torch.inference_mode()
    def hear(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mouths (B, 8), see `models.warper.NUM_MOUTH_VALUES`, for mel chunks (B, 80, 48) in [-4, 4]."""
        assert mel.shape[1:] == (80, EAR_STEPS), mel.shape
        mouths: NDArray[np.float32] = self._ear(torch.from_numpy(mel)[:, None]).numpy()
        assert mouths.shape[1:] == (NUM_MOUTH_VALUES,)
        return mouths
