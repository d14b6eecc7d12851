"""Whether films keep time, and whether mouths rest: drift, frame counts and rest motion, the naive way beside ours.

    python -m bench.timing                  all of it: some minutes
    python -m bench.timing --minutes 1      shorter films

Drift is measured in finished films (see `bench.drift`). The naive ways beside it are arithmetic: the frames of each
shard rounded down, frame times in whole milliseconds, a rate written with two decimals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.drift import SHARD_S, make_film, measure, write_burst_song
from bench.inputs import make_clip
from bench.variable_rate import variable_rate
from singalong.config import load_settings
from singalong.media.audio import mel_chunk_starts, mel_steps_of
from singalong.media.units import MEL_STEPS_PER_S, num_output_frames
from singalong.runfolder import RunFolder
from singalong.store import Store, sha256_of
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song
from tasks.plan_run import plan_run
from tasks.prepare_song import load_song, prepare_song
from tasks.session import Session

RESULTS = Path(__file__).parent / "results"
RATES = (
    *(Fraction(n) for n in (12, 15)),
    *(Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)),
    *(Fraction(50), Fraction(60000, 1001), Fraction(60), Fraction(100), Fraction(120000, 1001), Fraction(120)),
)
FILM_RATES = (Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001))
_START_S = 3.217
"""Of the span in the song: on no frame and on no mel step."""


def naive_drifts_s(fps: Fraction, duration_s: float) -> dict[str, float]:
    """How far pictures are from the sound at the end of a film, seconds, by three ways of counting."""
    num_shards = duration_s / SHARD_S
    lost = num_shards * float(SHARD_S * fps - int(SHARD_S * fps)) / float(fps)
    num_frames = duration_s * float(fps)
    rounded_ms = num_frames * round(1000 / float(fps)) / 1000
    decimal = num_frames / round(float(fps), 2)
    return {
        "shards floored": -lost,
        "whole ms": rounded_ms - duration_s,
        "2 decimals": decimal - duration_s,
    }


def mel_errors_ms(fps: Fraction, duration_s: float) -> tuple[float, float]:
    """Furthest that a frame's mel step lies from the frame: by the paper's rule and by the warper's, milliseconds."""
    num_frames = num_output_frames(duration_s, fps)
    times_s = _START_S + np.arange(num_frames) / float(fps)
    num_mel = int((_START_S + duration_s + 1) * MEL_STEPS_PER_S)
    paper = mel_chunk_starts(num_mel, fps, num_frames, _START_S) / MEL_STEPS_PER_S - times_s
    warper = mel_steps_of(fps, num_frames, _START_S) / MEL_STEPS_PER_S - times_s
    return float(1000 * np.abs(paper).max()), float(1000 * np.abs(warper).max())


@dataclass(frozen=True)
class CountErrors:
    """Spans whose film has another number of frames than the span has, of `spans`, and the worst of them."""

    spans: int
    naive_wrong: int
    naive_worst: int
    paper_wrong: int
    paper_worst: int
    ours_wrong: int


