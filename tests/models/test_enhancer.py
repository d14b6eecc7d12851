"""Face enhancers as ONNX files: small real networks through the real runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import registry
from models.enhancer import SIGNED, UNIT, Enhancer, check_enhancer
from singalong.contracts import ModelRef
from singalong.errors import InputError, UsageError, WeightsError
from tests.enhancers import sharpener, write_network


def ref_of(path: Path, architecture: str = SIGNED) -> ModelRef:
    from models.cards import file_sha256

    return ModelRef(name="e", architecture=architecture, path=str(path), weights_sha256=file_sha256(path))


def face(side: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 190, (side, side, 3)).astype(np.uint8)


def test_it_runs_and_the_channels_keep_their_places(tmp_path: Path) -> None:
    enhancer = Enhancer(ref_of(write_network(tmp_path / "same.onnx", [], output="input")))
    assert enhancer.side == 256
    assert (enhancer.enhance(face()) == face()).all()


def test_a_sharpener_sharpens(tmp_path: Path) -> None:
    made = Enhancer(ref_of(sharpener(tmp_path / "sharp.onnx"))).enhance(face())
    assert made.dtype == np.uint8
    assert made.std() > 1.3 * face().std()


@pytest.mark.parametrize(("low", "architecture"), [(-1.0, SIGNED), (0.0, UNIT)])
def test_the_range_of_its_colours_is_found_out(tmp_path: Path, low: float, architecture: str) -> None:
    # a network that ends, as they do, by limiting its output to the range it was trained on
    limits = [numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((low, "low"), (1.0, "high"))]
    node = helper.make_node("Clip", ["input", "low", "high"], ["output"])
    path = write_network(tmp_path / "range.onnx", [node], weights=limits)
    assert check_enhancer(path) == (256, architecture)


def broken(path: Path, kind: str) -> Path:
    nan = numpy_helper.from_array(np.array(np.nan, np.float32), "nan")
    match kind:
        case "text":
            path.write_text("no network at all")
            return path
        case "custom":
            node = helper.make_node("Sharpen", ["input"], ["output"], domain="com.example")
            return write_network(path, [node], opsets=[("com.example", 1)])
        case "microsoft":
            node = helper.make_node("Gelu", ["input"], ["output"], domain="com.microsoft")
            return write_network(path, [node], opsets=[("com.microsoft", 1)])
        case "external":
            tensor = numpy_helper.from_array(np.ones((1,), np.float32), "one")
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="../../../etc/passwd")
            return write_network(path, [helper.make_node("Mul", ["input", "one"], ["output"])], weights=[tensor])
        case "nan":
            return write_network(path, [helper.make_node("Mul", ["input", "nan"], ["output"])], weights=[nan])
        case "size":
            return write_network(path, [], output="input", side=300)
        case "two inputs":
            return write_network(path, [helper.make_node("Add", ["input", "w"], ["output"])], more_inputs=["w"])
        case _:
            half = helper.make_node("Cast", ["input"], ["output"], to=TensorProto.FLOAT16)
            return write_network(path, [half], output_type=TensorProto.FLOAT16)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "no ONNX file"),
        ("custom", "com.example"),
        ("microsoft", "com.microsoft"),
        ("external", "outside the file"),
        ("nan", "NaN"),
        ("size", "300"),
        ("two inputs", "no face enhancer"),
        ("half", "float16"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, kind: str, words: str) -> None:
    path = broken(tmp_path / "bad.onnx", kind)
    with pytest.raises(WeightsError, match=words) as raised:
        registry.add_checkpoint("bad", path, home=tmp_path / "home")
    assert "bad.onnx" in str(raised.value)
    assert not (tmp_path / "home" / "bad").exists()


def test_weights_outside_the_file_are_found_inside_branches_too(tmp_path: Path) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    nodes = [
        helper.make_node("If", ["yes"], ["one"], then_branch=inner, else_branch=inner),
        helper.make_node("Mul", ["input", "one"], ["output"]),
    ]
    with pytest.raises(WeightsError, match="outside the file"):
        check_enhancer(write_network(tmp_path / "deep.onnx", nodes, weights=[yes]))


def test_it_is_added_listed_resolved_verified_and_replaced(tmp_path: Path) -> None:
    home, path = tmp_path / "home", sharpener(tmp_path / "sharp.onnx")
    card = registry.add_checkpoint("gfpgan", path, home=home)
    assert (card.role, card.architecture) == ("enhancer", SIGNED)
    assert card.weights_sha256 == card.source_sha256
    assert card in registry.list_models(home)
    ref = registry.resolve("gfpgan", "enhancer", home=home)
    assert ref is not None
    assert Enhancer(ref).side == 256
    assert registry.verify(home) == []
    with pytest.raises(InputError):
        registry.add_checkpoint("gfpgan", path, home=home)
    registry.add_checkpoint("gfpgan", path, home=home, replace=True)
    with pytest.raises(UsageError):
        registry.add_checkpoint("other", path, home=home, role="generator")


def test_none_is_no_enhancer_and_other_models_are_not_enhancers(tmp_path: Path) -> None:
    assert registry.resolve("none", "enhancer", home=tmp_path) is None
    with pytest.raises(InputError, match="not enhancer"):
        registry.resolve("untrained", "enhancer", home=tmp_path)
    with pytest.raises(InputError, match="no model named"):
        registry.resolve("gfpgan", "enhancer", home=tmp_path)


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    path = sharpener(tmp_path / "sharp.onnx")
    ref = ref_of(path)
    model = onnx.load(path)
    model.doc_string = "changed"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="changed since"):
        Enhancer(ref)


def test_sparse_weights_outside_the_file_are_found(tmp_path: Path) -> None:
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    values.ClearField("float_data")
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="elsewhere.bin")
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("at", TensorProto.INT64, [1], [0]), [1])
    constant = helper.make_node("Constant", [], ["one"], sparse_value=sparse)
    path = write_network(tmp_path / "bad.onnx", [constant, helper.make_node("Mul", ["input", "one"], ["output"])])
    with pytest.raises(WeightsError, match="outside the file"):
        registry.add_checkpoint("bad", path, home=tmp_path / "home")
