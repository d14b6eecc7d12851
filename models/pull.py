"""Fetching the published weights: where they lie, on what terms, and how to get them here whole or not at all.

What arrives is compared with the size and the SHA-256 that several unrelated repositories report, then read like any
other checkpoint (`registry.add_checkpoint`): nothing in it is run. pooch does the transfer and is imported only then.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models import cards, registry
from models.cards import ModelCard, Published, file_sha256
from singalong.errors import InputError, SingalongError, TransientIOError, UsageError, WeightsError

MIRROR_VARIABLE = "SINGALONG_MIRROR"
"""Names an address below which all files lie under their published names."""

_WAV2LIP_PAGE = "https://github.com/Rudrabha/Wav2Lip#getting-the-weights"
_WAV2LIP_TERMS = "research, academic and personal use only; no commercial use, because LRS2 was given on that condition"
_SCHEMES = ("https", "http", "file")
_TIMEOUT_S = 60.0


class Bar(Protocol):
    """What shows progress, as pooch calls it: bytes."""

    total: int

    def update(self, num_bytes: int) -> None:
        """So many more."""

    def reset(self) -> None:
        """Back to none."""

    def close(self) -> None:
        """No more will come."""


class Source(NamedTuple):
    """A published file and where its authors offer it; `url` is None where a browser and a click are needed."""

    name: str
    file: str
    url: str | None
    page: str
    terms: str

    @property
    def published(self) -> Published:
        """Size, digest and licence."""
        return next(known for known in cards.PUBLISHED if known.file == self.file)


# Addresses from the README of Wav2Lip and from download_model.sh of syncnet_python. sfd_face.pth is missing on
# purpose: it is another S3FD, which nothing here uses.
SOURCES = (
    Source("wav2lip", "wav2lip.pth", None, _WAV2LIP_PAGE, _WAV2LIP_TERMS),
    Source("wav2lip_gan", "wav2lip_gan.pth", None, _WAV2LIP_PAGE, _WAV2LIP_TERMS),
    Source("lipsync_expert", "lipsync_expert.pth", None, _WAV2LIP_PAGE, _WAV2LIP_TERMS),
    Source("visual_quality_disc", "visual_quality_disc.pth", None, _WAV2LIP_PAGE, _WAV2LIP_TERMS),
    Source(
        "s3fd",
        "s3fd.pth",
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        "https://github.com/1adrianb/face-alignment",
        "none given with the weights; the code beside them is under BSD-3-Clause; treat them as for research only",
    ),
    Source(
        "syncnet_v2",
        "syncnet_v2.model",
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        "none given with the weights; the code beside them is under MIT; treat them as for research only",
    ),
)


def find_source(name: str) -> Source:
    """The published file behind a name. Raises UsageError that lists them."""
    for source in SOURCES:
        if name in (source.name, source.file):
            return source
    raise UsageError(
        f"{name!r} is no published model known here",
        expected=", ".join(source.name for source in SOURCES),
        action="Weights of your own are added with: singalong models add NAME FILE",
    )


def address_of(source: Source, url: str | None = None) -> str:
    """Where to fetch a file: `url` (a folder if it ends in a slash), else $SINGALONG_MIRROR, else its authors' address.

    Raises InputError that says what to do by hand where there is none, UsageError for an address of another kind.
    """
    base = os.environ.get(MIRROR_VARIABLE)
    address = url or (base.rstrip("/") + "/" if base else source.url)
    if address is None:
        raise InputError(
            f"the authors of {source.file} offer it on a page that wants a browser, so it cannot be fetched from here",
            file=source.name,
            action=f"Download it from {source.page}, then: singalong models add {source.name} FILE. "
            f"From a mirror of your own: --url, or ${MIRROR_VARIABLE}.",
        )
    if urlsplit(address).scheme not in _SCHEMES:
        raise UsageError("cannot fetch from this address", value=address, expected="https://, http:// or file://")
    return address + source.file if address.endswith("/") else address


def pull(
    name: str,
    *,
    home: Path,
    url: str | None = None,
    replace: bool = False,
    bar: Callable[[str, int | None], Bar] | None = None,
) -> ModelCard:
    """Fetch a published file, check it, and install it under its name; a model that is there already is left as it is.

    The caller has shown the terms (`Source.terms`) and had them accepted. Nothing is left of a fetch that fails.

    Args:
        name: of SOURCES.
        home: folder of the models.
        url: see `address_of`.
        replace: fetch it although there is a model of this name.
        bar: makes a progress bar of a file name and its size in bytes, if known.

    Raises WeightsError naming both digests where other content arrives, TransientIOError where the connection fails,
    InputError where there is nothing to fetch, or another model has the name.
    """
    source = find_source(name)
    standing = _standing(source, home)
    if standing is not None and not replace:
        return standing
    address = address_of(source, url)
    registry.check_name(source.name, home, replace=replace)
    with _folder(home) as folder:
        path = folder / source.file
        _fetch(address, path, source, bar(source.file, source.published.num_bytes) if bar else None)
        _check(path, source, address)
        return registry.add_checkpoint(source.name, path, home=home, replace=replace, source=address)


@contextlib.contextmanager
def _folder(home: Path) -> Iterator[Path]:
    """A folder for one transfer, gone at its end; those of processes that were killed go now.

    Each is locked while its process lives, and the kernel drops the lock however it dies.
    """
    for path in home.glob(".fetching-*"):
        with _locked(path) as is_free:
            if is_free:
                shutil.rmtree(path, ignore_errors=True)
    folder = home / f".fetching-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder; False when another process does."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _standing(source: Source, home: Path) -> ModelCard | None:
    """The model of this name, if it is this very file."""
    cards_there = {card.name: card for card in registry.list_models(home)}
    card = cards_there.get(source.name)
    return card if card is not None and card.source_sha256 == source.published.sha256 else None


class _CheckedBar:
    """Passes progress on, and stops a transfer that announces another size than the file has."""

    def __init__(self, bar: Bar | None, source: Source, address: str) -> None:
        self._bar, self._source, self._address = bar, source, address
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, num_bytes: int) -> None:
        expected = self._source.published.num_bytes
        if num_bytes and expected is not None and num_bytes != expected:
            raise WeightsError(
                f"another file than {self._source.file} lies at this address",
                file=self._address,
                value=f"{num_bytes} bytes",
                expected=f"{expected} bytes, SHA-256 {self._source.published.sha256}",
                action=_by_hand(self._source),
            )
        self._total = num_bytes
        if self._bar is not None and num_bytes:
            self._bar.total = num_bytes

    def update(self, num_bytes: int) -> None:
        if self._bar is not None:
            self._bar.update(num_bytes)

    def reset(self) -> None:
        if self._bar is not None:
            self._bar.reset()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _fetch(address: str, path: Path, source: Source, bar: Bar | None) -> None:
    """Bring a file here; what fails is told as an error of ours."""
    checked = _CheckedBar(bar, source, address)
    if urlsplit(address).scheme == "file":
        original = Path(url2pathname(urlsplit(address).path))
        if not original.is_file():
            raise InputError("there is no such file at this address", file=address, action=_by_hand(source))
        checked.total = original.stat().st_size
        shutil.copyfile(original, path)
        checked.update(checked.total)
        checked.close()
        return
    import pooch
    import requests

    logging.getLogger("pooch").setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=checked, timeout=_TIMEOUT_S)
    try:
        pooch.retrieve(address, known_hash=None, fname=path.name, path=path.parent, downloader=downloader)
    except requests.exceptions.RequestException as exc:
        raise _transfer_error(exc, address, source) from exc


def _transfer_error(exc: Any, address: str, source: Source) -> SingalongError:
    status = getattr(exc.response, "status_code", None)
    if status is not None and 400 <= status < 500:
        return InputError(
            "there is no such file at this address", file=address, value=f"HTTP {status}", action=_by_hand(source)
        )
    reason = f"HTTP {status}" if status else str(exc)
    return TransientIOError(
        f"the transfer failed: {reason}", file=address, action="Nothing was kept; try again, or another --url."
    )


def _check(path: Path, source: Source, address: str) -> None:
    digest, expected = file_sha256(path), source.published.sha256
    if digest == expected:
        return
    with path.open("rb") as file:
        is_page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))
    raise WeightsError(
        "a web page arrived instead of weights"
        if is_page
        else f"what arrived is not {source.file} as it was published",
        file=address,
        value=f"SHA-256 {digest}, {path.stat().st_size} bytes",
        expected=f"SHA-256 {expected}",
        action=f"Nothing was kept. {_by_hand(source)}",
    )


def _by_hand(source: Source) -> str:
    return f"Look at {source.page}; a file fetched by hand is added with: singalong models add {source.name} FILE"
