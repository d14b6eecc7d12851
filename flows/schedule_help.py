"""What to start, and how, for schedules to fire: the words of errors and hints."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from singalong.errors import UsageError

LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Where Prefect's server keeps who holds a slot: by default in its memory, which a restart of the server empties,
whereupon it ends runs that are under way."""


def prefect_command() -> str:
    """How to call Prefect: the one beside this Python is the one that fits."""
    beside = Path(sys.executable).with_name("prefect")
    return str(beside) if beside.exists() and shutil.which("prefect") != str(beside) else "prefect"


def start_server() -> str:
    """The command that starts a server on this machine."""
    return (
        f"DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={LEASES} "
        f"{prefect_command()} server start --host 127.0.0.1"
    )


def start_worker(pool: str) -> str:
    """The command that starts a worker on the machine that is to do the work."""
    return f"DO_NOT_TRACK=1 {prefect_command()} worker start --pool {pool}"


def no_server() -> UsageError:
    """No server is configured."""
    return UsageError(
        "schedules need a Prefect server, and none is configured (PREFECT_API_URL is not set)",
        action="In one terminal, or as a service, start it:\n"
        f"  {start_server()}\n"
        "Then here, and wherever a worker runs:\n"
        "  export PREFECT_API_URL=http://127.0.0.1:4200/api\n"
        "On the machine that is to do the work, and stays up:\n"
        f"  {start_worker('singalong')}\n"
        "With one machine and no server, cron does: see docs/scheduling.md.",
    )


def server_away(url: str, error: Exception) -> UsageError:
    """A server is configured, and does not answer."""
    return UsageError(
        f"Prefect's server does not answer: {type(error).__name__}",
        value=url,
        action=f"Check PREFECT_API_URL, or start the server:\n  {start_server()}",
    )
