"""SPEAKERS: who of the people in a shot speaks, by the clip's own sound, once for all pairs that ask.

    shots with several people -> pieces in which somebody is heard -> decode once -> lips, motion -> Parquet

One pass in one thread after the clip's analysis; frames stream in small chunks, and what is kept of a piece is a row a
track. Shots that show one person are left out: singing goes to the one who is seen. The folder it leaves in the store
holds speakers.parquet and facts.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.ear import BundledEar
from models.scorers import Scorer
from models.warper import EAR_LEAD_STEPS, EAR_STEPS
from singalong.contracts import ClipFacts, ModelRef
from singalong.frames_table import MAX_OFFSET_FRAMES, Box
from singalong.media.audio import mel_chunks
from singalong.media.decode import ClipReader
from singalong.media.frames import YuvFrame, face_region_to_bgr
from singalong.media.geometry import network_crop, pad_box
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from singalong.people import Person, people_of
from singalong.pieces import Candidate, Piece, pieces_of
from singalong.scoring import offset_curve, read_curve
from singalong.speaking import (
    SPEAKERS_SCHEMA,
    Floats,
    TrackEvidence,
    common_offset,
    mouth_correlation,
    to_table,
)
from singalong.store import Store
from singalong.track_table import ShotTable, TrackTable
from tasks.analyse import load_analysis
from tasks.clues import FACTS_FILE, SPEAKERS_KIND, SPEAKERS_TABLE, SpeakersFacts, judge, singers_of
from tasks.face_frames import FaceFrame, face_frames
from tasks.prepare_song import PreparedSong, load_song, prepare_song
from tasks.shard_score import ShardScorer

PIECE_S = 5.0
"""Evidence is kept in pieces of at most this length, so that a pair is judged by what its own span shows."""
_MIN_STEPS = 10
"""A face seen for less than 0.4 s in a piece tells nothing."""
_OPENING = 0
"""Of the ear's values (see `models.warper.NUM_MOUTH_VALUES`)."""
_MOUTH_ROWS, _MOUTH_COLUMNS = slice(56, 96), slice(16, 80)
"""Where in a face of 96x96 its motion is looked at: from the nose's tip down, without the cheeks' outer edges. As good
as a patch laid on the landmarks, which not every detector gives."""


def find_speakers(
    clip: ClipFacts, *, analysis: Path, version: str, scorer: Scorer, scorer_ref: ModelRef, store: Store
) -> Path:
    """Judge all people of a clip, unless the store holds that already; the folder to give to `tasks.clues.clues_of`.

    `analysis` is the clip's own, `version` as `tasks.clues.speakers_version` names it. Raises MediaError where the clip
    cannot be decoded or has no sound.
    """

    def build(folder: Path) -> None:
        voice = load_song(prepare_song(Path(clip.path), sha256=clip.sha256, store=store, checks_channels=True))
        finder = _Finder(clip, analysis, voice, scorer)
        with pq.ParquetWriter(folder / SPEAKERS_TABLE, SPEAKERS_SCHEMA, compression="zstd") as writer:
            for rows in finder.shots():
                writer.write_table(to_table(rows))
        facts = finder.facts(scorer_ref)
        (folder / FACTS_FILE).write_text(facts.model_dump_json(indent=1), encoding="utf-8")

    return store.commit_cache(SPEAKERS_KIND, clip.sha256, version, build)


