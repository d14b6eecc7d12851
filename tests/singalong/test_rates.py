"""Never one frame too many or too few, and no lip off its sound, at every rate that clips come in."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import Fit
from singalong.media.audio import mel_chunk_starts, mel_steps_of
from singalong.media.timeline import source_times
from singalong.media.units import MEL_STEPS_PER_S
from tests.singalong.builders import clip_facts, pair_row, plan_of, song_facts

RATES = [
    *(Fraction(n) for n in (12, 15, 24, 25, 30, 50, 60, 100, 120)),
    *(Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)),
]
rates = st.sampled_from(RATES)
# as people write them: tenths, hundredths and thousandths of a second; and as programs do
seconds = st.one_of(
    st.integers(40, 600_000).map(lambda ms: ms / 1000),
    st.floats(0.04, 600, allow_nan=False),
)


def planned(fps: Fraction, clip_s: float, song_s: float, fit: Fit, start_s: float = 0.0):
    clip = clip_facts(fps=fps, duration_s=clip_s)
    song = song_facts(duration_s=start_s + song_s)
    row = pair_row(fit=fit, song_start_s=start_s, song_end_s=start_s + song_s)
    return plan_of([row], clips={row.clip: clip}, songs={row.song: song})


@given(fps=rates, clip_s=seconds, song_s=seconds, fit=st.sampled_from(list(Fit)), start_s=st.floats(0, 300))
def test_a_film_has_the_frames_of_its_span_and_its_shards_hold_each_once(
    fps: Fraction, clip_s: float, song_s: float, fit: Fit, start_s: float
) -> None:
    plan = planned(fps, clip_s, song_s, fit, start_s)
    if plan.problems:
        assert min(Fraction(clip_s), Fraction(song_s)) * fps < Fraction(51, 100), plan.problems
        return
    (pair,) = plan.pairs
    exact = (Fraction(pair.song_end_s) - Fraction(pair.song_start_s)) * fps
    rounded = Fraction(1, 10**9)  # where a span ends is a sum of two floats
    assert abs(pair.num_frames - exact) <= Fraction(1, 2) + rounded
    if fit is Fit.CUT:
        assert pair.num_frames <= round(Fraction(clip_s) * fps)
        exact = min(Fraction(clip_s), Fraction(start_s + song_s) - Fraction(start_s)) * fps
        assert abs(pair.num_frames - exact) <= 1
    edges = [(shard.start_frame, shard.end_frame) for shard in plan.shards]
    assert [start for start, _ in edges] == [0, *(end for _, end in edges[:-1])]
    assert edges[-1][1] == pair.num_frames


@pytest.mark.parametrize("fit", [Fit.LOOP, Fit.BOUNCE, Fit.HOLD])
@pytest.mark.parametrize("fps", RATES, ids=lambda fps: f"{float(fps):.2f}")
@pytest.mark.parametrize("clip_s", [0.09, 0.4, 0.7777])
def test_clips_shorter_than_a_second_fill_a_long_song_and_never_leave_their_span(
    fps: Fraction, clip_s: float, fit: Fit
) -> None:
    (pair,) = planned(fps, clip_s, 61.3, fit).pairs
    assert pair.num_frames == round(Fraction(61.3) * fps)
    times_s = source_times(0, pair.num_frames, fps=fps, clip_start_s=0.0, clip_end_s=pair.clip_end_s, fit=fit)
    assert len(times_s) == pair.num_frames
    assert times_s.min() == 0.0
    assert times_s.max() <= max(1, round(Fraction(clip_s) * fps)) / fps
    shown = np.round(times_s * float(fps)).astype(int)
    num_steps = max(1, round(Fraction(clip_s) * fps))
    assert set(shown.tolist()) == set(range(num_steps)), "every picture of the clip is shown"


@pytest.mark.parametrize("fps", RATES, ids=lambda fps: f"{float(fps):.2f}")
@pytest.mark.parametrize("start_s", [0.0, 1.1, 17.3333, 599.99])
def test_lips_hear_within_20_ms_of_their_frame_over_ten_minutes(fps: Fraction, start_s: float) -> None:
    num_frames = round(600 * fps)
    num_mel = int((start_s + 600) * MEL_STEPS_PER_S) + 1
    true_s = start_s + np.arange(num_frames) / float(fps)
    ours_s = mel_steps_of(fps, num_frames, start_s) / MEL_STEPS_PER_S
    assert np.abs(ours_s - true_s).max() < 0.0126, "one step of 1/80 s at most"
    papers_s = mel_chunk_starts(num_mel, fps, num_frames, start_s) / MEL_STEPS_PER_S
    (other,) = np.nonzero(papers_s != ours_s)
    assert len(other) <= 1, "the paper's last chunk, which is pulled back into the song"
    assert (np.abs(papers_s - true_s)[other] < 1 / float(fps) + 0.0126).all()


def test_a_rate_rounded_to_whole_frames_would_be_seconds_off() -> None:
    fps = Fraction(30000, 1001)
    num_frames = round(600 * fps)
    naive_s = mel_steps_of(30, num_frames) / MEL_STEPS_PER_S
    assert np.arange(num_frames)[-1] / float(fps) - naive_s[-1] > 0.5


@given(fps=rates, lengths=st.lists(st.floats(0.5, 9, allow_nan=False), min_size=2, max_size=9))
def test_the_parts_of_a_montage_never_drift_from_the_song(fps: Fraction, lengths: list[float]) -> None:
    rows = [pair_row(n, clip=f"/clips/{n}.mp4", montage="m") for n in range(1, len(lengths) + 1)]
    clips = {row.clip: clip_facts(row.clip, fps=fps, duration_s=s) for row, s in zip(rows, lengths, strict=True)}
    plan = plan_of(rows, clips=clips, songs={"/songs/s.wav": song_facts(duration_s=100.0)})
    frames = 0
    for pair in plan.pairs:
        assert abs(Fraction(pair.song_start_s) - frames / fps) < Fraction(1, 10**9)
        frames += pair.num_frames
