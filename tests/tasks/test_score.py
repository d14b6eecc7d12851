from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models.cards import builtin_cards
from models.detectors import load_detector
from models.scorers import ExpertScorer
from models.sync_expert import SyncExpert
from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.errors import MediaError, NoFaceError
from singalong.store import Store
from tasks.prepare_song import load_song, prepare_song
from tasks.score import VideoScore, score_video
from tests.tasks.score_fakes import NumberScorer, picture_of
from tests.videos import make_video, number_in, picture

SIZE = (128, 96)
DETECTOR_REF = ModelRef(name="whole", architecture="centerface", weights_sha256="0" * 64)


class WholeFrameDetector:
    """Sees one face that fills the frame, or none in frames whose number is in `hidden`."""

    def __init__(self, hidden: Sequence[int] = ()) -> None:
        self.hidden = frozenset(hidden)

    def detect(self, images: list[np.ndarray]) -> list[Any]:
        return [self._face(image) for image in images]

    def _face(self, image: np.ndarray) -> Any:
        height, width = image.shape[:2]
        num = 0 if number_in(image[..., 1]) in self.hidden else 1
        box = np.array([[0, 0, width, height]], np.float32)[:num]
        return SimpleNamespace(boxes=box, scores=np.full(num, 0.9, np.float32), landmarks=None)


class VideoNumberScorer(NumberScorer):
    """Reads the number of the frame: frame n of the video shows the mouth of n / fps - late."""

    def __init__(self, voice: Any, fps: Fraction, frames_late: float = 0) -> None:
        super().__init__(voice, lambda t: t - frames_late / 25)
        self.fps = fps

    def crop(self, read: Any, box: Any, *, width: int, height: int) -> np.ndarray | None:
        x1, y1, x2, y2 = box
        region = read((max(0, x1), max(0, y1), min(width, x2), min(height, y2)))
        return picture_of(number_in(region[..., 1]) / float(self.fps))


def _sound(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.1, 1, round(seconds * 40)), 400)
    return (4000 * loudness * rng.normal(size=len(loudness))).clip(-32768, 32767).astype(np.int16)


def _encode_sound(out: Any, stream: Any, samples: np.ndarray) -> None:
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _wav(path: Path, samples: np.ndarray) -> Path:
    with av.open(str(path), "w") as out:
        _encode_sound(out, out.add_stream("pcm_s16le", rate=16000, layout="mono"), samples)
    return path


