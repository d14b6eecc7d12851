"""What a run is not sure of and a person should look at: noted in its folder when it is found, told at its end.

<run>/notes/<pair>.json   of a pair whose speaker is not clear
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from singalong.contracts import PairPlan, Row
from singalong.durable import make_dirs, write_atomic
from singalong.face_choice import SPEAKER
from singalong.plan_table import plan_from_table
from singalong.runfolder import RunFolder
from tasks.analyse import load_analysis
from tasks.clues import load_speaking


class Doubt(Row):
    """A doubt about one pair; it holds as long as clip and span are these."""

    clip_sha256: str
    clip_start_s: float
    clip_end_s: float
    shots_s: tuple[tuple[float, float], ...]

    def is_about(self, pair: PairPlan) -> bool:
        """Whether the pair is still what the doubt was about."""
        known = self.clip_sha256, self.clip_start_s, self.clip_end_s
        return pair.face == SPEAKER and known == (pair.clip_sha256, pair.clip_start_s, pair.clip_end_s)


def note_speaker(run: RunFolder, pair: PairPlan, *, analysis: Path, speakers: Path) -> None:
    """Note the shots of a pair in which it is not clear who speaks, if there are any."""
    found = load_analysis(analysis, pair.clip_start_s, pair.clip_end_s)
    unsure = load_speaking(speakers, found.tracks, pair.clip_start_s, pair.clip_end_s).unsure
    path = _path(run, pair)
    if not unsure:
        path.unlink(missing_ok=True)
        return
    rows = [index for index, shot in enumerate(found.shots.shot.tolist()) if shot in unsure]
    doubt = Doubt(
        clip_sha256=pair.clip_sha256,
        clip_start_s=pair.clip_start_s,
        clip_end_s=pair.clip_end_s,
        shots_s=tuple((float(found.shots.start_s[row]), float(found.shots.end_s[row])) for row in rows),
    )
    make_dirs(path.parent)
    write_atomic(path, doubt.model_dump_json().encode())


def doubts_of(run: RunFolder) -> tuple[str, ...]:
    """What is to be said of the pairs in doubt, in the plan's order."""
    told = []
    faces = run.plan_table(["face"])["face"]
    asked = pc.equal(faces.cast(pa.string()), SPEAKER)
    for pair in plan_from_table(run.plan_table().filter(asked)).pairs if pc.any(asked).as_py() else ():
        try:
            doubt = Doubt.model_validate_json(_path(run, pair).read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
        if doubt.is_about(pair):
            times = ", ".join(f"{start_s:.1f} to {end_s:.1f} s" for start_s, end_s in doubt.shots_s)
            told.append(
                f"Pair '{pair.pair_id}': it is not clear who speaks at {times} of its clip. Look at it; if the wrong "
                "face sings, say who should with index:N (from the left) or at:X,Y@T."
            )
    return tuple(told)


def _path(run: RunFolder, pair: PairPlan) -> Path:
    return run.path / "notes" / f"{pair.pair_id}.json"
