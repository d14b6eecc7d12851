"""Voices that sing and speak: a glottal source and noise through formants that follow the phonemes.

Source and filter after Klatt, "Software for a cascade/parallel formant synthesizer" (1980), with Rosenberg's glottal
pulse (1971). Loudness is set per syllable at random, whatever the vowel: how loud it is must not tell how far the
mouth is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.dsp import BIN_HZ, HOP, SAMPLE_RATE_HZ, filter_frames, num_filter_frames, rms, smooth
from singalong.synthetic.lyrics import Syllable, make_syllables
from singalong.synthetic.phonemes import PHONEMES, PhonemeSpan

_CONTROL_HZ = 1000
_UPPER_FORMANTS_HZ = (3500.0, 4500.0, 5600.0, 6700.0, 7800.0, 8900.0)
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0)


@dataclass(frozen=True)
class Note:
    """A syllable on a pitch: its vowel starts at start_s and its last sound ends at end_s."""

    start_s: float
    end_s: float
    midi: float
    syllable: Syllable


@dataclass(frozen=True)
class Vocal:
    """What a voice did: samples (n,) float32 at 44.1 kHz, the phonemes' true times, and the pitch each ms (0: none)."""

    samples: Floats
    phonemes: tuple[PhonemeSpan, ...]
    f0_hz: Floats

    @property
    def voiced_spans(self) -> tuple[tuple[float, float], ...]:
        """Spans in which the voice sounds, seconds; gaps under 0.15 s are bridged."""
        spans: list[tuple[float, float]] = []
        for span in self.phonemes:
            if spans and span.start_s - spans[-1][1] < 0.15:
                spans[-1] = (spans[-1][0], span.end_s)
            else:
                spans.append((span.start_s, span.end_s))
        return tuple(spans)


