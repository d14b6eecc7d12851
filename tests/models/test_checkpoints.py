import io
import json
import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from models import checkpoints
from models.checkpoints import load_network, read_checkpoint
from models.generator import Generator
from models.registry import add_checkpoint
from singalong.errors import WeightsError


def small_state():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).state_dict()


def same(got, expected):
    return list(got) == list(expected) and all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_a_flat_checkpoint(tmp_path, zipped):
    torch.save(small_state(), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(tmp_path / "a.pth"), small_state())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_weights_beside_an_optimizer_and_drops_the_module_prefix(tmp_path, zipped):
    network = nn.Conv2d(2, 3, 3)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    state = OrderedDict((f"module.{key}", value) for key, value in network.state_dict().items())
    document = {"state_dict": state, "optimizer": optimizer.state_dict(), "global_step": 7, "global_epoch": 1}
    torch.save(document, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(tmp_path / "a.pth"), network.state_dict())


def test_reads_safetensors(tmp_path):
    safetensors.torch.save_file(dict(small_state()), tmp_path / "a.safetensors")
    got = read_checkpoint(tmp_path / "a.safetensors")
    assert same(dict(sorted(got.items())), dict(sorted(small_state().items())))


def test_reads_parameters_saved_as_such(tmp_path):
    torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "a.pth")
    got = read_checkpoint(tmp_path / "a.pth")["w"]
    assert type(got) is torch.Tensor
    assert not got.requires_grad


@pytest.mark.parametrize(
    ("name", "num_tensors"),
    [
        ("module_prefix_with_adam.pth", 7),
        ("no_prefix_no_optimizer.pth", 7),
        ("flat_state_dict_no_nbt.model", 6),
    ],
)
def test_reads_files_written_on_a_gpu_by_the_torch_of_2019(reference_dir, make_weights, name, num_tensors):
    state = read_checkpoint(reference_dir / "golden" / "legacy" / name)
    assert len(state) == num_tensors
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            assert int(tensor) == 7
        else:
            expected = make_weights.unit(f"legacy:{key}", tuple(tensor.shape)).astype(np.float32)
            np.testing.assert_array_equal(tensor.numpy(), expected)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/this-must-never-exist",)


class EvilTwo:
    def __reduce__(self):
        return eval, ("print('this must never run')",)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "pickle5"])
@pytest.mark.parametrize(("evil", "named"), [(Evil, "system"), (EvilTwo, "eval")])
def test_refuses_a_pickle_with_code_by_naming_it(tmp_path, how, evil, named, capfd):
    path = tmp_path / "a.pth"
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps({"state_dict": evil()}, protocol=5 if how == "pickle5" else 2))
    else:
        document = {"state_dict": small_state(), "extra": evil()}
        torch.save(document, path, _use_new_zipfile_serialization=how == "zip")
    message = {"pickle5": "not one that torch.save wrote"}.get(how, named)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)
    assert capfd.readouterr().out == ""


def test_refuses_a_whole_pickled_network_by_naming_its_class(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"torch\.nn\.modules\.conv\.Conv2d"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html><head><title>Sign in</title>", "web page, not weights"),
        (b"<html>Google Drive - Virus scan warning</html>", "web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n", "git lfs pull"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50), "JPEG"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(50), "MP4"),
        (b"\x1f\x8b\x08\x00" + bytes(50), "unpack it first"),
        (b'{"error": "not found"}\n', "this is text"),
        (bytes(range(1, 200)), "no kind of file"),
    ],
)
def test_says_what_a_file_is_that_holds_no_weights(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "a.pth")


def test_says_when_there_is_no_such_file(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("how", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95, 0.999])
def test_refuses_a_truncated_file(tmp_path, how, share):
    path = tmp_path / "a.pth"
    state = {f"layer{index}.weight": torch.ones(300) for index in range(5)}
    if how == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        read_checkpoint(path)


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_flipped_bytes_never_raise_anything_but_a_weights_error(tmp_path, how):
    path = tmp_path / "a.pth"
    torch.save(small_state(), path, _use_new_zipfile_serialization=how == "zip")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            read_checkpoint(path)
        except WeightsError:
            refused += 1
    assert refused > 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_refuses_a_torchscript_archive(tmp_path):
    torch.jit.trace(nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)).save(str(tmp_path / "a.pt"))
    with pytest.raises(WeightsError, match="TorchScript"):
        read_checkpoint(tmp_path / "a.pt")


def test_refuses_other_and_compressed_zip_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    torch.save(small_state(), tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", compression=zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in plain.infolist():
            archive.writestr(entry.filename, plain.read(entry))
    with pytest.raises(WeightsError, match="zip archive without weights"):
        read_checkpoint(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="compressed zip"):
        read_checkpoint(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"optimizer": {"state": {}}, "global_step": 3}, "only the state of an optimizer"),
        ({"state_dict": None, "optimizer": {"state": {}}}, "only the state of an optimizer"),
        ({"state": {0: {"step": 1}}, "param_groups": []}, "only the state of an optimizer"),
        ({}, "empty dictionary"),
        ({"state_dict": {}}, "empty dictionary"),
        (torch.ones(3), "a Tensor"),
        ([torch.ones(3)], "a list"),
        ({"a": torch.ones(2), "b": [1, 2]}, "'b' is a list"),
        ({"a": torch.tensor([1.0, float("nan")])}, "'a' holds NaN or infinity"),
        ({"a": torch.tensor([1.0, float("inf")]).half()}, "'a' holds NaN or infinity"),
        ({"a": torch.ones(1).expand(10**12)}, "'a' is not a plain array"),
        ({"a": torch.ones(3).to_sparse()}, "'a' is not a plain array"),
        ({"a": torch.ones(2), "module.a": torch.zeros(2)}, "same name"),
    ],
    ids=range(13),
)
def test_refuses_documents_that_are_not_the_weights_of_a_network(tmp_path, document, message):
    torch.save(document, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "a.pth")


