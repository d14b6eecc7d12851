"""What an attempt's log says at its start and at its end: of the job, the worker, the settings, and what came of it."""

from __future__ import annotations

import os
import platform
import resource
import socket
from functools import cache
from importlib import metadata
from typing import Any

from singalong import __version__
from singalong.contracts import Failure
from tasks.attempt_log import note
from tasks.jobs import (
    AnalyseJob,
    ConformJob,
    Job,
    JoinJob,
    LikenessJob,
    LipsyncJob,
    Outcome,
    SongJob,
    SpeakersJob,
    WorkerSpec,
)

_PACKAGES = ("av", "numpy", "opencv-python", "onnxruntime", "torch")


def tell_begin(job: Job, spec: WorkerSpec) -> None:
    """What is to be done, by whom and with what; nothing where nobody asked."""
    if job.log is None:
        return
    settings = spec.settings
    fields: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "device": spec.device}
    match job:
        case LipsyncJob():
            fields |= {"pair": job.pair.pair_id, "clip": job.clip.path, "song": job.pair.voice, "face": job.pair.face}
            fields |= {"frames": [job.shard.start_frame, job.shard.end_frame], "work_key": job.shard.work_key}
            fields |= {"generator": job.pair.generator.name, "scorer": spec.scorer and spec.scorer.name}
            fields |= {"enhancer": spec.enhancer and spec.enhancer.name, "batch_size": job.batch_size}
            fields |= {"chunk_frames": settings.run.chunk_frames, "settings": settings.lipsync.model_dump(mode="json")}
        case AnalyseJob() | SpeakersJob():
            fields |= {"clip": job.clip.path, "detector": spec.detector.name}
            fields |= {"settings": settings.analysis.model_dump(mode="json")}
        case LikenessJob():
            fields |= {"picture": job.image.path, "detector": spec.detector.name}
        case SongJob():
            fields |= job.model_dump(mode="json", include={"path", "finds_voice", "channel", "separates"})
        case JoinJob():
            fields |= {"output": job.output, "num_segments": len(job.segments)}
        case ConformJob():
            fields |= job.model_dump(mode="json", include={"source", "width", "height", "num_frames", "fill"})
            fields |= {"fps": str(job.fps)}
    note(f"{job.kind} begins", stage="worker", **fields, versions=versions())


def tell_end(outcome: Outcome) -> None:
    """What came of it, and what it cost."""
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    cost: dict[str, Any] = {"seconds": round(outcome.seconds, 3), "peak_rss_mb": peak_mb}
    if outcome.failure is not None:
        note(outcome.failure.message, stage="worker", level="error", **failure_fields(outcome.failure), **cost)
    elif outcome.shard is not None:
        shard = outcome.shard
        cost |= {"stages": {name: round(seconds, 3) for name, seconds in shard.seconds.items()}}
        made = shard.model_dump(
            mode="json", include={"num_frames", "num_face_frames", "passed_through", "device", "segment_sha256"}
        )
        note("made", stage="worker", **made, **shard.score.model_dump(exclude_none=True), **cost)
    else:
        film = {} if outcome.film is None else outcome.film.model_dump(include={"num_frames", "duration_s", "sha256"})
        note("made", stage="worker", folder=outcome.folder, **film, **cost)


def failure_fields(failure: Failure) -> dict[str, Any]:
    """A failure beside its message."""
    return {"error_class": str(failure.error_class), "traceback": failure.traceback or None}


@cache
def versions() -> dict[str, str]:
    """Of ourselves and of what makes pictures and sounds; looked up once a process."""
    import av

    found = {"singalong": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # built by hand, without its record
            found[package] = "unknown"
    return found | {name: ".".join(map(str, number)) for name, number in sorted(av.library_versions.items())}