class _Finder:
    """One clip's speakers in the making."""

    def __init__(self, clip: ClipFacts, analysis: Path, voice: PreparedSong, scorer: Scorer) -> None:
        self._clip, self._folder, self._voice, self._scorer = clip, analysis, voice, scorer
        self._ear = BundledEar()
        self._evidence: list[dict[int, Floats]] = []
        self._num_rows = 0

    def shots(self) -> Iterator[list[TrackEvidence]]:
        """The rows of each shot of several people in which somebody is heard."""
        shots = load_analysis(self._folder, 0.0, 0.0).shots
        with ClipReader(self._clip) as reader:
            for index in range(len(shots)):
                tracks, people = self._people(shots, index)
                if len(people) < 2:
                    continue
                wanted = {track for person in people for track in person.tracks}
                rows = [row for piece in _pieces(tracks, shots, index) for row in self._piece(piece, wanted, reader)]
                if rows:
                    self._evidence.append(judge(people, rows))
                    self._num_rows += len(rows)
                    yield rows

    def facts(self, scorer: ModelRef) -> SpeakersFacts:
        """The numbers, once all shots have gone by."""
        return SpeakersFacts(
            clip=self._clip.path,
            scorer=scorer.name,
            scorer_sha256=scorer.weights_sha256,
            offset_frames=common_offset(self._evidence),
            num_shots=len(self._evidence),
            num_rows=self._num_rows,
        )

    def _people(self, shots: ShotTable, index: int) -> tuple[TrackTable, list[Person]]:
        start_s, end_s = float(shots.start_s[index]), float(shots.end_s[index])
        tracks = load_analysis(self._folder, start_s, end_s).tracks
        tracks = tracks.select(tracks.shot == shots.shot[index])
        group = people_of(tracks, start_s, end_s).get(int(shots.shot[index]), [])
        return tracks, singers_of(group, tracks)

    def _piece(self, piece: Piece, wanted: set[int], reader: ClipReader) -> Iterator[TrackEvidence]:
        """A row for each track of a piece, none where nobody is heard."""
        columns = np.array([piece.first_step, piece.end_step]) * MEL_STEPS_PER_S // SCORE_FPS
        candidates = [c for c in piece.candidates if c.track in wanted and c.num_steps >= _MIN_STEPS]
        if not candidates or not self._voice.voiced[columns[0] : columns[1]].any():
            return
        takes = [_Take(candidate, self._shard(candidate)) for candidate in candidates]
        for shown in face_frames(candidates, self._clip, reader):
            takes[shown.number].push(shown)
        for take in takes:
            yield take.evidence(self._opening(take.candidate))

    def _shard(self, candidate: Candidate) -> ShardScorer:
        return ShardScorer(
            self._scorer,
            self._voice,
            song_start_s=candidate.first_step / SCORE_FPS,
            start_frame=0,
            end_frame=candidate.num_steps,
            fps=Fraction(SCORE_FPS),
            min_windows=1,
        )

    def _opening(self, candidate: Candidate) -> Floats:
        """How far a mouth opens that makes the sound, from 15 steps before the candidate to 15 after it."""
        steps = np.arange(candidate.first_step - MAX_OFFSET_FRAMES, candidate.end_step + MAX_OFFSET_FRAMES)
        starts = steps * MEL_STEPS_PER_S // SCORE_FPS - EAR_LEAD_STEPS
        return self._ear.hear(mel_chunks(self._voice.mel, starts, EAR_STEPS))[:, _OPENING].astype(np.float64)


@dataclass
class _Take:
    """A track while its frames go by."""

    candidate: Candidate
    scorer: ShardScorer
    motion: list[float] = field(default_factory=list)
    last: YuvFrame | None = None

    def push(self, shown: FaceFrame) -> None:
        """Take what the next step shows."""
        frame, last = shown.frame, self.last
        self.scorer.push(
            shown.index, shown.box, partial(face_region_to_bgr, frame), width=frame.width, height=frame.height
        )
        if last is not None and frame.pts_s == last.pts_s:
            self.motion.append(self.motion[-1])  # shown again: as fast as when it came
            return
        box = pad_box(shown.box, (0, 0, 0, 0), width=frame.width, height=frame.height)
        # both cut out by one box: boxes tremble, and would move a still mouth
        self.motion.append(np.nan if last is None else float(np.abs(_mouth(frame, box) - _mouth(last, box)).mean()))
        self.last = frame

    def evidence(self, opening: Floats) -> TrackEvidence:
        """The row, once all frames have gone by."""
        score = self.scorer.finish()
        wrong = read_curve(offset_curve(score.windows.mismatched)) if len(score.windows.mismatched) else None
        motion = np.array(self.motion)
        known = motion[np.isfinite(motion)]
        motion = np.where(
            np.isfinite(motion), motion, known[0] if len(known) else 0.0
        )  # nothing comes before the first
        return TrackEvidence(
            shot=self.candidate.shot,
            track=self.candidate.track,
            start_s=self.candidate.first_step / SCORE_FPS,
            end_s=self.candidate.end_step / SCORE_FPS,
            num_windows=len(score.windows.distances),
            num_steps=self.candidate.num_steps,
            distances=offset_curve(score.windows.distances),
            correlations=mouth_correlation(motion, opening),
            confidence_mismatched=wrong.confidence if wrong else None,
        )


def _mouth(frame: YuvFrame, box: Box) -> NDArray[np.float32]:
    """The lower face, grey, scaled as the networks see it."""
    face = network_crop(face_region_to_bgr(frame, box)).astype(np.float32)
    return np.asarray(face[_MOUTH_ROWS, _MOUTH_COLUMNS].mean(axis=2), np.float32)


def _pieces(tracks: TrackTable, shots: ShotTable, index: int) -> Iterator[Piece]:
    shot = ShotTable(**{column.name: getattr(shots, column.name)[index : index + 1] for column in fields(shots)})
    return pieces_of(tracks, shot, start_s=0.0, end_s=np.inf, max_s=PIECE_S)