@dataclass(frozen=True)
class Singer:
    """One voice. tract: formants relative to an adult man's; low_midi: lowest comfortable note."""

    seed: int
    tract: float
    low_midi: float
    speech_hz: float
    breath: float
    open_quotient: float
    tilt_hz: float
    vibrato_hz: float
    vibrato_cents: float
    upper_scale: float

    @classmethod
    def from_seed(cls, seed: int) -> Singer:
        """A random voice: man, woman or child."""
        rng = np.random.default_rng([seed, 21])
        kind = rng.choice(["man", "woman", "child"], p=[0.45, 0.45, 0.1])
        tract, low, speech = {
            "man": ((0.93, 1.07), (43, 50), (85, 150)),
            "woman": ((1.1, 1.22), (54, 60), (165, 240)),
            "child": ((1.25, 1.38), (59, 63), (230, 300)),
        }[kind]
        return cls(
            seed=seed,
            tract=float(rng.uniform(*tract)),
            low_midi=float(rng.uniform(*low)),
            speech_hz=float(rng.uniform(*speech)),
            breath=float(rng.uniform(0.004, 0.03)),
            open_quotient=float(rng.uniform(0.5, 0.72)),
            tilt_hz=float(rng.uniform(1500, 5000)),
            vibrato_hz=float(rng.uniform(4.8, 6.4)),
            vibrato_cents=float(rng.uniform(15, 60)),
            upper_scale=float(rng.uniform(0.95, 1.06)),
        )

    def sing(self, notes: Sequence[Note], duration_s: float, *, seed: int = 0) -> Vocal:
        """Sing notes in order of time; consonants come before the note's start, on the beat sounds the vowel."""
        rng = np.random.default_rng([self.seed, seed, 22])
        phonemes = place_phonemes(notes, rng)
        f0_hz = self._sung_pitch(notes, duration_s, rng)
        return self._render(phonemes, f0_hz, duration_s, rng)

    def speak(self, duration_s: float, *, seed: int = 0, rate: float | None = None) -> Vocal:
        """Speak nonsense at `rate` syllables a second, in phrases with pauses between them."""
        rng = np.random.default_rng([self.seed, seed, 23])
        rate = rate or float(rng.uniform(3.6, 5.4))
        notes = _speech_notes(duration_s, rate, rng)
        phonemes = place_phonemes(notes, rng)
        return self._render(phonemes, self._spoken_pitch(notes, duration_s, rng), duration_s, rng)

    def _sung_pitch(self, notes: Sequence[Note], duration_s: float, rng: np.random.Generator) -> Floats:
        num = int(duration_s * _CONTROL_HZ) + 1
        time_s = np.arange(num) / _CONTROL_HZ
        midi = np.full(num, self.low_midi + 5)
        depth = np.zeros(num)
        for note in notes:
            first, last = _slice(note.start_s - 0.08, num), _slice(note.end_s, num)
            midi[first:] = note.midi
            long = np.clip((time_s[first:last] - note.start_s - 0.25) / 0.3, 0, 1)
            depth[first:last] = long * min(1.0, max(0.0, (note.end_s - note.start_s - 0.3) / 0.5))
        midi = smooth(midi, 0.022 * _CONTROL_HZ)
        vibrato = np.sin(2 * np.pi * self.vibrato_hz * time_s + rng.uniform(0, 6.28)) * self.vibrato_cents / 100
        return _hz(midi + depth * vibrato + _drift(num, rng, 0.12))

    def _spoken_pitch(self, notes: Sequence[Note], duration_s: float, rng: np.random.Generator) -> Floats:
        num = int(duration_s * _CONTROL_HZ) + 1
        base = 69 + 12 * np.log2(self.speech_hz / 440)
        knots = [(note.start_s, base + note.midi + rng.normal(0, 1.2)) for note in notes] or [(0.0, base)]
        times, values = zip(*knots, strict=True)
        contour = np.interp(np.arange(num) / _CONTROL_HZ, times, values)
        return _hz(smooth(contour, 0.045 * _CONTROL_HZ) + _drift(num, rng, 0.3))

    def _render(
        self, phonemes: tuple[PhonemeSpan, ...], f0_hz: Floats, duration_s: float, rng: np.random.Generator
    ) -> Vocal:
        num = round(duration_s * SAMPLE_RATE_HZ)
        controls = _controls(phonemes, duration_s)
        at = np.arange(num) * (_CONTROL_HZ / SAMPLE_RATE_HZ)
        voicing, aspiration, frication = (
            np.interp(at, np.arange(len(values)), values).astype(np.float32)
            for values in (controls.voicing, controls.aspiration, controls.frication)
        )
        pitch = np.interp(at, np.arange(len(f0_hz)), f0_hz)
        noise = rng.standard_normal((2, num), dtype=np.float32)
        pulse = self._glottis(pitch, rng)
        source = pulse * voicing + noise[0] * (0.25 * aspiration + self.breath * voicing)
        throat = _Throat(self, controls, f0_hz, num_filter_frames(num))
        samples = filter_frames(source, throat) + 0.35 * filter_frames(noise[1] * frication, _Teeth(throat))
        samples = _set_loudness(samples, phonemes, rng)
        mask = np.interp(np.arange(len(f0_hz)), np.arange(len(controls.voicing)), controls.voicing) > 0.3
        return Vocal(samples, phonemes, np.where(mask, f0_hz, 0).astype(np.float32))

    def _glottis(self, pitch_hz: Floats, rng: np.random.Generator) -> Floats:
        """Derivative of Rosenberg's pulse, with jitter and shimmer by the cycle."""
        cycles = np.cumsum(pitch_hz / SAMPLE_RATE_HZ)
        index = np.minimum(cycles.astype(np.int64), int(cycles[-1]))
        jitter = rng.normal(0, 0.004, int(cycles[-1]) + 2)
        shimmer = 1 + rng.normal(0, 0.04, int(cycles[-1]) + 2)
        phase = np.mod(cycles + jitter[index], 1.0)
        peak, closed = 0.66 * self.open_quotient, self.open_quotient
        rise = phase / peak
        fall = (phase - peak) / (closed - peak)
        flow = np.where(phase < peak, 6 * rise * (1 - rise) / peak, np.where(phase < closed, -2 * fall, 0.0))
        flow = np.where((phase >= peak) & (phase < closed), flow / (closed - peak), flow)
        return (flow * shimmer[index] * 0.2).astype(np.float32)


def place_phonemes(notes: Sequence[Note], rng: np.random.Generator) -> tuple[PhonemeSpan, ...]:
    """Exact times of every phoneme: onsets before the beat, codas inside the note's end, no overlaps."""
    spans: list[PhonemeSpan] = []
    for index, note in enumerate(notes):
        following = notes[index + 1] if index + 1 < len(notes) else None
        room_s = note.start_s - (spans[-1].end_s if spans else 0.0)
        spans += _fit(note.syllable.onset, note.start_s, room_s, rng)
        end_s = note.end_s
        if following is not None:
            onset_s = sum(PHONEMES[symbol].duration_s for symbol in following.syllable.onset)
            space_s = following.start_s - note.start_s
            end_s = min(end_s, following.start_s - min(onset_s, 0.45 * space_s))
        coda = _fit(note.syllable.coda, end_s, 0.4 * (end_s - note.start_s), rng)
        vowel_end_s = coda[0].start_s if coda else end_s
        spans += [PhonemeSpan(note.start_s, vowel_end_s, note.syllable.vowel), *coda]
    return tuple(spans)


