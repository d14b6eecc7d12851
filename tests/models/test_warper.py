import numpy as np
import pytest
import torch

from models.warper import EAR_STEPS, MAX_FLOW, Warper, bend, compose
from singalong.media.warp import apply_warp


@pytest.fixture(scope="module")
def warper() -> Warper:
    torch.manual_seed(0)
    return Warper().eval()


@torch.no_grad()
def test_flow_and_patch_have_the_promised_shapes_and_ranges(warper):
    flow, patch = warper(torch.randn(2, 1, 80, EAR_STEPS), torch.rand(2, 3, 96, 96))
    assert flow.shape == (2, 96, 96, 2)
    assert patch.shape == (2, 4, 96, 96)
    assert float(flow.abs().max()) <= MAX_FLOW
    assert float(patch.min()) >= 0
    assert float(patch.max()) <= 1


def test_starts_almost_as_the_identity(warper):
    with torch.no_grad():
        flow, _ = warper(torch.randn(1, 1, 80, EAR_STEPS), torch.rand(1, 3, 96, 96))
    assert float(flow.abs().max()) < 0.01


def test_sound_and_face_both_reach_the_output():
    torch.manual_seed(1)
    warper = Warper().eval()
    for layer in warper.brush.steer:
        torch.nn.init.normal_(layer.weight, std=0.3)
    mels, faces = torch.randn(2, 1, 80, EAR_STEPS), torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        same = warper(mels[:1], faces[:1])[1]
        other_sound, other_face = warper(mels[1:], faces[:1])[1], warper(mels[:1], faces[1:])[1]
    assert not torch.allclose(same, other_sound)
    assert not torch.allclose(same, other_face)


def test_bending_by_nothing_changes_nothing():
    faces = torch.rand(2, 3, 12, 12)
    assert torch.allclose(bend(faces, torch.zeros(2, 12, 12, 2)), faces, atol=1e-6)


def test_training_sees_what_the_pipeline_makes():
    rng = np.random.default_rng(0)
    face = np.kron(rng.integers(40, 200, (12, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    flow = (0.05 * rng.standard_normal((6, 6, 2))).astype(np.float32)
    flow = np.kron(flow, np.ones((16, 16, 1), np.float32))
    patch = np.kron(rng.random((4, 6, 6)), np.ones((1, 16, 16))).astype(np.float32)
    seen = compose(
        torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255,
        torch.from_numpy(flow)[None],
        torch.from_numpy(patch)[None],
    )
    seen_HWC = (seen[0].permute(1, 2, 0) * 255).numpy()
    assert np.abs(seen_HWC - apply_warp(face, flow, patch)).mean() < 1
