"""A run whose rows hear one song in several ways: each is prepared once, and a failing program stops its rows alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

from singalong.config import load_settings
from singalong.contracts import Status
from singalong.errors import ErrorClass
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.jobs import LipsyncJob
from tasks.plan_run import plan_run
from tasks.prepare_song import load_song
from tasks.session import Session
from tests.sounds import chirp, write_sound
from tests.videos import make_video

ROWS = [("l", "left"), ("r", "right"), ("l2", "channel:0"), ("s", "separate"), ("x", "channel:2"), ("m", "none")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "separate.py"
    path.write_text("import sys; sys.exit('no model')")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, program: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    make_video(folder / "a.mp4", num_frames=6)
    left, silence = chirp(1.0, 16000), np.zeros(16000, np.float32)
    write_sound(folder / "duet.wav", np.stack([left, silence], axis=1), 16000)
    lines = "".join(f"{name},a.mp4,duet.wav,{vocals}\n" for name, vocals in ROWS)
    (folder / "m.csv").write_text(f"pair_id,clip,song,vocals\n{lines}")
    command = f'["{sys.executable}", "{program}", "{{song}}", "{{output}}"]'
    overrides = ["run.executor=inprocess", "score.scorer=none", f"run.store={folder / 'store'}"]
    settings = load_settings(None, [*overrides, f"songs.separator={command}"])
    plan, found = plan_run(folder / "m.csv", settings=settings, store=Store(settings.store_path))
    return RunFolder.create(folder / "run", plan, settings, manifest=found)


def prepared(run: RunFolder) -> dict[str, LipsyncJob]:
    with Session(run) as session:
        jobs = [item.job for item in session.prepare(session.pending())]
    return {job.pair.pair_id: job for job in jobs if isinstance(job, LipsyncJob)}


def test_each_row_hears_its_own_channel_and_the_film_the_whole_song(run: RunFolder) -> None:
    jobs = prepared(run)
    assert set(jobs) == {"l", "r", "m"}, "l2 needs what l needs, s has failed and x has no such channel"
    voices = {name: load_song(Path(job.song)) for name, job in jobs.items()}
    assert voices["l"].voiced.any()
    assert not voices["r"].voiced.any()
    np.testing.assert_allclose(voices["m"].samples_16k, voices["l"].samples_16k / 2, atol=1e-4)
    assert {job.pair.song for job in jobs.values()} == {jobs["l"].pair.voice}
    (problem,) = run.plan.problems
    assert "has 2 channels" in problem.error_message


def test_a_program_that_fails_stops_its_rows_alone_and_is_tried_again(run: RunFolder, program: Path) -> None:
    prepared(run)
    (shard,) = (shard for shard in run.plan.shards if shard.pair_id == "s")
    found = run.fold().shards[shard.shard_id]
    assert found.status is Status.FAILED
    assert found.failure.error_class is ErrorClass.INFRA
    assert "exit code 1: no model" in found.failure.message
    program.write_text("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")
    assert "s" in prepared(run)
