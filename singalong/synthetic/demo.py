"""The inputs of `singalong demo`: six people, a song, and the manifest that has them sing it in turn."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from singalong import __version__
from singalong.synthetic.arrays import Floats
from singalong.synthetic.camera import Quality
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.demo_song import BEAT_S, FIRST_S, bar_start_s, demo_song
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.poses import POSE_NAMES, pose_track
from singalong.synthetic.relief import Light

_RIGHTS = f"synthetic: drawn and composed by singalong {__version__} itself"
_COLUMNS = (
    *("pair_id", "tag_title", "clip", "clip_start_s", "clip_end_s", "song", "song_start_s", "song_end_s", "vocals"),
    *("montage", "position", "rights"),
)
_SONG, _VOCALS = "song.wav", "vocals.wav"
_SLACK_BEATS = 0.6
"""Clip spans are this much longer than wanted: where exactly they are cut is up to the song's beats."""


@dataclass(frozen=True)
class Character:
    """One of the cast and how they are filmed.

    seed: of their looks. half_height: of the face, share of the picture's height. dance: how far they nod (radians,
    once a beat), sway and roll (shares of the picture, radians, once every two beats).
    """

    name: str
    seed: int
    width: int = 640
    height: int = 360
    fps: Fraction = Fraction(25)
    num_beats: int = 6
    half_height: float = 0.32
    backdrop: str = "studio"
    speaks: bool = True
    dance: tuple[float, float, float] = (0.05, 0.01, 0.05)
    smile: float = 0.7

    @property
    def file(self) -> str:
        """Name of their clip."""
        return f"{self.name.lower()}_{self.width}x{self.height}.mp4"


CAST = (
    Character("Ada", 199, num_beats=13, backdrop="bokeh", dance=(0.05, 0.012, 0.06)),
    Character("Finn", 402, num_beats=9, backdrop="room", dance=(0.07, 0.006, 0.05), smile=0.9),
    Character("Mei", 207, 360, 640, Fraction(30), half_height=0.2, speaks=False),
    Character("Bruno", 1016, 480, 480, half_height=0.31, backdrop="outdoors", dance=(0.08, 0.0, 0.02)),
    Character("Rosa", 190, fps=Fraction(30000, 1001), backdrop="gradient", dance=(0.04, 0.016, 0.08), smile=0.9),
    Character("Otis", 139, num_beats=9, backdrop="room", dance=(0.03, 0.02, 0.03), smile=0.3),
)


@dataclass(frozen=True)
class Cut:
    """A part of the montage: who, from which beat of their clip on, for how many beats."""

    name: str
    first_beat: int
    num_beats: float


# The intro and a phrase of two bars, another, four of one bar; then two beats each; and the last long note.
CUTS = (
    Cut("Ada", 0, 12),
    Cut("Finn", 0, 8),
    *(Cut(name, 0, 4) for name in ("Mei", "Bruno", "Rosa", "Otis")),
    *(Cut(name, 2, 2) for name in ("Finn", "Bruno", "Ada", "Mei", "Otis", "Rosa")),
    Cut("Otis", 3, 6),
)


def write_demo_inputs(
    folder: Path,
    *,
    cast: Sequence[Character] = CAST,
    cuts: Sequence[Cut] = CUTS,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Path:
    """Write clips, a song with its vocals, and `manifest.csv`; returns the manifest's path.

    The montage `demo` has the cast sing in turn, cut on the song's beats; in one more pair, the second of them (or the
    only one) sings most of the verse alone. The same arguments give the same files, and where the very same manifest
    stands, which is written last, nothing is done. Takes about 15 s on one core; `progress` is told before each clip
    how many are done, of how many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "manifest.csv", _manifest(cast, cuts)
    wanted = [path, folder / _SONG, folder / _VOCALS, *(folder / character.file for character in cast)]
    if all(file.is_file() for file in wanted) and path.read_text(encoding="utf-8") == text:
        return path
    song = demo_song()
    write_wav(folder / _SONG, song.mix)
    write_wav(folder / _VOCALS, song.vocals)
    for number, character in enumerate(cast):
        progress(number, len(cast))
        demo_clip(character).write(folder / character.file)
    path.write_text(text, encoding="utf-8")
    return path


def _manifest(cast: Sequence[Character], cuts: Sequence[Cut]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(manifest_rows(cast, cuts))
    return text.getvalue()


def manifest_rows(cast: Sequence[Character] = CAST, cuts: Sequence[Cut] = CUTS) -> list[dict[str, str]]:
    """The rows of the manifest: a part of the montage each, then the solo."""
    files = {character.name: character.file for character in cast}
    common = {"song": _SONG, "vocals": _VOCALS, "rights": _RIGHTS}
    rows = []
    for position, cut in enumerate(cuts, start=1):
        # the song, too, has a moment before its first beat
        start_s = 0.0 if position == 1 else FIRST_S + cut.first_beat * BEAT_S
        end_s = FIRST_S + (cut.first_beat + cut.num_beats + _SLACK_BEATS) * BEAT_S
        rows.append(
            {
                "pair_id": f"{position:02d}_{cut.name.lower()}",
                "tag_title": cut.name,
                "clip": files[cut.name],
                "clip_start_s": f"{start_s:.3f}",
                "clip_end_s": f"{end_s:.3f}",
                "montage": "demo",
                "position": str(position),
                **common,
            }
        )
    soloist = cast[min(1, len(cast) - 1)]
    solo = {"pair_id": "solo", "tag_title": f"{soloist.name}, solo", "clip": soloist.file}
    span = {"song_start_s": f"{bar_start_s(1):.3f}", "song_end_s": f"{bar_start_s(7):.3f}"}
    return [*rows, {**solo, **span, **common}]


def demo_clip(character: Character) -> TalkingClip:
    """A character's clip: they talk to the camera and move to a beat that starts FIRST_S into the clip."""
    duration_s = FIRST_S + (character.num_beats + _SLACK_BEATS) * BEAT_S + 0.04
    clip = TalkingClip.from_seed(
        character.seed,
        width=character.width,
        height=character.height,
        fps=character.fps,
        duration_s=duration_s,
        speaks=character.speaks,
        half_height=character.half_height,
    )
    scene = replace(clip.scene, backdrop=character.backdrop, light=Light(), quality=Quality(noise=1.0))
    style = replace(clip.style, rest_smile=character.smile)
    return replace(clip, scene=scene, style=style, poses=_dancing(character, len(clip.poses)))


def _dancing(character: Character, num_frames: int) -> Floats:
    """A pose track of somebody who looks at the camera and cannot sit still."""
    poses = pose_track(
        num_frames,
        fps=float(character.fps),
        seed=character.seed,
        half_height=character.half_height,
        # beside the title at the lower left, where there is room
        centre=(0.57 if character.width > character.height else 0.5, 0.47),
        liveliness=0.5,
        max_yaw=0.16,
    )
    beats = 2 * np.pi * (np.arange(num_frames) / float(character.fps) - FIRST_S) / BEAT_S
    nod, sway, roll = character.dance
    moves = {
        "pitch": nod * np.cos(beats),
        "y": 0.15 * nod * np.cos(beats),
        "x": sway * np.sin(beats / 2) * character.height / character.width,
        "roll": roll * np.sin(beats / 2),
        "brow": 0.3 * np.cos(beats / 4),
    }
    for name, move in moves.items():
        poses[:, POSE_NAMES.index(name)] += move
    return poses
