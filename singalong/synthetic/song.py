"""Whole songs: a voice over a band, with everything about them known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats
from singalong.synthetic.band import Style, play_band
from singalong.synthetic.dsp import SAMPLE_RATE_HZ, high_pass, reverb, rms
from singalong.synthetic.melody import Harmony, make_melody, sung_bars
from singalong.synthetic.phonemes import PhonemeSpan
from singalong.synthetic.voice import Note, Singer

_PEAK = 0.85


@dataclass(frozen=True)
class Song:
    """A song and its truth. Stems are (n, 2) float32 at 44.1 kHz; mix = vocals + band; spans are half-open seconds."""

    seed: int
    vocals: Floats
    band: Floats
    phonemes: tuple[PhonemeSpan, ...]
    voiced_spans: tuple[tuple[float, float], ...]
    beats_s: Floats
    f0_hz: Floats
    tempo_bpm: float

    @property
    def mix(self) -> Floats:
        """What one hears, (n, 2)."""
        return self.vocals + self.band

    @property
    def duration_s(self) -> float:
        """Exact length."""
        return len(self.vocals) / SAMPLE_RATE_HZ

    @classmethod
    def from_seed(
        cls,
        seed: int,
        duration_s: float,
        *,
        snr_db: float | None = None,
        singer: Singer | None = None,
        intro: bool | None = None,
    ) -> Song:
        """Compose and perform a song.

        snr_db: vocals over band where somebody sings; random 0 to 12 if not given, infinity for no band.
        intro: start with an instrumental bar or two; by default songs over 12 s do.
        """
        rng = np.random.default_rng([seed, 51])
        singer = singer or Singer.from_seed(int(rng.integers(1 << 30)))
        snr_db = float(rng.uniform(0, 12)) if snr_db is None else snr_db
        harmony, style = Harmony.from_seed(seed), Style.from_seed(seed)
        intro = duration_s > 12 if intro is None else intro
        first_s = 0.12 if intro else float(rng.uniform(0.15, 0.4))
        num_bars = int((duration_s - first_s) / harmony.bar_s) + 1
        sung = sung_bars(num_bars, intro_bars=int(rng.integers(1, 3)) if intro else 0, rng=rng)
        notes = make_melody(harmony, sung, low_midi=singer.low_midi, first_s=first_s, seed=seed)
        notes = [note for note in notes if note.end_s < duration_s - 0.05]
        return cls.perform(
            notes, sung, duration_s, harmony, style, singer, first_s=first_s, snr_db=snr_db, seed=seed, rng=rng
        )

    @classmethod
    def perform(
        cls,
        notes: Sequence[Note],
        sung: Sequence[bool],
        duration_s: float,
        harmony: Harmony,
        style: Style,
        singer: Singer,
        *,
        first_s: float,
        snr_db: float,
        seed: int,
        rng: np.random.Generator,
    ) -> Song:
        """Sing notes over a band that plays the bars of `sung`, whether or not they are sung.

        first_s: where the first bar starts. seed and rng: chance in the performance and in the room.
        """
        vocal = singer.sing(notes, duration_s, seed=seed)
        vocals = reverb(
            high_pass(vocal.samples, 60.0),
            rng,
            length_s=float(rng.uniform(0.2, 0.7)),
            level=float(rng.uniform(0, 0.12)),
        )
        band = play_band(harmony, style, sung, duration_s, first_s=first_s, seed=seed)
        vocals, band = _balance(vocals, band, vocal.voiced_spans, snr_db)
        num_beats = int((duration_s - first_s) / harmony.beat_s) + 1
        return cls(
            seed=seed,
            vocals=vocals,
            band=band,
            phonemes=vocal.phonemes,
            voiced_spans=vocal.voiced_spans,
            beats_s=first_s + np.arange(num_beats) * harmony.beat_s,
            f0_hz=vocal.f0_hz,
            tempo_bpm=harmony.tempo_bpm,
        )


def _balance(
    vocals: Floats, band: Floats, spans: tuple[tuple[float, float], ...], snr_db: float
) -> tuple[Floats, Floats]:
    """Set the band's level under the voice, then bring the mix's peak to a fixed height."""
    sung = np.zeros(len(vocals), bool)
    for start_s, end_s in spans:
        sung[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] = True
    voice_level = rms(vocals[sung]) if sung.any() else 0.1
    band = band * np.float32(voice_level / rms(band) * 10 ** (-snr_db / 20))
    gain = np.float32(_PEAK / max(float(np.abs(vocals + band).max()), 1e-6))
    return vocals * gain, band * gain
