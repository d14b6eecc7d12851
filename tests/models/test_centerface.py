"""CenterFace: the plumbing around a toy network whose answers are known, and the real network on a real face."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import registry
from models.centerface import SCORE_FLOOR, CenterFace
from singalong.errors import WeightsError

Image = NDArray[np.uint8]

FACE_HEIGHT_PX, FACE_WIDTH_PX = 32, 24
OFFSET_YX = (0.25, -0.5)
LANDMARKS_YX = [(0.3, 0.25), (0.3, 0.75), (0.5, 0.5), (0.8, 0.3), (0.8, 0.7)]


@pytest.fixture(scope="session")
def toy_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of CenterFace's form: the score of a cell grows with red and falls with blue; the rest is constant."""

    def head(name: str, bias: list[float], red: float = 0.0, blue: float = 0.0) -> tuple[list, list]:
        weights = np.zeros((len(bias), 3, 4, 4), np.float32)
        weights[:, 0], weights[:, 2] = red / 16, blue / 16
        tensors = [
            numpy_helper.from_array(weights, f"{name}.weight"),
            numpy_helper.from_array(np.array(bias, np.float32), f"{name}.bias"),
        ]
        inputs = ["input.1", f"{name}.weight", f"{name}.bias"]
        return tensors, [helper.make_node("Conv", inputs, [name], kernel_shape=[4, 4], strides=[4, 4])]

    size = np.log([FACE_HEIGHT_PX / 4, FACE_WIDTH_PX / 4]).tolist()
    heads = [
        head("logit", [-6.0], red=8 / 255, blue=-20 / 255),
        head("size", size),
        head("offset", list(OFFSET_YX)),
        head("landmarks", [value for point in LANDMARKS_YX for value in point]),
    ]
    tensors = [tensor for some, _ in heads for tensor in some]
    nodes = [node for _, some in heads for node in some]
    nodes.append(helper.make_node("Sigmoid", ["logit"], ["heat"]))
    outputs = [("heat", 1), ("size", 2), ("offset", 2), ("landmarks", 10)]
    graph = helper.make_graph(
        nodes,
        "toy",
        # Weights are listed as inputs, as in the real file.
        [
            helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, 3, 32, 32]),
            *(helper.make_tensor_value_info(t.name, TensorProto.FLOAT, list(t.dims)) for t in tensors),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, depth, 8, 8]) for name, depth in outputs],
        initializer=tensors,
    )
    path = tmp_path_factory.mktemp("toy") / "toy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), str(path))
    return path


@pytest.fixture(scope="session")
def toy(toy_onnx: Path) -> CenterFace:
    return CenterFace(toy_onnx)


@pytest.fixture(scope="session")
def centerface(tmp_path_factory: pytest.TempPathFactory) -> CenterFace:
    ref = registry.resolve("centerface", "detector", home=tmp_path_factory.mktemp("models"))
    assert ref.path is not None
    return CenterFace(Path(ref.path))


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """A photograph of one face, about 100 px high around (222, 115), 512x512."""
    skimage_data = pytest.importorskip("skimage.data", reason="no photograph without scikit-image")
    return np.ascontiguousarray(skimage_data.astronaut()[..., ::-1])


def dotted(height: int, width: int, *cells: tuple[int, int], bgr: tuple[int, int, int] = (0, 0, 255)) -> Image:
    """A grey picture with a coloured dot of one heat map cell at each (row, column)."""
    image = np.full((height, width, 3), 40, np.uint8)
    for row, column in cells:
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = bgr
    return image


def box_at(row: int, column: int) -> list[float]:
    y, x = (row + OFFSET_YX[0] + 0.5) * 4, (column + OFFSET_YX[1] + 0.5) * 4
    return [x - FACE_WIDTH_PX / 2, y - FACE_HEIGHT_PX / 2, x + FACE_WIDTH_PX / 2, y + FACE_HEIGHT_PX / 2]


def test_a_face_is_decoded_to_pixels_of_the_image(toy: CenterFace) -> None:
    [found] = toy.detect([dotted(96, 128, (12, 9))])
    np.testing.assert_allclose(found.boxes, [box_at(12, 9)], atol=1e-3)
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2))], atol=1e-4)
    x, y = found.boxes[0, :2]
    expected = [[x + dx * FACE_WIDTH_PX, y + dy * FACE_HEIGHT_PX] for dy, dx in LANDMARKS_YX]
    assert found.landmarks is not None
    np.testing.assert_allclose(found.landmarks[0], expected, atol=1e-3)


