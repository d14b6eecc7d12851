"""Separating voices with a program of the user's: once per song, checked, and its failures told."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.errors import DeadlineError, ErrorClass, InfraError, MediaError, UsageError
from singalong.settings import SongSettings
from singalong.store import Store
from tasks.jobs import SongJob, WorkerSpec
from tasks.prepare_song import Separation, load_song, prepare_song
from tasks.separate import check_separator, separated_voice
from tasks.worker import Worker
from tests.sounds import chirp, tone, write_sound

SHA = "ab" * 32
PROGRAM = """
import sys, json, wave
from pathlib import Path
import numpy as np
song, folder = Path(sys.argv[1]), Path(sys.argv[2])
with (Path(__file__).parent / "runs.txt").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
print("separating", song.name)
with wave.open(str(song)) as file:
    rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)
spectrum = np.fft.rfft(samples)
spectrum[np.fft.rfftfreq(len(samples), 1 / rate) < 400] = 0  # the band plays below, the voice sings above
voice = np.fft.irfft(spectrum, len(samples))
cut = int(float(sys.argv[3]) * rate) if len(sys.argv) > 3 else 0
out = folder / "model" / song.stem
out.mkdir(parents=True)
with wave.open(str(out / "vocals.wav"), "wb") as file:
    file.setparams((1, 2, rate, 0, "NONE", ""))
    file.writeframes(voice[cut:].astype(np.int16).tobytes())
(out / "no_vocals.wav").write_bytes(b"the band")
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "separate.py"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A low hum all along, and a voice from 1 s to 2 s."""
    mix = tone(250, 3.0, 16000, 0.3)
    mix[16000:32000] += tone(900, 1.0, 16000, 0.3)
    return write_sound(tmp_path / "a song {folder} with; $(odd) name.wav", mix, 16000)


def settings(program: Path, *arguments: str) -> SongSettings:
    return SongSettings(separator=(sys.executable, str(program), "{song}", "{folder}", *arguments))


def script(text: str, **values: object) -> SongSettings:
    return SongSettings(separator=(sys.executable, "-c", text, "{song}", "{folder}", "{output}"), **values)


def separate(song: Path, store: Store, settings: SongSettings, timeout_s: float = 60.0) -> Path:
    return separated_voice(song, sha256=SHA, store=store, settings=settings, timeout_s=timeout_s)


def runs(program: Path) -> list[list[str]]:
    return [json.loads(line) for line in (program.parent / "runs.txt").read_text().splitlines()]


def test_lips_and_scores_hear_the_separated_voice_alone(song: Path, store: Store, program: Path) -> None:
    separation = Separation(settings(program), 60.0)
    mix = load_song(prepare_song(song, sha256=SHA, store=store))
    voice = load_song(prepare_song(song, sha256=SHA, store=store, separation=separation))
    assert mix.voiced[20:60].all(), "the hum alone counts as loud"
    assert not voice.voiced[:70].any()
    assert voice.voiced[85:155].all()
    assert abs(voice.duration_s - mix.duration_s) < 0.05


def test_a_song_is_separated_once_per_command(song: Path, store: Store, program: Path) -> None:
    first = separate(song, store, settings(program))
    assert separate(song, store, settings(program)) == first
    assert len(runs(program)) == 1
    assert separate(song, store, settings(program, "0.01")) != first
    assert len(runs(program)) == 2
    assert runs(program)[0][0] == str(song), "no shell read the name, and what looks like a placeholder in it stands"


def test_nothing_is_left_beside_the_voice(song: Path, store: Store, program: Path) -> None:
    voice = separate(song, store, settings(program))
    assert {path.name for path in voice.parent.iterdir()} == {"voice.wav", "complete.json"}
    assert not list((store.root / "tmp").rglob("vocals.wav"))


def test_a_voice_of_another_length_is_refused_and_a_little_padding_is_not(
    song: Path, store: Store, program: Path
) -> None:
    separate(song, store, settings(program, "0.04"))
    with pytest.raises(MediaError, match=r"another length.*2\.940 s.*expected 3\.000 s") as failure:
        separate(song, store, settings(program, "0.06"))
    assert str(song) in str(failure.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pass", r"left no file \*\*/vocals\.\* of it.*an empty folder"),
        ("import sys; open(sys.argv[2] + '/voice.wav', 'w')", r"no file .*saw 'voice\.wav'"),
        (
            "import sys; [open(f'{sys.argv[2]}/vocals.{n}', 'w') for n in 'ab']",
            r"more than one file.*vocals\.a, vocals\.b",
        ),
        ("import sys; open(sys.argv[3], 'w').write('words')", "its separated voice cannot be heard"),
        ("import os, sys; os.symlink(sys.argv[1], sys.argv[3])", "left no file"),
    ],
)
def test_what_is_no_voice_is_told_with_what_was_found(song: Path, store: Store, text: str, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        separate(song, store, script(text))


def test_a_program_that_fails_is_told_with_its_last_words_and_may_succeed_later(
    song: Path, store: Store, program: Path
) -> None:
    failing = settings(program)
    program.write_text("import sys; print('x' * 5000); sys.exit('no model\\x1b[31m installed')")
    with pytest.raises(InfraError, match=r"exit code 1: .*no model \[31m installed") as failure:
        separate(song, store, failing)
    assert len(str(failure.value)) < 1200
    program.write_text(PROGRAM)
    assert separate(song, store, failing).exists()


def test_a_program_that_hangs_is_killed_with_its_helpers(song: Path, store: Store, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    helper = SongSettings(separator=("sh", "-c", 'sleep 600 & echo $! > "$0"; wait', str(pid), "{song}", "{output}"))
    for timeout_s in (0.7, 5.5, 40.5):  # the first is enough where the helper comes up at all within it
        with pytest.raises(DeadlineError, match=rf"longer than {timeout_s} s.*songs\.separator_timeout_s"):
            separate(song, store, helper, timeout_s=timeout_s)
        if pid.exists() and pid.read_text():
            break
    assert ends(int(pid.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not end children with their parents")
def test_a_program_dies_with_its_worker(song: Path, store: Store, tmp_path: Path) -> None:
    started = tmp_path / "started"
    text = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    worker = f"""
