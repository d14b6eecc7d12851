"""A visible label: on every frame of a film, and of no weight in its scores."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from singalong.config import Settings
from singalong.contracts import ShardResult
from singalong.media.titles import LabelPainter
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.segments import frames_of

LABEL = "AI-generated"
SIZE = (320, 180)


class Films:
    """One short pair, made with and without a label."""

    def __init__(self, folder: Path) -> None:
        clip = TalkingClip.from_seed(
            33, width=SIZE[0], height=SIZE[1], fps=Fraction(25), duration_s=0.8, half_height=0.3, max_yaw=0.1
        )
        clip.write(folder / "clip.mp4")
        write_wav(folder / "song.wav", Song.from_seed(9, 1.0, snr_db=6.0, intro=False).vocals)
        (folder / "m.csv").write_text("pair_id,clip,song,vocals\na,clip.mp4,song.wav,none\n")
        self.results: dict[str, ShardResult] = {}
        self.folder = folder
        for label in ("", LABEL):
            settings = Settings.model_validate(
                {
                    "run": {"store": str(folder / "store"), "executor": "inprocess"},
                    "lipsync": {"label": label, "crf": 1},
                    "score": {"min_windows": 1},
                }
            )
            self.store = Store(settings.store_path)
            plan, _ = plan_run(folder / "m.csv", settings=settings, store=self.store)
            with Session(RunFolder.create(folder / f"run{label}", plan, settings)) as session:
                session.lipsync(session.prepare(session.pending()))
                result = self.store.find(plan.shards[0].work_key)
            assert result is not None
            self.results[label] = result

    def luma(self, label: str) -> np.ndarray:
        """All frames (n, h, w)."""
        frames = frames_of(self.store.segment_path(self.results[label]))
        return np.stack([frame.to_ndarray(format="gray") for frame in frames]).astype(int)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(tmp_path_factory.mktemp("label"))


def test_every_frame_bears_the_label_and_is_else_as_it_was(films: Films) -> None:
    x1, y1, x2, y2 = LabelPainter(LABEL, width=SIZE[0], height=SIZE[1]).box
    change = np.abs(films.luma(LABEL) - films.luma(""))
    assert len(change) == 25
    assert (change[:, y1:y2, x1:x2].max(axis=(1, 2)) > 60).all()
    change[:, y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = 0
    assert change.max() <= 12  # what encoding at crf 1 gives away


def test_scores_are_those_of_the_film_without_it(films: Films) -> None:
    plain, labelled = films.results[""], films.results[LABEL]
    assert plain.score.num_windows > 0
    assert plain.score == labelled.score
    assert plain.frames_sha256 == labelled.frames_sha256  # the distances of all frames


def test_another_label_is_another_film(films: Films) -> None:
    assert films.results[""].work_key != films.results[LABEL].work_key
