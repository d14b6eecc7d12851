"""What a choice of face asks for besides the faces themselves: the clip's sound, or a picture."""

from __future__ import annotations

from collections.abc import Mapping

from singalong.contracts import ClipFacts, ModelRef, PairRow
from singalong.errors import InputError

SPEAKER = "speaker"
LIKE = "like:"

_OTHERS = "index:N (from the left) or at:X,Y@T"


def picture_of(face: str) -> str | None:
    """Path of the picture that a `like:` names; None for other choices."""
    return face.removeprefix(LIKE) if face.startswith(LIKE) else None


def check_speaker(face: str, clip: ClipFacts, scorer: ModelRef | None, *, row: int | None = None) -> None:
    """Raise InputError where the speaker is asked for of a clip that has no sound, or nothing can hear it."""
    if face != SPEAKER:
        return
    if clip.is_still or not clip.has_audio:
        problem = f"{'a still picture' if clip.is_still else 'the clip'} has no sound that could tell who speaks"
        action = f"Say who is to sing with {_OTHERS}."
    elif scorer is None:
        problem = "no sync scorer is in use, so nothing can tell who speaks"
        action = f"Set score.scorer to auto, or say who is to sing with {_OTHERS}."
    else:
        return
    raise InputError(
        problem,
        file=clip.path,
        row=row,
        column="face",
        value=face,
        expected="a video with sound, and a scorer",
        action=action,
    )


def picture_sha256(row: PairRow, pictures: Mapping[str, ClipFacts | InputError]) -> str | None:
    """Content hash of the picture a row's face is to be like; None for other choices. Raises why it cannot be used."""
    path = picture_of(row.face)
    if path is None:
        return None
    facts = pictures[path]
    if isinstance(facts, InputError):
        raise facts
    return facts.sha256
