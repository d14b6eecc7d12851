"""Tunes: a key, chords that repeat, phrases with rests, and a singable line over them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.synthetic.lyrics import make_syllables
from singalong.synthetic.voice import Note

BEATS_PER_BAR = 4
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 2, 3, 4), (0, 5, 1, 4))
_RHYTHMS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0, 1), (1, 1), (2, 1), (3, 1)),
    ((0, 0.5), (0.5, 0.5), (1, 1), (2, 0.5), (2.5, 0.5), (3, 1)),
    ((0, 1.5), (1.5, 0.5), (2, 2)),
    ((0.5, 0.5), (1, 0.5), (1.5, 1), (2.5, 0.5), (3, 1)),
    ((0, 1), (1, 0.5), (1.5, 0.5), (2, 1), (3, 0.5), (3.5, 0.5)),
    ((0, 2), (2, 1), (3, 1)),
    ((0, 0.75), (0.75, 0.75), (1.5, 0.5), (2, 1), (3, 1)),
)
_CADENCES: tuple[tuple[tuple[float, float], ...], ...] = (((0, 2.6),), ((0, 1), (1, 1.8)), ((0, 0.5), (0.5, 2.2)))


@dataclass(frozen=True)
class Harmony:
    """Key, chords and tempo. chords are scale degrees, one a bar, repeating."""

    tempo_bpm: float
    key_midi: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]

    @classmethod
    def from_seed(cls, seed: int) -> Harmony:
        """A random key, mode, progression and tempo of 76 to 138 beats a minute."""
        rng = np.random.default_rng([seed, 31])
        scale = _MAJOR if rng.random() < 0.65 else _MINOR
        chords = _PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))]
        return cls(float(np.round(rng.uniform(76, 138), 1)), int(rng.integers(36, 48)), scale, chords)

    @property
    def beat_s(self) -> float:
        """Length of a beat."""
        return 60.0 / self.tempo_bpm

    @property
    def bar_s(self) -> float:
        """Length of a bar of four beats."""
        return BEATS_PER_BAR * self.beat_s

    def degree_midi(self, degree: int) -> int:
        """MIDI pitch of a scale degree counted from the key note, any octave."""
        octave, step = divmod(degree, len(self.scale))
        return self.key_midi + 12 * octave + self.scale[step]

    def triad(self, bar: int) -> tuple[int, int, int]:
        """MIDI pitches of a bar's chord, root position, low."""
        root = self.chords[bar % len(self.chords)]
        return self.degree_midi(root), self.degree_midi(root + 2), self.degree_midi(root + 4)


def sung_bars(num_bars: int, *, intro_bars: int, rng: np.random.Generator) -> list[bool]:
    """Which bars are sung: nothing in the intro, then stretches of 8 with an instrumental break of 2 now and then."""
    sung = [False] * intro_bars
    while len(sung) < num_bars:
        sung += [True] * 8 + [False] * int(rng.choice([0, 2], p=[0.4, 0.6]))
    return sung[:num_bars]


def make_melody(harmony: Harmony, sung: Sequence[bool], *, low_midi: float, first_s: float, seed: int) -> list[Note]:
    """Notes with syllables over the sung bars, within an octave and a third above `low_midi`."""
    rng = np.random.default_rng([seed, 32])
    starts: list[tuple[float, float, int]] = []
    busy = rng.uniform(0.1, 0.8)  # share of long notes that carry two syllables
    for bar, is_sung in enumerate(sung):
        if not is_sung:
            continue
        ends_phrase = bar % 2 == 1 or not (bar + 1 < len(sung) and sung[bar + 1])
        patterns = _CADENCES if ends_phrase and rng.random() < 0.75 else _RHYTHMS
        for beat, length in patterns[int(rng.integers(len(patterns)))]:
            split = length >= 1 and length * harmony.beat_s > 0.4 and rng.random() < busy
            edges = [0.0, int(length) / 2, length] if split else [0.0, length]
            for first, last in itertools.pairwise(edges):
                start_s = first_s + bar * harmony.bar_s + (beat + first) * harmony.beat_s
                starts.append((start_s, (last - first) * harmony.beat_s, bar))
    pitches = _line(harmony, [bar for _, _, bar in starts], low_midi, rng)
    syllables = make_syllables(rng, len(starts), hummed=0.06)
    gaps = rng.uniform(0.0, 0.06, len(starts))
    return [
        Note(start, start + length - gap, pitch, syllable)
        for (start, length, _), pitch, syllable, gap in zip(starts, pitches, syllables, gaps, strict=True)
    ]


def _line(harmony: Harmony, bars: Sequence[int], low_midi: float, rng: np.random.Generator) -> list[float]:
    """A walk on the scale that is drawn to the chord's notes and to the middle of the range."""
    ladder = [harmony.degree_midi(degree) for degree in range(-14, 42)]
    ladder = [pitch for pitch in ladder if low_midi + 1 <= pitch <= low_midi + 17]
    place = len(ladder) // 2
    line: list[float] = []
    for bar in bars:
        chord = {pitch % 12 for pitch in harmony.triad(bar)}
        steps = np.arange(len(ladder))
        weight = np.exp(-0.5 * ((steps - place) / 1.7) ** 2 - 0.5 * ((steps - len(ladder) / 2) / 4.0) ** 2)
        weight *= np.array([2.5 if pitch % 12 in chord else 1.0 for pitch in ladder])
        place = int(rng.choice(steps, p=weight / weight.sum()))
        line.append(float(ladder[place]))
    return line
