"""What an object store's refusals mean, and what to do about each; the one place that reads obstore's errors.

obstore gives an exception for what it knows (not found, exists, denied) and for the rest a text, which holds the
server's status, its S3 error document and the cause of a connection that failed.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Any

from singalong.errors import SingalongError, TransientIOError, UsageError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_SHORT_S = 10.0
"""How long what is most likely a wrong setting is tried again: names and credential services may fail for a moment."""
_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for a temporary key), name a profile in "
    "AWS_PROFILE, or run where the machine has a role that may use the bucket."
)
_BUCKET = "Create the bucket, or correct its name; for a server of your own set AWS_ENDPOINT_URL."
_BY_CODE: dict[str, tuple[str, str]] = {
    "NoSuchBucket": ("there is no such bucket", _BUCKET),
    "InvalidBucketName": ("this cannot be a bucket's name", _BUCKET),
    "InvalidAccessKeyId": ("the store does not know this access key", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", _CREDENTIALS),
    "ExpiredToken": ("the credentials have expired", "Get new ones, set them, and run again: all that is done stands."),
    "InvalidToken": ("the session token is not valid", _CREDENTIALS),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "Set the clock, then run again."),
    "PermanentRedirect": ("the bucket is in another region", "Set AWS_REGION to the bucket's region."),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", "Set AWS_REGION to the bucket's region."),
    "NotImplemented": ("the store cannot do what is asked", "It must honour If-None-Match, as S3 and MinIO do."),
    "EntityTooLarge": ("the file is larger than the store takes", "Raise the store's limit."),
}
_DENIED = "Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there, or use other credentials."
_WHO_AM_I = ("/latest/api/token", "/latest/meta-data", "169.254.169.254", "169.254.170.2", "sts.amazonaws.com")
"""Where machines of a cloud ask for their role: it is asked when nothing else gives credentials."""
_MAX_SHOWN = 200
_AGAIN = frozenset({408, 409, 425, 429})
"""Client errors that pass: time-outs, writes of one key in the same instant, too many requests."""


class ObjectChangedError(Exception):
    """The object is no longer the one whose version mark was given; never leaves `singalong.objects`."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One failed request: the error to raise when it is not tried again, and for how long to try, seconds."""

    error: Exception
    patience_s: float = 0.0


def fault_of(error: Exception, url: str, *, patience_s: float) -> Fault | None:
    """What to make of an exception of obstore's; None for one that is not the store's doing.

    FileNotFoundError and FileExistsError name the URL; a wrong setting is a UsageError; what may pass is a
    TransientIOError, to be tried again for `patience_s`.
    """
    name, text = type(error).__name__, str(error)
    codes, statuses = _CODE.findall(text), _STATUS.findall(text)
    code, status = codes[-1] if codes else "", int(statuses[-1]) if statuses else 0
    if code in _BY_CODE:
        problem, action = _BY_CODE[code]
        return Fault(error=UsageError(problem, file=url, action=action))
    if isinstance(error, FileNotFoundError):
        return Fault(error=FileNotFoundError(errno.ENOENT, "No such object", url))
    if name == "AlreadyExistsError":
        return Fault(error=FileExistsError(errno.EEXIST, "The object exists", url))
    if name == "PreconditionError":
        return Fault(error=ObjectChangedError(url))
    if isinstance(error, ValueError) and "parse path" in text:
        return Fault(error=bad_name(url))
    if not type(error).__module__.startswith("obstore") and not isinstance(error, OSError | TimeoutError):
        return None
    return _fault_of_text(text, code, status, url, patience_s)


def _fault_of_text(text: str, code: str, status: int, url: str, patience_s: float) -> Fault:
    short_s = min(patience_s, _SHORT_S)
    if any(place in text for place in _WHO_AM_I) or "credential" in text.lower():
        return Fault(error=UsageError("no credentials were found", file=url, action=_CREDENTIALS), patience_s=short_s)
    if "redirect without LOCATION" in text or "BareRedirect" in text:
        problem, action = _BY_CODE["PermanentRedirect"]
        return Fault(error=UsageError(problem, file=url, action=action))
    if status in (401, 403):
        problem = "access is denied, or nothing is there and the credentials may not list the bucket"
        return Fault(error=UsageError(problem, file=url, value=code or status, action=_DENIED))
    if 300 <= status < 500 and status not in _AGAIN:
        problem = f"the store refuses the request with {status} {code}".rstrip()
        action = "Check AWS_ENDPOINT_URL, AWS_REGION and the URL."
        return Fault(error=UsageError(problem, file=url, action=action))
    if "dns error" in text or "failed to lookup" in text:
        action = "Check AWS_ENDPOINT_URL, AWS_REGION and the network."
        error = UsageError("the store's host name cannot be found", file=url, action=action)
        return Fault(error=error, patience_s=short_s)
    if "BadScheme" in text or "RelativeUrlWithoutBase" in text:
        expected = "AWS_ENDPOINT_URL to begin with https:// or http://"
        return Fault(error=UsageError("the store's address is none", file=url, expected=expected))
    problem = f"the store answers with {status} {code}".rstrip() if status else "the store does not answer"
    return Fault(error=lost(problem, url), patience_s=patience_s)


def lost(problem: str, url: str) -> TransientIOError:
    """The error of a store that may answer the next time."""
    return TransientIOError(
        problem,
        file=url,
        action="Check the network and AWS_ENDPOINT_URL, then run again: all that is done stands.",
    )


def bad_name(url: str, value: Any = None) -> SingalongError:
    """The error of a URL or key that names no object."""
    shown = url.encode("utf-8", "backslashreplace").decode()
    return UsageError(
        "this cannot be the name of an object",
        file=shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…",
        value=value,
        expected="s3://bucket/folder/name, without empty parts, . or .., or control characters",
    )
