"""MP4 files being written: errors of libav mapped once, nothing of libav's version in the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import av.error
from av.container import OutputContainer

from singalong.errors import BugError, ErrorClass, classify


def open_mp4(path: Path, options: Mapping[str, str] | None = None) -> OutputContainer:
    """A new MP4 file; the caller closes it. `options` are those of libav's mov muxer."""
    muxer = {"fflags": "+bitexact", **(options or {})}  # bitexact: no version of libav, no date
    # "file:" keeps a name such as `a:b` from being read as a protocol
    return av.open(f"file:{path}", "w", format="mp4", container_options=muxer, metadata_errors="replace")


@contextmanager
def writing_mp4(path: Path, options: Mapping[str, str] | None = None) -> Iterator[OutputContainer]:
    """Write an MP4 file in the body: closed well at its end, or as best it can be when the body raises."""
    with mapped_errors(path):
        container = open_mp4(path, options)
        try:
            yield container
        except BaseException:
            with suppress(av.error.FFmpegError):  # what went wrong first is what counts
                container.close()
            raise
        container.close()


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Map libav's errors in writing `path`: a full or failing disk to its class, the rest to BugError."""
    try:
        yield
    except av.error.FFmpegError as exc:
        known = classify(exc)
        if known.error_class in (ErrorClass.RESOURCE, ErrorClass.TRANSIENT_IO):
            raise known from exc
        raise BugError(f"cannot be written: {exc.strerror or exc}", file=path) from exc
