import zlib

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from models import engine as engine_module
from models.blocks import ConvBlock, UpConvBlock
from models.cards import UNTRAINED_SHA256, file_sha256
from models.engine import GeneratorEngine, limit_threads, load_generator, pick_device, pick_precision
from models.fold import fold_batch_norms
from models.generator import Generator
from models.seeded import seed_weights
from singalong.contracts import ModelRef
from singalong.errors import InputError, ResourceError, UsageError, WeightsError

UNTRAINED = ModelRef(name="untrained", architecture="wav2lip_generator", weights_sha256=UNTRAINED_SHA256, trained=False)


def save(network, path):
    safetensors.torch.save_file(network.state_dict(), path)
    return ModelRef(name="small", architecture="wav2lip_generator", path=str(path), weights_sha256=file_sha256(path))


@pytest.fixture
def network():
    """Moderate outputs, as of a trained generator, and batch norms that are not the identity."""
    network = Generator(width=0.125).eval()
    seed_weights(network, 1)
    generator = torch.Generator().manual_seed(0)
    for key, tensor in network.state_dict().items():
        noise = torch.rand(tensor.shape, generator=generator)
        if key.endswith("running_var"):
            tensor.copy_(0.5 + noise)
        elif tensor.dim() == 1:
            tensor.add_(0.4 * noise - 0.2)
    return network


@pytest.fixture
def ref(network, tmp_path):
    return save(network, tmp_path / "weights.safetensors")


def inputs(num_frames, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (num_frames, 12, 12, 3), dtype=np.uint8)
    faces = np.stack([cv2.resize(image, (96, 96)) for image in coarse]) if num_frames else coarse[:, :0, :0]
    faces = faces.reshape(num_frames, 96, 96, 3)
    return rng.uniform(-4, 4, (num_frames, 80, 16)).astype(np.float32), faces


