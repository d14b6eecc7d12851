import pytest
import torch

from models.discriminator import VisualQualityDiscriminator
from models.generator import Generator
from models.losses import cosine_bce
from models.sync_expert import SyncExpert
from tasks.training.paper.precision import set_precision

CPU = torch.device("cpu")


def outputs(network, *inputs):
    with torch.no_grad():
        result = network(*inputs)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (SyncExpert, [(2, 1, 80, 16), (2, 15, 48, 96)]),
        (Generator, [(2, 5, 1, 80, 16), (2, 6, 5, 96, 96)]),
        (VisualQualityDiscriminator, [(2, 3, 5, 96, 96)]),
    ],
)
def test_bfloat16_changes_results_a_little_and_leaves_their_type(network, shapes):
    torch.manual_seed(0)
    exact, rounded = network(0.05).eval(), network(0.05).eval()
    rounded.load_state_dict(exact.state_dict())
    inputs = [torch.rand(shape) for shape in shapes]
    set_precision(rounded, "bfloat16", CPU)
    pairs = list(zip(outputs(exact, *inputs), outputs(rounded, *inputs), strict=True))
    assert all(got.dtype == torch.float32 for _, got in pairs)
    assert all(torch.allclose(wanted, got, atol=0.03) for wanted, got in pairs)
    assert any(not torch.equal(wanted, got) for wanted, got in pairs)


def test_gradients_and_weights_stay_float32_in_bfloat16():
    torch.manual_seed(0)
    expert = SyncExpert(0.05)
    set_precision(expert, "bfloat16", CPU)
    cosine_bce(*expert(torch.rand(2, 1, 80, 16), torch.rand(2, 15, 48, 96)), torch.tensor([0.0, 1.0])).backward()
    assert all(parameter.dtype == parameter.grad.dtype == torch.float32 for parameter in expert.parameters())
