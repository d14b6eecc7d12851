"""JOIN: finished segments and the untouched song become one film, with a thumbnail and a label of its making."""

from __future__ import annotations

from pathlib import Path

from singalong import __version__
from singalong.contracts import PairPlan
from singalong.durable import atomic_file, sha256_of
from singalong.media.conform import conform_video
from singalong.media.join import AudioSpan, join_segments
from singalong.media.thumbnails import write_thumbnail
from tasks.jobs import ConformJob, FilmFacts, JoinJob, SpanOfSong

JOIN_VERSION = 1
"""Raise when the same segments and songs give another film."""


def join(job: JoinJob) -> FilmFacts:
    """Write the film of a pair or montage; it appears under its name only when it is whole."""
    output = Path(job.output)
    facts = join_segments(
        [Path(segment) for segment in job.segments],
        output,
        fps=job.fps,
        audio=[AudioSpan(Path(span.path), span.start_s, span.end_s) for span in job.audio],
        metadata=job.metadata,
    )
    with atomic_file(Path(job.thumbnail)) as temp:
        write_thumbnail(output, facts.duration_s / 2, temp)
    return FilmFacts(
        path=str(output), sha256=facts.sha256, num_frames=facts.num_frames, duration_s=facts.duration_s
    )


def conform(job: ConformJob) -> FilmFacts:
    """Bring a finished film to another size and frame rate, for a montage of unequal clips."""
    output = Path(job.output)
    with atomic_file(output) as temp:
        conform_video(
            Path(job.source),
            temp,
            width=job.width,
            height=job.height,
            fps=job.fps,
            crf=job.crf,
            preset=job.preset,
            num_frames=job.num_frames,
        )
    return FilmFacts(
        path=str(output),
        sha256=sha256_of(output),
        num_frames=job.num_frames,
        duration_s=float(job.num_frames / job.fps),
    )


def film_metadata(title: str, pairs: list[PairPlan]) -> dict[str, str]:
    """Container tags: what the film is, that its faces are generated, and by whose leave."""
    generators = sorted({pair.generator.name for pair in pairs})
    rights = sorted({pair.rights for pair in pairs if pair.rights})
    made = f"AI-generated lip movements: faces in this video were altered by singalong {__version__}"
    note = f"{made} with the generator {', '.join(generators)}"
    if not all(pair.generator.trained for pair in pairs):
        note += " (untrained weights)"
    tags = {"title": title, "comment": note, "encoder": f"singalong {__version__}"}
    return tags | ({"copyright": "; ".join(rights)} if rights else {})


def song_span(pair: PairPlan) -> SpanOfSong:
    """The part of the song a pair is heard with: exactly as long as its video."""
    end_s = pair.song_start_s + float(pair.num_frames / pair.fps)
    return SpanOfSong(path=pair.song, start_s=pair.song_start_s, end_s=end_s)
