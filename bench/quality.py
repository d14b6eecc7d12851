"""What speed costs in quality: the same shard in float32 and as it is made by default, for both generators.

    python -m bench.quality                  a synthetic 1280x720 clip, made for the purpose
    python -m bench.quality --clip C         a clip of yours beside it; may be repeated
    python -m bench.quality --seconds 2      less of each

Float32 is the arithmetic of the paper; default is what the machine is fastest at, bfloat16 where it multiplies that.
The rest of both runs is the same. Films are written without loss: by what else would two films of pictures a level
apart differ than the encoder's noise (0.988 on the synthetic clip's grain at crf 18). SSIM is luma's (Wang et al. 2004,
Gaussian window of 11, sigma 1.5), in the face's box; scores are the report's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.inputs import make_clip, make_song
from bench.pipeline import FULL_SIZE, SMALL, run_ours
from bench.targets import Target, report
from singalong.durable import sha256_of
from singalong.frames_table import Box
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings

Luma = NDArray[np.float32]
_FLOAT32, _LOSSLESS = "lipsync.precision=float32", "lipsync.crf=0"
_LEAST_SSIM, _MOST_OFF = 0.99, 0.01


class Made(NamedTuple):
    """A film, the face in each of its frames, and how well it is in sync."""

    film: Path
    boxes: list[Box | None]
    confidence: float | None
    distance: float | None


def main() -> None:
    """Make, compare, print; exit code 1 with --check where a target is missed."""
    options = _options()
    cv2.setNumThreads(1)
    from models.engine import limit_threads

    limit_threads()
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        song = make_song(folder / "song.wav", seconds=options.seconds)
        clips = {"synthetic": make_clip(folder / "clip.mp4", seconds=options.seconds)}
        clips |= {clip.stem: clip.resolve() for clip in options.clip}
        for name, clip in clips.items():
            for kind, generator in (("full size", FULL_SIZE), ("bundled", SMALL)):
                exact, fast = (
                    _make(clip, song, folder / f"{name} {kind} {way}", options.seconds, generator, overrides)
                    for way, overrides in (("float32", (_FLOAT32, _LOSSLESS)), ("default", (_LOSSLESS,)))
                )
                targets += compare(f"{name}, {kind}", exact, fast)
    met = report("quality", targets, {"seconds": options.seconds, "clips": list(clips)})
    if options.check and not met:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, action="append", default=[])
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each output")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return parser.parse_args()


def _make(clip: Path, song: Path, folder: Path, seconds: float, generator: str, overrides: tuple[str, ...]) -> Made:
    made = run_ours(clip, song, folder, seconds, generator=generator, overrides=overrides)
    (table,) = (pq.read_table(path) for path in (folder / "store").glob("work/**/*.parquet"))
    columns = (table[side].to_pylist() for side in ("x1", "y1", "x2", "y2"))
    boxes = [None if box[0] is None else box for box in zip(*columns, strict=True)]
    return Made(made.film, boxes, made.confidence, made.distance)


def compare(name: str, exact: Made, fast: Made) -> list[Target]:
    """The figures of one clip and generator."""
    first, second = _frames(exact.film), _frames(fast.film)
    found = [
        ssim(*(luma[box[1] : box[3], box[0] : box[2]] for luma in pair))
        for *pair, box in zip(first, second, exact.boxes, strict=True)
        if box is not None
    ]
    targets = [
        Target(f"{name}: SSIM of the face, mean", float(np.mean(found)), _LEAST_SSIM),
        Target(f"{name}: SSIM of the face, worst frame", min(found), None),
    ]
    for what, one, other in (
        ("confidence", exact.confidence, fast.confidence),
        ("distance", exact.distance, fast.distance),
    ):
        if one and other:
            targets.append(Target(f"{name}: {what} off by", abs(other / one - 1), _MOST_OFF, higher_is_better=False))
    return targets


def _frames(film: Path) -> list[Luma]:
    facts = probe_clip(film, sha256=sha256_of(film), limits=LimitSettings(), still_fps=25)
    times_s = (np.arange(round(facts.duration_s * facts.fps)) + 0.5) / float(facts.fps)
    with ClipReader(facts) as reader:
        return [
            frame.y.astype(np.float32)
            for start in range(0, len(times_s), 16)
            for frame in reader.read_chunk(times_s[start : start + 16].tolist())
        ]


def ssim(one: Luma, other: Luma) -> float:
    """Mean structural similarity of two pictures (h, w) of 256 levels: Wang et al., IEEE TIP 13(4), 2004."""

    def smooth(values: Luma) -> Luma:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    mean_1, mean_2 = smooth(one), smooth(other)
    var_1, var_2 = smooth(one * one) - mean_1**2, smooth(other * other) - mean_2**2
    both = smooth(one * other) - mean_1 * mean_2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    shares = (2 * mean_1 * mean_2 + c1) * (2 * both + c2) / ((mean_1**2 + mean_2**2 + c1) * (var_1 + var_2 + c2))
    return float(shares.mean())


if __name__ == "__main__":
    main()
