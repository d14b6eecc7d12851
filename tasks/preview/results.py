"""What pairs will look like: a few frames of each, made as a run makes them, beside the clip's own.

Each frame is the last of a shard of its own, made by a worker in a store that is thrown away: so the picture is the
film's, with everything a painter remembers from the frames before.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from singalong.config import Settings
from singalong.contracts import Failure, PairPlan, Row, ShardPlan
from singalong.media.audio import level_db, mel_chunks, mel_steps_of
from singalong.media.decode import ClipReader
from singalong.media.frames import U8, frame_to_bgr
from singalong.media.probe import probe_clip
from singalong.media.result_sheet import Moment, draw_moments
from singalong.media.timeline import source_times
from singalong.tracks import ChosenFace
from singalong.work_keys import WORK_KEY_CHARS
from tasks.failures import failure_of
from tasks.jobs import LipsyncJob
from tasks.lipsync import chosen_face
from tasks.preparation import Prepared
from tasks.prepare_song import PreparedSong, load_song
from tasks.preview.files import write_jpeg
from tasks.probe_media import local_clip
from tasks.worker import Worker

if TYPE_CHECKING:
    from models.ear import BundledEar

WARM_UP_FRAMES = 12
"""Frames made before the one that is shown: half a second, in which colours and detail settle."""
MIN_REST_S = 0.3
"""Shorter pauses are part of the singing."""
_APART = 0.2
"""The second loud moment lies this share of the pair away from the first."""
_AT_ONCE = 4096
_NUM_HEARD = 128
"""Loudest frames among which the widest mouth is looked for: vowels are louder than the rest."""
_OPENING = 0
"""Of the ear's values (see `models.warper.NUM_MOUTH_VALUES`)."""


class ResultPreview(Row):
    """One picture of what a pair will look like, or why there is none."""

    pair_id: str
    file: str | None = None
    failure: Failure | None = None


def preview_result(pair: PairPlan, found: Prepared, worker: Worker, folder: Path) -> ResultPreview:
    """Make the frames and write the picture; `worker` has a store of its own and no scorer."""
    assert found.song is not None
    name = f"pair-{pair.pair_id}.jpg"
    shown = []
    try:
        face = face_of(pair, found, worker.spec.settings)
        for caption, frame in telling_frames(pair, load_song(found.song), face):
            job = _job(pair, found, frame, worker.spec.settings)
            outcome = worker.run(job)
            if outcome.shard is None:
                return ResultPreview(pair_id=pair.pair_id, failure=outcome.failure)
            result = _last_frame(worker.store.segment_path(outcome.shard), worker.spec.settings)
            worker.store.discard(outcome.shard.work_key)
            local = job.model_copy(update={"clip": local_clip(job.clip, worker.store)})
            shown.append(_moment(local, result, caption, face))
        write_jpeg(folder / name, draw_moments(pair.pair_id, f"generator {pair.generator.name}", shown))
    except Exception as error:  # noqa: BLE001 - one pair that cannot be shown must not hide the others
        return ResultPreview(pair_id=pair.pair_id, failure=failure_of(error))
    return ResultPreview(pair_id=pair.pair_id, file=name)


def face_of(pair: PairPlan, found: Prepared, settings: Settings) -> ChosenFace:
    """The face that sings in a pair for which all is prepared, chosen as a run chooses it."""
    return chosen_face(
        pair, found.analysis, settings.analysis, speakers=_text(found.speakers), likeness=_text(found.likeness)
    )


