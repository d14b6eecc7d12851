"""A few synthetic clips, a song and a manifest: the least that a whole run needs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song

_FORMS = ((33, 640, 360, Fraction(25), 0.3), (9, 360, 640, Fraction(30), 0.17))


def write_inputs(folder: Path, *, clip_s: float = 1.0, song_s: float = 3.0) -> Path:
    """Two clips of unequal size and rate, a song, its vocals, and a manifest of a montage and of one more pair."""
    song = Song.from_seed(9, song_s, snr_db=6.0, intro=False)
    write_wav(folder / "song.wav", song.mix)
    write_wav(folder / "vocals.wav", song.vocals)
    rows = ["pair_id,clip,song,vocals,montage,position"]
    for number, (seed, width, height, fps, size) in enumerate(_FORMS, start=1):
        clip = TalkingClip.from_seed(
            seed, width=width, height=height, fps=fps, duration_s=clip_s, half_height=size, max_yaw=0.25
        )
        name = clip.write(folder / f"clip{number}_{width}x{height}.mp4").name
        rows.append(f"part{number},{name},song.wav,vocals.wav,demo,{number}")
    rows.append("whole_song,clip1_640x360.mp4,song.wav,vocals.wav,,")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest
