import pickle
import shutil
import subprocess
import sys
import textwrap
from multiprocessing import get_context

import cv2
import numpy as np
import pytest

from singalong.errors import InputError, UsageError
from tasks.training.sequences import (
    MIN_FRAMES,
    SIDE_PX,
    SequenceSet,
    SequenceWriter,
    committed,
    find_sequence,
    num_mel_steps_needed,
    remove_sequence,
    split_of_sources,
)


def face(number: int) -> np.ndarray:
    """A smooth picture whose brightness tells its number."""
    ramp = np.linspace(0, 60, SIDE_PX, dtype=np.float32)
    return (
        np.clip(ramp[None, :, None] + np.array([20, 40, 60]) + 3 * number, 0, 255).repeat(SIDE_PX, 0).astype(np.uint8)
    )


def mel_of(num_frames: int, value: float = 0.0) -> np.ndarray:
    return np.full((80, num_mel_steps_needed(num_frames)), value, np.float32)


def write(dataset, name="a-0", *, source="a.mp4", sha256="a" * 64, num_frames=24, value=0.0):
    with SequenceWriter(dataset, name) as writer:
        for number in range(num_frames):
            writer.add(face(number))
        return writer.finish(mel_of(num_frames, value), source=source, source_sha256=sha256)


def test_frames_come_back_in_the_order_asked_for(tmp_path):
    write(tmp_path)
    sequences = SequenceSet(tmp_path, split="train")
    frames = [20, 3, 3, 0]
    faces = sequences.faces(0, frames)
    assert faces.shape == (4, 96, 96, 3)
    assert faces.dtype == np.uint8
    for got, number in zip(faces, frames, strict=True):
        assert np.abs(got.astype(int) - face(number)).max() <= 4


def test_the_sound_is_mapped_not_read(tmp_path):
    write(tmp_path, value=1.5)
    mel = SequenceSet(tmp_path, split="train").mel(0)
    assert isinstance(mel, np.memmap)
    assert mel.shape == (80, num_mel_steps_needed(24))
    assert mel.dtype == np.float32
    assert (mel == 1.5).all()


def test_every_frame_has_its_sixteen_columns():
    for num_frames in range(MIN_FRAMES, 300):
        last = int(80 * ((num_frames - 1) / 25))
        assert num_mel_steps_needed(num_frames) == last + 16


def test_frames_without_sound_at_the_ends_can_be_left_out(tmp_path):
    with SequenceWriter(tmp_path, "cut") as writer:
        for number in range(30):
            writer.add(face(number))
        writer.finish(mel_of(22), source="a.mp4", source_sha256="a" * 64, start_frame=3, end_frame=25)
    sequences = SequenceSet(tmp_path, split="train")
    assert sequences.num_frames(0) == 22
    first, last = sequences.faces(0, [0, 21])
    assert np.abs(first.astype(int) - face(3)).max() <= 4
    assert np.abs(last.astype(int) - face(24)).max() <= 4


def test_an_unfinished_sequence_leaves_nothing(tmp_path):
    write(tmp_path, "whole")
    with SequenceWriter(tmp_path, "half") as writer:
        writer.add(face(0))
    assert [facts.sequence_id for facts in committed(tmp_path)] == ["whole"]
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.name == "faces.jpgs"]