def by_hand(network, mel, faces):
    """The paper's inference: masked copy first, unmasked reference after it, values times 255 truncated."""
    reference = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255
    masked = reference.clone()
    masked[:, :, 48:] = 0
    with torch.inference_mode():
        out = network(torch.from_numpy(mel)[:, None], torch.cat((masked, reference), dim=1))
    return (out * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def run(engine, mel, faces):
    return np.stack(engine.generate(mel, faces))


def psnr_db(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_float32_engine_equals_the_plain_network_within_one_level(network, ref):
    mel, faces = inputs(5)
    expected = by_hand(network, mel, faces)
    got = run(GeneratorEngine(ref, device="cpu", precision="float32", batch_size=4), mel, faces)
    difference = np.abs(got.astype(int) - expected.astype(int))
    assert np.ptp(expected) > 50
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_bfloat16_engine_is_close_to_the_plain_network(network, ref):
    mel, faces = inputs(4)
    got = run(GeneratorEngine(ref, device="cpu", precision="bfloat16"), mel, faces)
    assert psnr_db(got, by_hand(network, mel, faces)) > 38


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_the_batch_size_does_not_show_in_the_result(ref, batch_size):
    mel, faces = inputs(7)
    whole = run(GeneratorEngine(ref, device="cpu", precision="float32", batch_size=7), mel, faces)
    engine = GeneratorEngine(ref, device="cpu", precision="float32", batch_size=batch_size)
    assert np.abs(run(engine, mel, faces).astype(int) - whole.astype(int)).max() <= 1


def test_an_engine_used_again_remembers_nothing(ref):
    mel, faces = inputs(6)
    engine = GeneratorEngine(ref, device="cpu", precision="float32")
    first = run(engine, mel[:2], faces[:2])
    engine.generate(mel, faces)
    np.testing.assert_array_equal(run(engine, mel[:2], faces[:2]), first)


def test_no_frames_give_no_frames(ref):
    mel, faces = inputs(0)
    assert GeneratorEngine(ref, device="cpu").generate(mel, faces) == []


def test_running_out_of_memory_halves_the_batch_and_goes_on(ref, monkeypatch):
    mel, faces = inputs(9)
    engine = GeneratorEngine(ref, device="cpu", precision="float32", batch_size=8)
    expected = run(engine, mel, faces)
    sizes, original = [], engine._batch

    def tight(mel, faces, sung):
        sizes.append(len(faces))
        if len(faces) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(mel, faces, sung)

    monkeypatch.setattr(engine, "_batch", tight)
    got = run(engine, mel, faces)
    assert sizes == [8, 4, 2, 2, 2, 2, 1]
    assert engine.batch_size == 2
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def test_not_even_one_frame_in_memory_is_a_resource_error(ref, monkeypatch):
    mel, faces = inputs(2)
    engine = GeneratorEngine(ref, device="cpu", batch_size=4)

    def full(mel, faces, sung):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(engine, "_batch", full)
    with pytest.raises(ResourceError, match="not even one frame"):
        engine.generate(mel, faces)


def test_other_errors_are_not_taken_for_memory(ref, monkeypatch):
    engine = GeneratorEngine(ref, device="cpu")

    def broken(mel, faces, sung):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(engine, "_batch", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.generate(*inputs(1))


def test_a_mel_that_is_not_finite_is_refused(ref):
    mel, faces = inputs(2)
    mel[1, 3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        GeneratorEngine(ref, device="cpu").generate(mel, faces)


def test_weights_that_overflow_are_told(network, tmp_path):
    network.output_block[1].weight.data.fill_(1e38)
    engine = GeneratorEngine(save(network, tmp_path / "big.safetensors"), device="cpu", precision="float32")
    with pytest.raises(WeightsError, match="not finite"):
        engine.generate(*inputs(1))


def test_weights_changed_after_planning_are_refused(ref):
    stale = ref.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(WeightsError, match="changed since the run was planned"):
        GeneratorEngine(stale, device="cpu")


def test_device_name_tells_device_and_precision(ref):
    assert GeneratorEngine(ref, device="cpu", precision="float32").device_name == "cpu (float32)"


@pytest.mark.parametrize("device", ["cuda:97", "gpu"])
def test_a_device_there_is_not_is_a_usage_error(device):
    with pytest.raises(UsageError):
        pick_device(device)


@pytest.mark.parametrize(
    ("features", "expected"),
    [({"avx512_bf16": True}, "bfloat16"), ({"amx_bf16": True}, "bfloat16"), ({"avx512_f": True}, "float32")],
)
def test_precision_follows_what_the_cpu_multiplies(monkeypatch, features, expected):
    monkeypatch.setattr(engine_module.torch.cpu, "get_capabilities", lambda: features)
    assert pick_precision("cpu") == expected


def test_folding_leaves_no_batch_norm_and_the_same_outputs(network):
    network = network.double()
    mel, faces = torch.randn(2, 1, 80, 16).double(), torch.rand(2, 6, 96, 96).double()
    with torch.inference_mode():
        expected = network(mel, faces)
        fold_batch_norms(network)
        got = network(mel, faces)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert sum(isinstance(module, ConvBlock | UpConvBlock) for module in network.modules()) == 50
    torch.testing.assert_close(got, expected, atol=1e-10, rtol=0)


def test_untrained_weights_are_the_same_on_every_machine():
    """A change here changes pixels under an unchanged work key: raise the version in UNTRAINED_SHA256 with it."""
    network = Generator(width=0.25)
    seed_weights(network, 0)
    digest = zlib.crc32(b"".join(value.numpy().tobytes() for value in network.state_dict().values()))
    assert (UNTRAINED_SHA256, digest) == ("untrained-seed0-v1", 442706535)


def test_untrained_generator_gives_moderate_pictures():
    network = load_generator(UNTRAINED)
    assert not network.training
    mel, faces = inputs(2)
    pictures = by_hand(network, mel, faces)
    assert 60 < pictures.mean() < 190
    assert 15 < pictures.std() < 80
    assert (pictures[0] != pictures[1]).mean() > 0.5


def test_threads_are_limited():
    limit_threads()
    assert torch.get_num_threads() == 1


@pytest.fixture(scope="module")
def reference_engine(reference_state, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "weights.safetensors"
    safetensors.torch.save_file(reference_state("wav2lip_generator"), path)
    ref = UNTRAINED.model_copy(update={"path": str(path), "weights_sha256": file_sha256(path)})
    return GeneratorEngine(ref, device="cpu", precision="float32")


@pytest.mark.parametrize("name", ["e2e_box_loop", "e2e_image"])
def test_whole_inference_matches_the_reference_vectors(name, vectors, reference_engine):
    """The pasted patch of the first frame, made by the original inference program from the same crop and mel."""
    golden, engine = vectors(name), reference_engine
    first = golden["net_input0"]
    crop = np.ascontiguousarray(first[..., 3:])
    fed = (engine._input(crop[None], 1) * 255).round().to(torch.uint8)
    np.testing.assert_array_equal(fed[0].permute(1, 2, 0).numpy(), first)
    face = engine.generate(golden["mel"][:1].reshape(1, 80, 16), crop[None])[0]
    height, width = golden["patch00"].shape[:2]
    patch = cv2.resize(face, (width, height)).astype(int)
    assert np.abs(patch - golden["patch00"]).max() <= 1
