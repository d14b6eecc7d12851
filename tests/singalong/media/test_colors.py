"""Colours from clip to film: tags that mean what the samples are, whatever matrix and range the clip has."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from singalong.media.decode import ClipReader
from singalong.media.encode import SegmentWriter
from singalong.media.frames import YuvFrame, frame_to_bgr
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings, LipsyncSettings
from tasks.painter import FacePainter, Spot
from tests.painted_faces import DrawingEngine, mels
from tests.segments import frames_of
from tests.videos import CORNERS_RGB, make_video

CLIPS = {
    "bt601 limited": {"color": (6, 1, 6, 6)},
    "bt601 pal full": {"color": (5, 2, 5, 6)},
    "bt709 limited": {"color": (1, 1, 1, 1)},
    "bt709 full": {"color": (1, 2, 1, 13)},
    "bt2020 sdr 10 bit": {"color": (9, 1, 9, 14), "pix_fmt": "yuv420p10le", "codec": "libx265"},
    "vp9": {"color": (1, 1, 1, 1), "codec": "libvpx-vp9"},
}
X265 = {"x265-params": "log-level=none:pools=1", "crf": "5"}


def read(path: Path) -> YuvFrame:
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    with ClipReader(facts) as reader:
        return reader.read_chunk([0.1])[0]


@pytest.mark.parametrize("name", CLIPS)
def test_a_film_has_the_colours_of_its_clip_by_its_own_tags(tmp_path: Path, name: str) -> None:
    options = {"libx265": X265, "libvpx-vp9": {"crf": "10", "cpu-used": "8", "deadline": "realtime"}}
    made = CLIPS[name]
    path = tmp_path / ("clip.webm" if name == "vp9" else "clip.mp4")
    make_video(path, num_frames=6, options=options.get(str(made.get("codec")), {"crf": "5"}), **made)  # type: ignore[arg-type]
    source = read(path)
    engine = DrawingEngine(lambda face: np.full_like(face, (90, 110, 180)))
    settings = LipsyncSettings(mask="box", feather=0.0, match_color=False, keep_detail=False)
    spot = Spot((48, 40, 80, 88))
    frame = FacePainter(settings, engine, fps=25).paint([source], [spot], mels(1)).frames[0]  # type: ignore[arg-type]
    film = tmp_path / "film.mp4"
    with SegmentWriter(
        film,
        width=frame.width,
        height=frame.height,
        fps=Fraction(25),
        color=frame.color,
        deep=frame.is_deep,
        crf=4,
        preset="veryfast",
    ) as writer:
        writer.write(frame)
    tags = frames_of(film)[0]
    assert (tags.colorspace, tags.color_primaries, tags.color_trc) == (made["color"][0], *made["color"][2:])  # type: ignore[index]
    assert tags.format.name in ("yuv420p", "yuvj420p")
    rgb = frame_to_bgr(read(film))[..., ::-1].astype(int)
    for corner, (y, x) in {"top left": (8, 8), "top right": (8, -8), "bottom left": (-8, 8)}.items():
        np.testing.assert_allclose(rgb[y, x], CORNERS_RGB[corner], atol=10)
    np.testing.assert_allclose(rgb[60:70, 60:70].mean(axis=(0, 1)), (180, 110, 90), atol=4)  # the painted face
    untouched = np.ones(source.y.shape, bool)
    untouched[40:88, 48:80] = False
    assert (frame.y[untouched] == source.y[untouched]).all()
