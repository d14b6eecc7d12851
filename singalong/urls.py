"""URLs of object stores, as texts: s3://bucket/key. Keys stand in them as they are, not percent-encoded."""

from __future__ import annotations

import os
import re

from singalong.object_errors import bad_name

SCHEME = "s3://"
_URL = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", re.DOTALL)
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_MAX_KEY_BYTES = 1024


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether this names something in an object store, and not a file. Paths never do: `Path` eats one slash."""
    return isinstance(text, str) and text[: len(SCHEME)].lower() == SCHEME


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of a URL, the key without slashes at its end. Raises UsageError where it is none."""
    match = _URL.fullmatch(SCHEME + url[len(SCHEME) :] if is_url(url) else url)
    if match is None:
        raise bad_name(url)
    bucket, key = match[1], (match[2] or "").rstrip("/")
    if key:
        check_key(key, url)
    return bucket, key


def relative_url(base: str, name: str) -> str:
    """The URL that `name`, as written in a file in the folder `base`, means; URLs and /keys of the bucket stay so.

    `..` goes up, within the bucket. Raises UsageError where it would leave that.
    """
    if is_url(name):
        return name
    bucket, prefix = split_url(base)
    parts = [] if name.startswith("/") else [part for part in prefix.split("/") if part]
    for part in name.split("/"):
        if part == ".." and not parts:
            raise bad_name(base, name)
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return f"{SCHEME}{bucket}/{'/'.join(parts)}"


def check_key(key: str, url: str) -> None:
    """Raise UsageError unless a key can be one: no empty parts, no dots alone, no control characters."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or _CONTROL.search(key):
        raise bad_name(url, key)
    if len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES or any("\ud800" <= char <= "\udfff" for char in key):
        raise bad_name(url, key)
