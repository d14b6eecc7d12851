"""Files made to do harm, byte by byte: headers that promise more than there is, and containers that point elsewhere."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@cache
def png(width: int, height: int, *, with_pixels: bool = True) -> bytes:
    """A black RGBA picture: few bytes, however large."""
    packer = zlib.compressobj(9)
    line = bytes(4 * width + 1)
    pixels = b"".join(packer.compress(line) for _ in range(height)) + packer.flush() if with_pixels else b""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def wav(rate_hz: int, num_samples: int, *, stated_bytes: int | None = None, num_channels: int = 1) -> bytes:
    """Sixteen-bit samples; the header may state another size."""
    size = 2 * num_samples if stated_bytes is None else stated_bytes
    layout = struct.pack("<IHHIIHH", 16, 1, num_channels, rate_hz, 2 * rate_hz % (1 << 32), 2, 16)
    riff = b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + b"WAVEfmt " + layout
    return riff + b"data" + struct.pack("<I", size) + b"\1\0" * num_samples


def box(kind: bytes, *parts: bytes) -> bytes:
    """An atom of a QuickTime file."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """An atom with version 0 and flags."""
    return box(kind, struct.pack(">I", flags), *parts)


def mov(
    path: Path,
    samples: list[bytes],
    *,
    size: tuple[int, int] = (64, 64),
    timescale: int = 25,
    ticks_each: int = 1,
    edits: int = 0,
    data_reference: bytes | None = None,
) -> Path:
    """A QuickTime film of PNG pictures, `size` as its header states it, played `edits` times over by its edit list."""
    count, duration = len(samples), len(samples) * ticks_each
    edit = struct.pack(">IIHH", duration, 0, 1, 0)
    width, height = size
    entry = box(
        b"png ",
        *(bytes(6), struct.pack(">H", 1), bytes(16), struct.pack(">HH", width, height)),
        *(struct.pack(">IIIH", 0x480000, 0x480000, 0, 1), bytes(32), struct.pack(">Hh", 24, -1)),
    )
    reference = data_reference or full(b"url ", flags=1)

    def moov(offset: int) -> bytes:
        table = box(
            b"stbl",
            full(b"stsd", struct.pack(">I", 1), entry),
            full(b"stts", struct.pack(">III", 1, count, ticks_each)),
            full(b"stsc", struct.pack(">IIII", 1, 1, count, 1)),
            full(b"stsz", struct.pack(">II", 0, count), *(struct.pack(">I", len(sample)) for sample in samples)),
            full(b"stco", struct.pack(">II", 1, offset)),
        )
        info = box(b"dinf", full(b"dref", struct.pack(">I", 1), reference))
        media = box(
            b"mdia",
            full(b"mdhd", struct.pack(">IIIIHH", 0, 0, timescale, duration, 0, 0)),
            full(b"hdlr", b"mhlrvide" + bytes(13)),
            box(b"minf", full(b"vmhd", bytes(8), flags=1), info, table),
        )
        head = struct.pack(">IIIII", 0, 0, 1, 0, duration) + bytes(16) + _UNITY
        track = full(b"tkhd", head, struct.pack(">II", width << 16, height << 16), flags=3)
        listed = box(b"edts", full(b"elst", struct.pack(">I", edits), edit * edits)) if edits else b""
        movie = struct.pack(">IIII", 0, 0, timescale, duration) + struct.pack(">IH", 0x10000, 0x100)
        whole = full(b"mvhd", movie, bytes(10), _UNITY, bytes(24), struct.pack(">I", 2))
        return box(b"moov", whole, box(b"trak", track, listed, media))

    brand = box(b"ftyp", b"qt  \0\0\0\0qt  ")
    offset = len(brand) + len(moov(0)) + 8
    path.write_bytes(brand + moov(offset) + box(b"mdat", *samples))
    return path
