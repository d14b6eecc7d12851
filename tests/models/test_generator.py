import numpy as np
import numpy_networks as plain
import pytest
import torch

from models.generator import Generator


def inputs(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mel = torch.rand(batch, 1, 80, 16, generator=generator, dtype=torch.float64) * 8 - 4
    return mel, torch.rand(batch, 6, 96, 96, generator=generator, dtype=torch.float64)


@pytest.fixture
def small(randomize):
    return randomize(Generator(width=0.0625)).double()


def test_small_generator_matches_plain_arithmetic(small):
    mel, faces = inputs(2)
    state = {key: value.numpy() for key, value in small.state_dict().items()}
    with torch.inference_mode():
        got = small(mel, faces)
    expected = plain.generator(state, mel.numpy(), faces.numpy())
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-10)


def test_training_form_equals_frames_one_by_one(small):
    mel, faces = inputs(6)
    with torch.inference_mode():
        window = small(mel.view(2, 3, 1, 80, 16), faces.view(2, 3, 6, 96, 96).transpose(1, 2))
        single = torch.stack([small(mel[i : i + 1], faces[i : i + 1])[0] for i in range(6)])
    assert window.shape == (2, 3, 3, 96, 96)
    torch.testing.assert_close(window.transpose(1, 2).reshape(6, 3, 96, 96), single, atol=1e-10, rtol=0)


def test_window_keeps_gradients_through_in_place_blocks(small):
    mel, faces = inputs(2)
    small.train()(mel.view(2, 1, 1, 80, 16), faces.view(2, 6, 1, 96, 96)).mean().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


def test_full_width_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Generator().parameters()) == 36_298_035


def test_matches_the_reference_vectors(vectors, reference_state):
    golden = vectors("generator")
    network = Generator().eval()
    network.load_state_dict(reference_state("wav2lip_generator"))
    gt = torch.from_numpy(golden["gt"]).permute(0, 4, 1, 2, 3).float() / 255
    wrong = torch.from_numpy(golden["wrong"]).permute(0, 4, 1, 2, 3).float() / 255
    gt[:, :, :, 48:] = 0
    faces, mel = torch.cat((gt, wrong), dim=1), torch.from_numpy(golden["mel"])
    probes = {}
    for name, module in network.named_modules():
        if name in set(golden["block_names"]):
            module.register_forward_hook(lambda _m, _i, out, name=name: probes.update({name: out.flatten()}))
    with torch.inference_mode():
        out5 = network(mel, faces)
        out4 = network(mel[:, 0], faces[:, :, 0])
    np.testing.assert_allclose(out5.numpy(), golden["out5"], atol=1e-5)
    np.testing.assert_allclose(out4.numpy(), golden["out4"], atol=1e-5)
    assert set(probes) == set(golden["block_names"])
    for name, expected in zip(golden["block_names"], golden["block_probe"], strict=True):
        at = (np.arange(8) * 2654435761) % len(probes[name])
        np.testing.assert_allclose(probes[name][at].numpy(), expected, atol=1e-4, err_msg=str(name))
