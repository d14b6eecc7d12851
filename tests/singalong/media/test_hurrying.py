"""Jumping into a long group of pictures: frames that no other needs are left out, the one that is shown never is."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from singalong.contracts import ClipFacts
from singalong.media import demux
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings
from tests.videos import make_video, number_in

LONG = {"g": "1000", "bf": "7", "preset": "ultrafast"}
PYRAMIDS = {
    "pyramid": "b-pyramid=normal:b-adapt=0",
    "strict": "b-pyramid=strict:b-adapt=0:ref=4",
    "flat": "b-pyramid=none:b-adapt=0",
    "open": "open-gop=1:keyint=60:min-keyint=60:b-adapt=0:scenecut=0",
    "intra refresh": "intra-refresh=1:keyint=40:bframes=3",
}
NUM = 250
UNEVEN = np.cumsum([1 + 40 * (n % 37 == 30) + 3 * (n % 5 == 0) for n in range(NUM)]).tolist()
"""Presentation times in frames: some are shown for two seconds, longer than anything that is kept whole."""


def facts_of(path: Path) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)


def shown_at(path: Path, times_s: list[float]) -> list[int]:
    """The number in the frame shown at each time, every one of them by a reader that knows nothing yet."""
    facts, numbers = facts_of(path), []
    for time_s in times_s:
        with ClipReader(facts) as reader:
            numbers.append(number_in(reader.read_chunk([time_s])[0].y))
    return numbers


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_every_moment_shows_the_frame_that_it_should(tmp_path: Path, pyramid: str, container: str) -> None:
    options = LONG | {"x264-params": PYRAMIDS[pyramid]}
    path = make_video(tmp_path / f"clip.{container}", num_frames=NUM, options=options)
    frames = [*range(55, NUM, 13), *range(120, 133), NUM - 1]
    assert shown_at(path, [n / 25 + 0.02 for n in frames]) == frames


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_frame_that_is_shown_for_long_is_not_left_out(tmp_path: Path, container: str) -> None:
    options = LONG | {"x264-params": PYRAMIDS["pyramid"]}
    path = make_video(
        tmp_path / f"clip.{container}", num_frames=NUM, options=options, pts=UNEVEN, time_base=Fraction(1, 25)
    )
    frames = [n for n in range(60, NUM - 1) if UNEVEN[n + 1] - UNEVEN[n] > 20]  # and some before a pause
    ends_s = [(UNEVEN[n + 1] - UNEVEN[0] - 0.5) / 25 for n in frames]
    assert shown_at(path, ends_s) == frames


def test_the_pictures_are_those_of_reading_it_all(tmp_path: Path) -> None:
    options = LONG | {"preset": "medium", "x264-params": PYRAMIDS["pyramid"] + ":weightp=2"}
    path = make_video(tmp_path / "clip.mp4", num_frames=NUM, options=options)
    with av.open(str(path)) as container:
        planes = [frame.to_ndarray() for frame in container.decode(video=0)]
    with ClipReader(facts_of(path)) as reader:
        for first in (200, 140, 221, 80):
            chunk = reader.read_chunk([n / 25 for n in range(first, first + 8)])
            for n, frame in enumerate(chunk, first):
                np.testing.assert_array_equal(frame.y, planes[n][: frame.height])


def test_nothing_is_left_out_of_codecs_that_do_not_say_what_others_need(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", codec="mpeg4", num_frames=NUM, options={"g": "1000", "bf": "2"})
    frames = list(range(60, NUM, 17))
    assert shown_at(path, [n / 25 + 0.02 for n in frames]) == frames
    with demux.open_input(path) as container:
        source = demux.VideoSource(container, path)
        source.seek(5.0, whole_from_s=4.0)
        assert source.whole_from_s is None


def test_the_way_to_a_late_frame_takes_less_than_all_before_it(tmp_path: Path) -> None:
    options = LONG | {"preset": "medium", "crf": "12", "x264-params": PYRAMIDS["flat"]}
    path = make_video(tmp_path / "clip.mp4", size=(480, 360), num_frames=NUM, options=options)
    facts = facts_of(path)

    def num_decoded(whole_from_s: float | None) -> int:
        with demux.open_input(path) as container:
            source, num = demux.VideoSource(container, path), 1
            source.seek(9.5, whole_from_s=whole_from_s)
            while source.next() is not None:
                num += 1
        return num

    assert num_decoded(None) == NUM == facts.num_frames
    assert NUM / 8 < num_decoded(9.0) < NUM / 3
