"""CUT a span of a talking video into training sequences: crops at 25 frames a second, with the sound that fits them.

    pieces of shots -> decode once -> crop each face, write, score -> who speaks, how far is the sound off -> commit

One pass in one thread; frames stream in small chunks, and of sound only the span is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

from models.scorers import Scorer
from singalong.config import Settings
from singalong.contracts import ClipFacts, SyncScore
from singalong.media.decode import ClipReader
from singalong.media.frames import face_region_to_bgr
from singalong.media.geometry import network_crop, pad_box
from singalong.media.units import SCORE_FPS
from singalong.pieces import Candidate, Piece, pieces_of
from singalong.settings import PrepareSettings
from tasks.analyse import load_analysis
from tasks.face_frames import face_frames
from tasks.jobs import SequencesJob
from tasks.shard_score import ShardScorer
from tasks.training.prepare_records import PreparedRow, Reason, is_finished, marker_path, write_marker
from tasks.training.prepare_sound import SpanSound, read_span_sound
from tasks.training.sequences import MIN_FRAMES, SequenceWriter

_HANDOVER_STEPS = 5
"""Tracks of one person that follow each other may share a few frames."""


def prepare_span(job: SequencesJob, *, settings: Settings, scorer: Scorer | None) -> Path:
    """Prepare one span of one video, unless its marker stands; the marker's path.

    Raises MediaError where the video cannot be read. Faces that give no sequence are rows with a reason.
    """
    dataset = Path(job.dataset)
    if not is_finished(dataset, job.clip.sha256, job.span, version=job.version):
        rows = list(_Span(job, settings, scorer).rows())
        write_marker(dataset, job.clip.sha256, span=job.span, version=job.version, rows=rows)
    return marker_path(dataset, job.clip.sha256, job.span)


@dataclass
class _Take:
    """A candidate while its frames go by."""

    candidate: Candidate
    writer: SequenceWriter
    scorer: ShardScorer | None
    first_frame: int = 0
    end_frame: int = 0
    score: SyncScore | None = None
    reason: Reason | None = None

    @property
    def rank(self) -> tuple[float, int]:
        """Who of several speaks: the lips that fit best; without a scorer the largest face."""
        width, height = self.candidate.box_size
        confidence = self.score.confidence if self.score and self.score.confidence is not None else 0.0
        return confidence, width * height

    @property
    def offset_frames(self) -> int:
        """What to move the sound by."""
        return (self.score.offset_frames if self.score else None) or 0


class _Span:
    """One span in the making."""

    def __init__(self, job: SequencesJob, settings: Settings, scorer: Scorer | None) -> None:
        self._job, self._scorer = job, scorer
        self._prepare: PrepareSettings = settings.prepare
        self._min_frames = max(MIN_FRAMES, round(self._prepare.min_s * SCORE_FPS))

    def rows(self) -> Iterator[PreparedRow]:
        """A row for every candidate, its sequence committed if it is kept."""
        job, max_s = self._job, self._prepare.max_s
        if not job.clip.has_audio:
            yield self._row(Reason.NO_SOUND)
            return
        analysis = load_analysis(Path(job.analysis), job.start_s, job.end_s + max_s)
        pieces = list(pieces_of(analysis.tracks, analysis.shots, start_s=job.start_s, end_s=job.end_s, max_s=max_s))
        if not any(piece.candidates for piece in pieces):
            if pieces:  # else all belongs to the span before
                yield self._row(Reason.NO_FACE)
            return
        sound = read_span_sound(Path(job.clip.path), job.start_s, pieces[-1].end_step / SCORE_FPS)
        with ClipReader(job.clip) as reader:
            for piece in pieces:
                yield from self._piece(piece, sound, reader)

    def _piece(self, piece: Piece, sound: SpanSound, reader: ClipReader) -> Iterator[PreparedRow]:
        looked = [(candidate, self._unfit(candidate, sound)) for candidate in piece.candidates]
        with ExitStack() as stack:
            takes = [
                _Take(candidate, stack.enter_context(self._writer(candidate)), self._shard(candidate, sound))
                for candidate, reason in looked
                if reason is None
            ]
            _push_frames(takes, self._job.clip, reader, self._prepare.pads)
            for take in takes:
                self._judge(take, sound)
            _keep_speakers(takes)
            for candidate, reason in looked:
                if reason is not None:
                    yield self._row(reason, candidate)
            for take in takes:
                yield self._finish(take, sound)

    def _unfit(self, candidate: Candidate, sound: SpanSound) -> Reason | None:
        """Why a candidate need not be looked at."""
        if candidate.num_steps < self._min_frames:
            return Reason.TOO_SHORT
        if candidate.box_size[1] < self._prepare.min_face_px:
            return Reason.SMALL_FACE
        if candidate.fps < self._prepare.min_fps:
            return Reason.FEW_FRAMES
        first, end = sound.frames_with_sound(candidate.first_step, candidate.num_steps, offset_frames=0)
        if end == first:
            return Reason.NO_SOUND
        return Reason.TOO_SHORT if end - first < self._min_frames else None

    def _writer(self, candidate: Candidate) -> SequenceWriter:
        return SequenceWriter(Path(self._job.dataset), self._sequence_id(candidate))

    def _sequence_id(self, candidate: Candidate) -> str:
        return f"{self._job.clip.sha256[:16]}-{candidate.first_step:07d}-{candidate.track:05d}"

    def _shard(self, candidate: Candidate, sound: SpanSound) -> ShardScorer | None:
        if self._scorer is None:
            return None
        return ShardScorer(
            self._scorer,
            sound,
            song_start_s=candidate.first_step / SCORE_FPS - sound.start_s,
            start_frame=0,
            end_frame=candidate.num_steps,
            fps=Fraction(SCORE_FPS),
            min_windows=self._prepare.min_windows,
        )

    def _judge(self, take: _Take, sound: SpanSound) -> None:
        if take.scorer is not None:
            take.score = take.scorer.finish().score
            take.reason = self._verdict(take.score)
        candidate = take.candidate
        take.first_frame, take.end_frame = sound.frames_with_sound(
            candidate.first_step, candidate.num_steps, offset_frames=take.offset_frames
        )
        if take.reason is None and take.end_frame - take.first_frame < self._min_frames:
            take.reason = Reason.TOO_SHORT

    def _verdict(self, score: SyncScore) -> Reason | None:
        least = self._prepare.min_confidence or 0.0
        if score.confidence is None or score.offset_frames is None:
            return Reason.LITTLE_VOICE if score.num_windows < self._prepare.min_windows else Reason.TOO_SHORT
        if score.confidence < least:
            return Reason.LOW_CONFIDENCE
        wrong = score.confidence_mismatched
        if wrong is not None and score.confidence - wrong < self._prepare.min_margin:
            return Reason.WRONG_SOUND
        return Reason.FAR_OFFSET if abs(score.offset_frames) > self._prepare.max_offset_frames else None

    def _finish(self, take: _Take, sound: SpanSound) -> PreparedRow:
        row = self._row(take.reason, take.candidate, take)
        if take.reason is not None:
            return row
        first_step = take.candidate.first_step + take.first_frame
        num_frames = take.end_frame - take.first_frame
        facts = take.writer.finish(
            sound.mel_of(first_step, num_frames, offset_frames=take.offset_frames),
            source=self._job.source,
            source_sha256=self._job.clip.sha256,
            start_frame=take.first_frame,
            end_frame=take.end_frame,
        )
        return row.model_copy(update={"sequence_id": facts.sequence_id, "digest": facts.digest, "kept": True})

    def _row(self, reason: Reason | None, candidate: Candidate | None = None, take: _Take | None = None) -> PreparedRow:
        job = self._job
        if candidate is None:
            end_s = min(job.end_s, job.clip.duration_s)
            return PreparedRow(
                source=job.source, source_sha256=job.clip.sha256, start_s=job.start_s, end_s=end_s, reason=reason
            )
        first, end = (take.first_frame, take.end_frame) if take and reason is None else (0, candidate.num_steps)
        score = (take.score if take else None) or SyncScore()
        return PreparedRow(
            source=job.source,
            source_sha256=job.clip.sha256,
            shot=candidate.shot,
            track=candidate.track,
            start_s=(candidate.first_step + first) / SCORE_FPS,
            end_s=(candidate.first_step + end) / SCORE_FPS,
            num_frames=end - first,
            box_width_px=candidate.box_size[0],
            box_height_px=candidate.box_size[1],
            fps=candidate.fps,
            num_windows=score.num_windows,
            confidence=score.confidence,
            confidence_mismatched=score.confidence_mismatched,
            distance=score.distance,
            offset_frames=score.offset_frames,
            reason=reason,
        )


def _push_frames(takes: Sequence[_Take], clip: ClipFacts, reader: ClipReader, pads: tuple[int, int, int, int]) -> None:
    """Decode what the takes show, once for all of them, and give each its crops."""
    for shown in face_frames([take.candidate for take in takes], clip, reader):
        take, frame = takes[shown.number], shown.frame
        width, height = frame.width, frame.height
        padded = pad_box(shown.box, pads, width=width, height=height)
        take.writer.add(network_crop(face_region_to_bgr(frame, padded)))
        if take.scorer is not None:
            take.scorer.push(shown.index, shown.box, partial(face_region_to_bgr, frame), width=width, height=height)


def _keep_speakers(takes: Sequence[_Take]) -> None:
    """Of faces that are seen at the same time only one speaks: the one whose lips fit the sound best."""
    spoken: list[_Take] = []
    for take in sorted((take for take in takes if take.reason is None), key=lambda take: take.rank, reverse=True):
        if any(_overlap(take.candidate, other.candidate) for other in spoken):
            take.reason = Reason.ANOTHER_SPEAKS
        else:
            spoken.append(take)


def _overlap(left: Candidate, right: Candidate) -> bool:
    """Whether two are seen together for longer than one may take over from the other."""
    shared = min(left.end_step, right.end_step) - max(left.first_step, right.first_step)
    return shared > _HANDOVER_STEPS
