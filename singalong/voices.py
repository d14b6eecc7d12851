"""What the `vocals` column asks for, and which sound drives the lips and scores of a row then; pure.

    auto        the song; the voice is looked for in it
    none        the song; all that is loud is voice
    left right  one channel of the song, where each speaker has one
    channel:N   the same by number, from 0
    separate    what the configured separator makes of the song
    a path      a stem

Only in a mix is the voice looked for. A channel, a stem and a separated voice are taken for one speaker or singer
each, who is heard wherever it is loud: to find words in a mix is a guess, to hear that somebody speaks alone is none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from singalong.contracts import PairRow, SongFacts
from singalong.errors import InputError
from singalong.settings import SongSettings

AUTO, NONE, LEFT, RIGHT, SEPARATE = "auto", "none", "left", "right", "separate"
CHANNEL_PREFIX = "channel:"
_SIDES = {LEFT: 0, RIGHT: 1}
_EXAMPLE = '["demucs", "--two-stems", "vocals", "-o", "{folder}", "{song}"]'


@dataclass(frozen=True)
class VoiceSource:
    """The sound that drives the lips and scores of a row.

    path, sha256: of the song or the stem. channel: the one that is heard, None for the mean of all. finds_voice:
    whether it is a mix in which somebody sings here and there. separator_id: the separator that it goes through first.
    """

    path: str
    sha256: str
    channel: int | None = None
    finds_voice: bool = False
    separator_id: str | None = None


def channel_of(vocals: str) -> int | None:
    """The channel that the column names, from 0; None where it names none."""
    if vocals.startswith(CHANNEL_PREFIX):
        return int(vocals.removeprefix(CHANNEL_PREFIX))
    return _SIDES.get(vocals)


def stem_of(vocals: str) -> str | None:
    """The path that the column names; None for a word. Paths in checked rows are absolute, so no word is one."""
    is_word = vocals in (AUTO, NONE, SEPARATE) or channel_of(vocals) is not None
    return None if is_word else vocals


def separator_id(settings: SongSettings) -> str | None:
    """A hash of the separator's command: names what it makes, in the store and in work keys. None: none is set."""
    if not settings.separator:
        return None
    parts = [list(settings.separator), settings.separated]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def voice_of(row: PairRow, song: SongFacts, stem: SongFacts | None, settings: SongSettings) -> VoiceSource:
    """The voice of a row, whose song and stem are known.

    Where the channels of a file cancel each other out, the louder of them is heard (`SongFacts.heard_channel`).

    Raises InputError for a channel that the song does not have, and where a separator is wanted and none is set.
    """
    if stem is not None:
        return VoiceSource(stem.path, stem.sha256, channel=stem.heard_channel)
    channel = channel_of(row.vocals)
    if channel is not None:
        _check_channel(row, song, channel)
        return VoiceSource(song.path, song.sha256, channel=channel)
    if row.vocals == SEPARATE:
        return VoiceSource(song.path, song.sha256, separator_id=_separator(row, settings))
    return VoiceSource(song.path, song.sha256, channel=song.heard_channel, finds_voice=row.vocals == AUTO)


def _check_channel(row: PairRow, song: SongFacts, channel: int) -> None:
    is_side_of_mono = row.vocals in _SIDES and song.num_channels == 1
    if channel < song.num_channels and not is_side_of_mono:
        return
    there = "one channel (mono), channel:0" if song.num_channels == 1 else f"{song.num_channels} channels"
    choices = [f"{CHANNEL_PREFIX}0"]
    if song.num_channels > 1:
        choices = [LEFT, RIGHT, f"{CHANNEL_PREFIX}0 to {CHANNEL_PREFIX}{song.num_channels - 1}"]
    raise InputError(
        f"{song.path} has {there}, and not this one",
        row=row.row,
        column="vocals",
        value=row.vocals,
        expected=f"{', '.join(choices)}, auto, none, separate, or a stem's path",
    )


def _separator(row: PairRow, settings: SongSettings) -> str:
    found = separator_id(settings)
    if found is None:
        raise InputError(
            "no program that separates voices is set",
            row=row.row,
            column="vocals",
            value=row.vocals,
            action=f"Set one, e.g. --set 'songs.separator={_EXAMPLE}', or write auto, or the path of a stem.",
        )
    return found
