"""Calls to an object store: one event loop a process, tried again while the store is away.

obstore's plain calls hold Ctrl-C back until they return. So its asynchronous ones run on a thread of their own, and the
caller waits in a way that signals reach.
"""

from __future__ import annotations

import asyncio
import configparser
import logging
import os
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from singalong.environment import seconds_from
from singalong.errors import UsageError
from singalong.object_errors import fault_of
from singalong.traffic import count

if TYPE_CHECKING:
    from obstore.store import S3Store

S = TypeVar("S")
T = TypeVar("T")

RETRY_S = 150.0
"""A store that is away for this long is waited for; `SINGALONG_OBJECT_RETRY_S` says otherwise."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_TOLD_AFTER_S = 8.0
_CONNECT_S, _SILENCE_S = "5s", "45s"
"""For a connection, and for any answer; a part of 8 MB must go out within the latter: 1.5 Mbit/s."""
_WHOLE_S = "1day"
"""The limit on a whole transfer, which obstore sets to 30 s: large files take longer. Silence is what ends one."""

_log = logging.getLogger("singalong.objects")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def retry_s() -> float:
    """For how long a lost store is tried again, seconds. Raises UsageError where the environment gives no number."""
    return seconds_from("SINGALONG_OBJECT_RETRY_S", RETRY_S, least_s=0, expected="a number such as 150")


def call(work: Callable[[], Awaitable[T]], url: str, *, operation: str) -> T:
    """The result of `work()`, a coroutine of obstore's, done anew while the store is away.

    `operation` is what it is counted as, see `singalong.traffic`.

    Raises FileNotFoundError, FileExistsError, UsageError, or, when the time is up, TransientIOError.
    """
    started = time.monotonic()
    try:
        return _call(work, url, operation)
    finally:
        count("object_seconds", operation, time.monotonic() - started)


def _call(work: Callable[[], Awaitable[T]], url: str, operation: str) -> T:
    pause_s, told, patience_s = _FIRST_PAUSE_S, False, retry_s()
    failed: float | None = None
    while True:
        count("object_requests", operation)
        try:
            return _wait(_start(work))
        except Exception as error:
            fault = fault_of(error, url, patience_s=patience_s)
            if fault is None:
                raise
            failed = failed or time.monotonic()
            away_s = time.monotonic() - failed
            if away_s + pause_s > fault.patience_s:
                raise fault.error from error
        if not told and away_s > _TOLD_AFTER_S:
            told = True
            left_s = fault.patience_s - away_s
            _log.warning("%s does not answer; trying again for another %.0f s", url, left_s)
        waited_s = pause_s * random.uniform(0.5, 1.0)
        time.sleep(waited_s)
        count("object_retries", operation)
        count("object_wait_seconds", operation, waited_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def at_once(
    work: Callable[[S], T], items: Iterable[S], *, num: int, note: Callable[[int], None] | None = None
) -> list[T]:
    """`work` of all items in their order, by `num` threads; `note` is told how many are done.

    Raises what one of them raised first. Interrupted, it returns at once: threads that wait for a store die with the
    process, which those of an executor would keep alive.
    """
    todo = list(items)
    results: list[T | None] = [None] * len(todo)
    numbers, ended = iter(range(len(todo))), queue.SimpleQueue[BaseException | None]()
    lock, stop = threading.Lock(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                results[number] = work(todo[number])
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                ended.put(error)
            else:
                ended.put(None)

    for _ in range(min(num, len(todo))):
        threading.Thread(target=run, name="objects-many", daemon=True).start()
    try:
        for count in range(1, len(todo) + 1):
            error = ended.get()
            if error is not None:
                raise error
            if note is not None:
                note(count)
    finally:
        stop.set()
    return cast("list[T]", results)


def _start(work: Callable[[], Awaitable[T]]) -> Future[T]:
    async def run() -> T:
        return await work()

    return asyncio.run_coroutine_threadsafe(run(), _loop())


def _wait(future: Future[T]) -> T:
    try:
        return future.result()
    except BaseException:
        future.cancel()  # interrupted: nobody waits for it any more
        raise


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        pid = os.getpid()
        if pid not in _loops:
            _loops.clear()  # a fork has its parent's loop, but not the thread that turns it
            _loops[pid] = asyncio.new_event_loop()
            threading.Thread(target=_loops[pid].run_forever, name="objects", daemon=True).start()
        return _loops[pid]


def bucket_client(bucket: str, *, steady: bool = False) -> S3Store:
    """The client of a bucket, one for each of this process and environment.

    `steady`: it tries requests again by itself, for the parts of an upload; otherwise `call` does.
    """
    # What is read from the environment is part of the key: tests and notebooks change it.
    environment = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("AWS_")))
    return _client(bucket, steady, retry_s() if steady else 0.0, os.getpid(), environment)


@lru_cache(maxsize=32)
def _client(
    bucket: str, steady: bool, patience_s: float, _pid: int, environment: tuple[tuple[str, str], ...]
) -> S3Store:
    from datetime import timedelta

    from obstore.store import S3Store

    env = dict(environment)
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or env.get("AWS_ENDPOINT") or ""
    _check_endpoint(endpoint)
    options: dict[str, Any] = {"connect_timeout": _CONNECT_S, "read_timeout": _SILENCE_S, "timeout": _WHOLE_S}
    options["allow_http"] = endpoint.startswith("http://") or env.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    if env.get("AWS_ALLOW_INVALID_CERTIFICATES", "").lower() in ("1", "true"):
        options["allow_invalid_certificates"] = True
    if env.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = _read_bundle(env["AWS_CA_BUNDLE"])
    retry: dict[str, Any] = {"max_retries": 1000 if steady else 0, "retry_timeout": timedelta(seconds=patience_s)}
    retry["backoff"] = {"max_backoff": timedelta(seconds=_LONGEST_PAUSE_S)}
    # One DELETE an object: not every server that speaks S3 knows the one for many.
    config: Any = {"disable_bulk_delete": True, **_profile(env)}
    try:
        return S3Store(bucket, config=config, client_options=options, retry_config=retry)  # type: ignore[arg-type]
    except Exception as error:
        raise UsageError(
            f"the settings of the object store cannot be used: {str(error).splitlines()[0]}",
            file=f"s3://{bucket}",
            action="Check the AWS_* variables of the environment.",
        ) from error


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise UsageError(
            "AWS_ENDPOINT_URL is no address of a server",
            value=endpoint,
            expected="such as https://minio.example.org:9000",
        )


def _read_bundle(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError("AWS_CA_BUNDLE cannot be read", file=path, value=error.strerror) from error


def _profile(env: dict[str, str]) -> dict[str, str]:
    """Keys and region of the user's profile, as `aws configure` writes them, where the environment has no keys."""
    if "AWS_ACCESS_KEY_ID" in env or "AWS_WEB_IDENTITY_TOKEN_FILE" in env:
        return {}
    name, found = env.get("AWS_PROFILE") or "default", configparser.ConfigParser(interpolation=None)
    home = Path("~/.aws").expanduser()
    credentials = Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials")
    config = Path(env.get("AWS_CONFIG_FILE") or home / "config")
    values: dict[str, str] = {}
    for path, section in ((config, name if name == "default" else f"profile {name}"), (credentials, name)):
        try:
            found.clear()
            found.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot be read: {error}", file=path, action="Correct it, or set AWS_* keys.") from error
        if found.has_section(section):
            values.update(found.items(section))
    if "AWS_PROFILE" in env and not values:
        raise UsageError("there is no such profile", file=credentials, value=name, action="Correct AWS_PROFILE.")
    known = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
    picked = {key: value for key, value in values.items() if key in known}
    if "region" in values and not ({"AWS_REGION", "AWS_DEFAULT_REGION"} & env.keys()):
        picked["aws_region"] = values["region"]
    return picked
