"""PREPARE SONG: from a song's file to what the networks hear of it, once per song, shared by all its clips.

Streams: memory does not grow with the song's length. In a mix voice activity is found by what the bundled warper's ear
hears (see `singalong.media.vocals`); mel and samples are those of the file either way. Taking the band away first was
tried (nearest neighbours of the spectrogram with soft masks) and lets the ear understand less of the words, not more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from singalong.config import Settings
from singalong.media.audio import NUM_BANDS, MelStream, iter_mono_16k, level_db, mel_chunks, voiced_steps
from singalong.media.probe import probe_song
from singalong.media.units import SAMPLE_RATE_HZ, samples_to_s
from singalong.media.vocals import HEARD_EVERY_STEPS, sung_steps
from singalong.settings import LimitSettings, SongSettings
from singalong.versions import SONG_VERSION, VOICE_VERSION
from singalong.voices import separator_id
from tasks.separate import separated_voice

if TYPE_CHECKING:
    from singalong.store import Store

CACHE_KIND = "songs"
_HEARD_AT_ONCE = 16
"""Sounds given to the ear at once: 64 take 40 MB more and a third more time each."""

_MEL, _SAMPLES, _VOICED, _FACTS = "mel.npy", "samples_16k.npy", "voiced.npy", "facts.json"


@dataclass(frozen=True)
class Separation:
    """How a song's voice is separated, and how long that may take."""

    settings: SongSettings
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As a run's settings say: done before the job's own deadline, so that the program is ended cleanly."""
        return cls(settings.songs, min(settings.songs.separator_timeout_s, 0.8 * settings.run.shard_timeout_s))


@dataclass(frozen=True)
class PreparedSong:
    """A song as the networks hear it; arrays are mapped from disk, so only what is read is loaded.

    mel: float32 (80, T), the paper's mel spectrogram, 80 columns a second.
    samples_16k: float32 (n,), mono at 16 kHz, in [-1, 1).
    voiced: bool (T,), where somebody may be singing (see `voice_activity`, and `sung_steps` for a mix).
    """

    mel: NDArray[np.float32]
    samples_16k: NDArray[np.float32]
    voiced: NDArray[np.bool_]

    @property
    def duration_s(self) -> float:
        """Length of the song, seconds."""
        return samples_to_s(len(self.samples_16k), SAMPLE_RATE_HZ)


def song_version(*, finds_voice: bool, channel: int | None = None, separator: str | None = None) -> str:
    """Version of a prepared song in the cache: a file may be wanted in several ways.

    `channel` is the only one heard, `separator` the id of what it goes through first.
    """
    version = f"{SONG_VERSION}-voice{VOICE_VERSION}" if finds_voice else SONG_VERSION
    version += "" if channel is None else f"-channel{channel}"
    return version + ("" if separator is None else f"-by{separator}")


def prepare_song(
    path: Path,
    *,
    sha256: str,
    store: Store,
    finds_voice: bool = False,
    channel: int | None = None,
    checks_channels: bool = False,
    separation: Separation | None = None,
) -> Path:
    """Prepare a song or stem, unless the store holds it already; returns the cache folder.

    finds_voice: look for the voice in a mix; else all that is loud counts as one, which is right for a stem.
    channel: the only one that is heard, from 0; None: the mean of all. checks_channels: hears the loudest one where
    they cancel each other out, for files of which that is not known. separation: has its voice separated first.
    Raises MediaError where the file has no audio that can be read, and what `separated_voice` raises. A song is
    prepared whole or not at all.
    """
    separator = None if separation is None else separator_id(separation.settings)
    version = song_version(finds_voice=finds_voice, channel=channel, separator=separator)
    version += "-audible" if checks_channels else ""
    folder = store.cached(CACHE_KIND, sha256, version)
    if folder is not None:
        return folder

    def build(empty: Path) -> None:
        heard, heard_channel = path, channel
        if separation is not None:
            heard = separated_voice(
                path, sha256=sha256, store=store, settings=separation.settings, timeout_s=separation.timeout_s
            )
        if separation is not None or checks_channels:
            heard_channel = probe_song(heard, sha256="", limits=LimitSettings()).heard_channel
        _build(heard, empty, version, finds_voice=finds_voice, channel=heard_channel)

    return store.commit_cache(CACHE_KIND, sha256, version, build)


def load_song(folder: Path) -> PreparedSong:
    """Map the files of a cache folder that `prepare_song` returned."""
    return PreparedSong(
        mel=np.load(folder / _MEL, mmap_mode="r"),
        samples_16k=np.load(folder / _SAMPLES, mmap_mode="r"),
        voiced=np.load(folder / _VOICED, mmap_mode="r"),
    )


def _build(path: Path, folder: Path, version: str, *, finds_voice: bool, channel: int | None) -> None:
    mel_stream = MelStream()
    levels_db: list[NDArray[np.float64]] = []
    with (
        _GrowingNpy(folder / _SAMPLES, np.float32) as samples_file,
        _GrowingNpy(folder / _MEL, np.float32, num_rows=NUM_BANDS) as mel_file,
    ):
        for columns in _hear(path, channel, mel_stream, samples_file):
            mel_file.append(columns)
            levels_db.append(level_db(columns))
    voiced = voiced_steps(np.concatenate(levels_db))
    if finds_voice and voiced.any():
        voiced = _sung_steps(np.load(folder / _MEL, mmap_mode="r"), voiced)
    np.save(folder / _VOICED, voiced)
    facts = {
        "version": version,
        "num_samples": samples_file.length,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "duration_s": samples_to_s(samples_file.length, SAMPLE_RATE_HZ),
        "num_mel": mel_file.length,
        "voiced_share": round(float(voiced.mean()), 6),
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _sung_steps(mel: NDArray[np.float32], loud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where somebody sings, bool (T,), in a mix of mel (80, T)."""
    from models.ear import BundledEar  # brings torch in
    from models.warper import EAR_LEAD_STEPS, EAR_STEPS

    ear = BundledEar()
    starts = np.arange(0, mel.shape[1], HEARD_EVERY_STEPS) - EAR_LEAD_STEPS
    mouths = [
        ear.hear(mel_chunks(mel, starts[first : first + _HEARD_AT_ONCE], EAR_STEPS))
        for first in range(0, len(starts), _HEARD_AT_ONCE)
    ]
    return sung_steps(np.concatenate(mouths), loud)


