from collections import OrderedDict

import numpy as np
import numpy_networks as plain
import pytest
import torch

from models.syncnet import SyncNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SyncNet().eval()


@pytest.fixture
def state(network, randomize):
    randomize(network)
    return {key: value.double().numpy() for key, value in network.state_dict().items()}


def test_lip_embedding_matches_plain_arithmetic(network, state):
    frames = torch.rand(1, 3, 5, 224, 224, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        got = network.embed_face(frames).numpy()
    expected = plain.syncnet_lip(state, frames.double().numpy())
    np.testing.assert_allclose(got, expected, atol=2e-4 * np.abs(expected).max())


def test_audio_embedding_matches_plain_arithmetic(network, state):
    mfcc = torch.randn(2, 1, 13, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got = network.embed_audio(mfcc).numpy()
    np.testing.assert_allclose(got, plain.syncnet_audio(state, mfcc.double().numpy()), atol=1e-4)


def test_loads_a_file_that_predates_batch_norm_counters(network):
    metadata = network.state_dict()
    old = OrderedDict((key, value) for key, value in metadata.items() if not key.endswith("num_batches_tracked"))
    old._metadata = metadata._metadata
    assert len(old) == 88
    with torch.device("meta"):
        other = SyncNet()
    other.load_state_dict(old, assign=True)
    assert all(not value.is_meta for value in other.state_dict().values())


def test_still_refuses_a_missing_weight(network):
    state = dict(network.state_dict())
    del state["netfclip.0.weight"]
    with pytest.raises(RuntimeError, match=r"netfclip\.0\.weight"):
        network.load_state_dict(state)


def test_matches_the_reference_vectors(vectors, reference_state, make_inputs):
    golden = vectors("syncnet")
    network = SyncNet().eval()
    state = reference_state("syncnet_v2")
    network.load_state_dict({key: value for key, value in state.items() if "num_batches" not in key})
    lips = torch.from_numpy(make_inputs.lip_windows("sync", 2, int(golden["salt"]))).float()
    with torch.inference_mode():
        np.testing.assert_allclose(network.embed_face(lips).numpy(), golden["lip"], atol=1e-5)
        np.testing.assert_allclose(network.lip_features(lips).numpy(), golden["lipfeat"], atol=1e-4)
        mfcc = torch.from_numpy(golden["mfcc_windows"]).float()
        np.testing.assert_allclose(network.embed_audio(mfcc).numpy(), golden["aud"], atol=1e-5)
