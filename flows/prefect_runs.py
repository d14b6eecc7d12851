"""Running a flow from the command line, so that Ctrl-C ends it cleanly and at once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import task  # noqa: E402
from prefect.artifacts import create_progress_artifact, update_progress_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.context import refresh_global_settings_context  # noqa: E402
from prefect.exceptions import TerminationSignal  # noqa: E402
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE  # noqa: E402
from prefect.states import Cancelled  # noqa: E402

from flows.interrupts import end_soon, owns_process  # noqa: E402
from flows.order import Stage  # noqa: E402
from flows.own_server import own_server  # noqa: E402
from singalong.errors import InfraError, SingalongError  # noqa: E402

INTERRUPTS = (KeyboardInterrupt, TerminationSignal)
"""What ends a flow before its time: Ctrl-C, and Prefect's word for SIGTERM."""

_interrupted = threading.Event()
_raised: list[Exception] = []
"""What a stage raised."""


class PrefectFailedError(InfraError):
    """Prefect, not the work, failed."""


def run_to_end(flow: Callable[..., Any], *parameters: Any) -> Any:
    """Run a flow here and wait; its result, or None if it was interrupted.

    Raises what the stages of the flow raised, or PrefectFailedError when it was Prefect that failed.
    """
    _interrupted.clear()
    _raised.clear()
    try:
        _use_own_server()
        state = flow(*parameters, return_state=True)
        return None if _interrupted.is_set() or state.is_cancelled() else state.result()
    except Exception as error:
        if _interrupted.is_set():  # Prefect could not be told, which matters to nobody
            return None
        if isinstance(error, SingalongError):
            raise
        if _raised:
            raise _raised[0] from None
        raise PrefectFailedError(
            f"Prefect failed: {type(error).__name__}: {error}", action="Give the same command again to go on."
        ) from error


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Around the body of a flow and of a stage: note an interrupt, whether or not Prefect can be told afterwards."""
    try:
        yield
    except INTERRUPTS:
        if not _interrupted.is_set():
            end_soon()
        _interrupted.set()
        if owns_process():
            logging.disable()  # whoever ended us may have ended Prefect's server, too
        raise


def as_task(name: str, stage: Stage) -> Stage:
    """A stage as a Prefect task."""

    @wraps(stage)
    def noting_errors(*arguments: Any, **options: Any) -> Any:
        try:
            with noting_interrupts():  # here, because Prefect may wait long for its server before it lets go
                return stage(*arguments, **options)
        except Exception as error:
            _raised.append(error)
            raise

    # the session holds actors and open files: nothing Prefect could hash or store
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(noting_errors)


def progress_artifact(
    of: str, *, key: str = "singalong-progress", at_most_every_s: float = 0.0
) -> Callable[[float], None]:
    """Make an artifact that shows percents, and what updates it."""
    created: Any = create_progress_artifact(0.0, key=key, description=of)
    updated = time.monotonic()

    def update(percent: float) -> None:
        nonlocal updated
        if time.monotonic() - updated >= at_most_every_s:
            update_progress_artifact(created, percent)
            updated = time.monotonic()

    return update


def cancelled() -> Any:
    """What an interrupted flow returns."""
    return Cancelled(message="interrupted: give the same command again to go on")


def _use_own_server() -> None:
    """Have Prefect use the server of this command, where it would start a temporary one: both live as long as it."""
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    try:
        url = own_server().wait()
    except InfraError as error:
        raise PrefectFailedError(error.problem, action=error.action) from error
    # In the environment and not in a context: Prefect's threads do not all get the contexts of those who start them.
    os.environ[PREFECT_API_URL.name] = url
    refresh_global_settings_context()
