import hashlib

from singalong.manifest import read_manifest
from singalong.synthetic import write_demo_inputs


def test_demo_inputs_are_a_readable_manifest_of_files_that_exist(tmp_path):
    manifest = write_demo_inputs(tmp_path / "a", num_clips=1, clip_s=0.4, song_s=2.0)
    pairs = read_manifest(manifest)
    assert [pair.pair_id for pair in pairs] == ["part1", "whole_song"]
    assert pairs[0].montage == "demo"
    names = sorted(path.name for path in manifest.parent.iterdir())
    assert names == ["clip1_640x360.mp4", "manifest.csv", "song.wav", "vocals.wav"]


def test_the_same_seed_writes_the_same_files(tmp_path):
    digests = []
    for name in ("a", "b"):
        folder = write_demo_inputs(tmp_path / name, num_clips=2, clip_s=0.3, song_s=1.5).parent
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    assert digests[0] == digests[1]
