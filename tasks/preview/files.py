"""Files of a preview: names that are safe everywhere, pictures written in one step."""

from __future__ import annotations

import re
from pathlib import Path

import cv2

from singalong.durable import write_atomic
from singalong.media.frames import U8

_JPEG_QUALITY = 88
_NAME_CHARS = 48


def file_stem(name: str, sha256: str) -> str:
    """A file name for something of any name: what is safe of it everywhere, and the beginning of its hash."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_NAME_CHARS].strip("-")
    return f"{safe}-{sha256[:8]}" if safe else sha256[:8]


def write_jpeg(path: Path, bgr: U8) -> None:
    """Write a picture (h, w, 3) in one step."""
    ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert ok
    write_atomic(path, jpeg.tobytes())
