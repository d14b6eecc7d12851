"""The inputs of `singalong demo`: a few talking people, a song, and the manifest that brings them together."""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from singalong.synthetic.camera import Quality
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song

# width, height, frames a second, whether the clip has a sound track, the face's half-height as a share of the frame's
_FORMS: tuple[tuple[int, int, Fraction, bool, float], ...] = (
    (640, 360, Fraction(25), True, 0.3),
    (360, 640, Fraction(30), False, 0.17),
    (480, 480, Fraction(25), True, 0.28),
    (640, 360, Fraction(30000, 1001), True, 0.26),
)
_PEOPLE = (33, 9, 4, 37, 5, 31, 14, 20)
"""Seeds of people who differ in all that people differ in; the demo's seed is added to them."""

_TUNE = 9  # sung for 16 s, then played by the band alone: the mouth rests
_CLEAN = Quality(noise=1.0)
_RIGHTS = "synthetic: drawn and composed by singalong itself"


def write_demo_inputs(
    folder: Path, *, seed: int = 0, num_clips: int = 4, clip_s: float = 4.0, song_s: float = 20.0
) -> Path:
    """Write clips, a song with its vocals, and `manifest.csv`; returns the manifest's path.

    The clips make up the montage `demo`, laid end to end over the song; one more pair has the first clip sing the
    whole song. The same arguments give the same files. Takes about a second per second of clip on one core.
    """
    assert num_clips > 0, num_clips
    folder.mkdir(parents=True, exist_ok=True)
    song = Song.from_seed(seed + _TUNE, song_s, snr_db=6.0, intro=False)
    write_wav(folder / "song.wav", song.mix)
    write_wav(folder / "vocals.wav", song.vocals)
    names = []
    for index in range(num_clips):
        width, height, fps, speaks, size = _FORMS[index % len(_FORMS)]
        person = seed * 1000 + _PEOPLE[index % len(_PEOPLE)] + 100 * (index // len(_PEOPLE))
        clip = TalkingClip.from_seed(
            person,
            width=width,
            height=height,
            fps=fps,
            duration_s=clip_s,
            speaks=speaks,
            half_height=size,
            max_yaw=0.25,
        )
        clip = replace(clip, scene=replace(clip.scene, quality=_CLEAN))
        names.append(clip.write(folder / f"clip{index + 1}_{width}x{height}.mp4").name)
    return _write_manifest(folder / "manifest.csv", names)


def _write_manifest(path: Path, clips: list[str]) -> Path:
    columns = ("pair_id", "clip", "song", "vocals", "montage", "position", "rights")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for index, clip in enumerate(clips, start=1):
            writer.writerow((f"part{index}", clip, "song.wav", "vocals.wav", "demo", index, _RIGHTS))
        writer.writerow(("whole_song", clips[0], "song.wav", "vocals.wav", "", "", _RIGHTS))
    return path
