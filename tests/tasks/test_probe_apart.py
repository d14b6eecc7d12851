"""Media is looked into by a child process: what kills or stops that is a row's problem and nobody else's."""

import os
import signal
import time
from pathlib import Path

import pytest

from singalong.config import Settings
from singalong.errors import BugError, InfraError, MediaError
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from singalong.store import Store
from tasks import probe_apart
from tasks.probe_apart import Prober, probe_clip_apart, probe_song_apart
from tasks.probe_child import probe
from tasks.probe_media import clip_facts, probe_all, song_facts
from tests.hostile_media import mov, png
from tests.sounds import tone, write_sound
from tests.videos import make_video

LIMITS = LimitSettings()
SHA = "0" * 64

BEHAVIOUR = """
import os, signal, sys, time
from tasks.child import limit_memory, serve

def eat():
    limit_memory(256)
    try:
        return str(len(bytearray(1 << 30)))
    except MemoryError:
        return "MemoryError"

def answer(request):
    match request["kind"]:
        case "crash": os.kill(os.getpid(), signal.SIGSEGV)
        case "leave": sys.exit(3)
        case "hang": time.sleep(60)
        case "babble": os.write(1, b"x" * 100); return {"x": "y" * (2 << 20)}
        case "eat": return {"got": eat()}
        case "print": print("a library talks", flush=True); os.system("echo so does its child")
    return {"pid": os.getpid()}

if __name__ == "__main__":
    serve(answer)
"""


@pytest.fixture
def prober(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "behaviour.py").write_text(BEHAVIOUR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    prober = Prober("behaviour")
    yield prober
    prober.close()


def ask(prober: Prober, kind: str, timeout_s: float = 30.0) -> dict[str, object]:
    return prober.probe(Path("/clips/a.mp4"), {"kind": kind}, timeout_s)


def test_facts_are_those_of_a_look_in_this_process(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "á\udcff.mp4", num_frames=5, audio_s=0.2)  # a name that is no UTF-8
    song = write_sound(tmp_path / "s.wav", tone(300, 0.5, 16000), 16000)
    apart = probe_clip_apart(clip, sha256=SHA, limits=LIMITS, still_fps=25)
    assert apart == probe_clip(clip, sha256=SHA, limits=LIMITS, still_fps=25)
    assert probe_song_apart(song, sha256=SHA, limits=LIMITS) == probe_song(song, sha256=SHA, limits=LIMITS)


def test_errors_are_those_of_a_look_in_this_process(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "s.wav", tone(300, 0.5, 16000), 16000)
    with pytest.raises(MediaError) as here:
        probe_clip(song, sha256=SHA, limits=LIMITS, still_fps=25)
    with pytest.raises(MediaError) as apart:
        probe_clip_apart(song, sha256=SHA, limits=LIMITS, still_fps=25)
    assert str(apart.value) == str(here.value)
    assert apart.value.file == str(song)


def test_one_child_serves_many_files(prober: Prober) -> None:
    assert ask(prober, "x") == ask(prober, "y")


@pytest.mark.parametrize(("kind", "reason"), [("crash", "SIGSEGV"), ("leave", "exit code 3"), ("babble", "")])
def test_a_file_that_kills_the_child_is_refused_and_the_next_gets_another(
    prober: Prober, kind: str, reason: str
) -> None:
    first = ask(prober, "x")
    with pytest.raises(MediaError, match=rf"/clips/a\.mp4: .*{reason}") as caught:
        ask(prober, kind)
    assert caught.value.action
    assert ask(prober, "x") != first


def test_a_file_that_takes_for_ever_is_refused_and_its_child_killed(prober: Prober) -> None:
    pid = int(str(ask(prober, "x")["pid"]))
    started = time.monotonic()
    with pytest.raises(MediaError, match=r"too long.*within 0 s.*limits\.probe_timeout_s"):
        ask(prober, "hang", timeout_s=0.3)
    assert time.monotonic() - started < 50  # it hangs for 60
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    ask(prober, "x")


def test_what_a_library_prints_is_no_answer(prober: Prober, capfd: pytest.CaptureFixture[str]) -> None:
    assert set(ask(prober, "print")) == {"pid"}
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_is_not_for_the_child(prober: Prober) -> None:
    pid = int(str(ask(prober, "x")["pid"]))
    assert os.getpgid(pid) != os.getpgid(0)


def test_an_interrupted_question_does_not_get_the_next_ones_answer(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = ask(prober, "x")["pid"]
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the question, too
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        ask(prober, "hang")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert ask(prober, "x")["pid"] != pid


def test_the_child_ends_with_whoever_asked(prober: Prober) -> None:
    pid = int(str(ask(prober, "x")["pid"]))
    prober.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_that_cannot_start_is_no_fault_of_the_file() -> None:
    prober = Prober("tasks.there_is_no_such_module")
    with pytest.raises(InfraError, match="doctor"):
        ask(prober, "x")


def test_nothing_is_imported_from_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('code from the folder of a manifest was run')")
    monkeypatch.chdir(tmp_path)
    clip = make_video(tmp_path / "a.mp4", num_frames=2)
    probe_apart._prober.close()
    assert probe_clip_apart(clip, sha256=SHA, limits=LIMITS, still_fps=25).num_frames == 2


def test_the_child_cannot_take_more_memory_than_it_is_given(prober: Prober) -> None:
    assert ask(prober, "eat") == {"got": "MemoryError"}


def test_an_edit_list_that_asks_for_ever_more_memory_is_an_answer_too(tmp_path: Path) -> None:
    # a hundred frames played a thousand times: libav keeps an index entry for each
    path = mov(tmp_path / "a.mov", [png(32, 32)] * 100, edits=1000)
    facts = probe_clip_apart(path, sha256=SHA, limits=LimitSettings(probe_memory_mb=256), still_fps=25)
    assert facts.num_frames <= 100_000


def test_running_out_of_memory_is_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("tasks.probe_child.probe_clip", greedy)
    monkeypatch.setattr("tasks.probe_child.limit_memory", lambda _: None)  # this process is not to be limited
    request = {"kind": "clip", "path": "/a.mp4", "sha256": SHA, "still_fps": 25, "limits": LIMITS.model_dump()}
    said = probe(request)["error"]
    assert said["error_class"] == "INPUT"
    assert "limits.probe_memory_mb" in said["action"]


def test_what_was_not_foreseen_is_told_as_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    error = probe_apart._error_of({"error_class": "BUG", "problem": "ValueError: x", "file": None, "value": None})
    assert isinstance(error, BugError)


def test_pipes_and_devices_are_refused_before_they_are_hashed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    store, settings = Store(tmp_path / "store"), Settings()
    with pytest.raises(MediaError, match="pipe"):
        clip_facts(str(tmp_path / "pipe.mp4"), settings=settings, store=store)
    with pytest.raises(MediaError, match="device"):
        song_facts(str(tmp_path / "zero.wav"), settings=settings, store=store)


def test_a_defect_met_in_one_file_is_that_files_problem() -> None:
    def look(path: str) -> object:
        if path == "bad.mp4":
            raise BugError("ValueError: not foreseen")
        return path

    found = probe_all(["a.mp4", "bad.mp4", "b.mp4"], look)
    assert found["a.mp4"] == "a.mp4"
    assert found["b.mp4"] == "b.mp4"
    assert isinstance(found["bad.mp4"], MediaError)
    assert "bad.mp4" in str(found["bad.mp4"])
    assert "not foreseen" in str(found["bad.mp4"])
