"""Still images as clips of one frame: what they are, and their pixels upright, without alpha, 8 bits deep.

Hostile pictures (a few kilobytes that unpack to gigabytes) are refused by the size in their header.
"""

from __future__ import annotations

import struct
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from singalong.contracts import ClipFacts
from singalong.errors import MediaError, SingalongError, classify
from singalong.media.frames import (
    PRIMARIES_BT709,
    RANGE_LIMITED,
    TRANSFER_SRGB,
    U8,
    ColorInfo,
    YuvFrame,
    bgr_to_frame,
)
from singalong.settings import LimitSettings

Image.init()
_FORMATS = tuple(name for name in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF") if name in Image.OPEN)
_MOVING_AS_VIDEO = ("GIF", "PNG", "AVIF")  # libav plays these; of an animated WebP, only the first frame can be had
_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_EXIF_ORIENTATION = 0x0112
_EXIF_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
"""Clockwise turns by what EXIF calls the orientation."""
_EXIF_MIRRORED = (2, 4, 5, 7)
_DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, struct.error, EOFError, Image.DecompressionBombError),
    *(RuntimeError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError),
)
"""Pillow's readers raise whatever they trip over."""


def is_still(path: Path) -> bool:
    """Whether the file's content (its name does not count) is a picture that does not move."""
    try:
        with _open(path) as image:
            return not (image.format in _MOVING_AS_VIDEO and getattr(image, "n_frames", 1) > 1)
    except _DECODE_ERRORS:  # `probe_still` says what is wrong with it
        with path.open("rb") as file:
            return file.read(12).startswith(_SIGNATURES)


def probe_still(path: Path, *, sha256: str, limits: LimitSettings, still_fps: int) -> ClipFacts:
    """Facts of a picture; decodes it once to prove that it can be decoded.

    Raises MediaError for one that is damaged, or outside the limits, whose size is checked first.
    """
    try:
        with _open(path) as image:
            check_size(path, *image.size, limits)
            orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
            name, mode = str(image.format), image.mode
            is_animated = getattr(image, "n_frames", 1) > 1
    except Image.DecompressionBombError as exc:  # Pillow refuses before it tells the size
        raise MediaError(
            f"its frames are too large: {exc}",
            file=path,
            expected=f"at most {limits.max_pixels} pixels",
            action="Scale it down, or raise limits.max_pixels.",
        ) from exc
    except _DECODE_ERRORS as exc:
        raise _damaged(path, exc) from exc
    bgr = _upright_bgr(path)
    height, width = bgr.shape[:2]
    first_only = name == "WEBP" and is_animated
    return ClipFacts(
        path=str(path),
        sha256=sha256,
        num_bytes=path.stat().st_size,
        is_still=True,
        width=width,
        height=height,
        rotation_deg=_EXIF_TURNS.get(orientation, 0),
        is_mirrored=orientation in _EXIF_MIRRORED,
        fps=Fraction(still_fps),
        num_frames=1,
        first_frame_s=0.0,
        duration_s=0.0,
        is_vfr=False,
        codec=name.lower(),
        pix_fmt=mode.lower(),
        has_audio=False,
        warnings=("an animated WebP: only its first frame is used",) if first_only else (),
    )


def load_still(path: Path) -> YuvFrame:
    """The picture as a frame of limited-range video: BT.709, or BT.601 where the shorter side is below 720."""
    bgr = _upright_bgr(path)
    height, width = bgr.shape[:2]
    matrix = ColorInfo().matrix_for(width, height)
    return bgr_to_frame(bgr, pts_s=0.0, color=ColorInfo(matrix, RANGE_LIMITED, PRIMARIES_BT709, TRANSFER_SRGB))


def check_size(path: Path, width: int, height: int, limits: LimitSettings) -> None:
    """Raise MediaError where a frame is too large to be decoded safely, or too small to make sense."""
    if width * height > limits.max_pixels:
        raise MediaError(
            "its frames are too large",
            file=path,
            value=f"{width}x{height}",
            expected=f"at most {limits.max_pixels} pixels",
            action="Scale it down, or raise limits.max_pixels.",
        )
    if min(width, height) < limits.min_side_px:
        raise MediaError(
            "its frames are too small",
            file=path,
            value=f"{width}x{height}",
            expected=f"sides of at least {limits.min_side_px} pixels",
            action="Use a larger version, or lower limits.min_side_px.",
        )


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():  # Pillow's own, lower limit; ours is checked before decoding
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=_FORMATS)


def _upright_bgr(path: Path) -> U8:
    """Pixels (H, W, 3) uint8, turned as EXIF says, alpha flattened onto black, sides cropped to even."""
    try:
        with _open(path) as image:
            upright = ImageOps.exif_transpose(image)
            rgb = np.asarray(_to_rgb(upright))
    except _DECODE_ERRORS as exc:
        raise _damaged(path, exc) from exc
    height, width = (side // 2 * 2 for side in rgb.shape[:2])
    return np.ascontiguousarray(rgb[:height, :width, ::-1])


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # one channel, deeper than 8 bits
        values = np.asarray(image).astype(np.float32)
        scaled = values * (255 / _white_level(image.mode, float(values.max())))
        return Image.fromarray(np.clip(scaled + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _white_level(mode: str, largest: float) -> float:
    """Full scale of a deep grey picture; only 16-bit ones say so, for the others it is told by what they hold."""
    levels = (65535.0,) if mode.startswith("I;16") else (255.0, 65535.0) if mode == "I" else (1.0, 255.0, 65535.0)
    return next((level for level in levels if largest <= level), levels[-1])


def _damaged(path: Path, exc: Exception) -> SingalongError:
    if isinstance(exc, OSError) and exc.errno is not None:
        return classify(exc)
    return MediaError(
        f"the picture cannot be decoded: {exc}",
        file=path,
        expected="an undamaged PNG, JPEG, WebP, BMP or TIFF",
        action="Open it in a viewer; if it does not show there, get the file again.",
    )
