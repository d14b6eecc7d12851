import numpy as np
import numpy_networks as plain
import pytest
import torch

from models.sync_expert import SyncExpert


@pytest.fixture
def small(randomize):
    return randomize(SyncExpert(width=0.0625))


def inputs(batch):
    generator = torch.Generator().manual_seed(0)
    mel = torch.rand(batch, 1, 80, 16, generator=generator) * 8 - 4
    return mel, torch.rand(batch, 15, 48, 96, generator=generator)


def test_small_expert_matches_plain_arithmetic(small):
    mel, faces = inputs(2)
    state = {key: value.double().numpy() for key, value in small.state_dict().items()}
    with torch.inference_mode():
        got = small(mel, faces)
    for embedding, expected in zip(got, plain.expert(state, mel.double().numpy(), faces.double().numpy()), strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(embedding.numpy(), expected, atol=2e-6)


def test_embeddings_are_never_negative_and_of_length_one(small):
    with torch.inference_mode():
        audio, face = small(*inputs(3))
    for embedding in (audio, face):
        assert embedding.shape == (3, small.num_embedding)
        assert embedding.min() >= 0
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


def test_full_width_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        network = SyncExpert()
    assert network.num_embedding == 512
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_435_072


def test_matches_the_reference_vectors(vectors, reference_state, make_inputs):
    golden = vectors("expert")
    network = SyncExpert().eval()
    network.load_state_dict(reference_state("lipsync_expert"))
    frames = make_inputs.windows("exp", 4, 5, int(golden["salt"]), "gt")[:, :, 48:]
    faces = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
    mel = torch.from_numpy(golden["mel"])
    with torch.no_grad():
        audio, face = network(mel, faces)
        audio_train, face_train = network.train()(mel, faces)
    np.testing.assert_allclose(audio.numpy(), golden["audio_emb"], atol=2e-6)
    np.testing.assert_allclose(face.numpy(), golden["face_emb"], atol=2e-6)
    np.testing.assert_allclose((audio * face).sum(1).numpy(), golden["cosine"], atol=2e-6)
    np.testing.assert_allclose(audio_train.numpy(), golden["audio_emb_trainmode"], atol=1e-3)
    np.testing.assert_allclose(face_train.numpy(), golden["face_emb_trainmode"], atol=1e-3)