@pytest.mark.parametrize("size", [(33, 50), (64, 64), (75, 131), (31, 40)])
def test_any_size_is_accepted_and_only_padded(toy: CenterFace, size: tuple[int, int]) -> None:
    [found] = toy.detect([dotted(*size, (5, 6))])
    np.testing.assert_allclose(found.boxes, [np.minimum(box_at(5, 6), [*size[::-1], *size[::-1]])], atol=1e-3)


def test_boxes_end_at_the_images_edge_and_landmarks_need_not(toy: CenterFace) -> None:
    [found] = toy.detect([dotted(40, 50, (0, 0), (9, 11))])
    assert found.boxes.min() == 0
    assert found.boxes[:, 2].max() == 50
    assert found.boxes[:, 3].max() == 40
    assert found.landmarks is not None
    assert found.landmarks.min() < 0


def test_the_network_sees_red_as_red(toy: CenterFace) -> None:
    red, blue = toy.detect([dotted(64, 64, (8, 8)), dotted(64, 64, (8, 8), bgr=(255, 0, 0))])
    assert (len(red.boxes), len(blue.boxes)) == (1, 0)


def test_images_of_many_sizes_keep_their_order(toy: CenterFace) -> None:
    images = [dotted(64, 96, (3, 4)), dotted(96, 64, (5, 6)), dotted(64, 96), dotted(64, 96, (7, 8), (7, 20))]
    together = toy.detect(images)
    assert [len(found.boxes) for found in together] == [1, 1, 0, 2]
    for image, found in zip(images, together, strict=True):
        [alone] = toy.detect([image])
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-4)


def test_nothing_is_found_in_no_images(toy: CenterFace) -> None:
    assert toy.detect([]) == []


def test_of_overlapping_boxes_the_best_stays_and_the_best_comes_first(toy: CenterFace) -> None:
    image = dotted(96, 160, (10, 8), (10, 30))
    image[40:44, 36:40] = (0, 0, 225)  # a weaker cell beside the first face
    image[40:44, 120:124] = (0, 0, 240)
    [found] = toy.detect([image])
    np.testing.assert_allclose(found.boxes, [box_at(10, 8), box_at(10, 30)], atol=1e-3)
    assert found.scores[0] > found.scores[1] > SCORE_FLOOR


def test_arrays_have_their_shapes_even_without_a_face(toy: CenterFace) -> None:
    [found] = toy.detect([dotted(64, 64)])
    assert (found.boxes.shape, found.scores.shape) == ((0, 4), (0,))
    assert found.landmarks is not None
    assert found.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize("content", [b"", b"this is no network", None], ids=["empty", "text", "missing"])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "centerface.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"centerface\.onnx"):
        CenterFace(path)


def test_another_network_is_refused(tmp_path: Path, toy_onnx: Path) -> None:
    model = onnx.load(str(toy_onnx))
    del model.graph.output[3]
    path = tmp_path / "other.onnx"
    onnx.save(model, str(path))
    with pytest.raises(WeightsError, match="not CenterFace"):
        CenterFace(path)


@pytest.mark.parametrize("side", [512, 256, 150])
def test_a_photographed_face_is_found_at_any_size(centerface: CenterFace, astronaut: Image, side: int) -> None:
    scale = side / 512
    [found] = centerface.detect([cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)])
    best = found.boxes[0] / scale
    assert found.scores[0] > 0.7
    assert (found.scores > 0.5).sum() == 1
    np.testing.assert_allclose((best[:2] + best[2:]) / 2, [222, 115], atol=12)
    assert 70 < best[3] - best[1] < 150


def test_landmarks_are_where_their_names_say(centerface: CenterFace, astronaut: Image) -> None:
    [found] = centerface.detect([astronaut])
    assert found.landmarks is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_picture_without_faces_has_none(centerface: CenterFace, astronaut: Image) -> None:
    [found] = centerface.detect([astronaut[300:]])
    assert not (found.scores > 0.5).any()
