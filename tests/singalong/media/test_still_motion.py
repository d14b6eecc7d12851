"""Stills that move: smoothly, round a closed path, without borders, sharp, and alike to analysis and output."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from singalong.config import Settings
from singalong.contracts import ClipFacts
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.still_motion import PERIOD_S, moving_id, path_s, path_times_s, view_at
from singalong.store import Store
from tasks.probe_media import clip_facts

SIZE = (480, 270)
SHARE = 0.02


def scene() -> np.ndarray:
    """RGB (270, 480, 3): fine detail all over, on a bright ground, so that a dark border would show."""
    noise = np.random.default_rng(3).normal(0, 40, (SIZE[1], SIZE[0])).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.2) * 3
    return np.repeat(np.clip(170 + soft, 90, 250)[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("still") / "scene.png"
    Image.fromarray(scene()).save(path)
    return path


@pytest.fixture(scope="module")
def facts(still: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipFacts:
    return probed(still, tmp_path_factory.mktemp("store"), still_motion=SHARE)


def probed(still: Path, store: Path, **plan: float) -> ClipFacts:
    return clip_facts(str(still), settings=Settings.model_validate({"plan": plan}), store=Store(store))


def shown(facts: ClipFacts, times_s: list[float]) -> Iterator[np.ndarray]:
    with ClipReader(facts) as reader:
        for time_s in times_s:
            yield reader.read_chunk([time_s])[0].y


def shift(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far the middle of the picture moved, (x, y), pixels; for moves far below one pixel: by its gradients."""
    height, width = first.shape
    middle = np.s_[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3]
    mean = (first.astype(np.float64) + second) / 2
    rise_y, rise_x = (rise[middle].ravel() for rise in np.gradient(mean))
    change = (second.astype(np.float64) - first)[middle].ravel()
    return -np.linalg.lstsq(np.stack([rise_x, rise_y], axis=1), change, rcond=None)[0]


def test_a_still_stands_still_unless_it_is_told_to_move(still: Path, tmp_path: Path) -> None:
    plain = probed(still, tmp_path)
    assert (plain.still_motion, plain.file_sha256) == (0.0, None)
    first, later = shown(plain, [0.0, 5.0])
    assert np.array_equal(first, later)


def test_a_moving_still_is_another_clip_and_still_known_by_its_file(
    still: Path, facts: ClipFacts, tmp_path: Path
) -> None:
    plain = probed(still, tmp_path)
    assert facts.file_sha256 == plain.sha256
    others = [facts.sha256, plain.sha256, probed(still, tmp_path, still_motion=0.03).sha256]
    others.append(probed(still, tmp_path, still_motion=SHARE, still_fps=30).sha256)
    assert len(set(others)) == 4
    assert facts.sha256 == moving_id(plain.sha256, SHARE, Fraction(25))
    assert (facts.width, facts.height, facts.fps) == (480, 270, 25)


def test_the_motion_is_slow_and_in_fractions_of_a_pixel(facts: ClipFacts) -> None:
    frames = list(shown(facts, [2.0 + n / 25 for n in range(26)]))
    steps = np.array([shift(a, b) for a, b in pairwise(frames)])
    speed = np.linalg.norm(steps.mean(axis=0))
    assert 0.01 < speed < 0.2, "pixels a frame"
    # in whole pixels most steps would be 0 and some 1: no step may be far from its neighbours
    assert np.abs(np.diff(steps, axis=0)).max() < 0.3 * speed


def test_the_path_closes_without_a_jump(facts: ClipFacts) -> None:
    before, last, first, again = shown(facts, [PERIOD_S - 0.08, PERIOD_S - 0.04, PERIOD_S, 0.0])
    assert np.array_equal(first, again)
    assert np.abs(shift(last, first) - shift(before, last)).max() < 0.03
    times = path_times_s(Fraction(25))
    assert (len(times), times[0], times[-1]) == (600, 0.0, 23.96)


def test_no_border_comes_into_view() -> None:
    for share in (0.001, 0.02, 0.1):
        for time_s in np.linspace(0, PERIOD_S, 97):
            zoom, drift_x, drift_y = view_at(share, float(time_s))
            assert max(abs(drift_x), abs(drift_y)) < (1 - 1 / zoom) / 2


def test_the_picture_stays_sharp(facts: ClipFacts) -> None:
    def detail(y: np.ndarray) -> float:
        return float(cv2.Laplacian(y[20:-20, 20:-20].astype(np.float32), cv2.CV_32F).std())

    with ClipReader(facts.model_copy(update={"still_motion": 0.0})) as reader:
        untouched = detail(reader.read_chunk([0.0])[0].y)
    moved = [detail(y) for y in shown(facts, [0.0, 1.0, 3.7, 9.1, 15.3])]
    assert min(moved) > 0.85 * untouched
    assert max(moved) / min(moved) < 1.1, "sharpness must not pulse"


def test_analysis_sees_the_view_of_the_output(facts: ClipFacts) -> None:
    small = list(iter_small_frames(facts, max_side_px=240))
    assert [frame.pts_s for frame in small] == path_times_s(Fraction(25))
    for number in (0, 100, 333):
        (large,) = shown(facts, [small[number].pts_s])
        grey = cv2.resize(large, (240, 135), interpolation=cv2.INTER_AREA).astype(np.float32)
        seen = cv2.cvtColor(small[number].bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
        assert np.abs(shift(grey, seen)).max() < 0.1


@pytest.mark.parametrize("fps", [12, 24, 25, 30, 50, 60, 120])
def test_frames_of_every_round_find_the_moments_that_were_analysed(fps: int) -> None:
    analysed = set(path_times_s(Fraction(fps)))
    assert {path_s(n / fps) for n in range(3 * PERIOD_S * fps)} == analysed


def test_frames_own_their_planes_and_tell_their_place_on_the_path(facts: ClipFacts) -> None:
    with ClipReader(facts) as reader:
        first, second = reader.read_chunk([PERIOD_S + 1.0, 1.0])
    assert first.pts_s == second.pts_s == 1.0
    assert np.array_equal(first.u, second.u)
    assert not np.shares_memory(first.y, second.y)