def count_errors(spans_s: list[float]) -> CountErrors:
    """Frames of films by `int(span * fps)` a shard, by the paper's program, and by ours, against the exact span."""
    naive, paper, ours = [], [], []
    for fps in RATES:
        for span_s in spans_s:
            exact = Fraction(span_s) * fps
            parts = [SHARD_S] * int(span_s // SHARD_S) + [span_s % SHARD_S]
            naive.append(abs(round(exact) - sum(int(part * float(fps)) for part in parts)))
            num_mel = 1 + int(span_s * MEL_STEPS_PER_S)
            paper.append(abs(round(exact) - _paper_frames(num_mel, float(fps))))
            ours.append(abs(Fraction(num_output_frames(span_s, fps)) - exact) > Fraction(1, 2))
    return CountErrors(
        spans=len(ours),
        naive_wrong=int(np.count_nonzero(naive)),
        naive_worst=max(naive),
        paper_wrong=int(np.count_nonzero(paper)),
        paper_worst=max(paper),
        ours_wrong=sum(ours),
    )


def _paper_frames(num_mel: int, fps: float) -> int:
    """Frames that the paper's program makes: one for each chunk until the first that runs over the end."""
    step, count = 80.0 / fps, 0
    while int(count * step) + 16 <= num_mel:
        count += 1
    return count + 1


@dataclass(frozen=True)
class Rest:
    """What became of an instrumental intro and the verse after it."""

    way: str
    voiced_share: float
    rest_motion: float | None


def rests(folder: Path) -> Iterator[Rest]:
    """Made songs, sung by a still of a made person: only what is generated moves."""
    song = Song.from_seed(7003, 12.0, snr_db=6.0, intro=True)
    clip = folder / "still.png"
    with av.open(str(make_clip(folder / "clip.mp4", seconds=1.0, width=480, height=360))) as video:
        next(video.decode(video=0)).to_image().save(clip)
    for name, samples in (("song with an instrumental intro", song.mix), ("its band alone", song.band)):
        path = write_wav(folder / f"{len(samples)}-{name.split()[0]}.wav", samples)
        for rest in (True, False):
            yield _rest(f"{name}, {'lips rest' if rest else 'lips follow the band'}", clip, path, folder, rest=rest)
        energy = load_song(prepare_song(path, sha256=sha256_of(path), store=Store(folder / "store")))
        yield Rest(f"{name}, all that is loud is voice (naive)", float(energy.voiced.mean()), None)


def _rest(way: str, clip: Path, song: Path, folder: Path, *, rest: bool) -> Rest:
    manifest = folder / "manifest.csv"
    manifest.write_text(f"pair_id,clip,song\nrest,{clip},{song}\n")
    overrides = ["run.executor=inprocess", f"run.store={folder / 'store'}", "score.scorer=none"]
    overrides += [f"lipsync.rest={str(rest).lower()}", "lipsync.generator=singalong-warper"]
    settings = load_settings(None, overrides)
    plan, rows = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    with Session(RunFolder.create(folder / f"{song.stem}-{rest}", plan, settings, manifest=rows)) as session:
        session.lipsync(session.prepare(session.pending()))
    found = [Store(settings.store_path).find(shard.work_key) for shard in plan.shards]
    results = [result for result in found if result is not None]
    assert len(results) == len(plan.shards), f"{way}: something could not be made"
    voiced = sum(result.num_voiced_frames for result in results) / sum(result.num_frames for result in results)
    motions = [result.rest_motion for result in results if result.rest_motion is not None]
    return Rest(way, voiced, float(np.mean(motions)) if motions else None)


def main() -> None:
    """Measure, print the tables, and write them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    duration_s = 60 * parser.parse_args().minutes
    console = Console()
    with tempfile.TemporaryDirectory() as temp:
        rested = list(rests(Path(temp)))
        films = list(_films(Path(temp), duration_s))
        mels = {str(fps): mel_errors_ms(fps, duration_s) for fps in RATES}
        counts = count_errors(_spans())
        variable = variable_rate(Path(temp))
    console.print(_film_table(films, duration_s), soft_wrap=True)
    for name, index in (("the paper's", 0), ("the warper's", 1)):
        worst = max(mels, key=lambda rate: mels[rate][index])
        console.print(f"{name} mel steps are at most {mels[worst][index]:.1f} ms from their frames, at {worst} fps")
    console.print(
        f"frame counts of {counts.spans} spans at {len(RATES)} rates: {counts.naive_wrong} wrong if shards are rounded "
        f"down (by up to {counts.naive_worst}), {counts.paper_wrong} by the paper's program (by up to "
        f"{counts.paper_worst}), {counts.ours_wrong} by ours"
    )
    console.print(
        f"pictures of a clip of variable rate are shown {variable.ours_ms:.0f} ms off at most, by counting frames "
        f"{variable.by_counting_ms:.0f} ms"
    )
    for rest in rested:
        motion = "nothing rests" if rest.rest_motion is None else f"rest motion {1e4 * rest.rest_motion:.2f}e-4"
        console.print(f"{rest.way}: voiced share {rest.voiced_share:.3f}, {motion}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "duration_s": duration_s,
        "films": films,
        "mel_errors_ms": {rate: {"paper": paper, "warper": warper} for rate, (paper, warper) in mels.items()},
        "frame_counts": asdict(counts),
        "variable_rate": asdict(variable),
        "rests": [asdict(rest) for rest in rested],
    }
    (RESULTS / "timing.json").write_text(json.dumps(result, indent=1) + "\n")


def _films(folder: Path, duration_s: float) -> Iterator[dict[str, object]]:
    end_s = _START_S + duration_s
    for number, suffix in enumerate(("mp3", "m4a")):
        song = write_burst_song(folder / f"song.{suffix}", end_s + 1)
        for fps in FILM_RATES:
            film = make_film(song, folder, fps=fps, start_s=_START_S, end_s=end_s, sha256=f"{number:064x}")
            drift = measure(film, fps=fps, start_s=_START_S, end_s=end_s)
            naive = naive_drifts_s(fps, duration_s) if suffix == "mp3" else {}
            yield {"fps": str(fps), "song": suffix, **asdict(drift), "naive_drift_s": naive}
            film.unlink()


def _film_table(films: list[dict[str, object]], duration_s: float) -> Table:
    table = Table(title=f"lips against sound over {duration_s:g} s, ms", title_justify="left")
    for column in ("fps", "song", "worst", "first min", "last min", "frames", "naive, at the end"):
        table.add_column(column, justify="right")
    for film in films:
        naive = film["naive_drift_s"]
        assert isinstance(naive, dict)
        worst = max(naive, key=lambda way: abs(naive[way]), default=None)
        cells = [f"{film[name]:.1f}" for name in ("worst_ms", "first_minute_ms", "last_minute_ms")]
        frames = f"{film['num_frames']}/{film['expected_frames']}"
        told = "" if worst is None else f"{1000 * naive[worst]:.0f}, {worst}"
        table.add_row(str(film["fps"]), str(film["song"]), *cells, frames, told)
    return table


def _spans() -> list[float]:
    """Spans from a fortieth of a second to ten minutes: decimal ones, as people write them, and odd ones."""
    rng = np.random.default_rng(1)
    return [*np.round(np.geomspace(0.1, 600, 150), 2).tolist(), *rng.uniform(0.1, 600, 150).tolist()]


if __name__ == "__main__":
    main()