def test_loads_a_network_ready_to_use(tmp_path):
    torch.manual_seed(0)
    original = Generator(width=0.125)
    torch.save({"state_dict": original.half().state_dict(), "optimizer": None}, tmp_path / "a.pth")
    network = load_network(tmp_path / "a.pth")
    assert isinstance(network, Generator)
    assert not network.training
    assert network.width == 0.125
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_refusing_another_network_names_the_file(tmp_path):
    torch.save(Generator(width=0.125).state_dict(), tmp_path / "wav2lip.pth")
    with pytest.raises(WeightsError, match=r"wav2lip\.pth: this file looks like the lip-sync generator"):
        load_network(tmp_path / "wav2lip.pth", "syncnet_v2")


# ---- files made to do harm


def crafted(tensors, data=b""):
    """A safetensors file with a header of one's own making."""
    header = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HARMFUL = {
    "a header larger than the file": struct.pack("<Q", 2**62) + b'{"a":',
    "a header of gigabytes": struct.pack("<Q", 2**31) + b'{"a":' + b" " * 100,
    "the same bytes twice": crafted({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}, b"\0" * 8),
    "bytes that overlap": crafted({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, b"\0" * 12),
    "a hole": crafted({"a": entry([2], 0, 8), "b": entry([2], 16, 24)}, b"\0" * 24),
    "beyond the end": crafted({"a": entry([2**40], 0, 2**42)}, b"\0" * 8),
    "a negative size": crafted({"a": entry([-1], 0, 4)}, b"\0" * 4),
    "a size that overflows": crafted({"a": entry([2**33, 2**33], 0, 0)}),
    "numbers of eight bits": crafted({"a": entry([4], 0, 4, "F8_E4M3")}, b"\0" * 4),
    "nested without end": crafted(b'{"a":' * 100_000),
    "not a number": crafted({"a": entry([1], 0, 4)}, struct.pack("<f", float("nan"))),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_refuses_safetensors_whose_header_lies(tmp_path, what):
    path = tmp_path / "a.safetensors"
    path.write_bytes(HARMFUL[what])
    with pytest.raises(WeightsError, match=r"a\.safetensors"):
        read_checkpoint(path)


def test_refuses_a_header_too_long_to_be_parsed(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 17 << 20) + b"{" + b" " * (17 << 20))
    with pytest.raises(WeightsError, match="no kind of file"):
        read_checkpoint(path)


def test_refuses_more_tensors_than_any_network_has(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_MAX_TENSORS", 20)
    torch.save({f"k{number}": torch.zeros(1) for number in range(21)}, tmp_path / "a.pth")
    safetensors.torch.save_file({f"k{number}": torch.zeros(1) for number in range(21)}, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        with pytest.raises(WeightsError, match="more tensors"):
            read_checkpoint(tmp_path / name)


def test_refuses_many_views_of_one_storage(tmp_path):
    one = torch.zeros(1000)
    torch.save({f"k{number}": one for number in range(200)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="many times its size"):
        read_checkpoint(tmp_path / "a.pth")


def with_pickle(path, program):
    """A checkpoint whose pickle is another one."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    with zipfile.ZipFile(buffer) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, program if name.endswith("data.pkl") else good.read(name))
    return path


PROGRAMS = {
    "lists of lists of lists": b"\x80\x02]q\x00"
    + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40))
    + b".",
    "nested deeply": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "a number of a gigabyte": b"\x80\x02\x8b" + struct.pack("<i", 2**30) + bytes(10) + b".",
    "a text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "no end": b"\x80\x02}",
    "a call of getattr": b"\x80\x02cbuiltins\ngetattr\n(ctorch\nFloatStorage\nX\x04\x00\x00\x00loadtR.",
    "a module of torch that runs code": b"\x80\x02ctorch.hub\nload\n(X\x01\x00\x00\x00xX\x01\x00\x00\x00ytR.",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_refuses_pickles_made_to_exhaust_or_to_run(tmp_path, what):
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"a\.pth"):
        read_checkpoint(with_pickle(tmp_path / "a.pth", PROGRAMS[what]))
    assert time.monotonic() - started < 60


def test_never_runs_what_a_checkpoint_brings_along(tmp_path):
    canary = tmp_path / "was-run"

    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    for name, zipped in (("zip.pth", True), ("legacy.pth", False)):
        torch.save({"a": torch.zeros(3), "x": Harm()}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    for protocol in range(5):
        (tmp_path / f"raw{protocol}.pth").write_bytes(pickle.dumps(Harm(), protocol))
    for path in sorted(tmp_path.glob("*.pth")):
        with pytest.raises(WeightsError):
            add_checkpoint("x", path, home=tmp_path / "home")
    assert not canary.exists()
    assert not list((tmp_path / "home").glob("*"))


@pytest.mark.parametrize("suffix", [".pth", ".onnx", ".safetensors"])
def test_pipes_and_devices_are_refused_without_waiting(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(WeightsError, match="a pipe or a device"):
            add_checkpoint("x", tmp_path / f"{name}{suffix}", home=tmp_path / "home")
