"""What a manifest's cells may hold: numbers, names, faces, files.

One function a kind; each returns the value or raises BadCellError.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from singalong.errors import UsageError
from singalong.face_choice import LIKE, picture_of
from singalong.manifest_readers import MAX_CELL_CHARS, Cell
from singalong.object_calls import at_once
from singalong.objects import object_at
from singalong.urls import is_url, relative_url

MAX_NAME_CHARS = 80
_MAX_PRIORITY = 1_000_000_000

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""They make text look as if it stood in another order: `gpj.exe` as `exe.jpg`."""
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+://|(?:file|data|concat|subfile|pipe|fd|tcp|udp|crypto|cache|async|hls):", re.I
)
_WINDOWS_SHARE = ("\\\\", "//?/", "//./")
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.I)
_CODE_IN_SUM = re.compile(r"[+-].*[(|!=]")
_UNSIGNED = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_FACE = re.compile(rf"largest|speaker|index:[0-9]{{1,4}}|at:{_UNSIGNED},{_UNSIGNED}@{_UNSIGNED}")
_FACE_FORMS = "largest, index:N, at:X,Y@T (pixels and seconds), speaker, or like:IMAGE"

VOCALS_WORDS = ("auto", "none", "left", "right", "separate")
_CHANNEL = re.compile(r"channel:[0-9]|channel:[1-5][0-9]|channel:6[0-3]")
_VOCALS_FORMS = "auto, none, left, right, channel:N (from 0), separate, or a stem's path"


_AT_ONCE = 32
_HEAD_BYTES = 12
_PICTURE = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(?:avif|avis|mif1)", re.DOTALL)


class BadCellError(ValueError):
    """A cell that cannot be used; whoever knows the row and the column makes an InputError of it."""

    def __init__(self, problem: str, *, expected: str | None = None, action: str | None = None) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.action = problem, expected, action


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """'Did you mean …?' for a name close to a known one."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else None


def check_text(value: Cell) -> None:
    """Refuse texts that no honest cell holds: very long ones, and ones with control characters."""
    if isinstance(value, str):
        if len(value) > MAX_CELL_CHARS:
            raise BadCellError("too long a text", expected=f"at most {MAX_CELL_CHARS} characters")
        if found := _CONTROL.search(value):
            raise BadCellError(f"contains the control character U+{ord(found[0]):04X}", expected="plain text")
        if found := _BIDI.search(value):
            raise BadCellError(
                f"contains U+{ord(found[0]):04X}, which changes the order in which text is shown",
                expected="text that reads as it is stored",
                action="Take the invisible character out, in the file's name too if it is one.",
            )


def text(value: Cell) -> str:
    """A text; whole numbers, as JSON and Parquet may hold them, become their digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    raise BadCellError("not a text", expected="text")


def number(value: Cell) -> float:
    """A finite number, with a decimal point."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        comma = re.fullmatch(r"[0-9]+,[0-9]+", value)
        hint = "Write the decimals after a point, not a comma." if comma else None
        raise BadCellError("not a number", expected="a number such as 12.5", action=hint)
    try:
        result = float(value) if value is not None else math.nan
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise BadCellError("not a finite number", expected="a number such as 12.5")
    return result


def seconds(value: Cell) -> float:
    """A time in seconds, not negative."""
    result = number(value)
    if result < 0:
        raise BadCellError("a negative time", expected="seconds from the start of the file, 0 or more")
    return result + 0.0  # -0.0 becomes 0.0: the same time must give the same work key


def integer(value: Cell) -> int:
    """A whole number of moderate size."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole and not (isinstance(value, str) and _INTEGER.fullmatch(value)):
        raise BadCellError("not a whole number", expected="a whole number such as 10")
    assert value is not None
    result = int(value)
    if abs(result) > _MAX_PRIORITY:
        raise BadCellError("out of range", expected=f"between -{_MAX_PRIORITY} and {_MAX_PRIORITY}")
    return result


def file_name(value: Cell) -> str:
    """A name that can be a file name everywhere."""
    name = text(value)
    _refuse_formula(name)
    if not _NAME.fullmatch(name):
        raise BadCellError(
            "cannot be a file name",
            expected="letters A-Z a-z, digits and . _ - only, not starting with a dot",
        )
    if _WINDOWS_NAMES.fullmatch(name) or name.startswith("-") or name.endswith("."):
        raise BadCellError(
            "cannot be a file name everywhere",
            expected="a name that Windows does not reserve, and that neither starts with - nor ends in a dot",
        )
    if len(name) > MAX_NAME_CHARS:
        raise BadCellError(f"{len(name)} characters long", expected=f"at most {MAX_NAME_CHARS}")
    return name


def is_file_name(name: str) -> bool:
    """Whether a text can be a file name everywhere, as it is."""
    try:
        return file_name(name) == name
    except BadCellError:
        return False


def free_text(value: Cell) -> str:
    """A text that goes into reports as it is; not one that a spreadsheet would run as a formula."""
    words = text(value)
    _refuse_formula(words, action="Write it in another way, e.g. with a word before it.")
    return words


def face(value: Cell, files: Files) -> str:
    """Which face sings; the picture of a `like:` becomes an absolute path."""
    choice = text(value)
    picture = picture_of(choice)
    if picture is not None:
        return LIKE + files.picture(picture)
    if not _FACE.fullmatch(choice):
        raise BadCellError("not a choice of face", expected=_FACE_FORMS)
    return choice


