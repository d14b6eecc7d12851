"""Our parts, put together the paper's way, give what the original program gave, frame for frame."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from models.engine import GeneratorEngine
from models.s3fd import S3FD, best_box
from singalong.contracts import ModelRef
from singalong.durable import sha256_of
from singalong.media.audio import mel_chunk_starts, mel_chunks, mel_spectrogram
from singalong.media.geometry import fit_to_box, network_crop, pad_box, paste_mask
from singalong.smoothing import smooth_boxes

SAMPLE_RATE_HZ = 16000


@pytest.fixture(scope="module")
def scripts(golden: Path) -> tuple[ModuleType, ModuleType]:
    sys.path.insert(0, str(golden.parent))
    try:
        return importlib.import_module("make_inputs"), importlib.import_module("make_weights")
    finally:
        sys.path.pop(0)


def reference_state(golden: Path, scripts: tuple[ModuleType, ModuleType], model: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((golden / "shapes" / f"{model}.json").read_text())["shapes"]
    return {key: torch.from_numpy(np.asarray(value)) for key, value in scripts[1].make_state(shapes, model, 0).items()}


@pytest.fixture(scope="module")
def engine(
    golden: Path, scripts: tuple[ModuleType, ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> GeneratorEngine:
    path = tmp_path_factory.mktemp("weights") / "generator.safetensors"
    state = reference_state(golden, scripts, "wav2lip_generator")
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    ref = ModelRef(name="ref", architecture="wav2lip_generator", path=str(path), weights_sha256=sha256_of(path))
    return GeneratorEngine(ref, device="cpu", precision="float32")


def detected_boxes(
    case: dict[str, NDArray[np.generic]], frames: NDArray[np.uint8], detector: S3FD | None
) -> NDArray[np.int64]:
    """Boxes before pads: by S3FD where the case was made with it, else those recorded."""
    if detector is None:
        return np.asarray(case["detections"], np.int64)
    with torch.inference_mode():
        found = [best_box(boxes) for boxes in detector.detect(list(frames))]
    assert all(box is not None for box in found)
    np.testing.assert_array_equal(np.array(found), case["detections"])
    return np.array(found, dtype=np.int64)


@pytest.mark.parametrize(("name", "pads"), [("e2e_detect", (0, 10, 0, 0)), ("e2e_box_loop", None)])
def test_crops_mels_faces_and_pastes_equal_the_original_run(
    name: str,
    pads: tuple[int, int, int, int] | None,
    golden: Path,
    scripts: tuple[ModuleType, ModuleType],
    engine: GeneratorEngine,
) -> None:
    with np.load(golden / f"{name}.npz") as arrays:
        case = dict(arrays)
    make_inputs = scripts[0]
    height, width = (int(side) for side in case["in_hw"])
    clip_name = "e2e/" + name.removeprefix("e2e_")
    frames = make_inputs.clip(clip_name, int(case["in_n"]), height, width, int(case["salt"]), int(case["in_speed"]))
    assert make_inputs.sha256(frames) == str(case["in_sha"])

    mel = mel_spectrogram(case["audio_int16"].astype(np.float32) / 32768, SAMPLE_RATE_HZ)
    num_frames = len(case["coords_y1y2x1x2"])
    chunks = mel_chunks(mel, mel_chunk_starts(mel.shape[1], float(case["in_fps"]), num_frames))
    np.testing.assert_allclose(chunks, case["mel"].reshape(chunks.shape), atol=5e-6)

    if pads is None:
        y1, y2, x1, x2 = (int(value) for value in case["coords_y1y2x1x2"][0])
        boxes = [(x1, y1, x2, y2)] * num_frames
    else:
        detector = S3FD().eval()
        detector.load_state_dict(reference_state(golden, scripts, "s3fd"))
        raw = detected_boxes(case, frames, detector)
        padded = np.array([pad_box(tuple(box), pads, width=width, height=height) for box in raw.tolist()])
        boxes = [tuple(box) for box in smooth_boxes(padded).tolist()]
    expected = case["coords_y1y2x1x2"]
    np.testing.assert_array_equal(np.array(boxes), expected[:, [2, 0, 3, 1]])

    sources = [frames[index % len(frames)] for index in range(num_frames)]
    crops = np.stack([network_crop(f[y1:y2, x1:x2]) for f, (x1, y1, x2, y2) in zip(sources, boxes, strict=True)])
    masked = crops[0].copy()
    masked[48:] = 0
    np.testing.assert_array_equal(np.concatenate([masked, crops[0]], axis=2), case["net_input0"])

    for index, (face, box) in enumerate(zip(engine.generate(chunks, crops), boxes, strict=True)):
        patch = fit_to_box(face, box)
        assert paste_mask(box[2] - box[0], box[3] - box[1], style="box", feather=0.0).min() == 1
        difference = np.abs(patch.astype(int) - case[f"patch{index:02d}"].astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01
