"""A small band: drums, bass, and chords on a pad, a pluck or an organ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.dsp import SAMPLE_RATE_HZ, high_pass, spectrum_filter
from singalong.synthetic.melody import BEATS_PER_BAR, Harmony

_TABLE = 2048
_KICKS = ((0.0, 2.0), (0.0, 1.5, 2.0), (0.0, 2.5), (0.0, 1.0, 2.0, 3.0))


@dataclass(frozen=True)
class Style:
    """What the band plays and how loud; levels are relative."""

    kick: tuple[float, ...]
    snare_level: float
    hat_step: float
    hat_level: float
    drum_level: float
    bass_level: float
    bass_step: float
    chord_level: float
    chord_sound: str
    lead_level: float

    @classmethod
    def from_seed(cls, seed: int) -> Style:
        """A random arrangement; one in eight has no drums."""
        rng = np.random.default_rng([seed, 41])
        return cls(
            kick=_KICKS[int(rng.integers(len(_KICKS)))],
            snare_level=float(rng.uniform(0.3, 0.7)),
            hat_step=float(rng.choice([0.5, 1.0, 0.25], p=[0.6, 0.25, 0.15])),
            hat_level=float(rng.uniform(0.06, 0.2)),
            drum_level=0.0 if rng.random() < 0.125 else float(rng.uniform(0.5, 1.0)),
            bass_level=float(rng.uniform(0.25, 0.5)),
            bass_step=float(rng.choice([0.5, 1.0, 2.0])),
            chord_level=float(rng.uniform(0.12, 0.3)),
            chord_sound=str(rng.choice(["pad", "pluck", "organ"])),
            lead_level=float(rng.uniform(0.1, 0.22)),
        )


def play_band(
    harmony: Harmony, style: Style, sung: Sequence[bool], duration_s: float, *, first_s: float, seed: int
) -> Floats:
    """The band, (n, 2) float32; where nobody sings a lead instrument takes over."""
    rng = np.random.default_rng([seed, 42])
    num = round(duration_s * SAMPLE_RATE_HZ)
    left, right = np.zeros((2, num), np.float32)
    drums, bass = np.zeros((2, num), np.float32)
    kit = _Kit.make(rng)
    for bar, is_sung in enumerate(sung):
        bar_s = first_s + bar * harmony.bar_s
        if bar_s >= duration_s:
            break
        _play_drums(drums, kit, style, harmony, bar_s, rng)
        _play_bass(bass, style, harmony, bar, bar_s)
        _play_chords(left, right, style, harmony, bar, bar_s)
        if not is_sung:
            _play_lead(right, style, harmony, bar, bar_s, rng)
    centre = style.drum_level * drums + bass
    mix = np.stack([left + centre, right + centre], axis=1)
    return high_pass(mix.T, 30.0).T.astype(np.float32)


@dataclass(frozen=True)
class _Kit:
    kick: Floats
    snare: Floats
    hat: Floats

    @classmethod
    def make(cls, rng: np.random.Generator) -> _Kit:
        time_s = np.arange(int(0.3 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        base_hz = rng.uniform(42, 58)
        sweep = 2 * np.pi * (base_hz * time_s + 2.8 * (1 - np.exp(-time_s / 0.03)))
        kick = np.sin(sweep) * np.exp(-time_s / rng.uniform(0.07, 0.12))
        noise = rng.standard_normal((2, len(time_s)))
        tone = np.sin(2 * np.pi * rng.uniform(170, 220) * time_s) * np.exp(-time_s / 0.05)
        hiss = spectrum_filter(noise[0], ((100, 0.0), (600, 0.4), (2500, 1.0), (9000, 0.6), (16000, 0.1)))
        snare = 0.5 * tone + 0.9 * hiss * np.exp(-time_s / rng.uniform(0.06, 0.11))
        bright = spectrum_filter(noise[1], ((4000, 0.0), (8000, 1.0), (14000, 1.0), (20000, 0.2)))
        hat = bright * np.exp(-time_s / rng.uniform(0.015, 0.05))
        fade = np.clip((time_s[-1] - time_s) / 0.03, 0, 1)
        return cls(*(np.asarray(sound * fade, np.float32) for sound in (kick, snare, hat)))


def _play_drums(out: Floats, kit: _Kit, style: Style, harmony: Harmony, bar_s: float, rng: np.random.Generator) -> None:
    for beat in style.kick:
        _add(out, kit.kick, bar_s + beat * harmony.beat_s, 0.8)
    for beat in (1.0, 3.0):
        _add(out, kit.snare, bar_s + beat * harmony.beat_s, style.snare_level)
    for beat in np.arange(0, BEATS_PER_BAR, style.hat_step):
        accent = 1.0 if beat % 1 == 0 else 0.6
        _add(out, kit.hat, bar_s + beat * harmony.beat_s, style.hat_level * accent * rng.uniform(0.8, 1.1))


def _play_bass(out: Floats, style: Style, harmony: Harmony, bar: int, bar_s: float) -> None:
    root = harmony.triad(bar)[0]
    midi = root if root < 45 else root - 12
    length_s = style.bass_step * harmony.beat_s
    for beat in np.arange(0, BEATS_PER_BAR, style.bass_step):
        sound = _tone(midi, 0.92 * length_s, _WARM, decay_s=0.6)
        _add(out, sound, bar_s + beat * harmony.beat_s, style.bass_level)


def _play_chords(left: Floats, right: Floats, style: Style, harmony: Harmony, bar: int, bar_s: float) -> None:
    for voice, midi in enumerate(harmony.triad(bar)):
        pitch = midi + 12 + (12 if midi < 45 else 0)
        if style.chord_sound == "pluck":
            for beat in np.arange(0, BEATS_PER_BAR, 0.5):
                if int(beat * 2) % 3 == voice:
                    sound = _tone(pitch + 12, 0.5, _BRIGHT, decay_s=0.25)
                    _add_wide(left, right, sound, bar_s + beat * harmony.beat_s, style.chord_level * 1.4, voice)
            continue
        table, attack_s = (_SOFT, 0.25) if style.chord_sound == "pad" else (_WARM, 0.02)
        for detune in (-0.06, 0.06):
            sound = _tone(pitch + detune, harmony.bar_s, table, decay_s=8.0, attack_s=attack_s)
            _add_wide(left, right, sound, bar_s, 0.5 * style.chord_level, voice if detune < 0 else 2 - voice)


def _play_lead(out: Floats, style: Style, harmony: Harmony, bar: int, bar_s: float, rng: np.random.Generator) -> None:
    chord = harmony.triad(bar)
    for beat in np.arange(0, BEATS_PER_BAR, 0.5):
        if rng.random() < 0.7:
            midi = chord[int(rng.integers(3))] + 24
            sound = _tone(midi, 0.5 * harmony.beat_s, _BRIGHT, decay_s=0.4)
            _add(out, sound, bar_s + beat * harmony.beat_s, style.lead_level)


def _table(strengths: Sequence[float]) -> Floats:
    phase = 2 * np.pi * np.arange(_TABLE) / _TABLE
    wave = sum(strength * np.sin((index + 1) * phase) for index, strength in enumerate(strengths))
    table = np.asarray(wave, np.float32)
    return f32(table / np.abs(table).max())


_SOFT = _table([1, 0.4, 0.22, 0.1, 0.05])
_WARM = _table([1, 0.6, 0.4, 0.28, 0.2, 0.12, 0.08])
_BRIGHT = _table([1 / k**1.2 for k in range(1, 13)])


def _tone(midi: float, length_s: float, table: Floats, *, decay_s: float, attack_s: float = 0.005) -> Floats:
    time_s = np.arange(int(length_s * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    hz = 440 * 2 ** ((midi - 69) / 12)
    wave = table[(time_s * (hz * _TABLE)).astype(np.int64) % _TABLE]
    shape = np.minimum(time_s / attack_s, 1) * np.exp(-time_s / decay_s)
    return f32(wave * shape * np.clip((length_s - time_s) / 0.02, 0, 1))


def _add(out: Floats, sound: Floats, at_s: float, level: float) -> None:
    start = round(at_s * SAMPLE_RATE_HZ)
    skip = max(0, -start)
    piece = sound[skip : max(skip, len(out) - start)]
    if piece.size:
        out[start + skip : start + skip + len(piece)] += np.float32(level) * piece


def _add_wide(left: Floats, right: Floats, sound: Floats, at_s: float, level: float, voice: int) -> None:
    share = (0.75, 0.5, 0.3)[voice]
    _add(left, sound, at_s, level * share)
    _add(right, sound, at_s, level * (1 - share))
