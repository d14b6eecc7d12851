"""What is known of a clip's people besides where they are, read from the caches: who speaks, who looks like a picture.

Reads a few rows; no network is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from singalong.contracts import ModelRef, Row
from singalong.errors import InputError, NoFaceError
from singalong.face_choice import picture_of
from singalong.people import Person, people_of
from singalong.settings import AnalysisSettings
from singalong.speaking import UNSURE_MARGIN, Floats, TrackEvidence, at_offset, evidence_of, from_table
from singalong.track_table import TrackTable
from singalong.tracks import ChosenFace, Clues, choose_face
from singalong.versions import LIKENESS_VERSION, SONG_VERSION, SPEAKERS_VERSION, VOICE_VERSION
from tasks.analyse import Analysis, analysis_version

SPEAKERS_KIND, LIKENESS_KIND = "speakers", "likeness"
SPEAKERS_TABLE, LOOK_FILE, FACTS_FILE = "speakers.parquet", "look.npy", "facts.json"


class Where(NamedTuple):
    """What messages name: a clip, and the manifest row that asks for it, by number and by place as in `PairRow`."""

    clip: str
    row: int | None = None
    place: str | None = None


class SpeakersFacts(Row):
    """facts.json: what was found in a clip, in numbers."""

    algorithm_version: str = SPEAKERS_VERSION
    clip: str
    scorer: str
    scorer_sha256: str
    offset_frames: int = Field(description="common offset of picture and sound, 25 fps frames; negative: sound late")
    num_shots: int = Field(description="shots of several people in which somebody is heard")
    num_rows: int


@dataclass(frozen=True)
class Speaking:
    """Who speaks in a span.

    by_track: evidence by track number, for the tracks of people who can be judged; higher speaks.
    unsure: shots in which the best two people are closer than UNSURE_MARGIN.
    """

    by_track: dict[int, float] = field(default_factory=dict)
    unsure: tuple[int, ...] = ()


def speakers_version(analysis: AnalysisSettings, detector: ModelRef, scorer: ModelRef) -> str:
    """Names a clip's speakers in the cache: a hash of all that they are found with."""
    parts = [analysis_version(analysis, detector), scorer.architecture, scorer.weights_sha256, SONG_VERSION]
    digest = hashlib.sha256(json.dumps([*parts, VOICE_VERSION]).encode()).hexdigest()
    return f"{SPEAKERS_VERSION}-{digest[:16]}"


def likeness_version(analysis: AnalysisSettings, detector: ModelRef) -> str:
    """Names the look of a picture's face in the cache: pictures are looked at as clips are analysed."""
    return f"{LIKENESS_VERSION}-{analysis_version(analysis, detector)}"


def clues_of(
    analysis: Analysis,
    *,
    start_s: float,
    end_s: float,
    speakers: Path | str | None = None,
    likeness: Path | str | None = None,
    where: Where,
) -> Clues:
    """All clues for choosing a face in a span [start_s, end_s).

    Args:
        analysis: of the span.
        start_s: start of the span in the clip's time.
        end_s: its end, exclusive.
        speakers: cache folder of the clip's speakers, where the speaker is asked for.
        likeness: cache folder of a picture's face, where one like it is asked for.
        where: for messages.

    Raises InputError where the speaker is asked for among several people and nobody is heard.
    """
    speaking = Speaking()
    if speakers is not None:
        speaking = load_speaking(Path(speakers), analysis.tracks, start_s, end_s)
        people = people_of(analysis.tracks, start_s, end_s).values()
        if not speaking.by_track and any(len(singers_of(group, analysis.tracks)) > 1 for group in people):
            raise _nobody_heard(where, start_s, end_s)
    wanted = None if likeness is None else np.load(Path(likeness) / LOOK_FILE)
    return Clues(looks=analysis.looks, speaking=speaking.by_track, wanted=wanted)