def _fit(symbols: Sequence[str], end_s: float, room_s: float, rng: np.random.Generator) -> list[PhonemeSpan]:
    """Consonants laid out so that the last one ends at end_s, squeezed into the room there is."""
    if not symbols or room_s < 0.02 * len(symbols):
        return []
    lengths = np.array([PHONEMES[symbol].duration_s for symbol in symbols]) * rng.uniform(0.85, 1.25, len(symbols))
    lengths *= min(1.0, room_s / lengths.sum())
    edges = end_s - np.concatenate([np.cumsum(lengths[::-1])[::-1], [0.0]])
    return [PhonemeSpan(float(edges[i]), float(edges[i + 1]), symbol) for i, symbol in enumerate(symbols)]


@dataclass(frozen=True)
class _Controls:
    """Source amplitudes and formants on a 1 kHz grid."""

    voicing: Floats
    aspiration: Floats
    frication: Floats
    formants_hz: Floats
    noise_hz: Floats


def _controls(phonemes: Sequence[PhonemeSpan], duration_s: float) -> _Controls:
    num = int(duration_s * _CONTROL_HZ) + 1
    voicing, aspiration, frication = np.zeros((3, num))
    formants = np.full((num, 3), np.nan)
    noise_hz = np.tile(np.array([4000.0, 3000.0]), (num, 1))
    for span in phonemes:
        sound = PHONEMES[span.symbol]
        first, last = _slice(span.start_s, num), _slice(span.end_s, num)
        if last <= first or sound.kind == "silence":
            continue
        formants[first:last] = _formant_path(sound.symbol, last - first)
        voicing[first:last], aspiration[first:last], frication[first:last] = _amplitudes(span, last - first)
        if sound.noise:
            noise_hz[first:last] = sound.noise_hz
    blur = 0.003 * _CONTROL_HZ
    filled = np.stack([smooth(_fill(column), 0.014 * _CONTROL_HZ) for column in formants.T], axis=1)
    return _Controls(smooth(voicing, blur), smooth(aspiration, blur), smooth(frication, blur), filled, noise_hz)


def _formant_path(symbol: str, length: int) -> Floats:
    sound = PHONEMES[symbol]
    start = np.array(sound.formants_hz)
    if symbol == "HH":
        return np.full((length, 3), np.nan)  # takes the shape of its neighbours
    end = np.array(PHONEMES[sound.glide].formants_hz) if sound.glide else start
    move = np.clip((np.arange(length) / max(length - 1, 1) - 0.45) / 0.45, 0, 1)[:, None]
    return f32(start + (end - start) * move)


def _amplitudes(span: PhonemeSpan, length: int) -> tuple[Floats, Floats, Floats]:
    """Voicing, aspiration and frication over one phoneme."""
    sound = PHONEMES[span.symbol]
    where = (np.arange(length) + 0.5) / length
    zero = np.zeros(length)
    if sound.kind in ("stop", "affricate"):
        burst_from = 0.5 if sound.kind == "affricate" else max(0.45, 1 - 0.03 * _CONTROL_HZ / length)
        burst = (where >= burst_from) * np.exp(-2.0 * (where - burst_from) / (1 - burst_from))
        hum = 0.12 * (where < burst_from) + 0.6 * (where >= burst_from)
        aspirated = 0.6 * burst if not sound.voiced else zero
        return (hum if sound.voiced else zero), aspirated, sound.noise * burst
    voicing = {"vowel": 1.0, "nasal": 0.45, "liquid": 0.65, "fricative": 0.35}[sound.kind] * float(sound.voiced)
    if span.symbol == "HH":
        return zero, zero + 0.9, zero
    swell = np.clip(0.3 + where / 0.25, 0, 1) * np.clip((1 - where) / 0.2, 0, 1)
    return zero + voicing, zero, sound.noise * swell


class _Throat:
    """Gains of the vocal tract at each filter frame: three moving formants and the voice's fixed upper ones."""

    def __init__(self, singer: Singer, controls: _Controls, f0_hz: Floats, num_frames: int) -> None:
        step = np.minimum(
            (np.arange(num_frames) * (HOP * _CONTROL_HZ / SAMPLE_RATE_HZ)).astype(np.int64), len(f0_hz) - 1
        )
        self.formants_hz = controls.formants_hz[step] * singer.tract
        self.formants_hz[:, 0] = np.maximum(self.formants_hz[:, 0], 1.03 * f0_hz[step])  # as sopranos tune theirs
        self.formants_hz[:, 1] = np.maximum(self.formants_hz[:, 1], self.formants_hz[:, 0] + 150)
        self.noise_hz = controls.noise_hz[step]
        fixed = np.ones(len(BIN_HZ), np.complex64)
        for index, hz in enumerate(_UPPER_FORMANTS_HZ):
            fixed *= _resonance(hz * (0.5 + 0.5 * singer.tract) * singer.upper_scale, 180.0 + 70 * index)
        lowest = BIN_HZ / (BIN_HZ + 60.0)
        self._fixed = fixed * lowest / np.sqrt(1 + (BIN_HZ / singer.tilt_hz) ** 2)

    def __call__(self, first: int, last: int) -> Floats:
        """Complex gains (last - first, bins)."""
        gains = np.broadcast_to(self._fixed, (last - first, len(BIN_HZ))).astype(np.complex64)
        for index, width_hz in enumerate(_BANDWIDTHS_HZ):
            gains *= _resonance(self.formants_hz[first:last, index, None], width_hz)
        return gains


