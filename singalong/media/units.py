"""The one place for conversions between seconds, video frames, audio samples and mel steps."""

from __future__ import annotations

from fractions import Fraction

SAMPLE_RATE_HZ = 16_000
"""Rate at which the generator and the scorers hear (Wav2Lip hparams.py, `sample_rate`)."""

MEL_STEPS_PER_S = 80
"""Mel columns a second: 16000 Hz over a hop of 200 samples (Wav2Lip hparams.py, `hop_size`)."""

SCORE_FPS = 25
"""Frame rate at which sync is scored; both the expert and SyncNet were trained at it."""


def num_output_frames(span_s: float, fps: Fraction) -> int:
    """Frames in a span: round(span_s * fps), exactly, ties to even as Python rounds."""
    return round(Fraction(span_s) * fps)


def s_to_samples(time_s: float, sample_rate_hz: int) -> int:
    """The audio sample nearest to a time: round(time_s * sample_rate_hz)."""
    return round(Fraction(time_s) * sample_rate_hz)


def samples_to_s(num_samples: int, sample_rate_hz: int) -> float:
    """Exact length of so many samples: num_samples / sample_rate_hz, seconds."""
    return num_samples / sample_rate_hz
