"""Words that mean nothing: syllables that English could have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singalong.synthetic.phonemes import VOWELS

_SHOWN = ("M", "B", "P", "F", "W")  # what lips show: drawn twice as often
_ONSETS = ("B", "D", "F", "G", "HH", "K", "L", "M", "N", "P", "R", "S", "SH", "T", "V", "W", "Y", "Z", "TH", "DH")
_ALL_ONSETS = (*_ONSETS, "CH", "JH", *_SHOWN)
_CLUSTERS = (("S", "T"), ("P", "L"), ("B", "R"), ("T", "R"), ("S", "W"), ("F", "L"), ("K", "R"), ("S", "M"), ("G", "L"))
_CODAS = ("M", "N", "P", "T", "K", "S", "Z", "L", "R", "NG", "V", "F", "D", "B", "TH", "SH", "ZH")
_CODA_PAIRS = (("N", "D"), ("S", "T"), ("M", "P"), ("L", "V"), ("N", "S"))


@dataclass(frozen=True)
class Syllable:
    """Consonants, a vowel (or a hum), consonants; `ends_word` marks a word's last syllable."""

    onset: tuple[str, ...]
    vowel: str
    coda: tuple[str, ...] = ()
    ends_word: bool = False

    @property
    def symbols(self) -> tuple[str, ...]:
        """All phonemes in order."""
        return (*self.onset, self.vowel, *self.coda)


def make_syllables(rng: np.random.Generator, count: int, *, hummed: float = 0.0) -> list[Syllable]:
    """A run of words of one to three syllables; some words come back, as in a chorus.

    hummed: share of words that are a hum with the lips closed: as loud as a vowel, and yet no open mouth.
    """
    words: list[list[Syllable]] = []
    syllables: list[Syllable] = []
    while len(syllables) < count:
        if words and rng.random() < 0.2:
            word = words[int(rng.integers(len(words)))]
        elif rng.random() < hummed:
            word = [Syllable((), "M", ends_word=True)]
        else:
            length = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
            word = [_syllable(rng, ends_word=index == length - 1) for index in range(length)]
            words.append(word)
        syllables += word
    return syllables[:count]


def _syllable(rng: np.random.Generator, *, ends_word: bool) -> Syllable:
    kind = rng.random()
    onset: tuple[str, ...] = ()
    if kind < 0.14:
        onset = _CLUSTERS[int(rng.integers(len(_CLUSTERS)))]
    elif kind < 0.92:
        onset = (_ALL_ONSETS[int(rng.integers(len(_ALL_ONSETS)))],)
    coda: tuple[str, ...] = ()
    if rng.random() < (0.5 if ends_word else 0.2):
        pair = rng.random() < 0.15
        coda = _CODA_PAIRS[int(rng.integers(len(_CODA_PAIRS)))] if pair else (_CODAS[int(rng.integers(len(_CODAS)))],)
    return Syllable(onset, VOWELS[int(rng.integers(len(VOWELS)))], coda, ends_word)
