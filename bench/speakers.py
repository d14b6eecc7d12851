"""Who of two people speaks: how often the largest face, the scorer's confidence and our evidence pick the right one.

    python -m bench.speakers                              # drawn people
    python -m bench.speakers --talkers A.mp4 B.mp4 ... --quiet C.mp4 ...

Every talker (one face, own speech in sync) is put side by side with every other person, with the talker's sound, for
some seconds of most speech. Each such film goes the whole way: analysis, speakers, choice of the face.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from bench.targets import RESULTS
from models import registry
from models.detectors import load_detector
from models.scorers import load_scorer
from singalong.config import Settings, default_models_home
from singalong.contracts import ClipFacts, ModelRef
from singalong.media.audio_out import AudioSpan
from singalong.media.decode import ClipReader
from singalong.media.encode import SegmentWriter
from singalong.media.frames import MATRIX_SMPTE170M, RANGE_LIMITED, ColorInfo, bgr_to_frame, frame_to_bgr
from singalong.media.join import join_segments
from singalong.media.units import MEL_STEPS_PER_S
from singalong.people import people_of
from singalong.speaking import UNSURE_MARGIN
from singalong.store import Store
from singalong.synthetic.clips import TalkingClip
from tasks.analyse import analyse_clip, load_analysis
from tasks.clues import load_speaking, speakers_version
from tasks.prepare_song import load_song, prepare_song
from tasks.probe_media import clip_facts
from tasks.speakers import find_speakers

FPS = Fraction(25)
HEIGHT_PX = 288
_COLOR = ColorInfo(MATRIX_SMPTE170M, RANGE_LIMITED, 6, 6)
_WAYS = ("largest face", "confidence", "ours", "ours, when sure")


@dataclass(frozen=True)
class Film:
    """Two people side by side, of whom the left one speaks; `left_px` is the width of that half."""

    path: Path
    left_px: int


class Bench:
    """Models and a store for all films."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._store, self._settings = folder, Store(folder / "store"), Settings()
        home = default_models_home()
        self._detector_ref = _installed(registry.resolve("centerface", "detector", home=home))
        self._scorer_ref = _installed(registry.resolve("auto", "scorer", home=home))
        self._detector, self._scorer = load_detector(self._detector_ref), load_scorer(self._scorer_ref)

    def film(self, left: Path, right: Path, *, seconds: float, late_s: float) -> Film:
        """Both side by side, with the left one's sound, so much too late."""
        start_s, other_s = self._start_s(left, seconds), self._start_s(right, seconds)
        sides = self._pictures(left, start_s, seconds), self._pictures(right, other_s, seconds)
        segment, path = self._folder / "segment.mp4", self._folder / f"{left.stem}-{right.stem}-{seconds}-{late_s}.mp4"
        (height, left_px), right_px = sides[0][0].shape[:2], sides[1][0].shape[1]
        size = {"width": left_px + right_px, "height": height}
        with SegmentWriter(segment, **size, fps=FPS, color=_COLOR, crf=20, preset="veryfast") as writer:
            for index, pair in enumerate(zip(*sides, strict=True)):
                writer.write(bgr_to_frame(np.hstack(pair), pts_s=index / float(FPS), color=_COLOR))
        heard = AudioSpan(left, max(0.0, start_s - late_s), max(0.0, start_s - late_s) + seconds)
        join_segments([segment], path, fps=FPS, audio=[heard], metadata={})
        return Film(path, left_px)

    def judge(self, film: Film) -> dict[str, bool | None]:
        """Whether each way picks the left one; None where it picks nobody."""
        clip = self._facts(film.path)
        analysis = analyse_clip(
            clip,
            detector=self._detector,
            detector_ref=self._detector_ref,
            settings=self._settings.analysis,
            store=self._store,
        )
        folder = find_speakers(
            clip,
            analysis=analysis,
            version=speakers_version(self._settings.analysis, self._detector_ref, self._scorer_ref),
            scorer=self._scorer,
            scorer_ref=self._scorer_ref,
            store=self._store,
        )
        tracks = load_analysis(analysis, 0.0, clip.duration_s).tracks
        people = [person for group in people_of(tracks, 0.0, clip.duration_s).values() for person in group]
        on_left = {track: person.centre_x < film.left_px for person in people for track in person.tracks}
        rows = pq.read_table(folder / "speakers.parquet").to_pylist()
        confidence = {row["track"]: row["confidence"] for row in rows if row["confidence"] is not None}
        speaking = load_speaking(folder, tracks, 0.0, clip.duration_s)
        ours = _best(speaking.by_track, on_left)
        return {
            "largest face": _best({p.tracks[0]: p.area for p in people}, on_left),
            "confidence": _best(confidence, on_left),
            "ours": ours,
            "ours, when sure": None if speaking.unsure else ours,
        }

    def _facts(self, path: Path) -> ClipFacts:
        return clip_facts(str(path), settings=self._settings, store=self._store)

    def _start_s(self, path: Path, seconds: float) -> float:
        """Where most is said for so long."""
        clip = self._facts(path)
        latest = max(0.0, clip.duration_s - seconds)
        if not clip.has_audio:
            return latest / 2
        voiced = load_song(prepare_song(path, sha256=clip.sha256, store=self._store)).voiced
        starts = np.arange(0.0, latest + 1e-6, 0.2)
        said = [int(voiced[round(s * MEL_STEPS_PER_S) : round((s + seconds) * MEL_STEPS_PER_S)].sum()) for s in starts]
        return float(starts[int(np.argmax(said))])

    def _pictures(self, path: Path, start_s: float, seconds: float) -> list[np.ndarray]:
        times_s = start_s + np.arange(round(seconds * FPS)) / float(FPS)
        with ClipReader(self._facts(path)) as reader:
            return [_scaled(frame_to_bgr(reader.read_chunk([time_s])[0])) for time_s in times_s.tolist()]


