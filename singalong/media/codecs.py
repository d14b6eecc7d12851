"""Which chip decodes and encodes: NVIDIA's own units where they are there and give what the processor gives, else it.

Nothing is believed before it is seen. Before its first use in a process NVDEC decodes a clip of some frames, and its
samples must be those of the CPU's decoder, bit for bit; NVENC encodes some frames, and they must look like x264's at
the same setting. What cannot be opened, or fails that, is left alone; the reason is kept for `doctor` and the report.

NVDEC and NVENC are units of their own on the card. Data-centre cards have no NVENC at all (A100, H100, H200), so an
encoder that is missing beside a decoder that is there is usual.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.frame import VideoFrame

Setting = Literal["auto", "cpu", "nvidia"]

NVENC = "h264_nvenc"
NVDEC_CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
"""Codecs whose standard fixes every bit of what a decoder gives, and that NVDEC knows; others differ by rounding."""

_DRIVER_NODES = ("/dev/nvidiactl", "/dev/dxg")
_SIZE, _NUM_FRAMES = (256, 160), 8
_MOST_ERROR_OVER_X264 = 1.6
"""Squared error of NVENC's frames over x264's: 2 dB more, which at the rates in use nobody sees."""


@dataclass(frozen=True)
class Choice:
    """What decodes or encodes, and why.

    Attributes:
        unit: `cpu` or `nvidia`.
        reason: in words, for people.
    """

    unit: Literal["cpu", "nvidia"]
    reason: str

    @property
    def is_nvidia(self) -> bool:
        """Whether it is the card's own unit."""
        return self.unit == "nvidia"


def choose_decoder(setting: Setting = "auto") -> Choice:
    """Who decodes, by `run.decoder`; nothing that can be met with stops a run."""
    return _choose(setting, "NVDEC", _decoder_flaw)


def choose_encoder(setting: Setting = "auto") -> Choice:
    """Who encodes 8-bit video, by `run.encoder`; HDR always goes to x265."""
    return _choose(setting, "NVENC", _encoder_flaw)


def hardware(choice: Choice) -> HWAccel | None:
    """What `av.open` takes to decode on the card; streams it cannot decode go to the processor of themselves."""
    return HWAccel("cuda", allow_software_fallback=True) if choice.is_nvidia else None


def nvenc_options(crf: int, keyint: int) -> dict[str, str]:
    """NVENC's settings nearest to ours: constant quality, one frame of reordering, closed groups, keyframes as asked.

    Its `cq` runs on about the scale of x264's crf.
    """
    return {
        **{"preset": "p5", "tune": "hq", "rc": "vbr", "cq": str(crf), "b": "0", "profile": "high"},
        **{"bf": "2", "b_ref_mode": "disabled", "g": str(keyint), "forced-idr": "1", "strict_gop": "1"},
        **{"spatial-aq": "1", "rc-lookahead": "0"},
    }


def device_words(generator: str, decoder: Choice, encoder: Choice) -> str:
    """What a shard was made on, for the report: beside a GPU, who decoded and encoded, and why not the card."""
    if not (generator.startswith("cuda") or decoder.is_nvidia or encoder.is_nvidia):
        asked = [choice.reason for choice in (decoder, encoder) if "was asked for" in choice.reason]
        return "; ".join([generator, *asked])
    parts = [generator]
    for choice, unit, other in ((decoder, "NVDEC", "decoded on the CPU"), (encoder, "NVENC", "encoded on the CPU")):
        parts.append(unit if choice.is_nvidia else f"{other} ({choice.reason})")
    return "; ".join(parts)


def _choose(setting: Setting, unit: str, flaw: Callable[[], str | None]) -> Choice:
    if setting == "cpu":
        return Choice("cpu", "as set")
    problem = flaw() if _has_driver() else "finds no NVIDIA driver"
    if problem is None:
        return Choice("nvidia", f"{unit} works, and gives what the processor gives")
    asked = "was asked for, but " if setting == "nvidia" else ""
    return Choice("cpu", f"{unit} {asked}{problem}")


def _has_driver() -> bool:
    """Whether NVIDIA's driver may be here: on Linux it shows in /dev, under Windows' Linux as the graphics device."""
    return not sys.platform.startswith("linux") or any(Path(node).exists() for node in _DRIVER_NODES)


@cache
def _decoder_flaw() -> str | None:
    """Why NVDEC is not used; None: it may be."""
    if "cuda" not in hwdevices_available():
        return "is not built into this PyAV"
    encoded = _encoded("libx264", {"preset": "veryfast", "crf": "20"})
    expected = _decoded(encoded, None)
    try:
        found = _decoded(encoded, HWAccel("cuda", allow_software_fallback=False))
    except (av.error.FFmpegError, RuntimeError, NotImplementedError) as exc:
        return f"cannot be opened: {_words(exc)}"
    if len(found) != len(expected) or not all(map(np.array_equal, found, expected)):
        return "gives other samples than the processor's decoder"
    return None


@cache
def _encoder_flaw() -> str | None:
    """Why NVENC is not used; None: it may be."""
    if NVENC not in av.codecs_available:
        return "is not built into this PyAV"
    wanted = _decoded(_encoded("libx264", {"preset": "superfast", "crf": "18"}), None)
    try:
        found = _decoded(_encoded(NVENC, nvenc_options(18, 50)), None)
    except (av.error.FFmpegError, RuntimeError) as exc:
        return f"cannot be opened: {_words(exc)}"
    return flaw_of(_pictures(), found, wanted)


def flaw_of(
    source: list[np.ndarray[Any, Any]], found: list[np.ndarray[Any, Any]], wanted: list[np.ndarray[Any, Any]]
) -> str | None:
    """What is wrong with frames that another encoder made, beside x264's, both decoded; None: nothing."""
    if len(found) != len(source) or any(a.shape != b.shape for a, b in zip(source, found, strict=True)):
        return f"gave {len(found)} frames for {len(source)}, or of another size"
    ours, theirs = (
        float(np.mean([np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(source, frames, strict=True)]))
        for frames in (found, wanted)
    )
    if ours > _MOST_ERROR_OVER_X264 * theirs + 0.5:
        return f"makes worse pictures than x264: squared error {ours:.1f} beside {theirs:.1f}"
    return None


@cache
def _pictures() -> list[np.ndarray[Any, Any]]:
    """Frames to try codecs with, planar 4:2:0 as PyAV's arrays have them: shapes that move, and grain."""
    width, height = _SIZE
    rng = np.random.default_rng(5)
    grain = rng.normal(0, 3, (height, width + _NUM_FRAMES))
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    pictures = []
    for index in range(_NUM_FRAMES):
        wave = np.sin((across + 3 * index) / 17) * 40 + np.cos((down - 2 * index) / 11) * 40
        disc = 50.0 * ((across - 60 - 4 * index) ** 2 + (down - 80) ** 2 < 900)
        luma = np.clip(110 + wave + disc + grain[:, index : index + width], 16, 235).astype(np.uint8)
        chroma = np.full((height // 2, width), 128, np.uint8)
        chroma[:, : width // 2] += np.uint8(4 * index)
        pictures.append(np.vstack([luma, chroma]))
    return pictures


def _encoded(codec: str, options: dict[str, str]) -> bytes:
    width, height = _SIZE
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, picture in enumerate(_pictures()):
            frame = VideoFrame.from_ndarray(picture, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _decoded(encoded: bytes, accelerator: HWAccel | None) -> list[np.ndarray[Any, Any]]:
    with av.open(io.BytesIO(encoded), "r", hwaccel=accelerator) as container:
        return [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]


def _words(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(str(text).split())[:160]