def _talking_video(
    path: Path, samples: np.ndarray, *, fps: Fraction = Fraction(25), seconds: float = 5.0, first_frame: int = 0
) -> Path:
    """A video of numbered pictures from number and time `first_frame` / fps on, and of a sound from time 0 on."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p")
        stream.bit_rate = 4_000_000
        audio = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for number in range(first_frame, round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(picture(number, *SIZE), "rgb24")
            frame.pts, frame.time_base = number, 1 / fps
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        _encode_sound(out, audio, samples)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _score(
    video: Path,
    store: Store,
    *,
    fps: Fraction = Fraction(25),
    frames_late: float = 0,
    audio: Path | None = None,
    hidden: Sequence[int] = (),
) -> VideoScore:
    heard = audio or video
    voice = load_song(prepare_song(heard, sha256=store.file_sha256(heard), store=store))
    return score_video(
        video,
        scorer=VideoNumberScorer(voice, fps, frames_late),
        detector=WholeFrameDetector(hidden),
        detector_ref=DETECTOR_REF,
        store=store,
        settings=Settings(),
        audio=audio,
    )


@pytest.mark.parametrize(("fps", "frames_late"), [("25", 4), ("30", 0), ("24000/1001", -3), ("50", 2)])
def test_offset_of_a_video_and_its_own_sound(tmp_path: Path, store: Store, fps: str, frames_late: int) -> None:
    """The mouth of each frame is that of `frames_late` 25 fps frames ago: the sound is early."""
    rate = Fraction(fps)
    video = _talking_video(tmp_path / "talk.mkv", _sound(5.0), fps=rate)
    result = _score(video, store, fps=rate, frames_late=frames_late)
    assert result.score.offset_frames == frames_late
    assert result.score.confidence > 2 * result.score.confidence_mismatched
    assert result.score.num_windows >= 110
    assert result.face_coverage == pytest.approx(1, abs=0.02)
    assert result.voiced_share > 0.95
    assert (result.reason, result.score.scorer, result.audio) == (None, "numbers", str(video))


def test_a_video_whose_pictures_start_late_keeps_its_offset(tmp_path: Path, store: Store) -> None:
    video = _talking_video(tmp_path / "late.mkv", _sound(5.0), first_frame=20)
    result = _score(video, store, frames_late=1)
    assert result.score.offset_frames == 1
    assert result.score.num_windows == 101  # from step 20 to step 120, the last with 0.2 s of sound
    assert result.face_coverage == pytest.approx(105 / 125, abs=0.01)


def test_sound_of_another_file_starts_with_the_video(tmp_path: Path, store: Store) -> None:
    sound = _sound(6.0)
    video = _talking_video(tmp_path / "talk.mkv", _sound(5.0, seed=9))
    late = _wav(tmp_path / "late.wav", np.concatenate([sound[:1280], sound]))
    result = _score(video, store, audio=late)
    assert result.score.offset_frames == 0
    assert result.audio == str(late)
    # the same mouths, now 2 frames ahead of their sound
    assert _score(video, store, audio=late, frames_late=-2).score.offset_frames == -2


def test_frames_without_the_face_are_left_out(tmp_path: Path, store: Store) -> None:
    video = _talking_video(tmp_path / "talk.mkv", _sound(5.0))
    result = _score(video, store, hidden=range(40, 90))
    assert result.score.offset_frames == 0
    assert result.face_coverage == pytest.approx(75 / 125, abs=0.05)
    assert result.score.num_windows <= 75 - 8


def test_too_little_face_or_voice_is_said_and_not_scored(tmp_path: Path, store: Store) -> None:
    video = _talking_video(tmp_path / "talk.mkv", _sound(5.0))
    brief = _score(video, store, hidden=range(10, 125))
    assert brief.score.confidence is None
    assert brief.reason is not None
    assert "at least 10 are needed" in brief.reason
    silent = _talking_video(tmp_path / "silent.mkv", np.zeros(80000, np.int16))
    result = _score(silent, store)
    assert (result.score.confidence, result.score.num_windows) == (None, 0)
    assert result.reason == "there is no voice in its sound"


def test_a_video_too_short_to_shift_its_sound_is_not_scored(tmp_path: Path, store: Store) -> None:
    video = _talking_video(tmp_path / "short.mkv", _sound(0.7), seconds=0.7)
    result = _score(video, store)
    assert result.score.num_windows >= 10
    assert result.score.confidence is None
    assert result.reason == "it is too short to move its sound by 0.6 s to either side"


def test_a_video_without_sound_asks_for_some(tmp_path: Path, store: Store) -> None:
    video = make_video(tmp_path / "mute.mp4")
    with pytest.raises(MediaError, match=r"mute.mp4: has no sound .*--audio"):
        score_video(
            video,
            scorer=None,  # type: ignore[arg-type]
            detector=WholeFrameDetector(),
            detector_ref=DETECTOR_REF,
            store=store,
            settings=Settings(),
        )


def test_a_still_is_refused(tmp_path: Path, store: Store) -> None:
    Image.fromarray(picture(1, *SIZE)).save(tmp_path / "still.png")
    with pytest.raises(MediaError, match=r"still.png: a still picture has no lips"):
        score_video(
            tmp_path / "still.png",
            scorer=None,  # type: ignore[arg-type]
            detector=WholeFrameDetector(),
            detector_ref=DETECTOR_REF,
            store=store,
            settings=Settings(),
            audio=_wav(tmp_path / "a.wav", _sound(1.0)),
        )


def test_a_real_talking_head_is_scored_from_end_to_end(shared_data: Path, store: Store) -> None:
    video = shared_data / "clips" / "grid_s1_bbaf2n_mpeg1.mpg"
    torch.manual_seed(0)
    reference = next(card.ref() for card in builtin_cards() if card.architecture == "centerface")
    result = score_video(
        video,
        scorer=ExpertScorer(SyncExpert(width=0.125), name="random", device="cpu"),
        detector=load_detector(reference),
        detector_ref=reference,
        store=store,
        settings=Settings(),
    )
    assert result.face_coverage == 1.0
    assert 20 <= result.score.num_windows <= 71
    assert result.score.confidence is not None  # of random weights: a number, no more


def test_a_video_without_a_face_is_refused(tmp_path: Path, store: Store) -> None:
    video = _talking_video(tmp_path / "talk.mkv", _sound(2.0), seconds=2)
    with pytest.raises(NoFaceError, match=r"talk.mkv: no usable face"):
        _score(video, store, hidden=range(50))
