import errno
import os
from pathlib import Path

import av
import av.error
import pytest

from singalong.errors import ErrorClass, MediaError, TransientIOError
from singalong.media.containers import map_av_error, open_input, raise_if_not_the_files_fault
from tests.sounds import chirp, write_sound
from tests.videos import make_video

HOSTILE = {
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile /etc/hostname\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\n",
    "page.mp4": "<!DOCTYPE html><html><body>404 not found</body></html>" * 50,
    "art.ans": "\x1b[31mhello\n" * 100,
    "notes.txt": "hello world\n" * 100,
    "zeros.mp4": "\0" * 4096,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_media_in_one_file_is_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    with pytest.raises(MediaError, match=name) as caught, open_input(path):
        pass
    assert caught.value.expected
    assert caught.value.action
    assert capfd.readouterr() == ("", "")  # libav keeps its comments to itself


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.mp4", "concat:a.mp4|b.mp4", "pipe:0", "/dev/zero", "data:,x"])
def test_only_regular_files_are_opened(url: str) -> None:
    with pytest.raises(MediaError), open_input(Path(url)):
        pass


def test_missing_empty_and_unsuitable_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    said = {}
    for name in ("missing.mp4", "empty.mp4", "pipe.mp4", ""):
        with pytest.raises(MediaError) as caught, open_input(tmp_path / name):
            pass
        said[name] = caught.value.problem
    assert said == {
        "missing.mp4": "no such file",
        "empty.mp4": "the file is empty (0 bytes)",
        "pipe.mp4": "is a pipe or a device, not a regular file",
        "": "is a folder",
    }


def test_a_name_that_looks_like_an_address_is_still_a_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "plain.mp4", num_frames=2).rename(tmp_path / "http:a|b?#.mp4")
    with open_input(path) as container:
        assert len(container.streams.video) == 1


def test_errors_in_the_body_become_media_errors_too(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=2)
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be decoded"), open_input(path):
        raise av.error.InvalidDataError(av.error.ErrorType.INVALIDDATA, "invalid data")


def test_a_full_disk_is_not_the_files_fault(tmp_path: Path) -> None:
    error = av.error.OSError(errno.ENOSPC, "no space left on device")
    assert map_av_error(error, tmp_path / "a.mp4", problem="x").error_class is ErrorClass.RESOURCE


def test_an_input_error_of_a_readable_file_is_the_files_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(b"whatever")
    error = av.error.OSError(errno.EIO, "input/output error")
    assert map_av_error(error, path, problem="x").error_class is ErrorClass.INPUT
    assert map_av_error(error, tmp_path / "gone.mkv", problem="x").error_class is ErrorClass.TRANSIENT_IO


def test_readers_go_on_past_damage_but_not_past_a_failing_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(b"whatever")
    error = av.error.OSError(errno.EIO, "input/output error")
    raise_if_not_the_files_fault(error, path)
    path.unlink()
    with pytest.raises(TransientIOError):
        raise_if_not_the_files_fault(error, path)


def test_a_header_that_asks_for_all_memory_is_the_files_fault(tmp_path: Path) -> None:
    error = av.error.MemoryError(errno.ENOMEM, "cannot allocate memory")
    assert map_av_error(error, tmp_path / "a.mp4", problem="x").error_class is ErrorClass.INPUT


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux alone counts what a process reads")
def test_little_of_a_long_wav_is_read_to_find_out_what_it_holds(tmp_path: Path) -> None:
    """libav would look for DTS in 5 MB of samples: 27 ms."""
    song = write_sound(tmp_path / "song.wav", chirp(60.0, 44100), 44100)

    def num_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = num_read()
    with open_input(song) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 44100
        assert container.streams.audio[0].duration == 60 * 44100
    assert num_read() - before < 1 << 20 < song.stat().st_size
