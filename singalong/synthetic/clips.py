"""Talking people as video files: a person, a scene, a movement, a voice, all from one seed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from singalong.synthetic.arrays import Floats
from singalong.synthetic.articulation import MouthStyle, mouth_track, still_mouth
from singalong.synthetic.cast import Identity
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.phonemes import PhonemeSpan
from singalong.synthetic.poses import POSE_NAMES, pose_track
from singalong.synthetic.render import FaceRenderer, Scene, render
from singalong.synthetic.voice import Singer

_SPEECH_PEAK = 0.5


@dataclass(frozen=True)
class TalkingClip:
    """A clip and its truth. poses (n, 10) and mouths (n, 9) are per frame; speech is (samples,) at 44.1 kHz or None."""

    person: Identity
    scene: Scene
    style: MouthStyle
    width: int
    height: int
    fps: Fraction
    poses: Floats
    mouths: Floats
    phonemes: tuple[PhonemeSpan, ...]
    speech: Floats | None

    @classmethod
    def from_seed(
        cls,
        seed: int,
        *,
        width: int,
        height: int,
        fps: Fraction,
        duration_s: float,
        speaks: bool = True,
        half_height: float | None = None,
        max_yaw: float = 0.4,
    ) -> TalkingClip:
        """A random person who talks in sync with their own speech, or is silent with the mouth at rest.

        half_height: of the face, share of the frame's height; frames taller than wide take less by default.
        """
        num_frames = round(Fraction(duration_s) * fps)
        style = MouthStyle.from_seed(seed)
        limit = 0.62 * width / height
        if half_height is None:
            half_height = float(np.random.default_rng([seed, 161]).uniform(0.2, 0.34))
        poses = pose_track(
            num_frames, fps=float(fps), seed=seed, half_height=min(half_height, 0.6 * limit), max_yaw=max_yaw
        )
        phonemes: tuple[PhonemeSpan, ...] = ()
        speech: Floats | None = None
        mouths = still_mouth(num_frames, style=style)
        if speaks:
            vocal = Singer.from_seed(seed).speak(duration_s, seed=seed)
            phonemes = vocal.phonemes
            speech = vocal.samples * np.float32(_SPEECH_PEAK / max(float(np.abs(vocal.samples).max()), 1e-6))
            mouths = mouth_track(phonemes, np.arange(num_frames) / float(fps), style=style, seed=seed)
        person, scene = Identity.from_seed(seed), Scene.from_seed(seed)
        return cls(person, scene, style, width, height, fps, poses, mouths, phonemes, speech)

    def renderer(self) -> FaceRenderer:
        """A renderer of this clip's person in its scene."""
        size = float(self.poses[:, POSE_NAMES.index("half_height")].max()) * self.height
        return FaceRenderer(self.person, self.scene, width=self.width, height=self.height, face_px=size)

    def dubbed(self, phonemes: Sequence[PhonemeSpan], *, start_s: float = 0.0) -> TalkingClip:
        """The same pictures, but the mouth says `phonemes` from their time `start_s` on; silent.

        With this clip's own frames this makes same-pose pairs: they differ in the lower face only.
        """
        times_s = start_s + np.arange(len(self.poses)) / float(self.fps)
        mouths = mouth_track(phonemes, times_s, style=self.style, seed=self.person.seed)
        shifted = tuple(replace(span, start_s=span.start_s - start_s, end_s=span.end_s - start_s) for span in phonemes)
        return replace(self, mouths=mouths, phonemes=shifted, speech=None)

    def frames(self) -> Iterator[np.ndarray]:
        """All frames in order, each (height, width, 3) uint8 BGR."""
        return render(self.person, self.poses, self.mouths, scene=self.scene, width=self.width, height=self.height)

    def write(self, path: Path, *, crf: int = 20, preset: str = "veryfast") -> Path:
        """Write an MP4 file, with the speech as its sound if there is any."""
        from singalong.media.audio_out import AudioSpan
        from singalong.media.encode import SegmentWriter
        from singalong.media.frames import MATRIX_SMPTE170M, RANGE_LIMITED, ColorInfo, bgr_to_frame
        from singalong.media.join import join_segments

        color = ColorInfo(MATRIX_SMPTE170M, RANGE_LIMITED, 6, 6)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            segment = Path(folder) / "video.mp4"
            with SegmentWriter(
                segment, width=self.width, height=self.height, fps=self.fps, color=color, crf=crf, preset=preset
            ) as writer:
                for index, bgr in enumerate(self.frames()):
                    writer.write(bgr_to_frame(bgr, pts_s=index / float(self.fps), color=color))
            audio = []
            if self.speech is not None:
                sound = write_wav(Path(folder) / "speech.wav", self.speech)
                audio = [AudioSpan(sound, 0.0, len(self.poses) / float(self.fps))]
            join_segments([segment], path, fps=self.fps, audio=audio, metadata={})
        return path
