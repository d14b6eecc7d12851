"""LIP-SYNC: one shard of a pair, from the clip's frames and the song's mel to a committed segment.

Streams in chunks: decode, give the frames their lips (`tasks.painter`), encode, score, one after the other in one
thread.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from singalong.config import Settings
from singalong.contracts import PairPlan, ShardPlan, ShardResult, SyncScore
from singalong.frames_table import Outcome as FrameOutcome
from singalong.frames_table import WindowRows, frames_table
from singalong.media.audio import CHUNK_STEPS, mel_chunk_starts, mel_chunks, mel_steps_of
from singalong.media.codecs import choose_decoder, choose_encoder, device_words
from singalong.media.decode import ClipReader
from singalong.media.encode import SegmentWriter
from singalong.media.frames import YuvFrame, face_region_to_bgr
from singalong.media.geometry import NETWORK_SIDE_PX, Box, network_crop
from singalong.media.lettering import clean_text
from singalong.media.timeline import source_times
from singalong.media.titles import LabelPainter
from singalong.media.units import MEL_STEPS_PER_S
from singalong.media.vocals import rest_gain
from singalong.settings import AnalysisSettings, ScoreSettings
from singalong.store import Store
from singalong.tracks import ChosenFace
from tasks.analyse import load_analysis
from tasks.attempt_log import next_chunk
from tasks.clues import Where, choose_usable_face, clues_of
from tasks.first_frame import FirstFrame, first_frame
from tasks.jobs import LipsyncJob
from tasks.memory import peak_rss_mb
from tasks.painter import FacePainter, Spot
from tasks.prepare_song import PreparedSong, load_song
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.engine import Engine
    from models.enhancer import Enhancer
    from models.scorers import Scorer
    from tasks.shard_score import ShardScorer

_MAX_STEP_S = 0.5
"""A clip that jumps further than this from one scored frame to the next started over."""
_CHUNK_BYTES = 32 * 1024 * 1024
"""Decoded frames held at once; bounds the chunk of large frames, whatever `run.chunk_frames` says."""
_GPU_CHUNK_BYTES = 256 * 1024 * 1024
"""The same beside a GPU: small batches would leave it idle."""


def lipsync_shard(
    job: LipsyncJob,
    *,
    settings: Settings,
    analysis: Path,
    song: Path,
    generator: Engine,
    scorer: Scorer | None,
    enhancer: Enhancer | None = None,
    store: Store,
) -> ShardResult:
    """Make and commit one shard, unless the store holds it already.

    `analysis` and `song` are the cache folders of the clip and of the voice. Raises NoFaceError where the chosen face
    is nowhere in the pair's clip span, MediaError where the clip cannot be decoded.
    """
    standing = store.find(job.shard.work_key)
    if standing is not None:
        return standing
    shard = _Shard(job, settings, analysis, song, generator, scorer, enhancer)
    with store.temp_dir() as folder:
        segment, frames = folder / "segment.mp4", folder / "frames.parquet"
        shard.render(segment)
        pq.write_table(shard.frames_table(), frames)
        return store.commit(shard.result(), segment=segment, frames=frames)


@dataclass
class _FrameLog:
    """What is noted of every output frame, in order."""

    source_s: list[float] = field(default_factory=list)
    outcomes: list[FrameOutcome] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)

    @property
    def num_synced(self) -> int:
        """Frames whose lips were made."""
        return sum(outcome is FrameOutcome.SYNCED for outcome in self.outcomes)

    @property
    def passed_through(self) -> dict[str, int]:
        """Frames that were left as they are, by why."""
        return dict(Counter(outcome.value for outcome in self.outcomes if outcome is not FrameOutcome.SYNCED))


class _Shard:
    """One shard in the making."""

    def __init__(
        self,
        job: LipsyncJob,
        settings: Settings,
        analysis: Path,
        song: Path,
        generator: Engine,
        scorer: Scorer | None,
        enhancer: Enhancer | None,
    ) -> None:
        self.clip, self.pair, self.shard = job.clip, job.pair, job.shard
        self.settings, self.generator = settings, generator
        run = settings.run
        self.decoder, self.encoder = choose_decoder(run.decoder), choose_encoder(run.encoder)
        self.watch, self.log, self.rest = Stopwatch(), _FrameLog(), RestMotion()
        self.painter = FacePainter(
            settings.lipsync, generator, fps=float(self.pair.fps), enhancer=enhancer, watch=self.watch
        )
        self.voice = voice = load_song(song)
        self.face = chosen_face(self.pair, analysis, settings.analysis, speakers=job.speakers, likeness=job.likeness)
        self.times_s = source_times(
            self.shard.start_frame,
            self.shard.end_frame,
            fps=self.pair.fps,
            clip_start_s=self.pair.clip_start_s,
            clip_end_s=self.pair.clip_end_s,
            fit=self.pair.fit,
        )
        self.voiced = _voiced_frames(voice, self.pair, self.shard)
        self.mel_starts = _mel_starts(voice, self.pair, self.shard, generator)
        self.sung = _sung_shares(voice, self.pair, self.shard, settings, generator)
        self.scoring = _shard_scorer(scorer, voice, self.pair, self.shard, settings.score, song)
        self._last_scored: tuple[int, float] | None = None
        self.score = SyncScore()
        self.windows = WindowRows.none()

    def render(self, segment: Path) -> None:
        """Write the segment, chunk by chunk."""
        with ClipReader(self.clip, decoder=self.decoder) as reader:
            first = first_frame(self.clip, self.pair.clip_start_s, reader)
            label = self._label()
            with self._writer(segment, first) as writer:
                self.encoder = writer.encoder
                for start, end in self._chunks(first.num_bytes):
                    next_chunk(frames=[self.shard.start_frame + start, self.shard.start_frame + end])
                    self._render_chunk(reader, writer, label, start, end)
        self._finish_score()

    def _render_chunk(
        self, reader: ClipReader, writer: SegmentWriter, label: LabelPainter | None, start: int, end: int
    ) -> None:
        """One chunk; none of its frames outlives the call, so that two chunks are never in memory."""
        with self.watch.stage("decode"):
            frames = reader.read_chunk(self.times_s[start:end].tolist())
        outputs = self._sync(frames, start)
        del frames
        with self.watch.stage("encode"):
            outputs.reverse()
            while outputs:
                output = outputs.pop()
                writer.write(output if label is None else label.paint(output))  # scored already, without the label

    def frames_table(self) -> pa.Table:
        """The row of every output frame."""
        return frames_table(
            start_frame=self.shard.start_frame,
            source_s=self.log.source_s,
            outcomes=self.log.outcomes,
            boxes=self.log.boxes,
            voiced=self.voiced,
            windows=self.windows,
        )

    def result(self) -> ShardResult:
        """What is committed beside the segment; the store fills in the hashes."""
        return ShardResult(
            work_key=self.shard.work_key,
            segment_sha256="",
            frames_sha256="",
            num_frames=self.shard.num_frames,
            num_face_frames=self.log.num_synced,
            passed_through=self.log.passed_through,
            num_voiced_frames=int(self.voiced.sum()),
            rest_motion=self.rest.mean,
            score=self.score,
            device=device_words(self.generator.device_name, self.decoder, self.encoder),
            node=socket.gethostname(),
            seconds=dict(self.watch.seconds),
            peak_rss_mb=peak_rss_mb(),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _chunks(self, frame_bytes: int) -> Iterator[tuple[int, int]]:
        start = 0
        while start < self.shard.num_frames:
            end = min(start + self._chunk_size(frame_bytes), self.shard.num_frames)
            yield start, end
            start = end

    def _chunk_size(self, frame_bytes: int) -> int:
        """Frames of the next chunk; the generator's batch may have grown since the last."""
        fit, wanted = self.generator.fit, self.settings.run.chunk_frames
        if not fit.can_grow:
            return max(1, min(wanted, _CHUNK_BYTES // frame_bytes))
        return max(1, min(max(wanted, fit.wanted), _GPU_CHUNK_BYTES // frame_bytes))

    def _writer(self, segment: Path, first: FirstFrame) -> SegmentWriter:
        return SegmentWriter(
            segment,
            width=self.pair.width,
            height=self.pair.height,
            fps=self.pair.fps,
            color=first.color,
            deep=first.is_deep,
            sample_aspect_ratio=self.clip.sample_aspect_ratio,
            crf=self.settings.lipsync.crf,
            preset=self.settings.lipsync.preset,
            encoder=self.encoder,
        )

    def _label(self) -> LabelPainter | None:
        text, aspect = clean_text(self.settings.lipsync.label), self.clip.sample_aspect_ratio
        size = {"width": self.pair.width, "height": self.pair.height}
        return LabelPainter(text, **size, pixel_aspect=aspect) if text else None

    def _sync(self, frames: list[YuvFrame], start: int) -> list[YuvFrame]:
        """The frames with the lips of the song; frames without a usable face as they are."""
        size = {"width": self.pair.width, "height": self.pair.height}
        spots = [self.painter.spot_at(self.face, frame.pts_s, **size) for frame in frames]
        span = slice(start, start + len(frames))
        mels = mel_chunks(self.voice.mel, self.mel_starts[span], self.generator.mel_steps)
        painted = self.painter.paint(frames, spots, mels, None if self.sung is None else self.sung[span])
        for index, face in painted.faces.items():
            self.rest.add(start + index, face, voiced=bool(self.voiced[start + index]))
        for index, (frame, output, spot) in enumerate(zip(frames, painted.frames, spots, strict=True), start):
            face_box = self.face.box_at(frame.pts_s)
            self._note(frame, face_box, spot)
            self._score_frame(index, frame, output, face_box if spot is not None else None)
        return painted.frames

    def _note(self, frame: YuvFrame, face: Box | None, spot: Spot | None) -> None:
        if spot is not None:
            outcome = FrameOutcome.SYNCED
        elif face is not None:
            outcome = FrameOutcome.OUTSIDE
        else:
            outcome = self.face.outcome_at(frame.pts_s)
        self.log.source_s.append(frame.pts_s)
        self.log.outcomes.append(outcome)
        self.log.boxes.append(face)

    def _score_frame(self, index: int, source: YuvFrame, output: YuvFrame, face: Box | None) -> None:
        number = self.shard.start_frame + index
        if self.scoring is None or not self.scoring.wants(number):
            return
        with self.watch.stage("score"):
            if face is not None and self._is_cut(source.pts_s):
                self.scoring.cut()
            self.scoring.push(
                number,
                face,
                partial(face_region_to_bgr, output),
                partial(face_region_to_bgr, source),
                width=self.pair.width,
                height=self.pair.height,
            )

    def _is_cut(self, pts_s: float) -> bool:
        """Whether this frame does not go on from the last one scored: another shot, or the clip starting over."""
        shot = self.face.shot_at(pts_s)
        last_shot, last_s = self._last_scored or (shot, pts_s)
        self._last_scored = (shot, pts_s)
        return shot != last_shot or abs(pts_s - last_s) > _MAX_STEP_S

    def _finish_score(self) -> None:
        if self.scoring is None:
            return
        with self.watch.stage("score"):
            scored = self.scoring.finish()
        self.score, self.windows = scored.score, scored.windows


class RestMotion:
    """How much the mouth moves while nobody sings: mean change of the lower face from frame to frame, in [0, 1]."""

    def __init__(self) -> None:
        self._last: tuple[int, NDArray[np.uint8]] | None = None
        self._changes: list[float] = []

    def add(self, index: int, face: Callable[[], NDArray[np.uint8]], *, voiced: bool) -> None:
        """Take the next generated face, of which `face` gives BGR (h, w, 3); only unvoiced neighbours count."""
        if voiced:
            self._last = None
            return
        lower = network_crop(face())[NETWORK_SIDE_PX // 2 :]
        if self._last is not None and self._last[0] == index - 1:
            self._changes.append(float(cv2.absdiff(lower, self._last[1]).mean()) / 255)
        self._last = (index, lower)

    @property
    def mean(self) -> float | None:
        """The mean; None where there was no rest."""
        return float(np.mean(self._changes)) if self._changes else None


def chosen_face(
    pair: PairPlan,
    analysis: Path,
    settings: AnalysisSettings | None = None,
    *,
    speakers: str | None = None,
    likeness: str | None = None,
) -> ChosenFace:
    """The face that sings in a pair, the same for each of its shards; folders as in `LipsyncJob`.

    Raises NoFaceError where the clip span shows none, InputError where nobody is heard of whom one is to be chosen,
    with what to do.
    """
    start_s, end_s = pair.clip_start_s, pair.clip_end_s
    found = load_analysis(analysis, start_s, end_s, settings=settings)
    where = Where(pair.clip, pair.row, pair.place)
    clues = clues_of(found, start_s=start_s, end_s=end_s, speakers=speakers, likeness=likeness, where=where)
    return choose_usable_face(
        pair.face,
        found,
        clues,
        (start_s, end_s),
        where,
        nowhere=f"no usable face between {start_s:.2f} s and {end_s:.2f} s",
        action="Choose another span (clip_start_s, clip_end_s), or loosen analysis.min_face_px, max_turn_deg, "
        "max_tilt_deg, min_sharpness or min_score.",
    )


def _mel_starts(voice: PreparedSong, pair: PairPlan, shard: ShardPlan, generator: Engine) -> NDArray[np.int64]:
    """First mel column of the generator's chunk for each frame of the shard, (n,)."""
    if generator.mel_steps == CHUNK_STEPS:  # the paper's, with its rule for the song's end
        starts = mel_chunk_starts(voice.mel.shape[1], pair.fps, pair.num_frames, pair.song_start_s)
    else:
        starts = mel_steps_of(pair.fps, pair.num_frames, pair.song_start_s) - generator.mel_lead_steps
    return starts[shard.start_frame : shard.end_frame]


def _sung_shares(
    voice: PreparedSong, pair: PairPlan, shard: ShardPlan, settings: Settings, generator: Engine
) -> NDArray[np.float32] | None:
    """How much of the mouth it hears the generator should show in each frame, (n,); None: all, as the paper's does."""
    if not (settings.lipsync.rest and generator.can_rest):
        return None
    columns = mel_steps_of(pair.fps, pair.num_frames, pair.song_start_s)[shard.start_frame : shard.end_frame]
    return rest_gain(voice.voiced)[np.minimum(columns, len(voice.voiced) - 1)]


def _voiced_frames(voice: PreparedSong, pair: PairPlan, shard: ShardPlan) -> NDArray[np.bool_]:
    """Whether somebody sings at the middle of each frame's time on screen, (n,)."""
    frames = np.arange(shard.start_frame, shard.end_frame)
    columns = ((pair.song_start_s + (frames + 0.5) / float(pair.fps)) * MEL_STEPS_PER_S).astype(np.int64)
    inside = columns < len(voice.voiced)
    return np.asarray(inside & voice.voiced[np.minimum(columns, len(voice.voiced) - 1)], dtype=np.bool_)


def _shard_scorer(
    scorer: Scorer | None, voice: PreparedSong, pair: PairPlan, shard: ShardPlan, settings: ScoreSettings, song: Path
) -> ShardScorer | None:
    if scorer is None:
        return None
    from tasks.shard_score import ShardScorer  # brings torch in

    return ShardScorer(
        scorer,
        voice,
        song_start_s=pair.song_start_s,
        start_frame=shard.start_frame,
        end_frame=shard.end_frame,
        fps=pair.fps,
        min_windows=settings.min_windows,
        song=song,
    )