def _hear(
    path: Path, channel: int | None, mel_stream: MelStream, samples_file: _GrowingNpy
) -> Iterator[NDArray[np.float32]]:
    """Mel columns as the song is decoded, its samples written on the way."""
    for block in iter_mono_16k(path, channel):
        samples_file.append(block)
        yield from mel_stream.push(block)
    yield from mel_stream.finish()


class _GrowingNpy:
    """A .npy file whose last axis grows: the data is appended and the header, of fixed size, is written last.

    With `num_rows` the array is (num_rows, length), stored column after column, else (length,).
    """

    def __init__(self, path: Path, dtype: type[np.generic], num_rows: int | None = None) -> None:
        self.length = 0
        self._dtype, self._num_rows = np.dtype(dtype), num_rows
        self._file = path.open("wb")
        self._write_header()

    def append(self, array: NDArray[np.generic]) -> None:
        """Add (k,) or (num_rows, k)."""
        assert array.dtype == self._dtype, array.dtype
        self._file.write(np.ascontiguousarray(array.T).data)
        self.length += array.shape[-1]

    def _write_header(self) -> None:
        shape = (self.length,) if self._num_rows is None else (self._num_rows, self.length)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": self._num_rows is not None,
            "shape": shape,
        }
        # numpy leaves room for the growing axis, so this header is as long as the one it replaces
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            if exc_type is None:
                self._file.seek(0)
                self._write_header()
