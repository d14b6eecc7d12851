"""Small ONNX networks that take and give a face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper


def write_network(
    path: Path,
    nodes: Sequence[NodeProto],
    *,
    weights: Sequence[TensorProto] = (),
    side: int = 256,
    output: str = "output",
    output_type: int = TensorProto.FLOAT,
    more_inputs: Sequence[str] = (),
    opsets: Sequence[tuple[str, int]] = (),
) -> Path:
    """A network from `input` to `output`, both (1, 3, side, side)."""
    shape = [1, 3, side, side]
    if output == "input":
        nodes, output = [helper.make_node("Identity", ["input"], ["output"])], "output"
    graph = helper.make_graph(
        list(nodes),
        "enhancer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", *more_inputs)],
        [helper.make_tensor_value_info(output, output_type, shape)],
        list(weights),
    )
    imports = [helper.make_opsetid(*opset) for opset in (("", 17), *opsets)]
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString())
    return path


def sharpener(path: Path, *, side: int = 256, strength: float = 1.0) -> Path:
    """A convolution that steepens edges."""
    kernel = -strength * np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]], np.float32) / 9
    kernel[1, 1] += 1
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[range(3), range(3)] = kernel
    node = helper.make_node("Conv", ["input", "weight"], ["output"], pads=[1, 1, 1, 1])
    return write_network(path, [node], weights=[numpy_helper.from_array(weight, "weight")], side=side)
