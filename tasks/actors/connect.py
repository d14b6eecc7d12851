"""Starting a local Ray cluster, or joining one; and the signal handlers that Ray would replace."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import ray

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER_ENVIRONMENT = dict.fromkeys(_THREAD_SETTINGS, "1")
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # only rows travel; Ray's smallest store is ample


def connect(address: str | None, *, metrics_port: int | None = None) -> bool:
    """Start a local cluster, which serves Ray's metrics on this port, or join an existing one; True if we own it."""
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "configure_logging": True, "logging_level": "error"}
    with keeping_signal_handlers():
        if address:
            ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **common)
        else:
            os.environ.update(WORKER_ENVIRONMENT)  # raylet and workers inherit them
            own: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES, "_metrics_export_port": metrics_port}
            ray.init(address="local", include_dashboard=False, **own, **common)
    return True


@contextlib.contextmanager
def signals_as_raised() -> Iterator[None]:
    """Give back what a signal handler raised while Ray's C++ code waited; it comes out wrapped in a SystemError."""
    try:
        yield
    except SystemError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


@contextlib.contextmanager
def keeping_signal_handlers() -> Iterator[None]:
    """ray.init and ray.shutdown set handlers of their own; Prefect's cancellation needs those that were there."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, so nothing can replace them here
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
