"""The phonemes of the synthetic voices: what each looks like on the lips and what it sounds like.

Symbols are ARPAbet without stress, plus SIL. Formants are an adult male's, after Peterson and Barney (1952) and
Klatt (1980, table II); the lips' targets are ours, after the viseme tables of the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MOUTH_NAMES = ("opening", "width", "rounding", "jaw", "press", "bite", "tongue", "teeth", "smile")
"""Columns of a mouth track, each in [0, 1] but width and smile, which are in [-1, 1].

opening: gap between the lips at their middle; width: corners spread (+) or drawn in (-); rounding: lips pushed out;
jaw: drop of the chin; press: lips pressed together; bite: lower lip under the upper teeth; tongue: tip raised;
teeth: upper lip lifted off the upper teeth; smile: corners lifted (+) or lowered (-).
"""

Kind = Literal["silence", "vowel", "stop", "affricate", "fricative", "nasal", "liquid"]


@dataclass(frozen=True)
class Lips:
    """What the mouth does for a phoneme: one target per column of MOUTH_NAMES, and how firmly it holds it.

    `hold` weighs the target against the neighbours' in coarticulation, for the columns that matter to the sound
    (`firm`); the other columns are left to the neighbours.
    """

    opening: float = 0.12
    width: float = 0.0
    rounding: float = 0.0
    jaw: float = 0.1
    press: float = 0.0
    bite: float = 0.0
    tongue: float = 0.0
    teeth: float = 0.0
    hold: float = 1.0
    firm: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phoneme:
    """One speech sound: lips, formants (Hz, adult male), and noise.

    `glide` is a second formant set that a diphthong ends on, named by the vowel that has it. `noise_hz` is the centre
    and width of the frication or burst noise. `voiced`, `noise` and `loudness_db` are amplitudes of the sources.
    """

    symbol: str
    kind: Kind
    lips: Lips = field(default_factory=Lips)
    formants_hz: tuple[float, float, float] = (500.0, 1500.0, 2500.0)
    glide: str | None = None
    voiced: bool = True
    noise_hz: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0
    duration_s: float = 0.08


def _vowel(
    symbol: str, formants: tuple[float, float, float], lips: Lips, glide: str | None = None, duration_s: float = 0.14
) -> Phoneme:
    return Phoneme(symbol, "vowel", lips, formants, glide, duration_s=duration_s)


_CLOSED = ("opening", "press", "jaw", "teeth")
_BITE = ("opening", "bite", "teeth")
_TEETH = ("opening", "jaw", "teeth")
_ROUND = ("opening", "rounding", "width")
_MB = Lips(0.0, 0.0, 0.0, 0.04, press=1.0, hold=9.0, firm=_CLOSED)
_FV = Lips(0.1, 0.05, 0.0, 0.06, bite=1.0, teeth=0.7, hold=7.0, firm=_BITE)
_S = Lips(0.13, 0.35, 0.0, 0.02, teeth=0.75, hold=3.0, firm=_TEETH)
_SH = Lips(0.2, -0.3, 0.75, 0.04, teeth=0.6, hold=3.5, firm=("opening", "rounding", "width", "jaw", "teeth"))
_T = Lips(0.16, 0.1, 0.0, 0.1, tongue=0.7, teeth=0.35, hold=2.0, firm=("tongue", "jaw"))
_TH = Lips(0.22, 0.1, 0.0, 0.12, tongue=1.0, teeth=0.4, hold=3.0, firm=("tongue", "jaw", "opening"))
_K = Lips(0.24, 0.05, 0.0, 0.24, hold=0.6, firm=())
_HH = Lips(0.35, 0.0, 0.0, 0.35, hold=0.25, firm=())

_ALL = (
    Phoneme("SIL", "silence", Lips(0.0, 0.0, 0.0, 0.0, hold=1.0), voiced=False, duration_s=0.2),
    _vowel("AA", (730, 1090, 2440), Lips(0.95, 0.0, 0.0, 0.95)),
    _vowel("AE", (660, 1720, 2410), Lips(0.75, 0.5, 0.0, 0.75, teeth=0.45)),
    _vowel("AH", (640, 1190, 2390), Lips(0.62, 0.0, 0.0, 0.6)),
    _vowel("AO", (570, 840, 2410), Lips(0.7, -0.35, 0.55, 0.72)),
    _vowel("EH", (530, 1840, 2480), Lips(0.52, 0.4, 0.0, 0.48, teeth=0.4)),
    _vowel("ER", (490, 1350, 1690), Lips(0.34, -0.25, 0.5, 0.28, tongue=0.3)),
    _vowel("IH", (390, 1990, 2550), Lips(0.34, 0.45, 0.0, 0.26, teeth=0.5), duration_s=0.1),
    _vowel("IY", (270, 2290, 3010), Lips(0.25, 1.0, 0.0, 0.14, teeth=0.8)),
    _vowel("UH", (440, 1020, 2240), Lips(0.3, -0.45, 0.65, 0.26), duration_s=0.1),
    _vowel("UW", (300, 870, 2240), Lips(0.18, -0.9, 1.0, 0.14)),
    _vowel("OW", (500, 900, 2400), Lips(0.5, -0.6, 0.85, 0.46), glide="UW"),
    _vowel("EY", (480, 1950, 2550), Lips(0.45, 0.55, 0.0, 0.4, teeth=0.5), glide="IY"),
    _vowel("AY", (720, 1200, 2450), Lips(0.9, 0.1, 0.0, 0.9), glide="IY"),
    _vowel("AW", (720, 1200, 2450), Lips(0.9, 0.0, 0.0, 0.9), glide="UW"),
    Phoneme("M", "nasal", _MB, (270, 1000, 2200), duration_s=0.085),
    Phoneme("N", "nasal", _T, (270, 1450, 2400), duration_s=0.075),
    Phoneme("NG", "nasal", _K, (280, 1900, 2500), duration_s=0.08),
    Phoneme("B", "stop", _MB, (300, 900, 2200), noise_hz=(900, 900), noise=0.35, duration_s=0.085),
    Phoneme("P", "stop", _MB, (400, 1000, 2200), None, False, (1000, 1000), 0.6, 0.1),
    Phoneme("D", "stop", _T, (300, 1700, 2600), noise_hz=(3800, 2200), noise=0.35, duration_s=0.07),
    Phoneme("T", "stop", _T, (400, 1750, 2600), None, False, (4200, 2500), 0.6, 0.085),
    Phoneme("G", "stop", _K, (300, 1900, 2500), noise_hz=(1900, 1000), noise=0.35, duration_s=0.075),
    Phoneme("K", "stop", _K, (400, 1900, 2500), None, False, (2000, 1100), 0.6, 0.09),
    Phoneme("CH", "affricate", _SH, (400, 1800, 2700), None, False, (3000, 1600), 0.6, 0.12),
    Phoneme("JH", "affricate", _SH, (300, 1800, 2700), None, True, (2900, 1600), 0.4, 0.1),
    Phoneme("F", "fricative", _FV, (340, 1100, 2080), None, False, (5500, 7000), 0.28, 0.1),
    Phoneme("V", "fricative", _FV, (280, 1100, 2080), None, True, (5500, 7000), 0.16, 0.08),
    Phoneme("TH", "fricative", _TH, (320, 1290, 2540), None, False, (6000, 6000), 0.22, 0.09),
    Phoneme("DH", "fricative", _TH, (280, 1290, 2540), None, True, (6000, 6000), 0.13, 0.06),
    Phoneme("S", "fricative", _S, (320, 1600, 2600), None, False, (7200, 3000), 0.6, 0.11),
    Phoneme("Z", "fricative", _S, (280, 1600, 2600), None, True, (7000, 3000), 0.35, 0.085),
    Phoneme("SH", "fricative", _SH, (320, 1800, 2600), None, False, (3500, 2200), 0.6, 0.11),
    Phoneme("ZH", "fricative", _SH, (280, 1800, 2600), None, True, (3400, 2200), 0.35, 0.085),
    Phoneme("HH", "fricative", _HH, (500, 1500, 2500), None, False, (1600, 3200), 0.3, 0.07),
    Phoneme("L", "liquid", _T, (330, 1100, 2700), duration_s=0.07),
    Phoneme("R", "liquid", Lips(0.22, -0.35, 0.6, 0.18, hold=1.6, firm=("rounding", "width")), (330, 1150, 1500)),
    Phoneme("W", "liquid", Lips(0.1, -0.95, 1.0, 0.1, hold=3.0, firm=_ROUND), (300, 650, 2200)),
    Phoneme("Y", "liquid", Lips(0.22, 0.75, 0.0, 0.12, teeth=0.6, hold=1.5, firm=("width",)), (270, 2200, 3000)),
)

PHONEMES: dict[str, Phoneme] = {phoneme.symbol: phoneme for phoneme in _ALL}
VOWELS = tuple(phoneme.symbol for phoneme in _ALL if phoneme.kind == "vowel")


@dataclass(frozen=True)
class PhonemeSpan:
    """A phoneme in time, seconds, half-open."""

    start_s: float
    end_s: float
    symbol: str
