"""JOIN: finished segments and the untouched song become one film, with a thumbnail and a label of its making."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

from singalong.durable import atomic_file, sha256_of
from singalong.errors import TransientIOError
from singalong.media.audio_out import AudioSpan
from singalong.media.conform import conform_video
from singalong.media.join import join_segments
from singalong.media.recode import joinable
from singalong.media.soundtrack import encode_soundtrack
from singalong.media.thumbnails import write_thumbnail
from singalong.objects import is_url, object_at
from singalong.store import Store
from tasks.credentials import embed_credentials
from tasks.jobs import ConformJob, FilmFacts, JoinJob, Segment, SpanOfSong
from tasks.reframe import face_path

CONFORM_VERSION = 1
"""Raise when bringing a film to another canvas gives other pixels."""
SOUNDTRACK_VERSION = 1
"""Raise when the same spans of songs are encoded otherwise."""
TITLE_VERSION = 1
"""Raise when the same title looks different."""
CROP_VERSION = 1
"""Raise when a film is cropped at another place."""
_CONFORMED = "conformed.mp4"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def join(job: JoinJob, store: Store, *, check: Callable[[], None] = lambda: None) -> FilmFacts:
    """Write the film of a pair or montage; it appears under its name only when it is whole, and signed.

    `check` is called before a film goes to its URL. Raises what it raises, and TransientIOError for a segment of the
    store whose bytes are not those that were committed.
    """
    if not is_url(job.output):
        return _join(job, store)
    with store.temp_dir() as folder:
        film, thumbnail = folder / "film.mp4", folder / "film.jpg"
        facts = _join(job.model_copy(update={"output": str(film), "thumbnail": str(thumbnail)}), store)
        check()
        for path, url in ((thumbnail, job.thumbnail), (film, job.output)):
            place, key = object_at(url)
            place.upload(key, path)
        return facts.model_copy(update={"path": job.output, "num_bytes": film.stat().st_size})


def _join(job: JoinJob, store: Store) -> FilmFacts:
    output, credentials = Path(job.output), job.credentials
    for segment in job.segments:
        _check_content(Path(segment))
    with joinable([Path(segment) for segment in job.segments], output, fps=job.fps) as segments:
        facts = join_segments(
            segments,
            output,
            fps=job.fps,
            audio=_spans(job.audio),
            metadata=job.metadata,
            seal=None if credentials is None else lambda film: embed_credentials(film, job.name, credentials),
            kept_sound=partial(kept_sound, job.audio, store) if job.keeps_sound else None,
        )
    with atomic_file(Path(job.thumbnail)) as temp:
        write_thumbnail(output, facts.duration_s / 2, temp)
    return FilmFacts(
        path=str(output),
        sha256=facts.sha256,
        num_frames=facts.num_frames,
        duration_s=facts.duration_s,
        content_sha256=facts.unsealed_sha256,
    )


def kept_sound(songs: Sequence[SpanOfSong], store: Store, duration: Fraction) -> Path:
    """The cache folder with these spans of songs, encoded once for all films of this many seconds."""
    parts = [[span.sha256 or span.path, span.start_s, span.end_s] for span in songs]
    key = hashlib.sha256(json.dumps([parts, str(duration)]).encode()).hexdigest()

    def folder() -> Path:
        return store.commit_cache(
            "soundtracks",
            key,
            f"v{SOUNDTRACK_VERSION}",
            lambda empty: encode_soundtrack(_spans(songs), duration, empty),
        )

    # packets are copied unheard, so what the disk did to them would be in every film
    return folder() if store.drop_if_damaged(made := folder()) else made


def _spans(songs: Sequence[SpanOfSong]) -> list[AudioSpan]:
    return [AudioSpan(Path(span.path), span.start_s, span.end_s) for span in songs]


def conform(job: ConformJob, store: Store) -> Path:
    """Bring a finished film to another size and frame rate, and paint its title, for a montage; the cache folder."""

    def build(folder: Path) -> None:
        conform_video(
            Path(job.source),
            folder / _CONFORMED,
            width=job.width,
            height=job.height,
            fps=job.fps,
            crf=job.crf,
            preset=job.preset,
            num_frames=job.num_frames,
            title=job.title,
            fill=job.fill,
            face=None if job.crop is None else face_path(job.crop),
            label="" if job.crop is None else job.crop.label,
        )

    return store.commit_cache("conformed", job.source_sha256, conform_version(job), build)


def conformed(job: ConformJob, store: Store) -> Segment | None:
    """The copy this job makes, if it was made."""
    version = conform_version(job)
    folder = store.cached("conformed", job.source_sha256, version)
    return (
        None if folder is None else Segment(path=str(folder / _CONFORMED), content_id=f"{job.source_sha256} {version}")
    )


def conform_version(job: ConformJob) -> str:
    """Names the copy that a job makes, among those of the same film."""
    fps = f"{job.fps.numerator}-{job.fps.denominator}"
    version = f"v{CONFORM_VERSION}-{job.width}x{job.height}-{fps}-{job.num_frames}-{job.crf}-{job.preset}"
    if job.crop is not None:
        guide = json.dumps([CROP_VERSION, job.crop.content_ids, job.crop.label])
        version += f"-crop{hashlib.sha256(guide.encode()).hexdigest()[:16]}"
    elif job.fill != "black":
        version += f"-{job.fill}"
    if job.title is None:
        return version
    title = json.dumps([TITLE_VERSION, job.title.model_dump(mode="json")], sort_keys=True)
    return f"{version}-t{hashlib.sha256(title.encode()).hexdigest()[:16]}"


def _check_content(segment: Path) -> None:
    """Raise TransientIOError for a segment of the store that is not what its name says: packets are copied unseen."""
    if _SHA256.fullmatch(segment.stem) and sha256_of(segment) != segment.stem:
        raise TransientIOError(
            "a finished segment is damaged on the disk",
            file=segment,
            expected="the content its name was made of",
            action="Check the disk, then run again: the segment is made anew.",
        )
