import json

import pytest
import torch

from models.architectures import ARCHITECTURES, build, check_state, identify
from singalong.errors import WeightsError

NAMES = list(ARCHITECTURES)


def meta_state(name, *width):
    with torch.device("meta"):
        return dict(ARCHITECTURES[name].network(*width).state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_knows_each_network_by_its_keys(name):
    assert identify(meta_state(name)) == name
    assert check_state(meta_state(name), name) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_counters_of_batch_norms_may_be_missing(name):
    state = {key: value for key, value in meta_state(name).items() if not key.endswith("num_batches_tracked")}
    assert check_state(state, name) == 1.0


@pytest.mark.parametrize("width", [0.125, 0.25, 0.3, 0.37, 0.5, 1.5])
@pytest.mark.parametrize("name", ["wav2lip_generator", "lipsync_expert", "visual_quality_disc"])
def test_finds_the_width_from_the_shapes(name, width):
    assert check_state(meta_state(name, width), name) == pytest.approx(width, abs=0.005)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_refuses_every_other_network_by_what_it_looks_like(name, other):
    if name == other:
        return
    with pytest.raises(WeightsError, match=rf"looks like .*\({name}\).*missing, first .*unexpected, first .*{other}"):
        check_state(meta_state(name), other)


def test_names_the_first_missing_key():
    state = meta_state("s3fd")
    del state["fc7.bias"]
    with pytest.raises(WeightsError, match=r"1 of 65 keys are missing, first fc7\.bias"):
        check_state(state, "s3fd")


def test_names_the_first_unexpected_key():
    state = meta_state("s3fd") | {"fc8.bias": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"1 keys are unexpected, first fc8\.bias"):
        check_state(state, "s3fd")


def test_names_the_first_mis_shaped_key_with_both_shapes():
    state = meta_state("wav2lip_generator") | {"output_block.1.bias": torch.zeros(4)}
    with pytest.raises(WeightsError, match=r"first output_block\.1\.bias: \(4,\) instead of \(3,\)"):
        check_state(state, "wav2lip_generator")


def test_refuses_the_detector_of_syncnet_python_by_name():
    keys = ["vgg.0.weight", "L2Norm3_3.weight", "extras.0.weight", "loc.0.weight", "conf.0.weight"]
    state = {key: torch.zeros(1) for key in keys}
    assert identify(state) == "sfd_face"
    with pytest.raises(WeightsError, match=r"not supported.*centerface"):
        check_state(state, "s3fd")


def test_refuses_the_published_form_of_that_detector(reference_dir):
    shapes = json.loads((reference_dir / "golden/shapes/sfd_face.json").read_text(encoding="utf-8"))["shapes"]
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert identify(state) == "sfd_face"
    with pytest.raises(WeightsError, match=r"sfd_face\.pth.*not supported"):
        check_state(state, "s3fd")


def test_weights_of_an_unknown_network_are_told_by_their_keys():
    with pytest.raises(WeightsError, match=r"no network known here.*layer1\.conv"):
        identify({"layer1.conv": torch.zeros(1)})


def test_builds_a_network_that_computes_what_the_original_computes():
    torch.manual_seed(0)
    original = ARCHITECTURES["lipsync_expert"].network(0.125).eval()
    state = {key: value for key, value in original.state_dict().items() if "num_batches" not in key}
    network = build(state, "lipsync_expert")
    mel = torch.randn(2, 1, 80, 16)
    with torch.inference_mode():
        assert torch.equal(network.embed_audio(mel), original.embed_audio(mel))
