"""A still that moves through the whole of the work: faces are where it shows them, and the film has its frames."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from singalong.config import Settings, load_settings
from singalong.contracts import Status
from singalong.media.still_motion import PERIOD_S
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.synthetic.clips import TalkingClip
from singalong.tracks import choose_face
from tasks.analyse import load_analysis
from tasks.film_steps import join_pairs
from tasks.jobs import LipsyncJob
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.sounds import chirp, write_sound

FPS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a made person, a song a little longer than one round, and a manifest."""
    folder = tmp_path_factory.mktemp("still")
    clip = TalkingClip.from_seed(
        33, width=320, height=240, fps=Fraction(25), duration_s=0.2, half_height=0.3, max_yaw=0.1
    )
    with av.open(str(clip.write(folder / "clip.mp4"))) as video:
        next(video.decode(video=0)).to_image().save(folder / "face.png")
    write_sound(folder / "song.wav", chirp(PERIOD_S + 1.5, 16000), 16000)
    rows = "a,face.png,song.wav,,none\nb,face.png,song.wav,1.0,none\n"
    (folder / "m.csv").write_text(f"pair_id,clip,song,song_end_s,vocals\n{rows}")
    return folder


def settings(folder: Path, **plan: float) -> Settings:
    overrides = ["run.executor=inprocess", "score.scorer=none", f"run.store={folder / 'store'}"]
    overrides += [
        "film.credentials=none",
        "lipsync.preset=ultrafast",
        "analysis.detect_every_s=1.5",
        "lipsync.generator=singalong-warper",
    ]
    return load_settings(None, [*overrides, f"plan.still_fps={FPS}", *(f"plan.{k}={v}" for k, v in plan.items())])


def started(folder: Path, name: str, **plan: float) -> RunFolder:
    chosen = settings(folder, **plan)
    made, rows = plan_run(folder / "m.csv", settings=chosen, store=Store(chosen.store_path))
    return RunFolder.create(folder / name, made, chosen, manifest=rows)


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return started(folder, "run", still_motion=0.1)


def test_the_face_is_found_wherever_the_motion_takes_it(run: RunFolder) -> None:
    with Session(run) as session:
        jobs = [item.job for item in session.prepare(session.pending())]
    job = next(job for job in jobs if isinstance(job, LipsyncJob))
    found = load_analysis(Path(job.analysis), 0.0, PERIOD_S)
    face = choose_face(found.tracks, found.shots, "largest", 0.0, PERIOD_S + 1.5)
    boxes = np.array([face.box_at(n / FPS) for n in range(PERIOD_S * FPS)], float)
    widths = boxes[:, 2] - boxes[:, 0]
    assert widths.max() / widths.min() > 1.04, "the box zooms with the picture"
    assert np.abs(np.diff(boxes, axis=0)).max() <= 3, "and never jumps"
    assert np.abs(boxes[0] - boxes[-1]).max() <= 3
    assert len(found.shots) == 1


def test_the_film_moves_has_its_frames_and_sings(run: RunFolder) -> None:
    with Session(run) as session:
        session.lipsync([item for item in session.prepare(session.pending()) if item.job.pair.pair_id == "b"])
        join_pairs(session)
    found = run.fold().shards["b-0000"]
    assert found.status is Status.DONE
    assert (found.result.num_frames, found.result.num_face_frames) == (FPS, FPS)
    with av.open(str(run.path / "outputs" / "b.mp4")) as film:
        frames = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
    assert len(frames) == FPS
    away = slice(0, 40)  # the backdrop, far from any mouth
    assert all(cv2.absdiff(a[away], b[away]).max() > 0 for a, b in zip(frames[:-1:4], frames[4::4], strict=False))


def test_motion_is_other_work_and_its_absence_is_what_it_was(folder: Path, run: RunFolder) -> None:
    def keys(name: str, **plan: float) -> set[str]:
        return {shard.work_key for shard in started(folder, name, **plan).plan.shards}

    moving = {shard.work_key for shard in run.plan.shards}
    assert keys("again", still_motion=0.1) == moving
    assert not keys("less", still_motion=0.02) & moving
    assert keys("off", still_motion=0.0) == keys("never")
    assert run.plan.pairs[0].clip_file_sha256 == started(folder, "plain").plan.pairs[0].clip_sha256
