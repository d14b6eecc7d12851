"""Seeking is where containers lie: every one of them against the numbers written in the frames themselves."""

import random
from pathlib import Path
from typing import Any

import pytest

from singalong.media import decode
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings
from tests.videos import make_video, number_in

NUM_FRAMES = 75
OPEN_GOP = {"g": "15", "bf": "3", "x264-params": "open-gop=1:scenecut=0:keyint=15:min-keyint=15"}
X265 = {"x265-params": "log-level=none:open-gop=1:keyint=15:min-keyint=15:bframes=3:pools=1"}
MPEG = {"g": "12", "bf": "2"}

FORMATS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": OPEN_GOP},
    "h264.mkv": {"options": OPEN_GOP},
    "h264.ts": {"options": OPEN_GOP, "audio_s": 3.0},
    "h264.flv": {"options": OPEN_GOP},
    "h264.avi": {"options": {"g": "15", "bf": "3"}},
    "refresh.mkv": {"options": {"x264-params": "intra-refresh=1:keyint=20"}},
    "fragments.mp4": {"options": {"g": "15"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "options": X265},
    "hevc.mkv": {"codec": "libx265", "options": X265},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": MPEG, "size": (352, 288)},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": MPEG},
    "mpeg2.ts": {"codec": "mpeg2video", "options": MPEG},
    "mpeg4.avi": {"codec": "mpeg4", "options": MPEG},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg4.mp4": {"codec": "mpeg4", "options": MPEG},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "15", "cpu-used": "8", "deadline": "realtime", "threads": "1"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "15", "cpu-used": "8", "deadline": "realtime"}},
    "wmv2.wmv": {"codec": "wmv2", "options": {"g": "15"}, "container_format": "asf"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "dance.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "raw.h264": {"container_format": "h264", "options": {"g": "15", "bf": "3"}},
    "raw.m2v": {"codec": "mpeg2video", "container_format": "mpeg2video", "options": MPEG},
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_right_frame_is_found_forward_backward_and_at_random(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_REACH_S", 0.1)  # so that a short clip is far to read through
    path = make_video(tmp_path / name, num_frames=NUM_FRAMES, **FORMATS[name])
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    assert facts.num_frames == NUM_FRAMES
    rng = random.Random(name)
    forward = list(range(NUM_FRAMES))
    anywhere = [rng.randrange(NUM_FRAMES) for _ in range(24)]
    with ClipReader(facts) as reader:
        for order, size in ((forward, 16), (forward[::-1], 16), (anywhere, 4)):
            found = []
            for first in range(0, len(order), size):
                times = [facts.first_frame_s + (n + 0.3) / 25 for n in order[first : first + size]]
                found += [number_in(frame.y) for frame in reader.read_chunk(times)]
            assert found == order
    assert reader.num_undecodable == 0
