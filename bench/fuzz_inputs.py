"""Small, sound files to be damaged: manifests, clips, songs and pictures in every format that can be written here."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av.error
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.sounds import chirp, write_sound
from tests.videos import make_video, picture

_ROWS = [
    {"pair_id": "a", "clip": "a.mp4", "song": "s.wav", "clip_start_s": "0.5", "clip_end_s": "2", "tag_x": "é"},
    {"pair_id": "b", "clip": "a.mp4", "song": "s.wav", "montage": "m", "position": "1", "face": "index:1"},
    {"pair_id": "c", "clip": "a.mp4", "song": "s.wav", "montage": "m", "fit": "loop", "vocals": "s.wav"},
    {"clip": "a.mp4", "song": "s.wav", "face": "at:1.5,2@0.5", "priority": "3", "rights": "mine, of 2020"},
]
_VIDEOS: tuple[tuple[str, dict[str, object]], ...] = (
    ("h264.mp4", {"audio_s": 0.4}),
    ("turned.mov", {"rotation_deg": 90}),
    ("frag.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("h264.mkv", {}),
    ("h264.ts", {}),
    ("h264.flv", {}),
    ("raw.h264", {}),
    ("mpeg4.avi", {"codec": "mpeg4"}),
    ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ("mpeg2.mpg", {"codec": "mpeg2video"}),
    ("prores.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    ("png.mov", {"codec": "png", "pix_fmt": "rgb24"}),
    ("vp8.webm", {"codec": "libvpx"}),
    ("vp9.webm", {"codec": "libvpx-vp9"}),
    ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    ("theora.ogg", {"codec": "libtheora"}),
    ("ffv1.nut", {"codec": "ffv1"}),
    ("dv.asf", {"codec": "msmpeg4"}),
    ("gif.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ("apng.apng", {"codec": "apng", "pix_fmt": "rgb24"}),
)
_SOUNDS = (
    *(("s16.wav", "pcm_s16le", None), ("f32.wav", "pcm_f32le", None), ("s.aiff", "pcm_s16be", None)),
    *(("flac.flac", "flac", None), ("mp3.mp3", "libmp3lame", None), ("aac.m4a", "aac", None)),
    *(("aac.aac", "aac", "adts"), ("vorbis.ogg", "libvorbis", None), ("opus.opus", "libopus", None)),
    *(("alac.m4a", "alac", None), ("wma.asf", "wmav2", None), ("s.caf", "pcm_s16be", None)),
    *(("ac3.ac3", "ac3", None), ("s.au", "pcm_s16be", None), ("tta.tta", "tta", None)),
)
_STILLS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
_MOST_BYTES = 1 << 20
_MOST_REAL = 12


class Seed(NamedTuple):
    """A sound file: what it is read as, and its content."""

    kind: str
    name: str
    suffix: str
    data: bytes


def make_seeds(folder: Path, shared: Path | None) -> list[Seed]:
    """Make the files and read them; `folder` then holds a.mp4 and s.wav, which the manifests name."""
    make_video(folder / "a.mp4", num_frames=3, size=(64, 48))
    write_sound(folder / "s.wav", chirp(0.2, 16000), 16000)
    seeds = [*_manifests(folder), *_clips(folder), *_songs(folder)]
    if shared is not None:
        for kind, name in (("clip", "clips"), ("song", "songs"), ("clip", "stills")):
            for path in sorted((shared / name).iterdir(), key=lambda path: path.stat().st_size)[:_MOST_REAL]:
                with path.open("rb") as file:
                    seeds.append(Seed(kind, path.stem, path.suffix, file.read(_MOST_BYTES)))
    return seeds


def _manifests(folder: Path) -> list[Seed]:
    names = list(dict.fromkeys(name for row in _ROWS for name in row))
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_ROWS)
    comma = lines.getvalue().encode()
    jsonl = "\n".join(json.dumps(row) for row in _ROWS).encode()
    path, parquets = folder / "m.parquet", []
    table = pa.Table.from_pylist(_ROWS, schema=pa.schema([(name, pa.string()) for name in names]))
    for compression in ("none", "snappy", "zstd"):
        pq.write_table(table, path, compression=compression)
        parquets.append(Seed("manifest", f"pq-{compression}", ".parquet", path.read_bytes()))
    texts = [("comma", ".csv", comma), ("semicolon", ".csv", comma.replace(b",", b";")), ("json", ".jsonl", jsonl)]
    return [*(Seed("manifest", *text) for text in texts), *parquets]


def _clips(folder: Path) -> list[Seed]:
    seeds = []
    for name, options in _VIDEOS:
        path = folder / name
        with contextlib.suppress(av.error.FFmpegError, ValueError):  # a codec that this build of libav cannot write
            make_video(path, num_frames=6, size=(64, 48), **options)  # type: ignore[arg-type]
            seeds.append(Seed("clip", path.stem, path.suffix, path.read_bytes()))
    late = folder / "vfr.mkv"
    make_video(late, num_frames=4, size=(64, 48), pts=[0, 40, 200, 1000], time_base=Fraction(1, 1000))
    seeds.append(Seed("clip", "vfr", ".mkv", late.read_bytes()))
    for kind in _STILLS:
        path = folder / f"still.{kind.lower()}"
        with contextlib.suppress(OSError, KeyError):
            Image.fromarray(picture(5, 64, 48)).save(path, kind)
            seeds.append(Seed("clip", path.stem, path.suffix, path.read_bytes()))
    return seeds


def _songs(folder: Path) -> list[Seed]:
    seeds = []
    for name, codec, container in _SOUNDS:
        path, rate_hz = folder / name, 48000 if "opus" in codec else 16000
        samples = np.stack([chirp(0.3, rate_hz), chirp(0.3, rate_hz, 1)], axis=1)
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            write_sound(path, samples, rate_hz, codec=codec, container_format=container)
            seeds.append(Seed("song", path.stem, path.suffix, path.read_bytes()))
    return seeds
