"""MP4 files being written: whose fault an error is, and which error counts."""

import errno
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from singalong.errors import BugError, ErrorClass, ResourceError, SingalongError
from singalong.media.outputs import mapped_errors, writing_mp4


@pytest.mark.parametrize(
    ("number", "error_class"),
    [
        (errno.ENOSPC, ErrorClass.RESOURCE),
        (errno.EDQUOT, ErrorClass.RESOURCE),
        (errno.EIO, ErrorClass.TRANSIENT_IO),
        (errno.EINVAL, ErrorClass.BUG),
    ],
)
def test_errors_in_writing_are_filed_by_their_number(tmp_path: Path, number: int, error_class: ErrorClass) -> None:
    with pytest.raises(SingalongError) as error, mapped_errors(tmp_path / "a.mp4"):
        av.error.err_check(-number)
    assert error.value.error_class is error_class


def test_an_unforeseen_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BugError, match=r"a\.mp4"), mapped_errors(tmp_path / "a.mp4"):
        av.error.err_check(-errno.EINVAL)


def write_sound_until_it_fails(path: Path) -> None:
    with writing_mp4(path) as container:
        stream = container.add_stream("pcm_s16le", rate=48000)
        for _ in range(100):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 20_000), np.int16), format="s16", layout="stereo")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
        raise KeyError("never reached on a full disk")


def test_a_full_disk_is_a_resource_error(tmp_path: Path) -> None:
    link = tmp_path / "a.mp4"
    link.symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="space"):
        write_sound_until_it_fails(link)


def test_what_went_wrong_first_is_what_is_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="never reached"):
        write_sound_until_it_fails(tmp_path / "a.mp4")
