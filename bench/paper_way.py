"""The paper's way of working, rebuilt from its description with our own networks, to be measured beside ours.

Everything as the published program does it: all frames read into memory, S3FD at full size on every frame, boxes
smoothed, the generator in float32 eager mode in batches of 128 behind full-box hard pastes, a lossy intermediate
file, and a second encode that muxes the sound. Only the parts that cost time are rebuilt, and each is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.generator import Generator
from models.s3fd import S3FD
from singalong.media.audio import iter_mono_16k, mel_chunk_starts, mel_chunks, mel_spectrogram
from singalong.media.geometry import network_crop, pad_box
from singalong.smoothing import smooth_boxes

BATCH = 128
PADS = (0, 10, 0, 0)


@dataclass
class Timings:
    """Seconds a stage, by `clock`, and how many frames each stage saw."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)

    def add(self, stage: str, started: float, frames: int) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock() - started
        self.frames[stage] = self.frames.get(stage, 0) + frames

    @property
    def seconds_per_frame(self) -> float:
        """Sum over the stages of each stage's own rate: S3FD may have seen fewer frames than the rest."""
        return sum(self.seconds[stage] / self.frames[stage] for stage in self.seconds)


def run_paper_way(
    clip: Path,
    song: Path,
    out: Path,
    *,
    num_frames: int,
    detect_frames: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Lip-sync `num_frames` frames; S3FD runs on the first `detect_frames` of them, the rest reuse their boxes."""
    timings = Timings(clock)
    started = timings.clock()
    frames, fps = _read_all(clip, num_frames)
    timings.add("decode", started, len(frames))
    started = timings.clock()
    mel = mel_spectrogram(np.concatenate(list(iter_mono_16k(song))), 16000)
    chunks = mel_chunks(mel, mel_chunk_starts(mel.shape[1], fps, len(frames)))
    timings.add("mel", started, len(frames))
    started = timings.clock()
    boxes = _detect(frames, detect_frames)
    timings.add("detect", started, detect_frames)
    _generate(frames, boxes, chunks, timings)
    started = timings.clock()
    _write_twice(frames, float(fps), song, out)
    timings.add("encode", started, len(frames))
    return timings


def _read_all(clip: Path, num_frames: int) -> tuple[list[NDArray[np.uint8]], float]:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate)
        frames = []
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="bgr24"))
            if len(frames) == num_frames:
                break
    while len(frames) < num_frames:
        frames.append(frames[len(frames) - num_frames].copy())
    return frames, fps


def _detect(frames: list[NDArray[np.uint8]], detect_frames: int) -> NDArray[np.int64]:
    detector = S3FD().eval()
    height, width = frames[0].shape[:2]
    # untrained weights find nothing that means anything: the time is S3FD's, the box is a plausible one
    box = [width // 3, height // 4, width * 2 // 3, height * 3 // 4]
    with torch.inference_mode():
        for frame in frames[:detect_frames]:
            detector.detect([frame])
    return smooth_boxes(np.array([box] * len(frames)))


def _generate(
    frames: list[NDArray[np.uint8]], boxes: NDArray[np.int64], chunks: NDArray[np.float32], timings: Timings
) -> None:
    generator = Generator().eval()
    height, width = frames[0].shape[:2]
    padded = [pad_box(tuple(int(v) for v in box), PADS, width=width, height=height) for box in boxes]
    for start in range(0, len(frames), BATCH):
        batch = range(start, min(start + BATCH, len(frames)))
        started = timings.clock()
        crops = np.stack(
            [network_crop(frames[i][padded[i][1] : padded[i][3], padded[i][0] : padded[i][2]]) for i in batch]
        )
        masked = crops.copy()
        masked[:, 48:] = 0
        faces = torch.from_numpy(np.concatenate([masked, crops], axis=3).transpose(0, 3, 1, 2) / 255.0).float()
        mels = torch.from_numpy(chunks[list(batch)][:, None])
        timings.add("crop", started, len(batch))
        started = timings.clock()
        with torch.no_grad():
            out = generator(mels, faces)
        timings.add("generate", started, len(batch))
        started = timings.clock()
        for i, face in zip(batch, (out.numpy().transpose(0, 2, 3, 1) * 255).astype(np.uint8), strict=True):
            x1, y1, x2, y2 = padded[i]
            frames[i][y1:y2, x1:x2] = cv2.resize(face, (x2 - x1, y2 - y1))
        timings.add("paste", started, len(batch))


def _cut(frame: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = box
    return frame[y1:y2, x1:x2]


def _write_twice(frames: list[NDArray[np.uint8]], fps: float, song: Path, out: Path) -> None:
    height, width = frames[0].shape[:2]
    intermediate = out.with_suffix(".avi")
    writer = cv2.VideoWriter(str(intermediate), cv2.VideoWriter_fourcc(*"DIVX"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    with av.open(str(intermediate)) as source, av.open(str(song)) as sound, av.open(str(out), "w") as target:
        video = target.add_stream("libx264", rate=source.streams.video[0].average_rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = target.add_stream("aac", rate=sound.streams.audio[0].rate)
        for frame in source.decode(video=0):
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        for frame in sound.decode(audio=0):
            if frame.time is not None and frame.time > len(frames) / fps:
                break
            frame.pts = None
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
