"""Media that point at other files or other hosts: nothing outside the file itself is ever opened.

The kernel says which files are opened (inotify), a server on this machine which addresses are asked for. That both
would notice is shown with libav as it comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from singalong.errors import MediaError
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tests.hostile_media import full, mov, png
from tests.videos import make_video

IN_OPEN = 0x20
CANARY = "canary.mp4"


class Watched:
    """A folder whose files, when opened by anybody, are noted by the kernel."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._handle >= 0
        assert self._libc.inotify_add_watch(self._handle, os.fsencode(folder), IN_OPEN) >= 0

    def opened(self) -> set[str]:
        """Names of the files opened since the last call."""
        names, data = set(), b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._handle, 1 << 16)
        while data:
            _, _, _, length = struct.unpack_from("iIII", data)
            names.add(data[16 : 16 + length].rstrip(b"\0").decode())
            data = data[16 + length :]
        return names - {""}

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[tuple[Path, Watched]]:
    """A sound video that others may point at, in a folder of its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = make_video(folder / CANARY, num_frames=3, audio_s=0.2)
    make_video(folder / "canary0.png", codec="png", pix_fmt="rgb24", num_frames=1, container_format="image2")
    watched = Watched(folder)
    yield path, watched
    watched.close()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Address of a server, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()
        thread.join()


def hls(target: str) -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", target, "#EXT-X-ENDLIST", ""]
    return "\n".join(lines)


def dash(target: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
        f'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )


POINTERS = {
    "hls.m3u8": hls,
    "hls.mp4": hls,
    "key.m3u8": lambda target: hls("x.ts").replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF', 1),
    "list.ffconcat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "list.mkv": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "dash.mpd": dash,
    "dash.mov": dash,
    "session.sdp": lambda target: (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\na=control:{target}\nm=video 0 RTP/AVP 96\n"
    ),
    "list.asx": lambda target: f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "list.pls": lambda target: f"[playlist]\nFile1={target}\nNumberOfEntries=1\nVersion=2\n",
    "reference.ram": lambda target: f"{target}\n",
    "picture.svg": lambda target: (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="64" height="64"><image xlink:href="{target}" width="64" height="64"/></svg>'
    ),
    "picture.eps": lambda target: f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n({target}) run\nshowpage\n",
    "page.pdf": lambda target: f"%PDF-1.4\n1 0 obj<</F({target})>>endobj\ntrailer<</Root 1 0 R>>\n",
    "captions.srt": lambda target: f"1\n00:00:00,000 --> 00:00:01,000\n{target}\n",
    "script.avs": lambda target: f'DirectShowSource("{target}")\n',
    "vapour.vpy": lambda target: f"import vapoursynth as vs\nvs.core.ffms2.Source({target!r}).set_output()\n",
    "graph.lavfi": lambda target: f"movie={target}",
}


def try_to_read(path: Path) -> None:
    for probe in (
        lambda: probe_clip(path, sha256="", limits=LimitSettings(), still_fps=25),
        lambda: probe_song(path, sha256="", limits=LimitSettings()),
    ):
        with pytest.raises(MediaError) as caught:
            probe()
        assert str(path) in str(caught.value)
        assert caught.value.action


def test_the_kernel_and_the_server_would_notice(
    tmp_path: Path, canary: tuple[Path, Watched], server: tuple[str, list[str]]
) -> None:
    path = tmp_path / "list.ffconcat"
    path.write_text("ffconcat version 1.0\nfile 'elsewhere/canary.mp4'\n")
    with av.open(str(path)):
        pass
    assert canary[1].opened() == {CANARY}
    with contextlib.suppress(av.error.FFmpegError), av.open(f"{server[0]}/x.ts"):
        pass
    assert server[1] == ["/x.ts"]


@pytest.mark.parametrize("name", POINTERS)
def test_a_file_that_points_elsewhere_is_refused_and_not_followed(
    tmp_path: Path, canary: tuple[Path, Watched], server: tuple[str, list[str]], name: str
) -> None:
    path, (target, watched) = tmp_path / name, canary
    for pointed in (str(target), f"elsewhere/{CANARY}", f"file:{target}", f"{server[0]}/{CANARY}"):
        path.write_text(POINTERS[name](pointed))
        try_to_read(path)
    assert watched.opened() == set()
    assert server[1] == []


def test_a_film_whose_data_lies_in_another_file_is_read_without_it(
    tmp_path: Path, canary: tuple[Path, Watched], server: tuple[str, list[str]]
) -> None:
    target, watched = canary
    for address in (f"file://{target}", str(target), f"{server[0]}/{CANARY}"):
        reference = full(b"url ", address.encode() + b"\0")
        path = mov(tmp_path / "a.mov", [png(64, 64)], data_reference=reference)
        with contextlib.suppress(MediaError):
            probe_clip(path, sha256="", limits=LimitSettings(), still_fps=25)
    for alias in (_alias(str(target)), _alias(CANARY)):
        path = mov(tmp_path / "a.mov", [png(64, 64)], data_reference=full(b"alis", alias))
        with contextlib.suppress(MediaError):
            probe_clip(path, sha256="", limits=LimitSettings(), still_fps=25)
    assert watched.opened() == set()
    assert server[1] == []


def _alias(path: str) -> bytes:
    """A Macintosh alias record, as QuickTime files keep for tracks that lie elsewhere (libav: mov_read_dref)."""
    name, where = path.rsplit("/", 1)[-1].encode(), path.encode()
    record = struct.pack(">IHHH", 0, 300, 2, 0) + b"\4disk".ljust(28, b"\0") + bytes(12)
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    padded = where + b"\0" * (len(where) % 2)
    return record + struct.pack(">hh", 18, len(where)) + padded + struct.pack(">h", -1)


@pytest.mark.parametrize("pattern", ["canary%d.png", "canary%01d.png", "*.png", "canary?.mp4"])
def test_a_pattern_is_the_name_of_one_file(tmp_path: Path, canary: tuple[Path, Watched], pattern: str) -> None:
    try_to_read(canary[0].parent / pattern)
    assert canary[1].opened() == set()
    (tmp_path / pattern).write_bytes(b"not media")
    try_to_read(tmp_path / pattern)
    assert canary[1].opened() == set()


@pytest.mark.parametrize("prefix", ["concat:", "subfile,,start,0,end,0,,:", "crypto:", "cache:", "async:", "concatf:"])
def test_a_prefix_of_libav_is_part_of_a_name(canary: tuple[Path, Watched], prefix: str) -> None:
    try_to_read(Path(f"{prefix}{canary[0]}"))
    assert canary[1].opened() == set()


def test_a_link_is_followed_to_a_file_but_not_to_a_device(tmp_path: Path, canary: tuple[Path, Watched]) -> None:
    (tmp_path / "link.mp4").symlink_to(canary[0])
    assert probe_clip(tmp_path / "link.mp4", sha256="", limits=LimitSettings(), still_fps=25).num_frames == 3
    for device in ("/dev/zero", "/dev/stdin", "/proc/self/mem"):
        (tmp_path / "device.mp4").unlink(missing_ok=True)
        (tmp_path / "device.mp4").symlink_to(device)
        try_to_read(tmp_path / "device.mp4")
