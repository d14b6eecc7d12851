"""How well looks tell people apart, on drawn people, and the mean that is taken away from them.

python -m bench.looks            prints likeness of the same and of different people in other scenes
python -m bench.looks --mean     prints singalong/looks_mean.py
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import registry
from models.centerface import CenterFace
from singalong.looks import features, look_of, mean_look
from singalong.synthetic.articulation import still_mouth
from singalong.synthetic.cast import Identity
from singalong.synthetic.poses import pose_track
from singalong.synthetic.render import FaceRenderer, Scene

NUM_PEOPLE, NUM_SCENES = 30, 3
POSES = (0, 9, 18, 27)

Picture = tuple[int, int, NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]


def detector() -> CenterFace:
    """The detector that needs no download."""
    with tempfile.TemporaryDirectory() as home:
        path = registry.resolve("centerface", "detector", home=Path(home)).path
    assert path is not None
    return CenterFace(Path(path))


def pictures() -> Iterator[Picture]:
    """(person, scene, picture, box, landmarks): drawn people in several scenes, lights and poses."""
    faces, rng = detector(), np.random.default_rng(1)
    for person in range(NUM_PEOPLE):
        for scene in range(NUM_SCENES):
            renderer = FaceRenderer(
                Identity.from_seed(1000 + person),
                Scene.from_seed(5000 + person * 10 + scene),
                width=320,
                height=240,
                face_px=70,
            )
            size = float(rng.uniform(0.16, 0.3))
            poses = pose_track(30, fps=5, seed=person * 10 + scene, half_height=size, max_yaw=0.5)
            mouths = still_mouth(30)
            for pose in POSES:
                bgr = renderer.frame(poses[pose], mouths[pose], pose)
                found = faces.detect([bgr])[0]
                if len(found) and found.landmarks is not None:
                    yield person, scene, bgr, found.boxes[0].astype(float), found.landmarks[0].astype(float)


def print_mean() -> None:
    """The module that holds the mean."""
    parts = zip(*(features(bgr, box, points) for _, _, bgr, box, points in pictures()), strict=True)
    for name, values in zip(("TEXTURE", "COLOURS"), parts, strict=True):
        mean = np.mean(values, axis=0)
        step = float(np.abs(mean).max()) / 127
        text = base64.b85encode(np.rint(mean / step).astype(np.int8).tobytes()).decode()
        print(f"{name}_STEP = {step:.6g}")
        print(f"{name} = (")
        for start in range(0, len(text), 100):
            print(f'    "{text[start : start + 100]}"')
        print(")")


def print_likeness() -> None:
    """Likeness of tracks, and how often the right one of three people is the most alike."""
    looks: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
    for person, scene, bgr, box, points in pictures():
        looks.setdefault((person, scene), []).append(look_of(bgr, box, points))
    keys = list(looks)
    tracks = np.stack([mean_look(np.stack(values), np.ones(len(values))) for values in looks.values()])
    likeness = tracks @ tracks.T
    people = np.array([person for person, _ in keys])
    same = (people[:, None] == people[None]) & ~np.eye(len(people), dtype=bool)
    for name, mask in (("same person", same), ("another", people[:, None] != people[None])):
        print(f"{name:12}", "  ".join(f"{value:+.2f}" for value in np.percentile(likeness[mask], [1, 10, 50, 90, 99])))
    rng, right = np.random.default_rng(0), []
    for _ in range(3000):
        cast = rng.choice(NUM_PEOPLE, 3, replace=False)
        here, there = rng.choice(NUM_SCENES, 2, replace=False)
        rows = [keys.index((person, there)) for person in cast if (person, there) in looks]
        if len(rows) == 3 and (cast[0], here) in looks:
            right.append(np.argmax(likeness[keys.index((cast[0], here)), rows]) == 0)
    print(f"right one of three: {np.mean(right):.3f}")


def main() -> None:
    """Print the table, or the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean", action="store_true", help="print what singalong/looks_mean.py holds")
    (print_mean if parser.parse_args().mean else print_likeness)()


if __name__ == "__main__":
    main()
