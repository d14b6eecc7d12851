from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from singalong.media.decode import SmallFrame
from tasks.shots import WINDOW_FRAMES, split_shots

Picture = NDArray[np.uint8]


def scene(seed: int, *, dark: float = 1.0) -> Picture:
    """A soft random picture (90, 160, 3)."""
    coarse = np.random.default_rng(seed).uniform(0, 255 * dark, (5, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (160, 90), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def filmed(picture: Picture, count: int, seed: int = 0) -> list[Picture]:
    """The picture for some frames, with noise."""
    noise = np.random.default_rng(seed).normal(0, 2, (count, *picture.shape))
    return list((picture + noise).clip(0, 255).astype(np.uint8))


def small(pictures: list[Picture]) -> Iterator[SmallFrame]:
    return (SmallFrame(index / 25, picture, 0.5) for index, picture in enumerate(pictures))


def starts(pictures: list[Picture]) -> list[int]:
    return [frame.index for frame in split_shots(small(pictures)) if frame.starts_shot]


def test_shots_start_exactly_at_the_cuts() -> None:
    assert starts([*filmed(scene(1), 20), *filmed(scene(2), 12), *filmed(scene(3), 30)]) == [0, 20, 32]


def test_a_cut_between_dark_scenes_is_found() -> None:
    assert starts([*filmed(scene(1, dark=0.35), 20), *filmed(scene(2, dark=0.35), 20)]) == [0, 20]


@pytest.mark.parametrize("length", [3, 4])
def test_short_first_and_last_shots_are_found(length: int) -> None:
    pictures = [*filmed(scene(1), length), *filmed(scene(2), 20), *filmed(scene(3), length)]
    assert starts(pictures) == [0, length, length + 20]


def test_a_cut_right_before_the_last_frame_is_found() -> None:
    assert starts([*filmed(scene(1), 20), *filmed(scene(2), 1)]) == [0, 20]


def test_a_jump_of_the_exposure_is_no_cut() -> None:
    picture = scene(1, dark=0.5)
    assert starts([*filmed(picture, 20), *filmed((picture * 1.8).astype(np.uint8), 20)]) == [0]


def test_a_fast_pan_is_no_cut() -> None:
    wide = np.hstack([scene(seed) for seed in range(12)])
    assert starts([wide[:, 20 * step : 20 * step + 160] for step in range(80)]) == [0]


def test_every_frame_comes_out_once_in_order_as_it_went_in() -> None:
    pictures = [*filmed(scene(1), 7), *filmed(scene(2), 8)]
    frames = list(split_shots(small(pictures)))
    assert [frame.index for frame in frames] == list(range(15))
    assert [frame.pts_s for frame in frames] == [index / 25 for index in range(15)]
    assert all(frame.bgr is picture for frame, picture in zip(frames, pictures, strict=True))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips_are_one_shot(count: int) -> None:
    assert starts(filmed(scene(1), count)) == [0][:count]


def test_only_a_few_frames_are_held() -> None:
    taken = 0

    def source() -> Iterator[SmallFrame]:
        nonlocal taken
        for frame in small(filmed(scene(1), 30)):
            taken += 1
            yield frame

    for frame in split_shots(source()):
        assert taken - frame.index <= WINDOW_FRAMES + 1


def test_the_cuts_of_a_real_film_are_exact(shared_data: Path) -> None:
    import av

    with av.open(str(shared_data / "clips" / "cuts_3speakers_noface.mp4")) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert starts(pictures) == [0, 60, 98, 158]  # 2.40, 3.92, 6.32 s at 25 fps
