"""The song of the demo: one bar of band, a verse that two, two, one, one, one and one bar divide, and a finale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from singalong.synthetic.band import Style
from singalong.synthetic.lyrics import Syllable
from singalong.synthetic.melody import Harmony
from singalong.synthetic.phonemes import VOWELS
from singalong.synthetic.song import Song
from singalong.synthetic.voice import Note, Singer

TEMPO_BPM = 132.0
NUM_BARS = 13
"""The first is the band's alone, eight are the verse, four the finale."""
FIRST_S = 0.12
"""Where the first bar starts; no sound file should start with a drum on its first sample."""
TAIL_S = 0.6
"""The last chord rings on for so long."""
BEAT_S = 60.0 / TEMPO_BPM

# The chords, one a bar, as degrees of the scale: I, then I V vi IV twice, then I IV V I.
_HARMONY = Harmony(TEMPO_BPM, 36, (0, 2, 4, 5, 7, 9, 11), (0, 0, 4, 5, 3, 0, 4, 5, 3, 0, 3, 4, 0))
_STYLE = Style(
    kick=(0.0, 1.0, 2.0, 3.0),
    snare_level=0.55,
    hat_step=0.5,
    hat_level=0.14,
    drum_level=0.9,
    bass_level=0.4,
    bass_step=0.5,
    chord_level=0.2,
    chord_sound="pluck",
    lead_level=0.2,
)
_SINGER = replace(
    Singer.from_seed(4),
    tract=1.02,
    low_midi=48.0,
    breath=0.008,
    open_quotient=0.58,
    tilt_hz=3500.0,
    vibrato_hz=5.4,
    vibrato_cents=28.0,
)

# A line a bar: syllables in ARPAbet with their beat, length in beats, and pitch as a MIDI note. No bar repeats a
# syllable beat by beat: lips that do the same every beat are in sync with the beat before, too, and score as such.
_WORDS = """
WHO:HH-UW@0+1=60 IS:IH-Z@1+.5=60 SING:S-IH-NG@1.5+1=64 ING:IH-NG@2.5+.5=62 IN:IH-N@3+1=60
MY:M-AY@0+1=59 MOUTH:M-AW-TH@1+2.4=62
ALL:AO-L@0+1=60 THESE:DH-IY-Z@1+.5=60 WORDS:W-ER-D-Z@1.5+1=64 ARE:AA-R@2.5+.5=62 FLY:F-L-AY@3+1=60
ING:IH-NG@0+1=57 OUT:AW-T@1+2.4=60
NOT:N-AA-T@0+1=60 MY:M-AY@1+1=64 VOICE:V-OW-S@2+1.6=67
NOT:N-AA-T@0+1=62 MY:M-AY@1+1=65 SONG:S-AO-NG@2+1.6=67
JUST:JH-AH-S-T@0+1=64 MY:M-AY@1+1=64 LIPS:L-IH-P-S@2+1.6=60
SING:S-IH-NG@0+1=60 A:AH@1+1=62 LONG:L-AO-NG@2+1.6=65
BA:B-AA@0+.5=60 DA:D-AA@.5+.5=62 BOO:B-UW@1+1=64 WEE:W-IY@2+.5=67 OH:OW@2.5+1.4=64
YOUR:Y-AO-R@0+.5=65 MOUTH:M-AW-TH@.5+1=64 MY:M-AY@1.5+.5=62 SONG:S-AO-NG@2+1.7=60
EV:EH-V@0+.5=62 RY:R-IY@.5+.5=64 BO:B-AA@1+.5=65 DY:D-IY@1.5+.5=64 SING:S-IH-NG@2+1=67 A:AH@3+1=65
LONG:L-AO-NG@0+1.4=64 A:AH@1.5+.5=62 LONG:L-AO-NG@2+1.7=60
"""


def demo_song(seed: int = 0) -> Song:
    """The demo's song, about 24 s at 132 beats a minute; every word and every note of it is given here.

    seed: chance in how it is performed; composition and beats stay the same.
    """
    sung = [bar > 0 for bar in range(NUM_BARS)]
    return Song.perform(
        demo_notes(),
        sung,
        bar_start_s(NUM_BARS) + TAIL_S,
        _HARMONY,
        _STYLE,
        _SINGER,
        first_s=FIRST_S,
        snr_db=5.0,
        seed=seed,
        rng=np.random.default_rng([seed, 52]),
    )


def bar_start_s(bar: int) -> float:
    """Where a bar starts, counted from 0, seconds."""
    return FIRST_S + bar * _HARMONY.bar_s


def demo_notes() -> list[Note]:
    """What is sung, in order of time."""
    notes = []
    for bar, line in enumerate(_WORDS.split("\n")[1:-1], start=1):
        for word in line.split():
            sounds, _, timing = word.partition(":")[2].partition("@")
            beat, _, rest = timing.partition("+")
            length, _, midi = rest.partition("=")
            start_s = bar_start_s(bar) + float(beat) * BEAT_S
            end_s = start_s + float(length) * BEAT_S - 0.03
            notes.append(Note(start_s, end_s, float(midi), _syllable(sounds)))
    return notes


def _syllable(sounds: str) -> Syllable:
    symbols = sounds.split("-")
    at = next(place for place, symbol in enumerate(symbols) if symbol in VOWELS)
    return Syllable(tuple(symbols[:at]), symbols[at], tuple(symbols[at + 1 :]), ends_word=True)
