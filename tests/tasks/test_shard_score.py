from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from singalong.frames_table import NUM_OFFSETS, frames_table
from singalong.scoring import combine_rows, steps_of_frames
from tasks.shard_score import ShardScore, ShardScorer
from tests.tasks.score_fakes import NoiseVoice, NumberScorer, noise_voice, picture_of

BOX = (0, 0, 1, 1)


def _read(picture: np.ndarray, _box: object) -> np.ndarray:
    return picture


def _score(
    scorer: NumberScorer,
    voice: NoiseVoice,
    *,
    start: int = 0,
    end: int = 250,
    fps: Fraction = Fraction(25),
    song_start_s: float = 2.0,
    hidden: frozenset[int] = frozenset(),
    cuts: tuple[int, ...] = (),
    untouched_s: float | None = None,
    song: str | None = None,
) -> ShardScore:
    """Score a shard whose frame n shows the mouth that belongs to the song at song_start_s + n / fps."""
    shard = ShardScorer(
        scorer,
        voice,
        song_start_s=song_start_s,
        start_frame=start,
        end_frame=end,
        fps=fps,
        min_windows=10,
        song=song,
    )
    for frame in range(start, end):
        if frame in cuts:
            shard.cut()
        if not shard.wants(frame):
            continue
        time_s = song_start_s + float(frame / fps)
        source = None if untouched_s is None else picture_of(time_s + untouched_s)
        shard.push(
            frame,
            None if frame in hidden else BOX,
            partial(_read, picture_of(time_s)),
            None if source is None else partial(_read, source),
            width=1,
            height=1,
        )
    return shard.finish()


@pytest.fixture(scope="module")
def voice() -> NoiseVoice:
    return noise_voice(16.0)


def _table(score: ShardScore, start: int, end: int):
    num = end - start
    return frames_table(
        start_frame=start,
        source_s=np.zeros(num),
        outcomes=["synced"] * num,
        boxes=[BOX] * num,
        voiced=score.voiced,
        windows=score.windows,
    )


@pytest.mark.parametrize("frames_late", [-7, -1, 0, 4, 12])
def test_mouths_behind_their_sound_have_a_positive_offset(voice: NoiseVoice, frames_late: int) -> None:
    """Mouths that come k frames late are sound that comes k frames early."""
    result = _score(NumberScorer(voice, lambda t: t - frames_late / 25), voice)
    assert result.score.offset_frames == frames_late
    assert result.score.num_windows == 246
    assert result.score.distance == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("fps", ["25", "30", "24000/1001", "60", "50"])
def test_offsets_are_in_25_fps_frames_whatever_the_frame_rate(voice: NoiseVoice, fps: str) -> None:
    rate = Fraction(fps)
    num_frames = round(10 * rate)
    # nearest frames lie up to half a frame away; the mouth is that of the step, to look at the lag alone
    scorer = NumberScorer(voice, lambda t: np.round((t - 2.0) * 25) / 25 + 2.0 - 5 / 25)
    result = _score(scorer, voice, end=num_frames, fps=rate)
    assert result.score.offset_frames == 5
    assert result.score.num_windows == len(steps_of_frames(0, num_frames, rate)) - 4 == 246


def test_below_25_fps_a_frame_can_start_several_windows(voice: NoiseVoice) -> None:
    result = _score(NumberScorer(voice, lambda t: t), voice, end=120, fps=Fraction(12))
    table = _table(result, 0, 120)
    assert result.score.num_windows == 245  # the 250th step would show frame 120
    assert {len(cell) for cell in table["distances"].to_pylist()[:118]} == {2, 3}
    assert combine_rows([table], scorer="numbers", min_windows=10) == result.score


def test_frames_between_score_steps_are_not_wanted(voice: NoiseVoice) -> None:
    shard = ShardScorer(
        NumberScorer(voice, lambda t: t),
        voice,
        song_start_s=0,
        start_frame=0,
        end_frame=60,
        fps=Fraction(50),
        min_windows=10,
    )
    assert [shard.wants(frame) for frame in range(4)] == [True, False, True, False]


def test_shards_combine_to_the_score_of_the_whole_without_straddling_windows(voice: NoiseVoice) -> None:
    cuts = (0, 90, 163, 250)
    whole = _score(NumberScorer(voice, lambda t: t - 0.12), voice, cuts=cuts, untouched_s=0.4)
    parts = [
        _score(NumberScorer(voice, lambda t: t - 0.12), voice, start=a, end=b, untouched_s=0.4)
        for a, b in pairwise(cuts)
    ]
    tables = [_table(part, a, b) for part, (a, b) in zip(parts, pairwise(cuts), strict=True)]
    assert combine_rows(tables, scorer="numbers", min_windows=10) == whole.score
    assert whole.score.num_windows == 250 - 3 * 4


def test_wrong_audio_and_untouched_clip_have_their_own_confidence(voice: NoiseVoice) -> None:
    """The untouched mouths are those of a second later: beyond the search, so no offset fits."""
    score = _score(NumberScorer(voice, lambda t: t), voice, untouched_s=1.0).score
    assert score.confidence is not None
    assert score.confidence_mismatched is not None
    assert score.confidence_untouched is not None
    assert score.confidence > 3
    assert score.confidence_mismatched < 1
    assert score.confidence_untouched < 1


