import numpy as np
import numpy_networks as plain
import pytest
import torch

from models.discriminator import VisualQualityDiscriminator


@pytest.fixture
def small(randomize):
    return randomize(VisualQualityDiscriminator(width=0.0625))


@pytest.fixture
def frames():
    return torch.rand(2, 3, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def test_small_discriminator_matches_plain_arithmetic(small, frames):
    state = {key: value.double().numpy() for key, value in small.state_dict().items()}
    with torch.inference_mode():
        got = small(frames)
    assert got.shape == (6, 1)
    np.testing.assert_allclose(got.numpy(), plain.discriminator(state, frames.double().numpy()), atol=1e-6)


def test_upper_half_is_not_seen(small, frames):
    other = frames.clone()
    other[:, :, :, :48] = 0
    with torch.inference_mode():
        assert torch.equal(small(frames), small(other))


def test_perceptual_loss_is_the_mean_log_probability_of_real(small, frames):
    with torch.inference_mode():
        torch.testing.assert_close(small.perceptual_loss(frames), -small(frames).log().mean())


def test_matches_the_reference_vectors(vectors, reference_state, make_inputs):
    golden = vectors("disc")
    network = VisualQualityDiscriminator().eval()
    network.load_state_dict(reference_state("visual_quality_disc"))
    frames = make_inputs.windows("disc", 2, 3, int(golden["salt"]), "gt")
    frames = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 255
    with torch.inference_mode():
        np.testing.assert_allclose(network(frames).numpy(), golden["out"], atol=1e-6)
        assert float(network.perceptual_loss(frames)) == pytest.approx(float(golden["perceptual"]), abs=1e-5)