def _installed(ref: ModelRef | None) -> ModelRef:
    assert ref is not None
    return ref


def _scaled(bgr: np.ndarray) -> np.ndarray:
    height, width = bgr.shape[:2]
    return np.asarray(
        cv2.resize(bgr, (round(width * HEIGHT_PX / height / 2) * 2, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    )


def _best(values: dict[int, float], on_left: dict[int, bool]) -> bool | None:
    return on_left[max(values, key=lambda track: values[track])] if values else None


def _drawn(folder: Path) -> tuple[list[Path], list[Path]]:
    """Five people who talk and two who do not."""
    paths = []
    for seed in range(7_300_000, 7_300_007):
        clip = TalkingClip.from_seed(seed, width=320, height=HEIGHT_PX, fps=FPS, duration_s=4, speaks=seed < 7_300_005)
        paths.append(clip.write(folder / f"{seed}.mp4"))
    return paths[:5], paths[5:]


def _pairs(talkers: list[Path], quiet: list[Path]) -> Iterator[tuple[Path, Path]]:
    yield from itertools.permutations(talkers, 2)
    yield from itertools.product(talkers, quiet)


def main() -> None:
    """Make and judge all films, print the share each way got right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talkers", type=Path, nargs="+", default=[])
    parser.add_argument("--quiet", type=Path, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=2.96)
    parser.add_argument("--late", type=float, default=0.0, help="how late the sound comes, seconds")
    options = parser.parse_args()
    counts = {way: [0, 0] for way in _WAYS}
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        talkers, quiet = (options.talkers, options.quiet) if options.talkers else _drawn(folder)
        bench = Bench(folder)
        for left, right in _pairs(talkers, quiet):
            found = bench.judge(bench.film(left, right, seconds=options.seconds, late_s=options.late))
            print(f"{left.stem:32} beside {right.stem:32}", found, flush=True)
            for way, right_one in found.items():
                counts[way][0] += bool(right_one)
                counts[way][1] += right_one is not None
    print(f"\n{sum(1 for _ in _pairs(talkers, quiet))} films of {options.seconds} s, margin for sure: {UNSURE_MARGIN}")
    for way, (num_right, num) in counts.items():
        print(f"{way:18} {num_right} of {num} right")
    name = "speakers" if not options.talkers else "speakers-given"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"seconds": options.seconds, "late_s": options.late, **counts}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
