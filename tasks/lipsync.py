"""LIP-SYNC: one shard of a pair, from the clip's frames and the song's mel to a committed segment.

Streams in chunks: decode, crop, generate, paste, encode, score, one after the other in one thread. Only the face
region is converted to BGR and back; every other pixel keeps its decoded value.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from singalong.config import LipsyncSettings, Settings
from singalong.contracts import ModelRef, ShardResult
from singalong.errors import NoFaceError
from singalong.frames_table import Outcome as FrameOutcome
from singalong.frames_table import frames_table
from singalong.media.audio import mel_chunk_starts, mel_chunks
from singalong.media.decode import ClipReader
from singalong.media.encode import SegmentWriter
from singalong.media.frames import YuvFrame, face_region_to_bgr, paste_bgr
from singalong.media.geometry import Box, fit_to_box, network_crop, pad_box, paste_mask
from singalong.media.timeline import source_times
from singalong.store import Store
from singalong.tracks import ChosenFace, choose_face
from tasks.analyse import load_analysis
from tasks.jobs import LipsyncJob
from tasks.prepare_song import PreparedSong, load_song
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.engine import GeneratorEngine
    from models.scorers import Scorer

_CHUNK_BYTES = 96 * 1024 * 1024
"""Decoded frames held at once; bounds the chunk of large frames, whatever `run.chunk_frames` says."""


def lipsync_shard(
    job: LipsyncJob,
    *,
    settings: Settings,
    analysis: Path,
    song: Path,
    generator: GeneratorEngine,
    scorer: Scorer | None,
    store: Store,
) -> ShardResult:
    """Make and commit one shard, unless the store holds it already.

    `analysis` and `song` are the cache folders of the clip and of the voice. Raises NoFaceError where the chosen face
    is nowhere in the pair's clip span, MediaError where the clip cannot be decoded.
    """
    standing = store.find(job.shard.work_key)
    if standing is not None:
        return standing
    shard = _Shard(job, settings, analysis, song, generator, scorer)
    with store.temp_dir() as folder:
        segment, frames = folder / "segment.mp4", folder / "frames.parquet"
        shard.render(segment)
        pq.write_table(shard.frames_table(), frames)
        return store.commit(shard.result(), segment=segment, frames=frames)


@dataclass
class _FrameLog:
    """What is noted of every output frame."""

    source_s: list[float] = field(default_factory=list)
    outcomes: list[FrameOutcome] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)


class _Shard:
    """One shard in the making."""

    def __init__(
        self,
        job: LipsyncJob,
        settings: Settings,
        analysis: Path,
        song: Path,
        generator: GeneratorEngine,
        scorer: Scorer | None,
    ) -> None:
        self.job, self.settings, self.generator = job, settings, generator
        self.watch = Stopwatch()
        self.log = _FrameLog()
        self.song: PreparedSong = load_song(song)
        self.face = _chosen_face(job, analysis)