class _Teeth:
    """Gains of the noise made at the teeth: a hump round the phoneme's noise frequency."""

    def __init__(self, throat: _Throat) -> None:
        self._noise_hz = throat.noise_hz

    def __call__(self, first: int, last: int) -> Floats:
        """Real gains (last - first, bins)."""
        centre, width = self._noise_hz[first:last, 0, None], self._noise_hz[first:last, 1, None]
        gains = np.exp(-0.5 * ((BIN_HZ - centre) / (0.6 * width)) ** 2) + 0.02
        return gains.astype(np.float32)


def _resonance(centre_hz: Floats | float, width_hz: float) -> Floats:
    square = np.square(np.asarray(centre_hz, np.float32))
    hz = BIN_HZ.astype(np.float32)
    return np.asarray(square / (square - hz * hz + 1j * hz * np.float32(width_hz)), np.complex64)


def _set_loudness(samples: Floats, phonemes: Sequence[PhonemeSpan], rng: np.random.Generator) -> Floats:
    """Bring every vowel and hum to a level drawn at random; other sounds keep their relation to the nearest vowels."""
    times, gains = [], []
    for span in phonemes:
        hum = PHONEMES[span.symbol].kind == "nasal" and span.end_s - span.start_s > 0.15
        if PHONEMES[span.symbol].kind != "vowel" and not hum:
            continue
        piece = samples[int(span.start_s * SAMPLE_RATE_HZ) : int(span.end_s * SAMPLE_RATE_HZ)]
        if len(piece) < 200:
            continue
        target_db = -20 + np.clip(rng.normal(0, 3), -7, 6)
        gain_db = np.clip(target_db - 20 * np.log10(rms(piece)), -40, 40)
        inset = min(0.03, 0.3 * (span.end_s - span.start_s))
        times += [span.start_s + inset, span.end_s - inset]
        gains += [gain_db, gain_db]
    if not times:
        return samples
    control = np.interp(np.arange(0, len(samples), 64) / SAMPLE_RATE_HZ, times, gains)
    control_gain = 10 ** (control / 20)
    gain = np.interp(np.arange(len(samples)), np.arange(0, len(samples), 64), control_gain)
    return f32(samples * gain)


def _speech_notes(duration_s: float, rate: float, rng: np.random.Generator) -> list[Note]:
    """Phrases of 4 to 12 syllables; `midi` is the pitch relative to the voice's own, falling over a phrase."""
    notes: list[Note] = []
    time_s = float(rng.uniform(0.15, 0.4))
    while time_s < duration_s - 0.6:
        syllables = make_syllables(rng, int(rng.integers(4, 13)))
        for index, syllable in enumerate(syllables):
            last = index == len(syllables) - 1
            consonants_s = 0.06 * (len(syllable.onset) + len(syllable.coda))
            length_s = float(rng.uniform(0.75, 1.25)) / rate * (1.5 if last else 1.0) + 0.3 * consonants_s
            start_s = time_s + 0.07 * len(syllable.onset)
            if start_s + length_s > duration_s - 0.1:
                return notes
            stress = 2.5 * (rng.random() < 0.35)
            notes.append(Note(start_s, time_s + length_s, 2.0 - 4.0 * index / len(syllables) + stress, syllable))
            time_s += length_s
        time_s += float(rng.uniform(0.25, 0.8))
    return notes


def _fill(values: Floats) -> Floats:
    known = ~np.isnan(values)
    if not known.any():
        return np.full(values.shape, 500.0)
    return np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])


def _drift(num: int, rng: np.random.Generator, semitones: float) -> Floats:
    knots = rng.normal(0, semitones, num // 120 + 3)
    return smooth(np.interp(np.arange(num) / 120, np.arange(len(knots)), knots), 40)


def _hz(midi: Floats) -> Floats:
    return 440 * 2 ** ((np.asarray(midi) - 69) / 12)


def _slice(time_s: float, num: int) -> int:
    return int(np.clip(round(time_s * _CONTROL_HZ), 0, num))