from pathlib import Path
from singalong.settings import SongSettings
from singalong.store import Store
from tasks.separate import separated_voice
settings = SongSettings(separator=({sys.executable!r}, "-c", {text!r}, "{{song}}", "{{output}}"))
store = Store(Path({str(store.root)!r}))
separated_voice(Path({str(song)!r}), sha256={SHA!r}, store=store, settings=settings, timeout_s=60)
"""
    process = subprocess.Popen([sys.executable, "-c", worker], cwd=Path(__file__).parents[2])
    while not started.exists() or not started.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert ends(int(started.read_text()))


def ends(pid: int) -> bool:
    """Whether a process ends by itself, well before it would."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_program_that_is_not_there_is_told(song: Path, store: Store, tmp_path: Path) -> None:
    gone = SongSettings(separator=("no-such-separator", "{song}", "{output}"))
    with pytest.raises(InfraError, match=r"cannot be started: No such file.*no-such-separator"):
        separate(song, store, gone)
    for program in ("no-such-separator", "./here.py", str(tmp_path / "gone")):
        with pytest.raises(UsageError, match=r"songs\.separator"):
            check_separator(SongSettings(separator=(program, "{song}", "{output}")))
    check_separator(SongSettings(separator=(sys.executable, "{song}", "{output}")))


def test_a_worker_separates_as_its_settings_say_and_returns_failures_as_rows(
    song: Path, store: Store, program: Path
) -> None:
    def run(songs: SongSettings) -> object:
        detector = ModelRef(name="d", architecture="d", weights_sha256="0" * 64)
        spec = WorkerSpec(settings=Settings(songs=songs), store=str(store.root), detector=detector, scorer=None)
        return Worker(spec).run(SongJob(path=str(song), sha256=store.file_sha256(song), separates=True))

    assert load_song(Path(run(settings(program)).folder)).voiced.any()
    failure = run(script("import sys; sys.exit(3)")).failure
    assert failure.error_class is ErrorClass.INFRA
    assert "it printed nothing" in failure.message


def test_the_programs_deadline_lies_before_the_jobs() -> None:
    run = Settings.model_validate({"run": {"shard_timeout_s": 100}})
    assert Separation.of(run).timeout_s == 80
    assert Separation.of(Settings()).timeout_s == 1400


def test_an_inverted_separated_voice_is_heard(store: Store, tmp_path: Path) -> None:
    voice = chirp(1.0, 16000)
    path = write_sound(tmp_path / "a.wav", np.stack([voice, -voice], axis=1), 16000)
    copy = script("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[3])")
    assert load_song(prepare_song(path, sha256=SHA, store=store, separation=Separation(copy, 60.0))).voiced.any()
