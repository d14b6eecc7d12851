"""How a face that was laid back looks beside the clip's own: seams, sharpness, flicker. Ratios only, no times.

    python -m bench.picture                        a synthetic 1280x720 clip, made for the purpose
    python -m bench.picture --clip C1 --clip C2    files of yours

Each clip is given new lips by several generators, in the paper's way, in the plain way (a feathered rectangle, enlarged
by bilinear interpolation) and in ours. There being no trained weights of the paper's, three stand-ins paint:
`repeat` is a perfect generator at 96x96, which draws what it is shown; `cast` does so brighter by 8 levels and 5 %
flatter; `talk` paints the mouth of another moment of the same clip, with that cast. The untrained generator and the
bundled warper hear noise, so that their mouths move all the time. Columns, over all frames:

    seam     slope of (result - clip) where the mask fades, over the clip's own slope there
    skin 1-3, mouth 1-3    energy of the octaves from the finest, result over clip: 1 is as sharp as the clip
    flicker  change of (result - clip) from frame to frame on skin that only repeats, levels of luma
    spill    levels by which pixels off the face (beside the jaw) differ from the clip
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.inputs import make_clip
from models.detectors import load_detector
from models.engine import Drawing, load_engine
from models.registry import resolve
from singalong.config import Settings, default_models_home
from singalong.durable import sha256_of
from singalong.media.decode import ClipReader
from singalong.media.frames import YuvFrame, face_region_to_bgr
from singalong.media.geometry import NETWORK_SIDE_PX
from singalong.media.jaw import jaw_outline
from singalong.media.probe import probe_clip
from singalong.settings import LipsyncSettings
from singalong.store import Store
from singalong.tracks import ChosenFace, choose_face
from tasks.analyse import analyse_clip, load_analysis
from tasks.painter import FacePainter, Spot

RESULTS = Path(__file__).parent / "results"
NUM_FRAMES, NUM_OCTAVES = 50, 3
PLAIN = {"match_color": False, "keep_detail": False}
WAYS = {"paper": {"mask": "box", "feather": 0.0, **PLAIN}, "plain": PLAIN, "ours": {}}

Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Draw = Callable[[Sequence[Image]], list[Drawing]]


class StandIn:
    """Has the face of an engine; draws by a function."""

    mel_steps, can_rest = 16, False

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def generate(self, _mel: Field, faces: Image, _sung: Field | None = None) -> list[Drawing]:
        return self._draw(list(faces))


def cast(face: Image) -> Image:
    """8 levels brighter, 5 % flatter."""
    return np.clip(face * 0.95 + 8.5, 0, 255).astype(np.uint8)


def talk(faces: Sequence[Image]) -> list[Drawing]:
    """The mouth of another moment, with a cast: an ellipse over the lower middle, softly joined."""
    y, x = np.mgrid[:NETWORK_SIDE_PX, :NETWORK_SIDE_PX] / NETWORK_SIDE_PX
    weight = np.clip(1.6 - (((x - 0.5) / 0.24) ** 2 + ((y - 0.75) / 0.17) ** 2), 0, 1)[..., None]
    return [
        cast((faces[(i + 12) % len(faces)] * weight + face * (1 - weight) + 0.5).astype(np.uint8))
        for i, face in enumerate(faces)
    ]


def load(clip: Path, folder: Path) -> tuple[list[YuvFrame], list[Spot | None], float]:
    """Frames from the first third on, where the largest face is in each, and the frame rate."""
    settings = Settings()
    facts = probe_clip(clip, sha256=sha256_of(clip), limits=settings.limits, still_fps=25)
    detector = resolve("auto", "detector", home=default_models_home())
    analysis = analyse_clip(
        facts,
        detector=load_detector(detector),
        detector_ref=detector,
        settings=settings.analysis,
        store=Store(folder / "store"),
    )
    found = load_analysis(analysis, 0, facts.duration_s)
    face: ChosenFace = choose_face(found.tracks, found.shots, "largest", 0, facts.duration_s)
    first_s = facts.duration_s / 3
    times_s = [t for t in first_s + np.arange(NUM_FRAMES) / float(facts.fps) if t < facts.duration_s]
    with ClipReader(facts) as reader:
        frames = reader.read_chunk(times_s)
    painter = FacePainter(settings.lipsync, StandIn(list), fps=25)  # type: ignore[arg-type]
    spots = [painter.spot_at(face, frame.pts_s, width=facts.width, height=facts.height) for frame in frames]
    return frames, spots, float(facts.fps)


def octaves(image: Field, num: int) -> list[Field]:
    """Band-pass pictures at full size, finest first."""
    bands, last = [], image
    for octave in range(num):
        blurred = cv2.GaussianBlur(image, (0, 0), 0.7 * 2**octave)
        bands.append(last - blurred)
        last = blurred
    return bands


class Measure:
    """Adds up, over frames, what the columns need."""

    def __init__(self) -> None:
        self.sums: dict[str, list[tuple[float, float]]] = {}
        self._last: tuple[Field, Field] | None = None

    def add(self, source: Image, result: Image, skin: Field, mouth: Field, fade: Field, outside: Field) -> None:
        """Crops (h, w, 3) and weights (h, w) of what is skin, mouth, the mask's fade, and off the face."""
        before, after = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in (source, result))
        for name, region in (("skin", skin), ("mouth", mouth)):
            for octave, (a, b) in enumerate(
                zip(octaves(before, NUM_OCTAVES), octaves(after, NUM_OCTAVES), strict=True), 1
            ):
                self._note(f"{name} {octave}", (b**2 * region).sum(), (a**2 * region).sum())
        delta = after - before
        self._note("seam", (slope(delta) * fade).sum(), (slope(before) * fade).sum())
        self._note("spill", (np.abs(delta) * outside).sum(), outside.sum())
        if self._last is not None and self._last[0].shape == delta.shape:
            both = np.minimum(skin, self._last[1])
            self._note("flicker", (np.abs(delta - self._last[0]) * both).sum(), both.sum())
        self._last = delta, skin

    def _note(self, name: str, value: float, base: float) -> None:
        self.sums.setdefault(name, []).append((float(value), float(base)))

    def result(self) -> dict[str, float]:
        """By column."""
        ratios = {
            name: sum(v for v, _ in pairs) / max(1e-9, sum(b for _, b in pairs)) for name, pairs in self.sums.items()
        }
        return {name: round(r**0.5 if name[-1].isdigit() else r, 3) for name, r in ratios.items()}


