"""What a worker's log has of an attempt: its stages, the warnings of libraries, its end; and where it crashed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.durable import sha256_of
from singalong.run_logs import LogLine, read_log
from tasks.attempt_log import MAX_BYTES, attempt_log, entering, next_chunk, note
from tasks.jobs import LogPlace, SongJob, WorkerSpec
from tasks.stopwatch import Stopwatch
from tasks.worker import Worker

MODEL = ModelRef(name="none", architecture="none", weights_sha256="0" * 64)


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "0001.jsonl")


def lines(log: str) -> list[LogLine]:
    return read_log(Path(log))


def worker(tmp_path: Path) -> Worker:
    return Worker(WorkerSpec(settings=Settings(), store=str(tmp_path / "store"), detector=MODEL, scorer=None))


def test_stages_are_told_once_a_chunk_although_entered_for_every_frame(log: str) -> None:
    watch = Stopwatch()
    with attempt_log(LogPlace(path=log), owns_process=False):
        for start in (0, 32):
            next_chunk(frames=[start, start + 32])
            for stage in ["decode", *["paste", "score"] * 32, "encode"]:
                with watch.stage(stage):
                    pass
    told = [(line.stage, line.fields["frames"][0]) for line in lines(log)]
    assert told == [(stage, start) for start in (0, 32) for stage in ("decode", "paste", "score", "encode")]


def test_a_line_is_there_before_the_attempt_is_over(log: str) -> None:
    with attempt_log(LogPlace(path=log), owns_process=False):
        entering("decode")
        assert [line.stage for line in lines(log)] == ["decode"]


def test_endless_talk_and_endless_work_make_no_endless_log(log: str) -> None:
    with attempt_log(LogPlace(path=log), owns_process=False):
        for number in range(100_000):
            next_chunk(frames=[number, number + 1])
            entering("decode")
        for number in range(5000):
            note("chatter " * 20, level="warning", number=number)
        note("what matters", level="error")
    assert Path(log).stat().st_size < MAX_BYTES + 10_000
    last_chunk = [line for line in lines(log) if line.stage == "chunk"][-1]
    assert last_chunk.fields["frames"][0] > 25_000, "still says where it is, more and more coarsely"
    *_, matters, left_out = lines(log)
    assert matters.message == "what matters"
    assert "more lines were left out" in left_out.message


def test_warnings_of_libav_python_and_loggers_are_in_the_log_and_libav_is_not_on_the_terminal(
    log: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(UserWarning, match="odd"), attempt_log(LogPlace(path=log), owns_process=False):  # noqa: PT031
        av.logging.log(av.logging.WARNING, "h264", "error while decoding MB 12 4\x1b[31m\n")
        av.logging.log(av.logging.INFO, "h264", "chatter")
        warnings.warn("odd sample rate", UserWarning, stacklevel=1)
        logging.getLogger("somebody").warning("beware %s", 3)
    found = {line.stage: line for line in lines(log)}
    assert set(found) == {"libav.h264", "python", "somebody"}
    assert found["libav.h264"].message.startswith("error while decoding MB 12 4")
    assert "odd sample rate" in found["python"].message
    assert found["somebody"].message == "beware 3"
    assert all(line.level == "warning" for line in found.values())
    av.logging.log(av.logging.WARNING, "h264", "nobody listens any more")
    assert "MB 12" not in capfd.readouterr().err
    assert len(lines(log)) == 3


def test_a_damaged_clip_says_in_the_log_what_libav_made_of_it(tmp_path: Path, log: str) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 200
    data[start : start + 6000] = os.urandom(6000)
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", READ, log, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in lines(log) if line.stage.startswith("libav.")]


READ = (
    "import sys; from pathlib import Path; from tasks.attempt_log import attempt_log; from tasks.jobs import LogPlace\n"
    "with attempt_log(LogPlace(path=sys.argv[1]), owns_process=True):\n"
    "    from singalong.media.containers import open_input\n"
    "    from singalong.media.demux import VideoSource\n"
    "    with open_input(Path(sys.argv[2])) as container:\n"
    "        source = VideoSource(container, Path(sys.argv[2]))\n"
    "        while source.next(): pass\n"
)


def write_clip(path: Path) -> None:
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(30):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (240, 320, 3), np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def test_an_attempt_says_who_did_it_with_what_and_what_came_of_it(tmp_path: Path, log: str) -> None:
    song = tmp_path / "evil\n\x1b[31m.wav"
    song.write_text("<html></html>")
    outcome = worker(tmp_path).run(SongJob(path=str(song), sha256=sha256_of(song), log=LogPlace(path=log)))
    begins, *_, ends = lines(log)
    assert begins.fields["pid"] == os.getpid()
    assert begins.fields["path"] == str(song)
    assert {"singalong", "av", "torch", "libavcodec"} <= set(begins.fields["versions"])
    assert outcome.failure is not None
    assert (ends.level, ends.message) == ("error", outcome.failure.message)
    assert ends.fields["error_class"] == "INPUT"


def test_an_unforeseen_failure_has_its_traceback_in_the_log(
    tmp_path: Path, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("somewhere deep")

    monkeypatch.setattr("tasks.prepare_song.prepare_song", broken)
    worker(tmp_path).run(SongJob(path="s.wav", sha256="0" * 64, log=LogPlace(path=log)))
    trace = lines(log)[-1].fields["traceback"]
    assert "in broken" in trace
    assert "ZeroDivisionError: somewhere deep" in trace


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for log in (str(tmp_path / "nowhere" / "0001.jsonl"), str(tmp_path / "file" / "0001.jsonl"), "/dev/full"):
        with attempt_log(LogPlace(path=log), owns_process=True):
            note("nobody hears this")
    assert not (tmp_path / "nowhere").exists()


CRASH = (
    "import ctypes, sys; from tasks.attempt_log import attempt_log, entering; from tasks.jobs import LogPlace\n"
    "def deep(): ctypes.string_at(0)\n"
    "with attempt_log(LogPlace(path=sys.argv[1]), owns_process=True):\n"
    "    entering('decode'); deep()\n"
)


def test_a_process_that_crashes_leaves_where_it_crashed(log: str) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, log], capture_output=True, text=True, check=False)
    assert done.returncode < 0
    stage, *crash = lines(log)
    assert stage.stage == "decode"
    text = "\n".join(line.message for line in crash)
    assert "Segmentation fault" in text
    assert "in deep" in text


def test_telling_of_a_stage_costs_less_than_a_millisecond(log: str) -> None:
    with attempt_log(LogPlace(path=log), owns_process=False):
        started = time.process_time()
        for number in range(100):
            next_chunk(frames=[number, number + 32])
            for stage in ("decode", "crop", "generate", "paste", "score", "encode"):
                for _ in range(32):
                    entering(stage)
        spent_ms = 1000 * (time.process_time() - started)
    assert spent_ms / 600 < 0.5
