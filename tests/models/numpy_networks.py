"""The paper's networks written a second time, in plain float64 numpy, to compare the torch ones with.

Kernel sizes and channels come from the weights; strides, paddings and residuals from the tables below.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

State = dict[str, np.ndarray]


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: tuple, padding: tuple) -> np.ndarray:
    """Convolution over any number of dimensions: x (B, C, ...), weight (O, C, ...)."""
    num_dims = weight.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in padding]))
    axes = tuple(range(2, 2 + num_dims))
    windows = sliding_window_view(x, weight.shape[2:], axis=axes)
    windows = windows[(slice(None), slice(None), *[slice(None, None, s) for s in stride])]
    kernel_axes = tuple(range(2 + num_dims, 2 + 2 * num_dims))
    out = np.tensordot(windows, weight, axes=((1, *kernel_axes), (1, *range(2, 2 + num_dims))))
    return np.moveaxis(out, -1, 1) + bias.reshape(1, -1, *[1] * num_dims)


def conv_transpose(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int, extra: int):
    """Transposed 2-D convolution: every input value stamps the kernel onto the output."""
    num, _, height, width = x.shape
    kernel = weight.shape[2]
    full = np.zeros(
        (num, weight.shape[1], (height - 1) * stride + kernel + extra, (width - 1) * stride + kernel + extra)
    )
    for row in range(height):
        for column in range(width):
            stamp = np.tensordot(x[:, :, row, column], weight, axes=(1, 0))
            full[:, :, row * stride : row * stride + kernel, column * stride : column * stride + kernel] += stamp
    full = full[:, :, padding : full.shape[2] - padding, padding : full.shape[3] - padding]
    return full + bias.reshape(1, -1, 1, 1)


def batch_norm(x: np.ndarray, state: State, prefix: str) -> np.ndarray:
    mean, var, weight, bias = (
        state[f"{prefix}.{name}"].reshape(1, -1, *[1] * (x.ndim - 2))
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def block(x: np.ndarray, state: State, prefix: str, stride: object, padding: int, residual: bool) -> np.ndarray:
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    out = conv(
        x,
        state[f"{prefix}.conv_block.0.weight"],
        state[f"{prefix}.conv_block.0.bias"],
        strides,
        (padding,) * 2,
    )
    out = batch_norm(out, state, f"{prefix}.conv_block.1")
    return np.maximum(out + x if residual else out, 0)


def encoder(x: np.ndarray, state: State, prefix: str, table: list[tuple]) -> np.ndarray:
    for index, (stride, padding, residual) in enumerate(table):
        x = block(x, state, f"{prefix}.{index}", stride, padding, residual)
    return x


RES = (1, 1, True)
NEW = (1, 1, False)
SHRINK = (1, 0, False)


def audio_table(num_at_256: int) -> list[tuple]:
    return [
        NEW, RES, RES, ((3, 1), 1, False), RES, RES, (3, 1, False), RES, RES, ((3, 2), 1, False),
        *[RES] * num_at_256, SHRINK, SHRINK,
    ]  # fmt: skip


def generator(state: State, mel: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(B, 3, 96, 96) of mel (B, 1, 80, 16) and faces (B, 6, 96, 96)."""
    x = encoder(mel, state, "audio_encoder", audio_table(1))
    down = (2, 1, False)
    stages = [
        [(1, 3, False)],
        [down, RES, RES],
        [down, *[RES] * 3],
        [down, RES, RES],
        [down, RES, RES],
        [down, RES],
    ]
    skips = []
    for index, table in enumerate([*stages, [SHRINK, SHRINK]]):
        faces = encoder(faces, state, f"face_encoder_blocks.{index}", table)
        skips.append(faces)
    for index, num_residual in enumerate([0, 1, 2, 2, 2, 2, 2]):
        prefix = f"face_decoder_blocks.{index}"
        if index == 0:
            x = block(x, state, f"{prefix}.0", 1, 0, residual=False)
        else:
            stride, padding, extra = (1, 0, 0) if index == 1 else (2, 1, 1)
            weight, bias = (state[f"{prefix}.0.conv_block.0.{name}"] for name in ("weight", "bias"))
            x = conv_transpose(x, weight, bias, stride, padding, extra)
            x = np.maximum(batch_norm(x, state, f"{prefix}.0.conv_block.1"), 0)
        for number in range(num_residual):
            x = block(x, state, f"{prefix}.{number + 1}", *RES)
        x = np.concatenate([x, skips[6 - index]], axis=1)
    x = block(x, state, "output_block.0", *NEW)
    x = conv(x, state["output_block.1.weight"], state["output_block.1.bias"], (1, 1), (0, 0))
    return 1 / (1 + np.exp(-x))