def test_untouched_baseline_is_sampled_every_fourth_window(voice: NoiseVoice) -> None:
    windows = _score(NumberScorer(voice, lambda t: t), voice, start=50, end=150, untouched_s=0.0).windows
    assert windows.start_frames.tolist() == list(range(50, 146))
    assert windows.untouched_frames.tolist() == list(range(52, 146, 4))
    np.testing.assert_array_equal(windows.untouched, windows.distances[2::4])


def test_no_untouched_baseline_where_no_source_is_given(voice: NoiseVoice) -> None:
    result = _score(NumberScorer(voice, lambda t: t), voice)
    assert result.score.confidence_untouched is None
    assert result.windows.untouched.shape == (0, NUM_OFFSETS)


def test_only_windows_with_a_face_in_all_five_frames_count(voice: NoiseVoice) -> None:
    windows = _score(NumberScorer(voice, lambda t: t), voice, start=0, end=40, hidden=frozenset({10, 30, 31})).windows
    assert windows.start_frames.tolist() == [*range(6), *range(11, 26), *range(32, 36)]


def test_only_voiced_windows_count_and_only_they_are_embedded(voice: NoiseVoice) -> None:
    voiced = voice.voiced.copy()
    voiced[160 + 80 :] = False  # silence from one second of the span on
    quiet = dataclasses.replace(voice, voiced=voiced)
    scorer = NumberScorer(voice, lambda t: t)
    result = _score(scorer, quiet)
    # 16 mel steps from 3.2 v on: at least half voiced up to v = 22 (70 .. 85)
    assert result.windows.start_frames.tolist() == list(range(23))
    assert scorer.num_faces == 23
    assert result.voiced.tolist() == [True] * 25 + [False] * 225


def test_sound_around_the_span_is_real_where_the_song_has_it_and_absent_where_not(voice: NoiseVoice) -> None:
    inner = _score(NumberScorer(voice, lambda t: t), voice).windows
    assert np.isfinite(inner.distances).all()
    first = _score(NumberScorer(voice, lambda t: t), voice, song_start_s=0.0).windows
    assert np.isnan(first.distances[0]).tolist() == [True] * 15 + [False] * 16
    assert np.isfinite(first.distances[15:]).all()
    last = _score(NumberScorer(voice, lambda t: t), voice, song_start_s=16.0 - 10).windows
    assert np.isnan(last.distances[-1]).tolist() == [False] * 16 + [True] * 15


def test_song_that_ends_before_the_span_leaves_the_rest_unscored(voice: NoiseVoice) -> None:
    result = _score(NumberScorer(voice, lambda t: t), voice, song_start_s=14.0)
    assert result.windows.start_frames.tolist() == list(range(46))
    assert result.voiced[60:].sum() == 0
    beyond = _score(NumberScorer(voice, lambda t: t), voice, song_start_s=40.0, end=50)
    assert beyond.score.num_windows == 0
    assert not beyond.voiced.any()


def test_silent_song_or_hidden_face_is_not_scorable(voice: NoiseVoice) -> None:
    silent = dataclasses.replace(voice, voiced=np.zeros_like(voice.voiced))
    assert _score(NumberScorer(voice, lambda t: t), silent).score.confidence is None
    hidden = _score(NumberScorer(voice, lambda t: t), voice, hidden=frozenset(range(250)))
    assert (hidden.score.num_windows, hidden.score.confidence) == (0, None)


def test_shard_too_short_for_a_window_scores_nothing(voice: NoiseVoice) -> None:
    assert _score(NumberScorer(voice, lambda t: t), voice, end=4).score.num_windows == 0


def test_sound_is_embedded_once_and_only_where_needed(voice: NoiseVoice) -> None:
    scorer = NumberScorer(voice, lambda t: t)
    _score(scorer, voice, start=20, end=70, untouched_s=0.0)
    needed = 46 + 30  # the span and its surroundings, once right and once wrong
    assert 2 * needed <= scorer.num_audio <= 2 * (needed + 2 * 15)  # in blocks of 16


def test_the_sound_of_a_song_is_embedded_once_for_all_shards_and_clips(voice: NoiseVoice) -> None:
    scorer = NumberScorer(voice, lambda t: t)
    parts = [_score(scorer, voice, start=start, end=start + 125, untouched_s=0.0, song="s") for start in (0, 125)]
    whole_song = 16 * 25
    assert scorer.num_audio <= whole_song
    before = scorer.num_audio
    again = [_score(scorer, voice, start=start, end=start + 125, untouched_s=0.0, song="s") for start in (0, 125)]
    assert scorer.num_audio == before
    assert [part.score for part in again] == [part.score for part in parts]
    _score(scorer, noise_voice(16.0, seed=1), end=125, song="another")
    assert scorer.num_audio > before


def test_scores_do_not_depend_on_what_the_worker_did_before(voice: NoiseVoice) -> None:
    """The last bits of an embedding depend on those it is computed with."""

    class Touchy(NumberScorer):
        def _audio_batch(self, windows_BMS: np.ndarray) -> torch.Tensor:
            return super()._audio_batch(windows_BMS) * (1 + 1e-4 * len(windows_BMS)) + float(windows_BMS.sum()) * 1e-6

    def distances(*spans: tuple[int, int]) -> np.ndarray:
        scorer = Touchy(voice, lambda t: t)
        return [_score(scorer, voice, start=a, end=b, song="s").windows.distances for a, b in spans][-1]

    np.testing.assert_array_equal(distances((50, 150)), distances((7, 31), (100, 250), (50, 150)))
