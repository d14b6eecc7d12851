"""Face enhancers as ONNX files: networks of the GFPGAN, CodeFormer and RestoreFormer kind, face in, sharper face out.

An aligned face of 256 or 512 pixels goes in and comes out, RGB, float32, planar. Some networks count colours from -1 to
1, others from 0 to 1; that is found out by a trial when a file is added, and is part of the model's architecture.

Files come from anywhere, so nothing but standard operators, inside one file, is let near the runtime.

Shape suffixes: B 1, C 3 channels RGB, S side of the face.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.cards import file_sha256
from singalong.contracts import ModelRef
from singalong.errors import WeightsError

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIGNED, UNIT = "enhancer_signed", "enhancer_unit"
"""Architectures: colours from -1 to 1, and from 0 to 1."""
SIDES = (256, 512)
_MAX_BYTES = 2**31 - 1
"""Protocol buffers, and so ONNX files that hold their weights, cannot be larger."""
_STANDARD = ("", "ai.onnx")
_UNSURE_LEVELS = 1.0
"""Networks to which both ranges are alike differ by rounding; the wrong range is off by tens of levels."""
_EXPECTED = "a network that takes one face (1, 3, S, S) and gives one, float32, S 256 or 512"


class EnhancerFacts(NamedTuple):
    """What the trial of a file told."""

    side: int
    architecture: str


class Enhancer:
    """An enhancer, loaded: one CPU thread, or the CUDA device where ONNX Runtime offers one."""

    def __init__(self, ref: ModelRef) -> None:
        """Load the network. Raises WeightsError if the file is not the one that was planned with."""
        assert ref.path is not None, ref
        path = Path(ref.path)
        digest = file_sha256(path) if path.is_file() else "missing"
        if digest != ref.weights_sha256:
            raise WeightsError(
                f"the enhancer {ref.name!r} changed since the run was planned",
                file=path,
                value=digest,
                expected=ref.weights_sha256,
                action="Plan the run again.",
            )
        self.name = ref.name
        self._path = path
        self._is_signed = ref.architecture == SIGNED
        self._session = _open(path, _read(path))
        self._input: str = self._session.get_inputs()[0].name
        self.side = _side(self._session, path)

    def enhance(self, face_bgr: Image) -> Image:
        """A sharper face, BGR uint8 (S, S, 3), for an aligned one; S is `side`. WeightsError if it is not finite."""
        assert face_bgr.shape == (self.side, self.side, 3), face_bgr.shape
        made_BCSS = _run(self._session, self._input, _to_network(face_bgr, signed=self._is_signed), self._path)
        return _from_network(made_BCSS, signed=self._is_signed)


def check_enhancer(path: Path) -> EnhancerFacts:
    """Read and try an ONNX file.

    Raises WeightsError for anything but a network of standard operators, in one file, that takes and gives one face and
    whose output, tried on a picture, is finite.
    """
    session = _open(path, _read(path))
    side = _side(session, path)
    picture = _trial_picture(side)
    misses = {}
    for architecture, signed in ((SIGNED, True), (UNIT, False)):
        made = _run(session, session.get_inputs()[0].name, _to_network(picture, signed=signed), path)
        misses[architecture] = float(np.abs(_from_network(made, signed=signed).astype(np.int16) - picture).mean())
    # An enhancer gives back about what it is shown, if it reads the colours as they are meant. Most count from -1.
    return EnhancerFacts(side, SIGNED if misses[SIGNED] <= misses[UNIT] + _UNSURE_LEVELS else UNIT)


def _read(path: Path) -> bytes:
    """The file, after a look at what it would run. Raises WeightsError."""
    try:
        if path.exists() and not path.is_file():
            raise OSError("a folder, a pipe or a device")
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError("this file is too large for an ONNX network in one file", file=path, expected=_EXPECTED)
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except (OSError, DecodeError, ValueError) as exc:
        raise WeightsError(f"this is no ONNX file: {exc}", file=path, expected=_EXPECTED) from exc
    graphs = list(_graphs(model))
    foreign = {node.domain for graph in graphs for node in graph.node if node.domain not in _STANDARD}
    if foreign or model.functions:
        raise WeightsError(
            "this network needs operators that are not of the ONNX standard",
            file=path,
            value=", ".join(sorted(foreign)) or "functions of its own",
            expected="operators of ai.onnx alone",
            action="Export it again without custom operators.",
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for graph in graphs for tensor in _tensors(graph)):
        raise WeightsError(
            "this network keeps its weights outside the file",
            file=path,
            expected="all weights inside the .onnx file",
            action="Save it again with save_as_external_data=False.",
        )
    return content


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, and those inside its nodes (of loops and conditions)."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            yield from attribute.tensors


def _open(path: Path, content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers share a machine by cores
    options.enable_cpu_mem_arena = False  # one face at a time: what it would keep is worth more to other workers
    options.log_severity_level = 3
    providers = [name for name in ("CUDAExecutionProvider",) if name in onnxruntime.get_available_providers()]
    try:
        # from memory, so that no path is there for a file to point beside itself
        return onnxruntime.InferenceSession(content, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime has no base class for its errors
        raise WeightsError(f"ONNX Runtime refuses the network: {_first_line(exc)}", file=path) from exc


def _side(session: Any, path: Path) -> int:
    """Side of the face that the network takes and gives; WeightsError where it is another kind of network."""
    ends = [*session.get_inputs(), *session.get_outputs()]
    told = "; ".join(f"{end.name} {end.type} {end.shape}" for end in ends)
    shapes = [list(end.shape) for end in ends]
    is_face = len(session.get_inputs()) == len(session.get_outputs()) == 1 and all(
        end.type == "tensor(float)"
        and len(shape) == 4
        and (shape[0] == 1 or not isinstance(shape[0], int))
        and shape[1:] == [3, shape[3], shape[3]]
        and shape[3] in SIDES
        for end, shape in zip(ends, shapes, strict=True)
    )
    if not is_face or shapes[0][3] != shapes[1][3]:
        raise WeightsError(
            "this ONNX file is no face enhancer",
            file=path,
            value=told,
            expected=_EXPECTED,
            action="Export it with fixed sizes and no other inputs or outputs.",
        )
    return int(shapes[0][3])


def _run(session: Any, name: str, face_BCSS: Floats, path: Path) -> Floats:
    try:
        made_BCSS = np.asarray(session.run(None, {name: face_BCSS})[0], np.float32)
    except Exception as exc:
        raise WeightsError(f"the enhancer fails: {_first_line(exc)}", file=path) from exc
    if made_BCSS.shape != face_BCSS.shape or not np.isfinite(made_BCSS).all():
        raise WeightsError(
            "the enhancer's output is not a face",
            file=path,
            value=f"shape {made_BCSS.shape}" if made_BCSS.shape != face_BCSS.shape else "NaN or infinity",
            expected=f"finite values of shape {face_BCSS.shape}",
            action="Set lipsync.enhancer to none, or use another file.",
        )
    return made_BCSS


def _to_network(face_bgr: Image, *, signed: bool) -> Floats:
    unit = face_bgr[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(unit * 2 - 1 if signed else unit)


def _from_network(made_BCSS: Floats, *, signed: bool) -> Image:
    unit = (made_BCSS[0] + 1) / 2 if signed else made_BCSS[0]
    levels = np.clip(unit * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0)[..., ::-1])


def _trial_picture(side: int) -> Image:
    """Something like an aligned face, BGR (S, S, 3): skin, eyes and mouth before a dark wall, lit from one side."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    picture = np.full((side, side, 3), (70.0, 60.0, 50.0))
    for centre, radii, color in (
        ((0.5, 0.52), (0.32, 0.44), (120, 150, 205)),
        ((0.377, 0.469), (0.05, 0.025), (40, 35, 40)),
        ((0.623, 0.469), (0.05, 0.025), (40, 35, 40)),
        ((0.502, 0.725), (0.11, 0.035), (90, 85, 175)),
    ):
        distance = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
        inside = np.clip((1.1 - distance) * 5, 0, 1)[..., None]
        picture = picture * (1 - inside) + np.array(color, np.float64) * inside
    return np.asarray((picture * (0.85 + 0.3 * x[..., None])).clip(0, 255), np.uint8)


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]