def expert(state: State, mel: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings (audio, face) of mel (B, 1, 80, 16) and lower halves (B, 15, 48, 96)."""
    down = (2, 1, False)
    table = [
        (1, 3, False),
        ((1, 2), 1, False),
        RES,
        RES,
        down,
        *[RES] * 3,
        down,
        RES,
        RES,
        down,
        RES,
        RES,
        down,
    ]
    audio = encoder(mel, state, "audio_encoder", audio_table(2))[:, :, 0, 0]
    face = encoder(faces, state, "face_encoder", [*table, SHRINK, SHRINK])[:, :, 0, 0]
    return tuple(e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12) for e in (audio, face))


def discriminator(state: State, frames: np.ndarray) -> np.ndarray:
    """(T * B, 1) of frames (B, 3, T, 96, 96)."""
    x = np.concatenate([frames[:, :, t, 48:] for t in range(frames.shape[2])])
    wide = (1, 2)
    table = [
        [(1, 3)],
        [(wide, 2), (1, 2)],
        [(2, 2), (1, 2)],
        [(2, 2), (1, 2)],
        [(2, 1), (1, 1)],
        [(2, 1), (1, 1)],
    ]
    for stage, rows in enumerate([*table, [(1, 0), (1, 0)]]):
        for index, (stride, padding) in enumerate(rows):
            strides = stride if isinstance(stride, tuple) else (stride, stride)
            prefix = f"face_encoder_blocks.{stage}.{index}.conv_block.0"
            x = conv(x, state[f"{prefix}.weight"], state[f"{prefix}.bias"], strides, (padding, padding))
            x = np.where(x > 0, x, 0.01 * x)
    x = conv(x, state["binary_pred.0.weight"], state["binary_pred.0.bias"], (1, 1), (0, 0))
    return 1 / (1 + np.exp(-x[:, :, 0, 0]))


def max_pool(x: np.ndarray, kernel: tuple, stride: tuple, padding: tuple) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in padding]), constant_values=-np.inf)
    axes = tuple(range(2, x.ndim))
    windows = sliding_window_view(x, kernel, axis=axes)
    windows = windows[(slice(None), slice(None), *[slice(None, None, s) for s in stride])]
    return windows.max(axis=tuple(range(-len(kernel), 0)))


def syncnet_trunk(state: State, prefix: str, x: np.ndarray, rows: list[tuple]) -> np.ndarray:
    """Rows: ("conv", stride, padding), three indices; ("pool", kernel, stride, padding), one index."""
    index = 0
    for kind, *arguments in rows:
        if kind == "pool":
            x = max_pool(x, *arguments)
            index += 1
            continue
        weight, bias = (state[f"{prefix}.{index}.{name}"] for name in ("weight", "bias"))
        x = conv(x, weight, bias, *arguments)
        x = np.maximum(batch_norm(x, state, f"{prefix}.{index + 1}"), 0)
        index += 3
    return x.reshape(len(x), -1)


def syncnet_head(state: State, prefix: str, x: np.ndarray) -> np.ndarray:
    x = x @ state[f"{prefix}.0.weight"].T + state[f"{prefix}.0.bias"]
    x = np.maximum(batch_norm(x, state, f"{prefix}.1"), 0)
    return x @ state[f"{prefix}.3.weight"].T + state[f"{prefix}.3.bias"]


def syncnet_lip(state: State, frames: np.ndarray) -> np.ndarray:
    """(B, 1024) of frames (B, 3, 5, 224, 224)."""
    one, half, same = (1, 1, 1), (1, 2, 2), (0, 1, 1)
    rows = [
        ("conv", half, (0, 0, 0)), ("pool", (1, 3, 3), half, (0, 0, 0)),
        ("conv", half, same), ("pool", (1, 3, 3), half, same),
        *[("conv", one, same)] * 3, ("pool", (1, 3, 3), half, (0, 0, 0)),
        ("conv", one, (0, 0, 0)),
    ]  # fmt: skip
    return syncnet_head(state, "netfclip", syncnet_trunk(state, "netcnnlip", frames, rows))


def syncnet_audio(state: State, mfcc: np.ndarray) -> np.ndarray:
    """(B, 1024) of mfcc (B, 1, 13, 20)."""
    one = (1, 1)
    rows = [
        ("conv", one, one), ("pool", one, one, (0, 0)), ("conv", one, one), ("pool", (3, 3), (1, 2), (0, 0)),
        *[("conv", one, one)] * 3, ("pool", (3, 3), (2, 2), (0, 0)), ("conv", one, (0, 0)),
    ]  # fmt: skip
    return syncnet_head(state, "netfcaud", syncnet_trunk(state, "netcnnaud", mfcc, rows))