def telling_frames(pair: PairPlan, voice: PreparedSong, face: ChosenFace) -> list[tuple[str, int]]:
    """Output frames with a usable face that show most, named: two with the mouth open, and one at rest.

    Where nobody sings, or always, or the face is seen for a moment only, there are fewer.
    """
    times_s = _times_s(pair, 0, pair.num_frames)
    usable = face.boxes_at(times_s)[1]
    level, voiced = _heard(pair, voice)
    found: list[tuple[str, int]] = []
    opening = _openings(pair, voice, np.where(usable & voiced, level, -np.inf))
    for caption in ("mouth open", "open again"):
        best = int(np.argmax(opening))
        if np.isfinite(opening[best]):
            found.append((caption, best))
            apart = round(_APART * pair.num_frames) + 1
            opening[max(0, best - apart) : best + apart] = -np.inf
    rest = _middle_of_longest(usable & ~voiced, round(MIN_REST_S * float(pair.fps)))
    if rest is not None:
        found.append(("at rest", rest))
    if not found:  # no pause is long enough, and nobody sings: any frame says more than none
        found = [("somewhere", int(np.flatnonzero(usable)[len(np.flatnonzero(usable)) // 2]))]
    return found


def _openings(pair: PairPlan, voice: PreparedSong, loudness: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a mouth opens for what is heard in the loudest frames (n,); minus infinity in all others."""
    from models.warper import EAR_LEAD_STEPS, EAR_STEPS  # brings torch in

    opening = np.full(len(loudness), -np.inf)
    loudest = np.argsort(loudness)[-_NUM_HEARD:]
    loudest = loudest[np.isfinite(loudness[loudest])]
    if len(loudest):
        starts = mel_steps_of(pair.fps, pair.num_frames, pair.song_start_s)[loudest] - EAR_LEAD_STEPS
        opening[loudest] = _ear().hear(mel_chunks(voice.mel, starts, EAR_STEPS))[:, _OPENING]
    return opening


@cache
def _ear() -> BundledEar:
    from models.ear import BundledEar

    return BundledEar()


def _heard(pair: PairPlan, voice: PreparedSong) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Level (n,) and whether somebody sings (n,), in the middle of each output frame."""
    columns = np.minimum(mel_steps_of(pair.fps, pair.num_frames, pair.song_start_s), voice.mel.shape[1] - 1)
    parts = (columns[first : first + _AT_ONCE] for first in range(0, len(columns), _AT_ONCE))
    level = np.concatenate([level_db(voice.mel[:, part]) for part in parts])
    return level, np.asarray(voice.voiced[np.minimum(columns, len(voice.voiced) - 1)], np.bool_)


def _middle_of_longest(wanted: NDArray[np.bool_], min_frames: int) -> int | None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts) or (ends - starts).max() < max(1, min_frames):
        return None
    longest = int(np.argmax(ends - starts))
    return int((starts[longest] + ends[longest]) // 2)


def _job(pair: PairPlan, found: Prepared, frame: int, settings: Settings) -> LipsyncJob:
    """A shard that ends with this frame."""
    shard = ShardPlan(
        shard_id=f"{pair.pair_id}-preview",
        pair_id=pair.pair_id,
        index=0,
        start_frame=max(0, frame - WARM_UP_FRAMES),
        end_frame=frame + 1,
        work_key=hashlib.sha256(f"{pair.pair_id} {frame}".encode()).hexdigest()[:WORK_KEY_CHARS],
    )
    return LipsyncJob(
        pair=pair,
        shard=shard,
        clip=found.clip,
        analysis=str(found.analysis),
        song=str(found.song),
        speakers=_text(found.speakers),
        likeness=_text(found.likeness),
        batch_size=settings.run.batch_size,
    )


def _last_frame(segment: Path, settings: Settings) -> U8:
    facts = probe_clip(segment, sha256="", limits=settings.limits, still_fps=settings.plan.still_fps)
    with ClipReader(facts) as reader:
        return frame_to_bgr(reader.read_chunk([facts.duration_s])[0])


def _moment(job: LipsyncJob, result: U8, caption: str, face: ChosenFace) -> Moment:
    pair, frame = job.pair, job.shard.end_frame - 1
    with ClipReader(job.clip) as reader:
        source = reader.read_chunk(_times_s(pair, frame, frame + 1).tolist())[0]
    box = face.box_at(source.pts_s)
    assert box is not None  # such frames were chosen
    song_s = pair.song_start_s + frame / float(pair.fps)
    return Moment(
        caption=f"{caption}, {song_s:.2f} s of the song",
        source=frame_to_bgr(source),
        result=result,
        box=box,
        pixel_aspect=float(job.clip.sample_aspect_ratio),
    )


def _times_s(pair: PairPlan, start_frame: int, end_frame: int) -> NDArray[np.float64]:
    span = {"clip_start_s": pair.clip_start_s, "clip_end_s": pair.clip_end_s}
    return source_times(start_frame, end_frame, fps=pair.fps, fit=pair.fit, **span)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
