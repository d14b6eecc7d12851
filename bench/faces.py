"""The right face, steadily: paths of faces, the person chosen, people who cross; the naive way beside ours.

    python -m bench.faces [--casts 6] [--crossings 12] [--data ../shared/data]

Naive are: no smoothing and the paper's mean of five frames, both with a detection in every frame; the person nearest in
place and size in other shots; and tracks linked by place alone. Prints tables and writes results/faces.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.face_scenes import PANEL, Crossing, Shot, write_video
from bench.looks import detector
from bench.targets import RESULTS
from models.centerface import CenterFace
from singalong import linking
from singalong.contracts import ClipFacts, ModelRef
from singalong.linking import Sample
from singalong.media.decode import iter_small_frames
from singalong.media.probe import probe_clip
from singalong.settings import AnalysisSettings, LimitSettings
from singalong.store import Store
from singalong.track_filling import fill_track
from singalong.tracks import choose_face
from tasks.analyse import Analysis, analyse_clip, load_analysis

Floats = NDArray[np.float64]

FACE_PX = 140.0
NOISE = {"centre": 0.003, "size": 0.005}
"""Deviation of one detection, shares of the face's height. CenterFace on real clips: centres 0.0001 to 0.0008, sizes
0.002 to 0.007, landmarks 0.001 to 0.004."""

WAYS = {
    "none": AnalysisSettings(smoothing="paper", smooth_window=1),
    "paper": AnalysisSettings(smoothing="paper"),
    "ours": AnalysisSettings(),
}
REAL_CLIPS = ("jwp_intro_vga.mp4", "actor_portrait_hevc_720x1280.mp4", "webcam_black_then_face.mp4")
REF = ModelRef(name="centerface", architecture="centerface", weights_sha256="0" * 64)


def drawn_paths(fps: float) -> dict[str, dict[str, float]]:
    """Jitter, lag and error of each way for a head that sways, nods and stands still by turns."""
    times_s = np.arange(int(16 * fps)) / fps
    moving = np.clip(np.sin(2 * np.pi * times_s / 8) * 3, 0, 1)
    across = 300 + FACE_PX * moving * (0.10 * np.sin(2 * np.pi * 0.4 * times_s) + 0.04 * np.sin(2 * np.pi * times_s))
    down = 300 + FACE_PX * moving * 0.03 * np.sin(2 * np.pi * 1.6 * times_s)
    true = np.stack([across, down], axis=1)
    rng = np.random.default_rng(0)
    centres = true + rng.normal(0, NOISE["centre"] * FACE_PX, true.shape)
    sizes = np.array([0.75, 1.0]) * FACE_PX * (1 + rng.normal(0, NOISE["size"], true.shape))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    return {name: path_figures(boxes, true, times_s, settings, is_exact=True) for name, settings in WAYS.items()}


def path_figures(
    boxes: Floats, true: Floats, times_s: Floats, settings: AnalysisSettings, *, is_exact: bool
) -> dict[str, float]:
    """What one way makes of a detection a frame (F,4), ours of one every 0.2 s, against the true centres (F,2).

    Jitter is that of the error where the truth is exact, else that of the path, the head's own starts and stops too.
    """
    fps = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    step = 1 if settings.smoothing == "paper" else max(1, int(settings.detect_every_s * fps + 1e-6))
    looked = [*range(0, len(times_s) - 1, step), len(times_s) - 1]
    seen = [(_sample(index, float(times_s[index]), boxes[index]), 0) for index in looked]
    track = fill_track(seen, times_s, first_frame=0, looked=looked, settings=settings, frame_size=(4096, 4096))
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    figures = _figures(track.boxes, true, times_s, height, is_exact=is_exact)
    return {**figures, "detections": len(looked) / len(times_s)}


def _figures(
    boxes: NDArray[np.int64], true: Floats, times_s: Floats, height: float, *, is_exact: bool
) -> dict[str, float]:
    found = (boxes[:, :2] + boxes[:, 2:]) / 2
    error = found - true
    speed = np.gradient(true, times_s, axis=0)
    return {
        "jitter %": 100 * rms(np.diff(error if is_exact else found, 2, axis=0)) / height,
        "lag ms": -1000 * float((error * speed).sum() / max(float((speed**2).sum()), 1e-9)),
        "error %": 100 * rms(error) / height,
        "size jitter %": 100 * rms(np.diff(boxes[:, 3] - boxes[:, 1], 2)) / height,
    }


def _sample(frame: int, pts_s: float, box: Floats) -> Sample:
    points = np.full((1, 5, 2), np.nan)
    return Sample(frame, pts_s, box[None], np.ones(1), points, np.ones(1), np.ones((1, 1), np.float32))


def rms(values: Floats) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def real_paths(path: Path, faces: CenterFace) -> dict[str, dict[str, float]]:
    """The same for a real clip; the truth is the centre between eyes and mouth, found in every frame.

    Ours are whole analyses, with faces followed by their pictures between detections, and without.
    """
    frames, times_s, boxes, centres = [], [], [], []
    for index, frame in enumerate(iter_small_frames(facts_of(path), max_side_px=480)):
        found = faces.detect([frame.bgr])[0]
        if len(found) and found.scores[0] > 0.7 and found.landmarks is not None:
            frames.append(index)
            times_s.append(frame.pts_s)
            boxes.append(found.boxes[0].astype(np.float64) / frame.scale)
            centres.append(found.landmarks[0, [0, 1, 3, 4]].mean(axis=0).astype(np.float64) / frame.scale)
    moved = np.stack(centres) - np.stack(boxes)[:, :2]
    true = (
        np.stack(centres)
        - np.median(moved, axis=0)
        + np.median(np.stack(boxes)[:, 2:] - np.stack(boxes)[:, :2], axis=0) / 2
    )
    figures = {
        name: path_figures(np.stack(boxes), true, np.array(times_s), way, is_exact=False)
        for name, way in WAYS.items()
        if name != "ours"
    }
    height = float(np.median(np.stack(boxes)[:, 3] - np.stack(boxes)[:, 1]))
    for name, way in (("ours, each look a detection", AnalysisSettings(follow_s=0)), ("ours", AnalysisSettings())):
        analysis = analysed(path, faces, way)
        tracks = analysis.tracks
        numbers, counts = np.unique(tracks.track, return_counts=True)
        rows = np.flatnonzero((tracks.track == numbers[counts.argmax()]) & np.isin(tracks.frame, frames))
        at = np.searchsorted(frames, tracks.frame[rows])
        figures[name] = {
            **_figures(tracks.boxes[rows], true[at], np.array(times_s)[at], height, is_exact=False),
            "detections": analysis.facts.num_detections / analysis.facts.num_frames,
        }
    return figures


def facts_of(path: Path) -> ClipFacts:
    """What probing a clip tells."""
    return probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)


def analysed(path: Path, faces: CenterFace, settings: AnalysisSettings | None = None) -> Analysis:
    """A clip analysed afresh."""
    settings = settings or AnalysisSettings()
    with tempfile.TemporaryDirectory() as root:
        folder = analyse_clip(
            facts_of(path), detector=faces, detector_ref=REF, settings=settings, store=Store(Path(root))
        )
        return load_analysis(folder, 0, 1e6)


def right_person(num_casts: int, faces: CenterFace) -> dict[str, dict[str, float]]:
    """Shares of frames in which the person pointed at in the first shot is chosen, or another, or nobody.

    Three people change places from shot to shot, in another light before another backdrop; one shot is without the one.
    """
    counts = {name: np.zeros(3) for name in ("naive", "ours")}
    for cast in range(num_casts):
        people = [1200 + 3 * cast + n for n in range(3)]
        order = np.random.default_rng(cast)
        shots = [Shot(tuple(people), 16, 100 * cast)]
        shots += [Shot(tuple(order.permutation(people).tolist()), 16, 100 * cast + n) for n in (1, 2, 3)]
        shots += [Shot((people[1], None, people[2]), 16, 100 * cast + 4)]
        with tempfile.TemporaryDirectory() as folder:
            path = write_video(Path(folder) / "cast.mp4", (bgr for shot in shots for bgr in shot.frames()))
            found = analysed(path, faces)
        for name, looks in (("naive", {}), ("ours", found.looks)):
            tracks = replace(found.tracks, looks=looks)
            for wanted, person in enumerate(people):
                spec = f"at:{(wanted + 0.5) / 3:.2f},0.45@0.5"
                counts[name] += _chosen(choose_face(tracks, found.shots, spec, 0, 1e3).box_at, shots, person)
    return {
        name: dict(zip(("right", "another", "nobody"), (values / values.sum()).tolist(), strict=True))
        for name, values in counts.items()
    }


def _chosen(box_at: Callable[[float], Any], shots: Sequence[Shot], person: int) -> Floats:
    """Frames after the first shot with the right person, another, nobody (rightly nobody is right)."""
    counts, frame = np.zeros(3), shots[0].num_frames
    for shot in shots[1:]:
        for _ in range(shot.num_frames):
            box = box_at(frame * 2 / 25)
            there = None if box is None else shot.people[min(int((box[0] + box[2]) / 2 / PANEL[0]), 2)]
            expected = person if person in shot.people else None
            counts[0 if there == expected else 2 if box is None else 1] += 1
            frame += 1
    return counts


def crossings(num: int, faces: CenterFace) -> dict[str, dict[str, float]]:
    """Share of crossings after which a track follows the other person."""
    swaps = {name: {"pass": 0.0, "turn round": 0.0} for name in ("naive", "ours")}
    for number in range(num):
        for kind in ("pass", "turn round"):
            scene = Crossing((1300 + 2 * number, 1301 + 2 * number), number, kind == "turn round")
            with tempfile.TemporaryDirectory() as folder:
                path = write_video(Path(folder) / "cross.mp4", scene.frames())
                for name in swaps:
                    with _by_place_alone(name == "naive"):
                        swaps[name][kind] += _swapped(analysed(path, faces), scene) / num
    return swaps


@contextmanager
def _by_place_alone(is_wanted: bool) -> Iterator[None]:
    kept = linking.LOOK_COST, linking.MAX_VELOCITY_S
    if is_wanted:
        linking.LOOK_COST = linking.MAX_VELOCITY_S = 0.0
    try:
        yield
    finally:
        linking.LOOK_COST, linking.MAX_VELOCITY_S = kept


def _swapped(found: Analysis, scene: Crossing) -> bool:
    """Whether a track shows one person at first and the other later."""
    centres, tracks = scene.centres(), found.tracks
    for number in np.unique(tracks.track):
        rows = np.flatnonzero((tracks.track == number) & tracks.detected)
        middle = (tracks.boxes[rows][:, :2] + tracks.boxes[rows][:, 2:]) / 2
        true = centres[tracks.frame[rows].clip(0, scene.num_frames - 1)]
        apart = np.linalg.norm(true[:, 0] - true[:, 1], axis=1) > 60
        near = np.linalg.norm(middle[:, None] - true, axis=2).argmin(axis=1)[apart]
        if len(np.unique(near)) > 1:
            return True
    return False


def table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print figures, a row a way."""
    columns = list(next(iter(rows.values())))
    print(f"{title:34}" + "".join(f"{column:>15}" for column in columns))
    for name, figures in rows.items():
        print(f"  {name:32}" + "".join(f"{figures[column]:15.3f}" for column in columns))


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--casts", type=int, default=6)
    parser.add_argument("--crossings", type=int, default=12)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of real clips, if any")
    options = parser.parse_args()
    faces, results = detector(), {}
    for fps in (12.0, 25.0, 60.0):
        results[f"path of a drawn head, {fps:g} fps"] = drawn_paths(fps)
    for name in REAL_CLIPS:
        if (options.data / "clips" / name).is_file():
            results[f"path in {name}"] = real_paths(options.data / "clips" / name, faces)
    results["person pointed at, other shots"] = right_person(options.casts, faces)
    results["swaps where people cross"] = crossings(options.crossings, faces)
    for title, rows in results.items():
        table(title, rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "faces.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