def choose_usable_face(
    face: str, analysis: Analysis, clues: Clues, span_s: tuple[float, float], where: Where, *, nowhere: str, action: str
) -> ChosenFace:
    """The face that `face` names in a span [start, end) of which these are analysis and clues.

    Raises NoFaceError where no frame shows it well enough to sing, which begins with `nowhere` and says what to do, or
    where people are seen and none of them is like the picture that `face` names.
    """
    chosen = choose_face(analysis.tracks, analysis.shots, face, *span_s, clues)
    _check_likeness(face, chosen, analysis, where)
    if not chosen.usable.any():
        raise NoFaceError(
            nowhere + (f" (those found are {chosen.flaw_words})" if chosen.flaw_words else ""),
            file=where.clip,
            expected="a face that can be seen from the front",
            action=action,
        )
    return chosen


def _check_likeness(face: str, chosen: ChosenFace, analysis: Analysis, where: Where) -> None:
    picture = picture_of(face)
    if picture is not None and not len(chosen.pts_s) and len(analysis.tracks):
        error = NoFaceError(
            "nobody who is seen there looks like the one in the picture",
            file=where.clip,
            row=where.row,
            column="face",
            value=picture,
            expected="a picture of somebody in the clip's span, from the front",
            action="Give another picture, best a frame of the clip itself, or say who is to sing with index:N or "
            "at:X,Y@T.",
        )
        raise error.at(where.place)


def load_speaking(folder: Path, tracks: TrackTable, start_s: float, end_s: float) -> Speaking:
    """Who speaks in a span [start_s, end_s) of a clip whose `tracks` are those of the span.

    Judged by the pieces that lie in the span or hold most of it, at the whole clip's offset.
    """
    facts = SpeakersFacts.model_validate_json((folder / FACTS_FILE).read_bytes())
    touches = (pc.field("start_s") < end_s) & (pc.field("end_s") > start_s)
    touching = from_table(pq.read_table(folder / SPEAKERS_TABLE, filters=touches))
    rows = [row for row in touching if _belongs(row, start_s, end_s)] or touching
    by_track: dict[int, float] = {}
    unsure = []
    for shot, people in people_of(tracks, start_s, end_s).items():
        evidence = {number: at_offset(curve, facts.offset_frames) for number, curve in judge(people, rows).items()}
        for number, value in evidence.items():
            by_track |= dict.fromkeys(people[number].tracks, value)
        best = sorted(evidence.values())[-2:]
        if len(best) == 2 and best[1] - best[0] < UNSURE_MARGIN:
            unsure.append(shot)
    return Speaking(by_track, tuple(unsure))


def _belongs(row: TrackEvidence, start_s: float, end_s: float) -> bool:
    """Whether a piece and a span share half of the shorter one: the next one's end says little of who speaks in it."""
    shared_s = min(row.end_s, end_s) - max(row.start_s, start_s)
    return shared_s >= min(row.end_s - row.start_s, end_s - start_s) / 2 - 1e-6


def singers_of(people: Sequence[Person], tracks: TrackTable) -> list[Person]:
    """Those whose face can sing in some frame."""
    return [person for person in people if tracks.usable[person.rows].any()]


def judge(people: Sequence[Person], rows: Sequence[TrackEvidence]) -> dict[int, Floats]:
    """`evidence_of` the people of a shot, by their number in it."""
    of_track: defaultdict[int, list[TrackEvidence]] = defaultdict(list)
    for row in rows:
        of_track[row.track].append(row)
    found = {
        number: [row for track in person.tracks for row in of_track[track]] for number, person in enumerate(people)
    }
    return evidence_of({number: rows for number, rows in found.items() if rows})


def _nobody_heard(where: Where, start_s: float, end_s: float) -> InputError:
    error = InputError(
        f"nobody is heard between {start_s:.2f} s and {end_s:.2f} s for as long as several people are seen, so it "
        "cannot be told who speaks",
        file=where.clip,
        row=where.row,
        column="face",
        value="speaker",
        expected="a span in which somebody talks for a second",
        action="Say who is to sing with index:N (from the left) or at:X,Y@T, or choose another span.",
    )
    return error.at(where.place)