def slope(image: Field) -> Field:
    """Magnitude of the gradient, levels a pixel, of what the eye takes for shading and not for grain."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    return cv2.magnitude(cv2.Sobel(soft, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(soft, cv2.CV_32F, 0, 1) / 8)


def regions(spot: Spot, mask: Field) -> tuple[Field, Field, Field, Field]:
    """Weights (h, w) of skin, mouth, fade and outside for one box; `mask` is that of the way measured."""
    x1, y1, x2, y2 = spot.box
    assert spot.landmarks is not None
    jaw = jaw_outline(spot.box, spot.landmarks, feather_px=1.0)
    assert jaw is not None
    left, right = spot.landmarks[3:] - (x1, y1)
    middle, reach = (left + right) / 2, float(np.linalg.norm(right - left))
    y, x = np.mgrid[: y2 - y1, : x2 - x1]
    distance = np.hypot((x - middle[0]) / reach, (y - middle[1] - 0.1 * reach) / reach)
    lower = (y > (y2 - y1) * 0.52) & (jaw > 0.99)
    skin = (lower & (distance > 0.85) & (mask > 0.9)).astype(np.float32)
    mouth = (distance < 0.6).astype(np.float32)
    edge = cv2.dilate(mask, np.ones((3, 3))) - cv2.erode(np.pad(mask, 1), np.ones((3, 3)))[1:-1, 1:-1] > 0.02
    outside = ((jaw < 0.01) & (y > (y2 - y1) * 0.5)).astype(np.float32)
    return skin, mouth, edge.astype(np.float32), outside


def measure(
    frames: list[YuvFrame], spots: list[Spot | None], fps: float, engine: StandIn, way: dict[str, object]
) -> dict[str, float]:
    """The columns of one clip, generator and way."""
    settings = LipsyncSettings.model_validate(way)
    painter = FacePainter(settings, engine, fps=fps)  # type: ignore[arg-type]
    places = [spot if settings.match_color or spot is None else Spot(spot.box, None, spot.shot) for spot in spots]
    rng = np.random.default_rng(0)
    mels = rng.uniform(-4, 2, (len(frames), 80, engine.mel_steps)).astype(np.float32)
    painted = painter.paint(frames, places, mels)
    totals = Measure()
    for frame, output, spot, place in zip(frames, painted.frames, spots, places, strict=True):
        if spot is None or spot.landmarks is None or place is None:
            continue
        x1, y1, x2, y2 = spot.box
        wide = max(0, x1 - 4), max(0, y1 - 4), min(frame.width, x2 + 4), min(frame.height, y2 + 4)
        pads = ((y1 - wide[1], wide[3] - y2), (x1 - wide[0], wide[2] - x2))
        weights = (np.pad(field, pads) for field in regions(spot, painter.mask(place)))
        totals.add(face_region_to_bgr(frame, wide), face_region_to_bgr(output, wide), *weights)
    return totals.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=RESULTS / "picture.json")
    options = parser.parse_args()
    home = default_models_home()
    engines: dict[str, StandIn] = {
        "repeat": StandIn(list),
        "cast": StandIn(lambda faces: [cast(face) for face in faces]),
        "talk": StandIn(talk),
    }
    for name in ("untrained", "singalong-warper"):
        engines[name] = load_engine(resolve(name, "generator", home=home), device="cpu", precision="float32")  # type: ignore[assignment]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for clip in options.clip or [make_clip(folder / "synthetic.mp4", seconds=4.0)]:
            frames, spots, fps = load(clip, folder)
            for name, engine in engines.items():
                ways = {"ours": {}} if name == "singalong-warper" else WAYS
                for way, changes in ways.items():
                    rows.append(
                        {
                            "clip": clip.name,
                            "generator": name,
                            "way": way,
                            **measure(frames, spots, fps, engine, changes),
                        }
                    )
    columns = list(rows[0])
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console(width=160).print(table)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
