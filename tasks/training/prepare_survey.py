"""SURVEY a folder of talking videos, and each video in it: what is there, and what is not in the dataset yet."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from singalong.config import Settings
from singalong.contracts import ClipFacts, ModelRef
from singalong.errors import InputError, UsageError
from singalong.store import Store
from singalong.suffixes import VIDEO_SUFFIXES
from tasks.analyse import analyse_clip
from tasks.jobs import Survey, SurveyJob
from tasks.probe_media import clip_facts
from tasks.training.prepare_records import is_finished

if TYPE_CHECKING:
    from models.detectors import Detector


class Video(NamedTuple):
    """A video of the folder; `source` is its path below the folder, with forward slashes."""

    path: Path
    source: str


def find_videos(folder: Path) -> list[Video]:
    """All videos in a folder and the folders in it, by path; links are followed, hidden files are not looked at.

    Raises UsageError where there is no such folder or no video in it.
    """
    if not folder.is_dir():
        raise UsageError("is no folder", file=folder, expected="a folder of talking videos")
    videos = [Video(path, path.relative_to(folder).as_posix()) for path in _files(folder)]
    if not videos:
        raise UsageError(
            "no videos in this folder", file=folder, expected=f"files named {', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return sorted(videos, key=lambda video: video.source)


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield path


def num_spans(clip: ClipFacts, span_s: float) -> int:
    """Spans a video is prepared in; one without sound has nothing to cut."""
    return max(1, math.ceil(clip.duration_s / span_s)) if clip.has_audio else 1


def survey_video(
    job: SurveyJob, *, settings: Settings, detector: Callable[[], Detector], detector_ref: ModelRef, store: Store
) -> Survey:
    """Facts of a video and its analysis, unless all its spans are finished or it has no sound.

    Raises MediaError where it cannot be read, InputError for a still picture.
    """
    clip = clip_facts(job.path, settings=settings, store=store)
    if clip.is_still:
        raise InputError("is a still picture", file=job.path, expected="a talking video")
    dataset = Path(job.dataset)
    spans = tuple(
        span
        for span in range(num_spans(clip, settings.prepare.span_s))
        if not is_finished(dataset, clip.sha256, span, version=job.version)
    )
    if not spans or not clip.has_audio:
        return Survey(clip=clip, analysis="", spans=spans)
    folder = analyse_clip(clip, detector=detector(), detector_ref=detector_ref, settings=settings.analysis, store=store)
    return Survey(clip=clip, analysis=str(folder), spans=spans)
