"""HDR kept as HDR: light, samples, tags and metadata; and shown as it is meant where only SDR can be shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from models.engine import Bend
from singalong.media.conform import conform_video
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.frames import YuvFrame, face_region_to_bgr, frame_to_bgr, paste_bgr
from singalong.media.hdr import HdrLight, from_display, to_display
from singalong.media.join import join_segments, segments_match
from singalong.media.planes import color_of
from singalong.media.probe import probe_clip
from singalong.media.thumbnails import write_thumbnail
from singalong.settings import LimitSettings, LipsyncSettings
from tasks.painter import FacePainter
from tests.hdr_clips import HLG, LIGHT, PQ, hdr_frame, write_hdr
from tests.painted_faces import SPOT, DrawingEngine, face_bgr, mels
from tests.segments import frames_of, write_segment

PATCHES = ((60, 90, 170), (128, 128, 128), (200, 200, 200), (40, 120, 60), (150, 60, 50), (20, 20, 20))


def patches(width: int = 192, height: int = 96) -> np.ndarray:
    """Six upright stripes of colour, BGR."""
    columns = np.arange(width) * len(PATCHES) // width
    return np.broadcast_to(np.array(PATCHES, np.uint8)[columns], (height, width, 3)).copy()


def colors_in(bgr: np.ndarray) -> np.ndarray:
    height, width = bgr.shape[:2]
    centres = [(2 * i + 1) * width // (2 * len(PATCHES)) for i in range(len(PATCHES))]
    return np.array([bgr[height // 3 : -height // 3, x - 4 : x + 4].mean(axis=(0, 1)) for x in centres])


@pytest.mark.parametrize(
    ("transfer", "nits", "code"),
    # BT.2408, table 1: grey card and diffuse white; ST 2084 for 100 cd/m2
    [(PQ, 203.0, 0.58), (PQ, 26.0, 0.38), (PQ, 100.0, 0.508), (HLG, 203.0, 0.75), (HLG, 26.0, 0.38)],
)
def test_codes_mean_the_light_that_the_standards_say(transfer: int, nits: float, code: float) -> None:
    light = min(nits / 203, 0.8)  # below the shoulder the screen shows light as it is
    level = np.full((1, 1, 3), round(255 * light ** (1 / 2.4)), np.uint8)
    if nits < 160:
        assert abs(from_display(level, transfer, is_wide=False).mean() - code) < 0.008
    shown = float(to_display(np.full((1, 1, 3), code, np.float32), transfer, is_wide=False).mean())
    assert abs(shown - light ** (1 / 2.4)) < (0.01 if nits < 160 else 0.08)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("is_wide", [False, True])
def test_what_an_sdr_screen_shows_comes_back_from_hdr(transfer: int, is_wide: bool) -> None:
    shown = np.random.default_rng(0).integers(20, 250, (60, 60, 3)).astype(np.uint8)
    again = to_display(from_display(shown, transfer, is_wide=is_wide), transfer, is_wide=is_wide) * 255
    assert np.abs(again - shown).max() < 1


def test_light_beyond_the_screen_rolls_off_and_stays_in_order() -> None:
    ramp = to_display(np.linspace(0, 1, 500, dtype=np.float32)[None, :, None].repeat(3, 2), PQ, is_wide=False)[0, :, 0]
    assert (np.diff(ramp) >= 0).all()
    assert ramp.max() <= 1
    assert ramp[300] < ramp[330] < 1  # 260 and 430 cd/m2 are told apart


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_faces_are_shown_to_networks_as_an_sdr_screen_shows_them(transfer: int) -> None:
    frame = hdr_frame(patches(), transfer=transfer)
    assert frame.is_deep
    np.testing.assert_allclose(colors_in(frame_to_bgr(frame)), PATCHES, atol=2.5)


def lamp_frame() -> YuvFrame:
    """Grain finer than 8 bits everywhere, and a corner far brighter than any screen."""
    frame = hdr_frame(patches())
    frame.y += np.random.default_rng(0).integers(0, 2, frame.y.shape).astype(np.uint16)
    frame.y[:40, :40] = 900
    frame.u[:20, :20] = frame.v[:20, :20] = 512
    return frame


def test_a_region_laid_back_unchanged_changes_no_sample() -> None:
    frame, box = lamp_frame(), (5, 3, 161, 91)
    region = face_region_to_bgr(frame, box)
    before = frame.copy()
    paste_bgr(frame, box, region, np.ones(region.shape[:2], np.float32))
    for plane, same in zip((frame.y, frame.u, frame.v), (before.y, before.u, before.v), strict=True):
        np.testing.assert_array_equal(plane, same)  # through 8 bits and back the lamp would be 350 cd/m2


def test_a_new_pixel_has_the_brightness_it_has_on_the_screen_and_its_neighbours_keep_theirs() -> None:
    frame = lamp_frame()
    before, box = frame.copy(), (64, 32, 128, 64)
    paste_bgr(frame, box, np.full((32, 64, 3), (90, 110, 180), np.uint8), np.ones((32, 64), np.float32))
    np.testing.assert_allclose(face_region_to_bgr(frame, (70, 36, 122, 60)).mean(axis=(0, 1)), (90, 110, 180), atol=2)
    frame.y[32:64, 64:128] = before.y[32:64, 64:128]
    np.testing.assert_array_equal(frame.y, before.y)
    # naive: levels written as if they were PQ; 180 would be 655 cd/m2 and not 88
    assert 300 < hdr_frame(np.full((4, 4, 3), (90, 110, 180), np.uint8)).y.mean() < 520


def test_a_bent_hdr_face_keeps_every_other_sample() -> None:
    source = hdr_frame(face_bgr(grain=3.0))
    patch = np.zeros((4, 96, 96), np.float32)
    patch[3, 68:80, 36:60] = 1
    engine = DrawingEngine(lambda _: Bend(np.zeros((96, 96, 2), np.float32), patch))
    output = FacePainter(LipsyncSettings(), engine, fps=25).paint([source], [SPOT], mels(1)).frames[0]  # type: ignore[arg-type]
    changed = np.argwhere(output.y != source.y)
    assert len(changed) > 200
    assert (changed.min(axis=0) >= (205, 125)).all()
    assert (changed.max(axis=0) <= (245, 195)).all()
    assert frame_to_bgr(output)[225, 160].max() < 12  # black is black


def test_samples_tags_and_metadata_go_through_decoding_writing_and_joining(tmp_path: Path) -> None:
    frames = [hdr_frame(patches(), light=LIGHT)] * 12
    source = write_hdr(tmp_path / "source.mp4", frames)
    facts = probe_clip(source, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    with ClipReader(facts) as reader:
        read = reader.read_chunk([n / 25 for n in range(12)])
    decoded = frames_of(source)[5].to_ndarray()
    np.testing.assert_array_equal(read[5].y, decoded[:96])  # bit for bit what libav decodes
    assert read[5].y.dtype == np.uint16
    parts = [write_hdr(tmp_path / f"{i}.mp4", read[i * 6 : i * 6 + 6]) for i in range(2)]
    film = tmp_path / "film.mp4"
    join_segments(parts, film, fps=Fraction(25), audio=[], metadata={})
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec_tag == "hvc1"
        shown = list(container.decode(stream))
    assert len(shown) == 12
    for frame in (shown[0], shown[7]):
        assert frame.format.name == "yuv420p10le"
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (9, 1, 9, PQ)
        assert color_of(frame).light == LIGHT
        assert np.abs(frame.to_ndarray()[:96].astype(int) - frames[0].y).mean() < 3


def test_a_clip_that_loses_bits_on_the_way_is_still_written(tmp_path: Path) -> None:
    frame = hdr_frame(patches())
    flat = YuvFrame(*((plane >> 2).astype(np.uint8) for plane in (frame.y, frame.u, frame.v)), 0.0, frame.color)
    shown = frames_of(write_hdr(tmp_path / "a.mp4", [frame, flat]))
    assert np.abs(shown[0].to_ndarray()[:96].astype(int) - shown[1].to_ndarray()[:96]).max() < 16


@pytest.mark.parametrize("num_frames", [1, 2, 3, 7])
def test_films_of_any_length_are_written(tmp_path: Path, num_frames: int) -> None:
    for attempt in range(8):  # what x265 left undefined was wrong in every other file of one frame
        path = write_hdr(tmp_path / f"{attempt}.mp4", [hdr_frame(patches())] * num_frames)
        assert [frame.pts * frame.time_base for frame in frames_of(path)] == [
            Fraction(n, 25) for n in range(num_frames)
        ]


def test_hdr_takes_the_same_bytes_every_time(tmp_path: Path) -> None:
    frames = [hdr_frame(patches())] * 5
    first, second = (write_hdr(tmp_path / name, frames).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_detectors_thumbnails_and_sdr_montages_see_the_colours_meant(tmp_path: Path, transfer: int) -> None:
    source = write_hdr(tmp_path / "source.mp4", [hdr_frame(patches(), transfer=transfer, light=LIGHT)] * 3)
    facts = probe_clip(source, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    small = next(iter(iter_small_frames(facts, max_side_px=480))).bgr
    np.testing.assert_allclose(colors_in(small), PATCHES, atol=6)  # PQ's own levels: 200 is 133
    out = tmp_path / "sdr.mp4"
    conform_video(source, out, width=192, height=96, fps=Fraction(25), crf=4, preset="veryfast", num_frames=3)
    frame = frames_of(out)[1]
    assert (frame.format.name, frame.colorspace, frame.color_primaries, frame.color_trc) == ("yuv420p", 1, 1, 1)
    with ClipReader(probe_clip(out, sha256="0" * 64, limits=LimitSettings(), still_fps=25)) as reader:
        np.testing.assert_allclose(colors_in(frame_to_bgr(reader.read_chunk([0.0])[0])), PATCHES, atol=6)
    write_thumbnail(source, 0.0, tmp_path / "t.jpg")
    assert (tmp_path / "t.jpg").stat().st_size > 300


def test_hdr_sdr_and_differently_graded_films_are_never_joined_as_they_are(tmp_path: Path) -> None:
    pq = write_hdr(tmp_path / "pq.mp4", [hdr_frame(patches(), light=LIGHT)])
    others = {
        "the same": hdr_frame(patches()[::-1], light=LIGHT),
        "hlg": hdr_frame(patches(), transfer=HLG, light=LIGHT),
        "graded elsewhere": hdr_frame(patches(), light=HdrLight(None, 600, 100)),
    }
    matches = {name: segments_match([pq, write_hdr(tmp_path / f"{name}.mp4", [f])]) for name, f in others.items()}
    assert matches == {"the same": True, "hlg": False, "graded elsewhere": False}
    assert not segments_match([pq, write_segment(tmp_path / "sdr.mp4", [1], size=(192, 96))])
