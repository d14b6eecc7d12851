"""Cutting out and laying back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from singalong.media.geometry import fit_to_box, network_crop, pad_box, paste_mask


def test_pads_grow_the_box_and_stop_at_the_frame() -> None:
    assert pad_box((10, 20, 50, 90), (1, 10, 2, 3), width=200, height=200) == (8, 19, 53, 100)
    assert pad_box((1, 0, 99, 95), (5, 10, 5, 5), width=100, height=100) == (0, 0, 100, 100)


@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from(["lower_face", "box"]), st.floats(0, 0.5))
def test_masks_are_weights(width: int, height: int, style: str, feather: float) -> None:
    mask = paste_mask(width, height, style=style, feather=feather)
    assert mask.shape == (height, width)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_the_lower_face_mask_keeps_the_eyes_and_replaces_the_mouth() -> None:
    mask = paste_mask(100, 100, style="lower_face", feather=0.1)
    assert mask[:40].max() == 0
    assert mask[55:85, 20:80].min() == 1
    assert mask[-1].max() < 0.1


def test_the_paper_pastes_the_whole_box_with_a_hard_edge() -> None:
    assert paste_mask(40, 30, style="box", feather=0.0).min() == 1


def test_crops_and_pastes_keep_a_flat_colour() -> None:
    face = np.full((37, 53, 3), (10, 120, 200), np.uint8)
    crop = network_crop(face)
    assert crop.shape == (96, 96, 3)
    assert (crop == face[0, 0]).all()
    assert (fit_to_box(crop, (5, 6, 58, 43)) == face).all()