def test_what_a_killed_writer_left_is_no_sequence_and_is_swept(tmp_path):
    code = f"""
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from tasks.training.sequences import SequenceWriter
        writer = SequenceWriter(Path({str(tmp_path)!r}), "killed")
        writer.add(np.zeros((96, 96, 3), np.uint8))
        writer._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert list((tmp_path / "tmp").rglob("faces.jpgs"))
    write(tmp_path, "next")
    assert [facts.sequence_id for facts in committed(tmp_path)] == ["next"]
    assert not list((tmp_path / "tmp").rglob("faces.jpgs"))


def test_a_sequence_without_its_marker_or_cut_short_does_not_count(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    write(tmp_path, "c")
    (tmp_path / "sequences/a/commit.json").unlink()
    with (tmp_path / "sequences/b/faces.jpgs").open("r+b") as file:
        file.truncate(100)
    assert [facts.sequence_id for facts in committed(tmp_path)] == ["c"]


def test_writing_the_same_sequence_again_replaces_it_and_gives_the_same_bytes(tmp_path):
    first = write(tmp_path)
    assert write(tmp_path) == first
    assert write(tmp_path, value=2.0).digest != first.digest
    assert find_sequence(tmp_path, "a-0").digest != first.digest


def test_a_removed_sequence_is_gone(tmp_path):
    write(tmp_path)
    remove_sequence(tmp_path, "a-0")
    remove_sequence(tmp_path, "never was")
    assert list(committed(tmp_path)) == []


def test_pictures_that_are_no_jpeg_are_an_error_that_names_the_file(tmp_path):
    write(tmp_path)
    sequences = SequenceSet(tmp_path, split="train")
    path = tmp_path / "sequences/a-0/faces.jpgs"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match=r"faces\.jpgs.*damaged"):
        sequences.faces(0, [1])


def test_a_folder_without_sequences_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="singalong train prepare"):
        SequenceSet(tmp_path, split="train")


def test_no_video_is_in_both_splits(tmp_path):
    for number in range(12):
        for part in range(2):
            write(tmp_path, f"v{number}-{part}", source=f"{number}.mp4", sha256=f"{number:064x}", num_frames=21)
    train, val = (SequenceSet(tmp_path, split=split, val_share=0.3) for split in ("train", "val"))
    sources = [{s.facts(i).source for i in range(len(s))} for s in (train, val)]
    assert sources[0] | sources[1] == {f"{number}.mp4" for number in range(12)}
    assert not sources[0] & sources[1]
    assert len(train) + len(val) == 24
    assert train.digest != val.digest


def test_the_share_is_about_what_was_asked_for_and_more_videos_move_none():
    many = {f"{number:064x}": f"{number}.mp4" for number in range(4000)}
    splits = split_of_sources(many, None, 0.1)
    assert 330 < list(splits.values()).count("val") < 470
    few = dict(list(many.items())[:1000])
    assert split_of_sources(few, None, 0.1).items() <= splits.items()


def test_of_two_videos_one_validates_whatever_the_share():
    splits = split_of_sources({"a" * 64: "a.mp4", "b" * 64: "b.mp4"}, None, 1e-6)
    assert sorted(splits.values()) == ["train", "val"]


def test_a_split_that_is_empty_says_how_to_fill_it(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match=r"split val.*val\.txt"):
        SequenceSet(tmp_path, split="val")


def test_a_list_in_the_dataset_decides_the_split(tmp_path):
    for number in range(3):
        write(tmp_path, f"v{number}", source=f"{number}.mp4", sha256=f"{number}" * 64, num_frames=21)
    (tmp_path / "val.txt").write_text("0.mp4\n22222222\n")
    val = SequenceSet(tmp_path, split="val")
    assert {val.facts(i).source for i in range(len(val))} == {"0.mp4", "2.mp4"}
    (tmp_path / "val.txt").write_text("lost.mp4\n")
    with pytest.raises(UsageError, match=r"lost\.mp4"):
        SequenceSet(tmp_path, split="val")


def test_the_identity_is_of_the_content_not_of_the_place(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "one", "a-1", value=1.0)
    before = SequenceSet(tmp_path / "one", split="train").digest
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert SequenceSet(tmp_path / "two", split="train").digest == before
    remove_sequence(tmp_path / "two", "a-1")
    assert SequenceSet(tmp_path / "two", split="train").digest != before


def brightness(sequences: SequenceSet) -> float:
    return float(sequences.faces(0, [5]).mean() + sequences.mel(0).mean())


def test_a_set_travels_to_workers(tmp_path):
    write(tmp_path, value=1.0)
    sequences = SequenceSet(tmp_path, split="train")
    assert len(pickle.dumps(sequences)) < 2000
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(brightness, (sequences,)) == pytest.approx(brightness(sequences))


def test_quality_keeps_what_the_networks_look_at(tmp_path):
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3), np.uint8), (0, 0), 2)
    with SequenceWriter(tmp_path, "q") as writer:
        for _ in range(MIN_FRAMES):
            writer.add(picture)
        writer.finish(mel_of(MIN_FRAMES), source="a.mp4", source_sha256="a" * 64)
    error = SequenceSet(tmp_path, split="train").faces(0, [0])[0].astype(int) - picture
    assert np.abs(error).mean() < 2
