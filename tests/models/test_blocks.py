import numpy as np
import numpy_networks as plain
import torch

from models.blocks import Conv, ConvBlock, PlainConvBlock, UpConvBlock, scale_specs, scaled


def arrays(module):
    return {f"b.{key}": value.double().numpy() for key, value in module.state_dict().items()}


def test_residual_is_added_before_the_relu(randomize):
    block = randomize(ConvBlock(Conv(4, 4, residual=True)))
    x = torch.randn(2, 4, 9, 7, generator=torch.Generator().manual_seed(1))
    expected = plain.block(x.double().numpy(), arrays(block), "b", 1, 1, residual=True)
    with torch.inference_mode():
        np.testing.assert_allclose(block(x).numpy(), expected, atol=1e-5)


def test_strided_block_matches_plain_arithmetic(randomize):
    block = randomize(ConvBlock(Conv(3, 5, stride=(3, 2))))
    x = torch.randn(2, 3, 27, 16, generator=torch.Generator().manual_seed(2))
    expected = plain.block(x.double().numpy(), arrays(block), "b", (3, 2), 1, residual=False)
    with torch.inference_mode():
        np.testing.assert_allclose(block(x).numpy(), expected, atol=1e-5)


def test_up_block_doubles_the_side_and_matches_plain_arithmetic(randomize):
    block = randomize(UpConvBlock(Conv(3, 5, stride=2), output_padding=1))
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(3))
    state = arrays(block)
    raw = plain.conv_transpose(
        x.double().numpy(), state["b.conv_block.0.weight"], state["b.conv_block.0.bias"], 2, 1, 1
    )
    with torch.inference_mode():
        got = block(x).numpy()
    assert got.shape == (2, 5, 8, 12)
    np.testing.assert_allclose(got, np.maximum(plain.batch_norm(raw, state, "b.conv_block.1"), 0), atol=1e-5)


def test_plain_block_leaks_one_percent_below_zero():
    block = PlainConvBlock(Conv(1, 1, kernel=1, padding=0))
    torch.nn.init.constant_(block.conv_block[0].weight, 1.0)
    torch.nn.init.zeros_(block.conv_block[0].bias)
    out = block(torch.tensor([[[[-2.0, 3.0]]]]))
    assert torch.allclose(out, torch.tensor([[[[-0.02, 3.0]]]]))


def test_scaling_keeps_the_data_channels_and_at_least_one_of_the_others():
    rows = scale_specs([Conv(6, 16), Conv(16, 32)], 0.25)
    assert [(row.num_in, row.num_out) for row in rows] == [(6, 4), (4, 8)]
    assert scaled(16, 0.01) == 1
