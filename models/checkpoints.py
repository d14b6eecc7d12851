"""Reading weights that others published, without ever running what they contain.

Accepted: what `torch.save` writes, now (zip) or before torch 1.6 (legacy), and safetensors. Tensors may have
been saved on a GPU, may lie under `state_dict` beside an optimizer, and keys may carry DataParallel's
`module.`. Everything else is refused with a WeightsError that says what the file really is.
"""

from __future__ import annotations

import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.architectures import build, check_state, identify
from singalong.errors import WeightsError

__all__ = ["build", "check_state", "identify", "load_network", "read_checkpoint"]

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_MAX_TENSORS = 20_000
"""The largest network here has 1,200; torch takes 0.2 ms for each, whatever its size."""
_MAX_HEADER_BYTES = 16 << 20
_EXPECTED = "a PyTorch checkpoint (.pth, .pt, .model) or a .safetensors file"
_FETCH_AGAIN = "Download it again, and compare its size with the publisher's."
# The pickled magic number that `torch.save` wrote before torch 1.6.
_LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_MAX_SHARED = 4
"""Layers may share weights; a network that is four times its file does not exist."""
_STATE_KEYS = ("state_dict", "model_state_dict", "model")
# What torch's safe unpickler says when a file names anything but tensors.
_CODE = re.compile(r"(?:GLOBAL|unrecognized function|but got) (\S+)")
# What it raises on cut or flipped bytes.
_DAMAGED = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    AttributeError,
)
_MAGICS = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x89HDF": "an HDF5 file (Keras or TensorFlow?)",
    b"\x93NUMPY": "a numpy array",
    b"RIFF": "an AVI, WAV or WebP file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
}


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, keys without `module.`, tensors on the CPU in the file's own dtype.

    Never runs code from the file. Raises WeightsError, in plain words, for anything but finite weights: a web
    page or Git LFS pointer saved under the name, an empty or truncated file, a pickle that wants to run code,
    TorchScript, an optimizer's state alone, other kinds of file, NaN.
    """
    path = Path(path)
    kind = _kind(path)
    document = _read_safetensors(path) if kind == "safetensors" else _read_torch(path)
    state = _find_state(document, path)
    _check_amount(state, path)
    return {key: _checked(key, tensor, path) for key, tensor in _without_module(state, path).items()}


def load_network(path: str | Path, architecture: str | None = None) -> nn.Module:
    """The network in a checkpoint file, in eval mode, float32, on the CPU.

    `architecture` (see `models.architectures`) says what it has to be; None takes whatever it is. Raises
    WeightsError as `read_checkpoint` and `check_state` do.
    """
    state = read_checkpoint(path)
    return build(state, architecture or identify(state, file=path), file=path)


def _kind(path: Path) -> str:
    """`zip`, `legacy` or `safetensors`, by the first bytes; WeightsError for all else."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe might never say anything, a device never end
            what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or a device"
            raise WeightsError(f"cannot read the weights: Is {what}, not a file", file=path, expected=_EXPECTED)
        num_bytes = facts.st_size
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError as exc:
        raise WeightsError(f"cannot read the weights: {exc.strerror}", file=path, expected=_EXPECTED) from exc
    if not head:
        raise WeightsError("the file is empty", file=path, expected=_EXPECTED, action=_FETCH_AGAIN)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "zip"
    if head.startswith(_LEGACY_MAGIC):
        return "legacy"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(num_bytes, _MAX_HEADER_BYTES):
        return "safetensors"
    raise _not_weights(path, head)


def _not_weights(path: Path, head: bytes) -> WeightsError:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return WeightsError(
            "this is a web page, not weights; the download needed a login or was moved",
            file=path,
            expected=_EXPECTED,
            action="Open the link in a browser, download the file itself, and compare its size.",
        )
    if text.startswith(b"version https://git-lfs"):
        return WeightsError(
            "this is a Git LFS pointer, not weights: the repository was cloned without its large files",
            file=path,
            expected=_EXPECTED,
            action="Run `git lfs pull` there, or download the file itself.",
        )
    if head.startswith(b"\x80"):
        return _refused_pickle(path)
    what = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)
    if what is None and head[4:8] == b"ftyp":
        what = "an MP4 video"
    if what is None:
        what = "text" if _is_text(head) else "no kind of file that holds weights"
    return WeightsError(f"this is {what}", file=path, expected=_EXPECTED, value=head[:16])


def _is_text(head: bytes) -> bool:
    try:
        return head[:1024].decode("utf-8").isprintable() or b"\n" in head
    except UnicodeDecodeError:
        return False


