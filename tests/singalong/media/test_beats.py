"""Beats: found where they are, whatever the blocks; none where there is no beat."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from singalong.errors import MediaError
from singalong.media import beats
from singalong.media.beats import FRAMES_PER_S, RATE_HZ, beats_in, find_beats, onset_strength
from tests.sounds import tone, write_sound

F32 = NDArray[np.float32]


def clicks(bpm: float, duration_s: float, *, first_s: float = 0.3, rate_hz: int = RATE_HZ) -> tuple[F32, F32]:
    """A click track over soft noise (n,), and the times of its clicks."""
    rng = np.random.default_rng(0)
    sound = 1e-3 * rng.standard_normal(round(duration_s * rate_hz))
    times_s = np.arange(first_s, duration_s - 0.1, 60 / bpm)
    click = rng.standard_normal(rate_hz // 50) * np.exp(-np.arange(rate_hz // 50) / (rate_hz / 200))
    for time_s in times_s:
        start = round(time_s * rate_hz)
        sound[start : start + len(click)] += 0.3 * click
    return sound.astype(np.float32), times_s.astype(np.float32)


def distance(found: NDArray[np.float64], true: F32) -> F32:
    """How far each true beat is from the nearest that was found."""
    return np.abs(found[:, None] - true[None]).min(axis=0).astype(np.float32)


@pytest.mark.parametrize(("bpm", "rate_hz"), [(84.0, 44100), (126.5, 22050), (150.0, 16000)])
def test_the_beats_of_a_click_track_are_found_to_half_a_video_frame(tmp_path: Path, bpm: float, rate_hz: int) -> None:
    sound, true = clicks(bpm, 12.0, rate_hz=rate_hz)
    found = find_beats(write_sound(tmp_path / "clicks.wav", sound, rate_hz))
    # nothing before the first one and nothing after the last one helps to place it
    assert distance(found, true)[1:-1].max() < 0.02
    assert len(found) == pytest.approx(len(true), abs=2)


def test_onset_strength_does_not_depend_on_where_blocks_end() -> None:
    sound, _ = clicks(120, 3.0)
    whole = onset_strength([sound])
    pieces = onset_strength(np.split(sound, [1, 700, 5000, 5001, 40000]))
    assert len(whole) == pytest.approx(3.0 * FRAMES_PER_S, abs=2)
    np.testing.assert_allclose(pieces, whole, atol=1e-3)


def test_a_long_song_is_tracked_in_pieces_without_a_beat_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, true = clicks(120, 40.0)
    strength = onset_strength(np.split(sound, 10))
    monkeypatch.setattr(beats, "_PIECE_S", 12.0)
    found = beats_in(strength)
    assert distance(found, true)[1:-1].max() < 0.02
    assert np.diff(found).min() > 0.4
    assert len(found) == pytest.approx(len(true), abs=2)


@pytest.mark.parametrize("kind", ["silence", "tone", "noise", "blip"])
def test_what_has_no_beat_gets_none(kind: str) -> None:
    rng = np.random.default_rng(1)
    sound = {
        "silence": np.zeros(8 * RATE_HZ, np.float32),
        "tone": tone(440.0, 8.0, RATE_HZ),
        "noise": (0.1 * rng.standard_normal(8 * RATE_HZ)).astype(np.float32),
        "blip": tone(440.0, 0.01, RATE_HZ),
    }[kind]
    assert beats_in(onset_strength([sound])).size == 0


def test_a_file_without_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no song")
    with pytest.raises(MediaError):
        find_beats(tmp_path / "a.wav")
