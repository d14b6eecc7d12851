import numpy as np
import torch

from models.scorers import ExpertScorer, SmallExpertScorer
from models.small_expert import NUM_EMBEDDING, SmallExpert


@torch.no_grad()
def test_embeddings_have_length_one_and_are_never_negative():
    expert = SmallExpert().eval()
    for embedding in expert(torch.randn(3, 1, 80, 16), torch.rand(3, 15, 48, 96)):
        assert embedding.shape == (3, NUM_EMBEDDING)
        assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-5)
        assert bool((embedding >= 0).all())


@torch.no_grad()
def test_every_frame_is_read_by_itself_in_its_place():
    expert = SmallExpert().eval()
    faces = torch.rand(2, 15, 48, 96)
    changed = faces.clone()
    changed[:, 6:9] = 0
    difference = (expert.read_frames(faces) - expert.read_frames(changed)).abs().amax(dim=(0, 2))
    assert (difference > 1e-6).tolist() == [False, False, True, False, False]
    assert not torch.allclose(expert.embed_face(faces), expert.embed_face(changed))


def test_a_frame_that_windows_share_is_read_once_and_scores_stay_the_same():
    network = SmallExpert().eval()
    crops = np.random.default_rng(0).integers(0, 256, (9, 48, 96, 3), dtype=np.uint8)
    seen = []
    network.frame_encoder.register_forward_hook(lambda _module, given, _made: seen.append(len(given[0])))
    shared = SmallExpertScorer(network, name="small", device="cpu").embed_faces(crops)
    assert seen == [9]
    apart = ExpertScorer(network, name="small", device="cpu").embed_faces(crops)
    assert seen == [9, 25]
    np.testing.assert_allclose(shared, apart, atol=2e-6)
