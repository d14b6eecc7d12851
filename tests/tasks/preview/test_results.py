"""Which frames of a pair are shown: with the face that sings, some while somebody sings, one while nobody does."""

from __future__ import annotations

import numpy as np
import pytest

from singalong.contracts import PairPlan
from singalong.tracks import ChosenFace, choose_face
from tasks.prepare_song import PreparedSong
from tasks.preview.results import telling_frames
from tests.singalong.test_tracks import clip, square, track
from tests.tasks.test_films import pair

FPS = 25


def song(*sung_s: tuple[float, float], length_s: float = 8.0) -> PreparedSong:
    """Noise where somebody sings, silence elsewhere."""
    num_steps = round(80 * length_s)
    mel = np.full((80, num_steps), -4.0, np.float32)
    voiced = np.zeros(num_steps, np.bool_)
    for start_s, end_s in sung_s:
        steps = slice(round(80 * start_s), round(80 * end_s))
        mel[:, steps] = np.random.default_rng(1).normal(0, 1, (80, steps.stop - steps.start)).clip(-4, 4)
        voiced[steps] = True
    return PreparedSong(mel=mel, samples_16k=np.zeros(round(16000 * length_s), np.float32), voiced=voiced)


def pair_of(num_frames: int = 150, **changes: object) -> PairPlan:
    end_s = num_frames / FPS
    return pair(clip_end_s=end_s, song_end_s=end_s, num_frames=num_frames, **changes)


def face(*seen: tuple[int, int], num_frames: int = 150) -> ChosenFace:
    tables = clip((num_frames, [track(first, end, square(100)) for first, end in seen]))
    return choose_face(*tables, "largest", 0, num_frames / FPS)


def shown(*args: object) -> dict[str, float]:
    """Seconds of the frames shown, by their names."""
    return {name: frame / FPS for name, frame in telling_frames(*args)}  # type: ignore[arg-type]


def test_open_mouths_are_looked_for_where_somebody_sings_and_rest_in_the_longest_pause() -> None:
    times = shown(pair_of(), song((0.5, 1.0), (4.5, 5.5)), face((0, 150)))
    assert 4.5 <= times["mouth open"] <= 5.5 or 0.5 <= times["mouth open"] <= 1.0
    assert abs(times["mouth open"] - times["open again"]) > 1.2
    assert times["at rest"] == pytest.approx(2.75, abs=0.1)


def test_frames_without_the_face_are_not_shown() -> None:
    times = shown(pair_of(), song((0.5, 1.0), (4.5, 5.5)), face((0, 60)))
    assert 0.5 <= times["mouth open"] <= 1.0
    assert "open again" not in times
    assert times["at rest"] < 60 / FPS


def test_the_songs_own_span_is_heard_and_not_its_beginning() -> None:
    times = shown(pair_of(50, song_start_s=4.0), song((0.0, 1.0), (5.0, 5.5)), face((0, 50), num_frames=50))
    assert 0.98 <= times["mouth open"] <= 1.5


@pytest.mark.parametrize(("sung", "names"), [(((0.0, 8.0),), {"mouth open", "open again"}), ((), {"at rest"})])
def test_where_nobody_sings_or_always_there_are_fewer(sung: tuple[tuple[float, float], ...], names: set[str]) -> None:
    assert set(shown(pair_of(), song(*sung), face((0, 150)))) == names


def test_a_face_seen_for_a_blink_in_a_pause_is_shown_all_the_same() -> None:
    times = shown(pair_of(), song((3.0, 5.0)), face((10, 20)))
    assert set(times) in ({"somewhere"}, {"at rest"})
    assert 10 <= next(iter(times.values())) * FPS < 20


def test_a_pair_of_one_frame_can_be_shown() -> None:
    assert list(shown(pair_of(1), song((0.0, 8.0)), face((0, 1), num_frames=1)).values()) == [0.0]