def _refused_pickle(path: Path) -> WeightsError:
    """Why a pickle that `torch.save` did not write is refused; it is parsed, never run."""
    try:
        _read_torch(path)
    except WeightsError as exc:
        if "code" in exc.problem:
            return exc
    return WeightsError(
        "this is a Python pickle, but not one that torch.save wrote",
        file=path,
        expected=_EXPECTED,
        action="Load it where you trust it, and save its tensors with safetensors.",
    )


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, *_DAMAGED) as exc:
        raise _truncated(path) from exc
    names = [entry.filename.split("/", 1)[-1] for entry in entries]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise WeightsError(
            "this is a TorchScript archive: it holds a program, which is never run here",
            file=path,
            expected=_EXPECTED,
            action="Use the original checkpoint; re-saved “.pt” copies of the networks are other files.",
        )
    if "data.pkl" not in names:
        raise WeightsError("this is a zip archive without weights", file=path, expected=_EXPECTED)
    if len(entries) > _MAX_TENSORS:
        raise _too_many(len(entries), path)
    # torch.save stores, never compresses; a compressed one could unpack to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(
            "this checkpoint is a compressed zip, which torch.save never writes",
            file=path,
            expected=_EXPECTED,
        )


def _too_many(count: int, path: Path) -> WeightsError:
    return WeightsError(
        "this holds more tensors than any network here", file=path, value=count, expected=f"at most {_MAX_TENSORS}"
    )


def _truncated(path: Path) -> WeightsError:
    return WeightsError(
        "the file is damaged or cut short",
        file=path,
        value=f"{path.stat().st_size} bytes",
        expected=_EXPECTED,
        action=_FETCH_AGAIN,
    )


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as exc:
        raise _truncated(path) from exc


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old pickle protocols and typed storages
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        code = _CODE.search(str(exc))
        if code is None:
            raise _truncated(path) from exc
        raise WeightsError(
            "this file wants to run code when it is loaded, which is never done here",
            file=path,
            value=code.group(1),
            expected="nothing but tensors",
            action="Take it from its first publisher, or save its tensors as safetensors where you trust it.",
        ) from exc
    except _DAMAGED as exc:
        raise _truncated(path) from exc


def _find_state(document: Any, path: Path) -> Mapping[Any, Any]:
    if isinstance(document, Mapping):
        for key in _STATE_KEYS:
            if isinstance(document.get(key), Mapping):
                document = document[key]
                break
        else:
            if {"optimizer", "optimizer_state_dict"} & set(document) or {"state", "param_groups"} <= set(document):
                raise WeightsError(
                    "this holds only the state of an optimizer, no network",
                    file=path,
                    expected="a checkpoint with a state_dict",
                )
    if not isinstance(document, Mapping) or not document:
        what = "an empty dictionary" if isinstance(document, Mapping) else f"a {type(document).__name__}"
        raise WeightsError(f"this holds {what}, no network", file=path, expected="a dictionary of named tensors")
    return document


def _without_module(state: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Keys as the network has them: DataParallel puts `module.` before each, sometimes twice."""
    clean = {str(key).replace("module.", ""): value for key, value in state.items()}
    if len(clean) != len(state):
        raise WeightsError(
            "two tensors have the same name once `module.` is removed",
            file=path,
            expected="the weights of one network",
        )
    return clean


def _check_amount(state: Mapping[Any, Any], path: Path) -> None:
    """Refuse what is more than its file: many views of one storage would be gigabytes once they are stored apart."""
    if len(state) > _MAX_TENSORS:
        raise _too_many(len(state), path)
    tensors = [value for value in state.values() if isinstance(value, Tensor) and value.layout == torch.strided]
    most = path.stat().st_size  # of a larger one, `_checked` says so
    num_bytes = sum(tensor.nbytes for tensor in tensors if tensor.nbytes <= most)
    if num_bytes > _MAX_SHARED * most:
        raise WeightsError(
            "its tensors, each by itself, are many times its size",
            file=path,
            value=f"{num_bytes} bytes",
            expected="tensors with numbers of their own, not plain arrays seen many times over",
        )


def _checked(key: str, value: Any, path: Path) -> Tensor:
    if not isinstance(value, Tensor):
        raise WeightsError(
            f"the entry {key!r} is a {type(value).__name__}, not a tensor",
            file=path,
            expected="a dictionary of named tensors",
        )
    tensor = value.detach()
    usable = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    # A view may claim any size over a small storage; real weights are never larger than their file.
    known = tensor.dtype in _DTYPES or not (tensor.is_floating_point() or tensor.is_complex())
    if not usable or not known or tensor.nbytes > path.stat().st_size:
        raise WeightsError(
            f"the tensor {key!r} is not a plain array of numbers",
            file=path,
            value=f"{tensor.layout}, {tensor.dtype}, shape {tuple(tensor.shape)}",
            expected="dense tensors",
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise WeightsError(
            f"the tensor {key!r} holds NaN or infinity: the training diverged or the file is damaged",
            file=path,
            expected="finite weights",
            action=_FETCH_AGAIN,
        )
    return tensor.contiguous()
