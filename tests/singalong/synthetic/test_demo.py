import hashlib
from fractions import Fraction

import av

from singalong.manifest import read_manifest
from singalong.synthetic import write_demo_inputs
from singalong.synthetic.clips import TalkingClip


def test_demo_inputs_are_a_readable_manifest_of_files_that_exist(tmp_path):
    manifest = write_demo_inputs(tmp_path / "a", num_clips=1, clip_s=0.4, song_s=2.0)
    pairs = read_manifest(manifest)
    assert [pair.pair_id for pair in pairs] == ["part1", "whole_song"]
    assert pairs[0].montage == "demo"
    names = sorted(path.name for path in manifest.parent.iterdir())
    assert names == ["clip1_640x360.mp4", "manifest.csv", "song.wav", "vocals.wav"]


def test_the_same_seed_gives_the_same_song_manifest_and_pictures(tmp_path):
    folders = [write_demo_inputs(tmp_path / name, num_clips=1, clip_s=0.2, song_s=1.5).parent for name in "ab"]
    for name in ("song.wav", "vocals.wav", "manifest.csv"):
        first, second = (hashlib.sha256((folder / name).read_bytes()).digest() for folder in folders)
        assert first == second
    clips = [
        TalkingClip.from_seed(3, width=96, height=96, fps=Fraction(25), duration_s=0.2, half_height=0.3) for _ in "ab"
    ]
    first, second = (b"".join(frame.tobytes() for frame in clip.frames()) for clip in clips)
    assert first == second
    assert clips[0].speech.tobytes() == clips[1].speech.tobytes()


def test_a_clip_has_its_frames_its_rate_and_its_sound(tmp_path):
    clip = TalkingClip.from_seed(1, width=96, height=64, fps=Fraction(30000, 1001), duration_s=0.5)
    with av.open(str(clip.write(tmp_path / "clip.mp4"))) as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(30000, 1001)
        assert sum(1 for _ in container.decode(video)) == 15
        assert len(container.streams.audio) == 1
