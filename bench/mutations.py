"""Damage of every kind, by a seeded generator: the same seed and the same file give the same damaged file."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1000, 90000)
_TEXTS = (
    *(b"=1+1", b"@x", b"+cmd|'/C calc'!A0", b"-1", b"http://127.0.0.1:9/x.mp4", b"file:///etc/hostname", b"../../x"),
    *(b"concat:a.mp4|b.mp4", b"pipe:0", b"data:,x", b"\\\\server\\share", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"),
    *(b"NaN", b"inf", b"-inf", b"1e999", b"1e-999", b"-0", b"0x10", b"9" * 400, b"1" * 5000, b"\xe2\x80\xae"),
    *(b'"', b'""', b"'", b",", b";", b"\t", b"\r", b"\n", b"\r\n\r\n", b"{", b"}", b"[" * 2000, b"]", b":", b"null"),
    *(b"clip", b"song", b"tag_", b"tag_x", b"montage", b"pair_id", b"position", b"\\ud800", b"\\u0000", b"x" * 9000),
    *("ｆｉｌｅ\u202e\u200b\u00e9\U0001f600".encode(), "é".encode("latin-1"), b"\xed\xa0\x80", b"\x1b[2J", b"true"),
    *(b"index:9999", b"at:1e99,0@-1", b"like:", b"channel:64"),
)
MAX_BYTES = 8 << 20


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random, *, is_text: bool = False) -> bytes:
    """A damaged copy; `others` lend pieces of themselves. One to eight blows, most at the start, where headers are."""
    blows = _TEXT_BLOWS if is_text and rng.random() < 0.7 else _BLOWS
    changed = bytearray(data)
    for _ in range(1 << rng.randrange(4)):
        rng.choice(blows)(changed, others, rng)
        if not changed:
            changed += b"\0"
    return bytes(changed[:MAX_BYTES])


def _place(data: bytearray, rng: random.Random) -> int:
    reach = min(len(data), 1 << rng.randrange(4, 24))
    first = max(0, len(data) - reach) if rng.random() < 0.25 else 0  # some formats keep their tables at the end
    return first + rng.randrange(max(1, reach))


def _flip(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place = _place(data, rng)
    data[place : place + 1] = bytes([data[place] ^ 1 << rng.randrange(8)]) if place < len(data) else b""


def _byte(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place = _place(data, rng)
    data[place : place + 1] = bytes([rng.choice(_BYTES) if rng.random() < 0.5 else rng.randrange(256)])


def _word(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place, size = _place(data, rng), rng.choice((2, 4, 8))
    value = rng.choice(_WORDS) if rng.random() < 0.7 else rng.getrandbits(32)
    data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, rng.choice(("big", "little")))


def _cut(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _drop(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place = _place(data, rng)
    del data[place : place + (1 << rng.randrange(14))]


def _repeat(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place, size = _place(data, rng), 1 << rng.randrange(12)
    data[place:place] = data[place : place + size] * rng.choice((1, 2, 100))


def _blank(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place = _place(data, rng)
    size = min(1 << rng.randrange(12), len(data) - place)
    data[place : place + size] = bytes([rng.choice(_BYTES)]) * size


def _borrow(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    start, size, place = rng.randrange(len(other) + 1), 1 << rng.randrange(14), _place(data, rng)
    data[place : place + (size if rng.random() < 0.5 else 0)] = other[start : start + size]


def _swap(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    first, second, size = _place(data, rng), _place(data, rng), 1 << rng.randrange(10)
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]


def _text(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    place = _place(data, rng)
    data[place : place + rng.choice((0, 1, 5))] = rng.choice(_TEXTS)


def _line(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    del lines[rng.randrange(len(lines))]
    data[:] = b"\n".join(lines)


_Blow = Callable[[bytearray, Sequence[bytes], random.Random], None]
_BLOWS: tuple[_Blow, ...] = (_flip, _flip, _byte, _word, _word, _word, _cut, _drop, _repeat, _blank, _borrow, _swap)
_TEXT_BLOWS: tuple[_Blow, ...] = (_text, _text, _text, _line, _flip, _byte, _cut, _drop, _repeat, _borrow, _swap)
