import numpy as np
import pytest
import safetensors.torch
import torch

from models.cards import file_sha256
from models.engine import Bend, GeneratorEngine, WarperEngine, load_engine
from models.generator import Generator
from models.warper import EAR_LEAD_STEPS, EAR_STEPS, MAX_FLOW, Warper
from singalong.contracts import ModelRef
from singalong.errors import ResourceError, WeightsError


def saved(network, architecture, path):
    safetensors.torch.save_file(network.state_dict(), path)
    return ModelRef(name="own", architecture=architecture, path=str(path), weights_sha256=file_sha256(path))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = Warper().eval()
    for layer in (*network.brush.steer, network.brush.flow_head):
        torch.nn.init.normal_(layer.weight, std=0.05)
    return network


@pytest.fixture(scope="module")
def ref(network, tmp_path_factory):
    return saved(network, "singalong_warper", tmp_path_factory.mktemp("warper") / "weights.safetensors")


def inputs(num_frames):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (num_frames, 96, 96, 3), dtype=np.uint8)
    return rng.uniform(-4, 4, (num_frames, 80, EAR_STEPS)).astype(np.float32), faces


def by_hand(network, mel, faces):
    with torch.inference_mode():
        fields = network(torch.from_numpy(mel)[:, None], torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255)
    return [field.numpy() for field in fields]


def test_an_engine_is_chosen_by_architecture(ref, tmp_path):
    assert isinstance(load_engine(ref, device="cpu"), WarperEngine)
    painter = saved(Generator(width=0.0625), "wav2lip_generator", tmp_path / "painter.safetensors")
    assert isinstance(load_engine(painter, device="cpu"), GeneratorEngine)


def test_float32_drawings_are_the_networks(network, ref):
    mel, faces = inputs(5)
    flow, patch = by_hand(network, mel, faces)
    engine = load_engine(ref, device="cpu", precision="float32", batch_size=4)
    assert (engine.mel_steps, engine.mel_lead_steps) == (EAR_STEPS, EAR_LEAD_STEPS)
    drawings = engine.generate(mel, faces)
    assert all(isinstance(drawing, Bend) for drawing in drawings)
    assert np.ptp(flow) > 0.01
    assert np.abs(np.stack([drawing.flow for drawing in drawings]) - flow).max() < 1e-4
    assert np.abs(np.stack([drawing.patch for drawing in drawings]) - patch).max() < 1e-3


def test_bfloat16_drawings_are_close(network, ref):
    mel, faces = inputs(4)
    flow, _ = by_hand(network, mel, faces)
    drawings = load_engine(ref, device="cpu", precision="bfloat16").generate(mel, faces)
    assert np.abs(np.stack([drawing.flow for drawing in drawings]) - flow).mean() < 0.01 * MAX_FLOW


def test_running_out_of_memory_halves_the_batch_and_goes_on(ref, monkeypatch):
    mel, faces = inputs(5)
    engine = load_engine(ref, device="cpu", precision="float32", batch_size=4)
    original = engine._batch

    def tight(mel, faces, sung):
        if len(faces) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(mel, faces, sung)

    monkeypatch.setattr(engine, "_batch", tight)
    assert len(engine.generate(mel, faces)) == 5
    assert engine.batch_size == 2
    monkeypatch.setattr(engine, "_batch", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ResourceError, match="not even one frame"):
        engine.generate(mel, faces)


def test_weights_changed_after_planning_are_refused(ref):
    with pytest.raises(WeightsError, match="changed since the run was planned"):
        load_engine(ref.model_copy(update={"weights_sha256": "0" * 64}), device="cpu")


def test_a_mouth_at_rest_is_that_of_no_sound_and_part_of_a_mouth_lies_between(network, ref):
    mel, faces = inputs(3)
    engine = load_engine(ref, device="cpu", precision="float32", batch_size=2)
    flows = [
        np.stack([drawing.flow for drawing in engine.generate(mel, faces, np.full(3, share, np.float32))])
        for share in (0.0, 0.5, 1.0)
    ]
    with torch.inference_mode():
        shut, _ = network.brush(torch.zeros(3, 8), torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255)
    assert np.abs(flows[0] - shut.numpy()).max() < 1e-4
    assert np.abs(flows[2] - by_hand(network, mel, faces)[0]).max() < 1e-4
    assert np.abs(flows[1] - flows[0]).max() > 1e-4
