"""Films brought to one canvas: size, aspect, rate, colour, exact length."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from singalong.contracts import Title, Verdict
from singalong.errors import MediaError
from singalong.media.conform import CANVAS_COLOR, conform_video
from singalong.media.frames import ColorInfo, bgr_to_frame, frame_to_bgr
from singalong.media.join import join_segments, segments_match
from singalong.media.reframe import FacePath, cover_size, crop_offsets
from tests.segments import (
    BT601,
    BT709,
    SegmentWriter,
    frames_of,
    numbers_of,
    times_of,
    write_segment,
)
from tests.sounds import chirp, write_sound
from tests.videos import make_video


def conform(
    src: Path,
    out: Path,
    *,
    size: tuple[int, int] = (160, 96),
    fps: Fraction = Fraction(25),
    num_frames: int,
    crf: int = 20,
) -> int:
    return conform_video(
        src, out, width=size[0], height=size[1], fps=fps, crf=crf, preset="veryfast", num_frames=num_frames
    )


def picture_area(path: Path) -> tuple[int, int, int, int]:
    """Columns and rows of the first frame that are not black: left, right, top, bottom."""
    luma = frames_of(path)[0].to_ndarray(format="gray").astype(int)
    columns, rows = np.flatnonzero(luma.mean(axis=0) > 30), np.flatnonzero(luma.mean(axis=1) > 30)
    return int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1


@pytest.mark.parametrize(
    ("size", "aspect", "canvas", "area"),
    [
        ((128, 96), Fraction(1), (128, 96), (0, 128, 0, 96)),
        ((128, 96), Fraction(1), (256, 192), (0, 256, 0, 192)),
        ((128, 96), Fraction(1), (160, 96), (16, 144, 0, 96)),
        ((96, 128), Fraction(1), (128, 128), (16, 112, 0, 128)),
        ((128, 96), Fraction(3, 2), (192, 192), (0, 192, 48, 144)),
        ((128, 96), Fraction(1, 2), (128, 96), (32, 96, 0, 96)),
    ],
)
def test_the_picture_keeps_its_shape_and_is_centred_on_black(
    tmp_path: Path,
    size: tuple[int, int],
    aspect: Fraction,
    canvas: tuple[int, int],
    area: tuple[int, int, int, int],
) -> None:
    src = write_segment(tmp_path / "a.mp4", range(2), size=size, sample_aspect_ratio=aspect)
    conform(src, tmp_path / "b.mp4", size=canvas, num_frames=2)
    assert picture_area(tmp_path / "b.mp4") == pytest.approx(area, abs=2)
    frame = frames_of(tmp_path / "b.mp4")[0]
    assert (frame.width, frame.height) == canvas


def test_a_blurred_surround_is_the_picture_out_of_focus_and_leaves_the_picture_alone(tmp_path: Path) -> None:
    src = write_segment(tmp_path / "a.mp4", range(2), size=(96, 128))
    pictures = {}
    for fill in ("black", "blur"):
        out = tmp_path / f"{fill}.mp4"
        conform_video(
            src, out, width=256, height=128, fps=Fraction(25), crf=1, preset="veryfast", num_frames=2, fill=fill
        )
        pictures[fill] = frames_of(out)[0].to_ndarray(format="gray").astype(int)
    black, blur = pictures["black"], pictures["blur"]
    assert np.abs(black[:, 82:174] - blur[:, 82:174]).max() <= 6
    outside = np.delete(blur, np.s_[78:178], axis=1)
    assert 20 < outside.mean() < 0.8 * blur[:, 82:174].mean()
    assert np.abs(np.diff(outside[:, :70], axis=1)).max() < 12


def cropped(src: Path, out: Path, size: tuple[int, int], **options: object) -> NDArray[np.int_]:
    """Luma of the first frame of a cropped copy."""
    conform_video(
        src,
        out,
        width=size[0],
        height=size[1],
        fps=Fraction(25),
        crf=1,
        preset="veryfast",
        num_frames=2,
        fill="crop",
        **options,  # type: ignore[arg-type]
    )
    frame = frames_of(out)[0]
    assert (frame.width, frame.height) == size
    return frame.to_ndarray(format="gray").astype(int)


@pytest.mark.parametrize(
    ("size", "aspect", "canvas"),
    [
        ((96, 128), Fraction(1), (192, 108)),
        ((128, 96), Fraction(1), (72, 128)),
        ((128, 96), Fraction(3, 2), (96, 96)),
        ((94, 50), Fraction(1), (96, 54)),
        ((128, 96), Fraction(1), (128, 96)),
    ],
)
def test_a_cropped_picture_fills_the_canvas_and_keeps_its_shape(
    tmp_path: Path, size: tuple[int, int], aspect: Fraction, canvas: tuple[int, int]
) -> None:
    src = write_segment(tmp_path / "a.mp4", range(2), size=size, sample_aspect_ratio=aspect)
    luma = cropped(src, tmp_path / "b.mp4", canvas)
    assert min(luma[0].mean(), luma[-1].mean(), luma[:, 0].mean(), luma[:, -1].mean()) > 30  # no black edge
    shown = (round(size[0] * aspect), size[1])
    cover = cover_size(shown, canvas)
    whole = frames_of(src)[0].reformat(*cover, "gray").to_ndarray().astype(int)
    x, y = crop_offsets(None, cover, canvas, 25.0)[0]
    assert np.abs(luma - whole[y : y + canvas[1], x : x + canvas[0]]).mean() < 6


def test_a_picture_is_cropped_around_the_face(tmp_path: Path) -> None:
    src = write_segment(tmp_path / "a.mp4", range(2), size=(256, 96))
    pictures = []
    for left in (0.0, 0.8):
        boxes = np.tile([left, 0.3, left + 0.15, 0.6], (2, 1))
        face = FacePath(boxes, np.zeros(2, np.int64))
        pictures.append(cropped(src, tmp_path / f"{left}.mp4", (96, 96), face=face))
    whole = frames_of(src)[0].to_ndarray(format="gray").astype(int)
    assert np.abs(pictures[0] - whole[:, :96]).mean() < 4
    assert np.abs(pictures[1] - whole[:, 160:]).mean() < 4


def test_a_label_that_cropping_cuts_off_is_painted_again_and_one_that_stays_is_not(tmp_path: Path) -> None:
    src = write_segment(tmp_path / "a.mp4", range(2), size=(256, 96))
    change = {}
    for left in (0.0, 0.8):  # the source's label lies at the left
        face = FacePath(np.tile([left, 0.3, left + 0.15, 0.6], (2, 1)), np.zeros(2, np.int64))
        pictures = [
            cropped(src, tmp_path / f"{left}{label}.mp4", (192, 96), face=face, label=label) for label in ("", "AI")
        ]
        change[left] = np.abs(pictures[0] - pictures[1])
    assert change[0.0].max() <= 6
    assert change[0.8][:40, :60].max() > 60
    assert change[0.8][50:].max() <= 6


def test_a_title_changes_the_lower_left_and_nothing_else(tmp_path: Path) -> None:
    src = write_segment(tmp_path / "a.mp4", range(8))
    pictures = []
    for name, title in (("plain", None), ("titled", Title(name="Ada", note="pass", verdict=Verdict.PASS))):
        out = tmp_path / f"{name}.mp4"
        num_frames = conform_video(
            src, out, width=128, height=96, fps=Fraction(25), crf=1, preset="veryfast", num_frames=8, title=title
        )
        assert num_frames == 8
        pictures.append(frames_of(out)[7].to_ndarray(format="gray").astype(int))
    change = np.abs(pictures[0] - pictures[1])
    assert change[60:, :80].max() > 60
    assert change[:60].max() <= 6


@pytest.mark.parametrize(
    ("fps_in", "fps_out"), [(25, 25), (25, 50), (25, 12), (Fraction(30000, 1001), 25), (Fraction(753, 25), 24)], ids=str
)
def test_each_frame_is_the_one_on_screen_at_its_time(tmp_path: Path, fps_in: Fraction, fps_out: Fraction) -> None:
    fps_in, fps_out = Fraction(fps_in), Fraction(fps_out)
    src = write_segment(tmp_path / "a.mp4", range(30), fps=fps_in)
    num_frames = int(30 / fps_in * fps_out)
    assert conform(src, tmp_path / "b.mp4", fps=fps_out, num_frames=num_frames, size=(128, 96)) == num_frames
    assert numbers_of(tmp_path / "b.mp4") == [int(n / fps_out * fps_in) for n in range(num_frames)]
    assert times_of(tmp_path / "b.mp4") == [n / fps_out for n in range(num_frames)]


@pytest.mark.parametrize(("num_frames", "expected"), [(1, [0]), (3, [0, 1, 2]), (8, [0, 1, 2, 3, 4, 4, 4, 4])])
def test_it_has_exactly_as_many_frames_as_asked(tmp_path: Path, num_frames: int, expected: list[int]) -> None:
    src = write_segment(tmp_path / "a.mp4", range(5))
    conform(src, tmp_path / "b.mp4", num_frames=num_frames, size=(128, 96))
    assert numbers_of(tmp_path / "b.mp4") == expected


@pytest.mark.parametrize(
    "color",
    [BT601, BT709, ColorInfo(5, 2, 5, 6), ColorInfo(7, 1, 7, 7), ColorInfo(2, 0, 2, 2), ColorInfo(1, 2, 1, 13)],
    ids=str,
)
def test_colours_are_kept_whatever_the_matrix_and_range_were(tmp_path: Path, color: ColorInfo) -> None:
    bgr = np.full((96, 128, 3), (60, 120, 200), np.uint8)
    with SegmentWriter(
        tmp_path / "a.mp4", width=128, height=96, fps=Fraction(25), color=color, crf=1, preset="veryfast"
    ) as writer:
        writer.write(bgr_to_frame(bgr, pts_s=0.0, color=color))
    conform(tmp_path / "a.mp4", tmp_path / "b.mp4", size=(256, 192), num_frames=1, crf=1)
    frame = frames_of(tmp_path / "b.mp4")[0]
    assert (frame.colorspace, frame.color_range) == (CANVAS_COLOR.matrix, CANVAS_COLOR.range)
    samples = [np.frombuffer(memoryview(plane), np.uint8)[50 * plane.line_size + 50] for plane in frame.planes]
    flat = bgr_to_frame(bgr[:2, :2], pts_s=0.0, color=CANVAS_COLOR)
    flat.y[:], flat.u[:], flat.v[:] = samples
    np.testing.assert_allclose(frame_to_bgr(flat)[0, 0], (60, 120, 200), atol=4)


def test_hdr_is_brought_to_the_standard_range(tmp_path: Path) -> None:
    levels = {}
    for name, tags in (("hdr", ColorInfo(9, 1, 9, 16)), ("sdr", BT709)):
        grey = np.full((32, 32, 3), 128, np.uint8)
        with SegmentWriter(
            tmp_path / "a.mp4", width=32, height=32, fps=Fraction(25), color=tags, crf=1, preset="veryfast"
        ) as writer:
            writer.write(bgr_to_frame(grey, pts_s=0.0, color=tags))
        conform(tmp_path / "a.mp4", tmp_path / "b.mp4", size=(32, 32), num_frames=1, crf=1)
        levels[name] = frames_of(tmp_path / "b.mp4")[0].to_ndarray(format="gray")[16, 16]
    assert levels["hdr"] > levels["sdr"] + 5  # half of a PQ signal is brighter than half of BT.709


def test_films_of_different_make_join_after_conforming(tmp_path: Path) -> None:
    makes = [
        {"size": (128, 96), "color": BT601},
        {"size": (96, 128), "color": BT709, "fps": Fraction(30)},
        {"size": (128, 96), "color": ColorInfo(5, 2, 5, 6), "sample_aspect_ratio": Fraction(4, 3)},
    ]
    films = []
    for number, make in enumerate(makes):
        src = write_segment(tmp_path / f"{number}.mp4", range(10), **make)
        films.append(tmp_path / f"{number}c.mp4")
        conform(src, films[-1], num_frames=8)
    assert segments_match(films)
    facts = join_segments(films, tmp_path / "film.mp4", fps=Fraction(25), audio=[], metadata={})
    assert facts.num_frames == 24


def test_there_is_no_sound(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mp4", num_frames=10, audio_s=0.4)
    conform(src, tmp_path / "b.mp4", num_frames=10)
    with av.open(str(tmp_path / "b.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video"]


def test_a_film_without_pictures_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "a.wav", chirp(0.1, 16000), 16000)
    with pytest.raises(MediaError, match="has no video"):
        conform(song, tmp_path / "b.mp4", num_frames=3)
    assert list(tmp_path.iterdir()) == [song]
