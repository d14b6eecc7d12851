"""Where metrics go: to whoever asks on this machine, and into a file for node_exporter's textfile collector."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from singalong.durable import write_atomic
from singalong.errors import UsageError

HOST = "127.0.0.1"
LAST_SUCCESS = "singalong_run_last_success_timestamp_seconds"
_TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})
_MAX_FILE_BYTES = 16 << 20


class MetricsServer:
    """Answers GET /metrics on 127.0.0.1 in threads of its own."""

    def __init__(self, collector: Collector, port: int) -> None:
        """`port` 0: any that is free. Raises UsageError where the port cannot be had."""
        try:
            self._server, self._thread = start_http_server(port, HOST, registry_of(collector))
        except OSError as exc:
            if exc.errno not in _TAKEN:
                raise
            raise UsageError(
                f"metrics cannot be served: {exc.strerror}",
                value=port,
                expected="a port that nothing else listens on; 0 takes any",
                action="Choose another run.metrics_port.",
            ) from exc
        self.url = f"http://{HOST}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MetricsFile:
    """A file of metrics, replaced in one step, so that no reader ever sees half of it."""

    def __init__(self, collector: Collector, path: Path) -> None:
        """Raises UsageError where the file cannot be written: before the work, not after the night."""
        self._registry, self.path = registry_of(collector), path
        self._lock = threading.Lock()

    def write(self) -> None:
        """Write them as they are now. Raises OSError."""
        with self._lock:
            write_atomic(self.path, generate_latest(self._registry))

    def try_first(self) -> None:
        """Write for the first time. Raises UsageError where that cannot be."""
        try:
            if not self.path.parent.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "there is no such folder")
            self.write()
        except OSError as exc:
            raise UsageError(
                f"metrics cannot be written: {exc.strerror or exc}",
                file=self.path,
                expected="a file in a folder that can be written, where node_exporter looks for *.prom",
                action="Make the folder, or choose another run.metrics_file.",
            ) from exc


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry of these metrics alone: the process-wide one holds what Ray and Prefect put there."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def last_success_in(path: Path, run: str) -> float | None:
    """When a run of this name last succeeded, as the file that is about to be replaced has it; None if it does not."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return None
        families: Any = text_string_to_metric_families(path.read_text(encoding="utf-8"))
        found = [
            float(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == LAST_SUCCESS and sample.labels.get("run") == run
        ]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):  # not ours, or damaged
        return None
    return max(found, default=None)