def vocals(value: Cell) -> str | None:
    """A word of the vocals column; None for anything else, which is the path of a stem."""
    word = text(value)
    if word in VOCALS_WORDS or _CHANNEL.fullmatch(word):
        return word
    if word.startswith("channel:") or (word.lower() in VOCALS_WORDS and not Path(word).suffix):
        raise BadCellError("not a choice of vocals", expected=_VOCALS_FORMS)
    return None


def _refuse_formula(value: str, action: str = "If a file is really called that, write ./ in front of it.") -> None:
    """Reports are opened in spreadsheets, too. A sign alone makes no harm: +1, -0.5, -quiet."""
    start = unicodedata.normalize("NFKC", value[:1]) + value[1:]  # there are wide forms of = and @
    if start.startswith(("=", "@")) or _CODE_IN_SUM.match(start):
        raise BadCellError("looks like a spreadsheet formula", expected="plain text", action=action)


def _at_url(place: str | Path) -> bool:
    return isinstance(place, str) and is_url(place)


class Files:
    """Media files named in a manifest: each distinct one is looked at once."""

    _MAX_SUGGESTIONS = 20
    _MAX_LISTED = 2000

    def __init__(self, base: str | Path, roots: Iterable[str | Path] = ()) -> None:
        """Relative names are meant from `base`, a folder or a URL.

        Where there are `roots`, folders or URLs, files must lie in them, links followed.
        """
        self._base, named = base, list(roots)
        self._roots = tuple(Path(root).expanduser().resolve() for root in named if not _at_url(root))
        self._url_roots = tuple(str(root).rstrip("/") for root in named if _at_url(root))
        self._seen: dict[str, str | BadCellError] = {}
        self._num_suggestions = 0

    def path(self, value: Cell) -> str:
        """Absolute path of an existing, regular, readable file; relative ones are meant from the manifest."""
        name = text(value)
        if name not in self._seen:
            self._seen[name] = self._seen_as(name)
        found = self._seen[name]
        if isinstance(found, BadCellError):
            raise found
        return found

    def look_ahead(self, values: Iterable[object]) -> None:
        """Look at objects many at once, which one by one takes a round trip each; raises as `path` does not.

        Raises UsageError or TransientIOError where the object store cannot be used.
        """
        names = {value.removeprefix(LIKE) for value in values if isinstance(value, str)} - set(VOCALS_WORDS) - {""}
        todo = [name for name in sorted(names) if is_url(name) or _at_url(self._base)]
        self._seen.update(zip(todo, at_once(self._seen_as, todo, num=_AT_ONCE), strict=True))

    def _seen_as(self, name: str) -> str | BadCellError:
        try:
            check_text(name)
            return self._look(name)
        except BadCellError as problem:
            return problem

    def picture(self, name: str) -> str:
        """Absolute path of a file like `path` that begins as pictures do; whether it is whole, decoding will tell."""
        if not name:
            raise BadCellError("no picture is named after like:", expected="like:IMAGE, e.g. like:anna.jpg")
        path = self.path(name)
        if is_url(path):
            return path  # probing will tell
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if not _PICTURE.match(head):
            raise BadCellError("not a picture", expected="a PNG, JPEG, WebP, BMP, TIFF, GIF or AVIF file after like:")
        return path

    def _look(self, name: str) -> str:
        _refuse_formula(name)
        if is_url(name) or (_at_url(self._base) and not _URL.match(name)):
            return self._look_at_object(name)
        if _URL.match(name):
            raise BadCellError(
                "URLs of this kind cannot be read", expected="a file, or s3://bucket/key", action="Download it first."
            )
        if name.startswith(_WINDOWS_SHARE):
            raise BadCellError("network paths of Windows cannot be read", expected="a local file")
        path = Path(self._base) / name
        if (self._roots or self._url_roots) and not any(path.resolve().is_relative_to(root) for root in self._roots):
            raise BadCellError(
                "lies outside the folders that media may be read from",
                expected=f"a file in {self._all_roots()}, links followed",
                action="Put it there, or change limits.media_roots.",
            )
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise BadCellError(
                "no such file", expected=f"a file, relative to {self._base}", action=self._near(path)
            ) from None
        except OSError as exc:
            raise BadCellError(f"cannot be looked at: {exc.strerror}") from None
        if stat.S_ISDIR(mode):
            raise BadCellError("is a folder", expected="a file")
        if not stat.S_ISREG(mode):
            raise BadCellError("is a device or a pipe", expected="a regular file")
        if not os.access(path, os.R_OK):
            raise BadCellError("may not be read", action="Check its permissions.")
        return os.fspath(path)

    def _look_at_object(self, name: str) -> str:
        try:
            url = relative_url(str(self._base), name) if _at_url(self._base) else name
            folder, key = object_at(url)
        except UsageError as bad:
            raise BadCellError(bad.problem, expected=bad.expected) from bad
        if (self._roots or self._url_roots) and not any(url.startswith(f"{root}/") for root in self._url_roots):
            raise BadCellError(
                "lies outside the places that media may be read from",
                expected=f"an object in {self._all_roots()}",
                action="Put it there, or change limits.media_roots.",
            )
        if folder.head(key) is None:
            folder.check()
            raise BadCellError("no such object", expected=f"an object at {url}")
        return url

    def _all_roots(self) -> str:
        return ", ".join([*map(str, self._roots), *self._url_roots])

    def _near(self, path: Path) -> str | None:
        """A file with nearly that name; not for thousands of misses, nor in folders of thousands of files."""
        self._num_suggestions += 1
        if self._num_suggestions > self._MAX_SUGGESTIONS or not path.parent.is_dir():
            return None
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(self._MAX_LISTED), strict=False)]
        return suggestion(path.name, sorted(names))
