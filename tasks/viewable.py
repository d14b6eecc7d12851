"""VIEWABLE: a copy of a pair's clip span that every browser plays, kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from singalong.contracts import ClipFacts, PairPlan
from singalong.errors import MediaError
from singalong.media.decode import ClipReader
from singalong.media.encode import SegmentWriter
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.probe_media import clip_facts, local_clip

CACHE_KIND = "review-clips"
_VERSION = "1"
_FILE = "clip.mp4"
_CRF = 23
_CHUNK_FRAMES = 8


def viewable_clips(run: RunFolder) -> Callable[[PairPlan], Path]:
    """Makes the copy of a pair's clip span, H.264, upright, at the pair's rate, from time 0 on; returns its path.

    What it returns raises MediaError for a clip that does not decode, or in HDR, which H.264 would not show as it is.
    """
    settings, store = run.settings, store_of(run.settings)

    def make(pair: PairPlan) -> Path:
        facts = local_clip(clip_facts(pair.clip, settings=settings, store=store), store)
        facts = facts.model_copy(update={"path": str(store.local_media(pair.clip))})
        words = f"{_VERSION} {pair.clip_start_s!r} {pair.clip_end_s!r} {pair.fps}"
        version = f"{_VERSION}-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
        return store.commit_cache(CACHE_KIND, pair.clip_sha256, version, lambda to: _write(pair, facts, to)) / _FILE

    return make


def _write(pair: PairPlan, facts: ClipFacts, folder: Path) -> None:
    num_frames = max(1, round((pair.clip_end_s - pair.clip_start_s) * pair.fps))
    times_s = pair.clip_start_s + np.arange(num_frames) / float(pair.fps)
    with ClipReader(facts) as reader:
        first = reader.read_chunk([pair.clip_start_s])[0]
        if first.is_deep:
            raise MediaError("is in HDR: of such clips single frames are shown", file=pair.clip)
        writer = SegmentWriter(
            folder / _FILE,
            width=pair.width,
            height=pair.height,
            fps=pair.fps,
            color=first.color,
            sample_aspect_ratio=facts.sample_aspect_ratio,
            crf=_CRF,
            preset="ultrafast",
        )
        with writer:
            for start in range(0, num_frames, _CHUNK_FRAMES):
                for frame in reader.read_chunk(times_s[start : start + _CHUNK_FRAMES].tolist()):
                    writer.write(frame)
