"""The one door through which media files are opened: local files of known formats only, errors mapped once.

libav will happily follow a playlist to another host, read a text file as terminal art, or open a capture
device. Clips come from strangers, so all that is not a plain file of a known media format is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container
import av.error
import av.logging
from av.codec.hwaccel import HWAccel

from singalong.errors import ErrorClass, MediaError, SingalongError, classify
from singalong.settings import LimitSettings

# Formats in libav's own spelling. None of these opens another file or a socket by itself: hls, dash, concat,
# sdp, rtsp, imf, image2 patterns, tty, lavfi and capture devices are missing on purpose.
FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "flv", "asf", "mpeg", "mpegts"),
    *(
        "mpegvideo",
        "ogg",
        "gif",
        "apng",
        "mxf",
        "nut",
        "rm",
        "dv",
        "wtv",
        "ivf",
        "obu",
        "h264",
        "hevc",
        "m4v",
    ),
    *("mjpeg", "vc1", "gxf", "yuv4mpegpipe", "wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3"),
    *("eac3", "dts", "amr", "ape", "wv", "tta", "mpc", "mpc8", "tak", "voc", "dsf"),
)
_CONTAINER_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
_WAVE_OPTIONS = {"probesize": str(1 << 16)}
"""libav looks for DTS and the like in the samples of a WAV, in 5 MB of them unless told less: 27 ms to 5. DTS shows
in 16 kB, four of its frames at most."""
_NO_PICTURES = {"skip_frame": "all"}
DEFAULT_MAX_PIXELS: int = LimitSettings.model_fields["max_pixels"].default
"""Frames larger than this are not decoded by whoever has no limit of its own."""
_MOST_PADDING_PX = 64 << 16
"""libav counts rows filled up to a multiple of 64 pixels; there are no more than 65,536 of them."""
_EXPECTED = "a video, audio or picture file such as MP4, MOV, MKV, WebM, AVI, WAV, FLAC, MP3, PNG or JPEG"
_ACTION = "Play it in a media player; if it does not play there, get the file again or convert it to MP4."

# libav's chatter about damaged packets must never reach the terminal, whatever another import switched on.
av.logging.set_level(None)


@contextmanager
def open_input(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, hwaccel: HWAccel | None = None, only_packets: bool = False
) -> Iterator[av.container.InputContainer]:
    """Open a local media file for reading and close it at the end.

    To find out what a file holds, libav may decode some of it: no frame of more than `max_pixels`, so that a small
    file cannot fill the memory before anybody has seen its size. `hwaccel` decodes what it can (see `codecs`).
    `only_packets`: of a segment of ours nothing is to be decoded, so libav need not look at its first picture, which
    is most of what opening costs; its colours and pixel format may stay unknown.

    Errors of libav, in opening as well as in the body, become MediaError (or ResourceError,
    TransientIOError where the machine, not the file, is to blame), each naming the file. Missing files,
    folders, devices and empty files are refused before libav sees them.
    """
    check_is_file(path)
    try:
        # "file:" keeps a name such as `http:clip.mp4` or `a|b` from being read as a protocol
        container = _open(path, decoder_limits(max_pixels) | (_NO_PICTURES if only_packets else {}), hwaccel)
    except av.error.ArgumentError as exc:  # EINVAL: what was probed is not on the list of formats
        raise MediaError(
            "is a playlist, a picture sequence or text, not media in one file",
            file=path,
            expected=_EXPECTED,
            action="Give the media file itself.",
        ) from exc
    except av.error.FFmpegError as exc:
        raise map_av_error(exc, path, problem="cannot be opened as media") from exc
    with container:
        try:
            yield container
        except av.error.FFmpegError as exc:
            raise map_av_error(exc, path, problem="cannot be decoded") from exc


def _open(path: Path, options: dict[str, str], hwaccel: HWAccel | None) -> av.container.InputContainer:
    try:
        return av.open(
            f"file:{path}",
            mode="r",
            options=options,
            container_options=_CONTAINER_OPTIONS | (_WAVE_OPTIONS if _is_wave(path) else {}),
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
    except av.error.FFmpegError:
        if hwaccel is None:
            raise
        # PyAV falls back for streams that a card cannot decode, but not where the card itself refuses: it may be full.
        return _open(path, options, None)


def _is_wave(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:  # libav will say what is wrong
        return False
    return head[:4] == b"RIFF" and head[8:] == b"WAVE"


def decoder_limits(max_pixels: int) -> dict[str, str]:
    """Options of libav's decoders for frames of at most so many pixels, and what it adds to fill up its rows."""
    return {"max_pixels": str(max_pixels + _MOST_PADDING_PX)}


def check_is_file(path: Path) -> None:
    """Raise MediaError unless the path is a readable, regular, non-empty file."""
    try:
        if not path.exists():
            problem = "no such file"
        elif path.is_dir():
            problem = "is a folder"
        elif not path.is_file():
            problem = "is a pipe or a device, not a regular file"
        elif path.stat().st_size == 0:
            problem = "the file is empty (0 bytes)"
        else:
            with path.open("rb"):
                return
    except (OSError, ValueError) as exc:  # ValueError: a zero byte in the name
        known = classify(exc)
        if known.error_class in (ErrorClass.RESOURCE, ErrorClass.TRANSIENT_IO):
            raise known from exc
        problem = f"cannot be read: {getattr(exc, 'strerror', None) or exc}"
    raise MediaError(problem, file=path, expected="a media file", action="Check the path and its permissions.")


def map_av_error(exc: av.error.FFmpegError, path: Path, *, problem: str) -> SingalongError:
    """The error of ours for an error of libav met while reading `path`; `problem` says at what.

    libav says "input/output error" of many a damaged file, and "cannot allocate memory" of one whose header asks
    for absurd amounts: those are the file's fault, unless the disk itself fails to give the file's bytes.
    """
    if isinstance(exc, MemoryError):
        problem = f"{problem}: it asks for more memory than can be had; it is damaged or made to do harm"
        return MediaError(problem, file=path, expected=_EXPECTED, action=_ACTION)
    known = classify(exc)
    if known.error_class is ErrorClass.RESOURCE:
        return known
    if known.error_class is ErrorClass.TRANSIENT_IO and not _can_read_all(path):
        return known
    reason = exc.strerror or type(exc).__name__
    return MediaError(f"{problem}: {reason}", file=path, expected=_EXPECTED, action=_ACTION)


def raise_if_not_the_files_fault(exc: av.error.FFmpegError, path: Path) -> None:
    """For readers that go on past damage: raise where it was the disk or the network that failed."""
    error = map_av_error(exc, path, problem="cannot be read")
    if not isinstance(error, MediaError):
        raise error from exc


def _can_read_all(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True
