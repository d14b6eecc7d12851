"""Serving the review page on this machine until somebody ends it."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable
from urllib.parse import quote

import uvicorn

from review.server import Reviewable, make_app
from singalong.errors import UsageError

ADDRESS = "127.0.0.1"
USUAL_PORT = 8765
"""Taken if it is free, so that a page that was left open finds its server again."""


def serve(what: Reviewable, *, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, which are raised again once the server has ended.

    Args:
        what: the run.
        port: None: the usual one, or any that is free.
        ready: is told the address, token included, once a browser can open it.

    Raises UsageError where the port is taken.
    """
    with contextlib.closing(_bound(port)) as listener:
        token = secrets.token_urlsafe(24)
        app = make_app(what, token=token)
        listener.listen(128)
        ready(f"http://{ADDRESS}:{listener.getsockname()[1]}/?token={quote(token)}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # a video that is playing holds its connection
        )
        uvicorn.Server(config).run(sockets=[listener])


def _bound(port: int | None) -> socket.socket:
    """A socket on this machine's own address only."""
    for number in (USUAL_PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, number))
        except OSError as exc:
            listener.close()
            if port is not None:
                raise UsageError(
                    f"the port cannot be had: {exc.strerror or exc}",
                    value=port,
                    expected="a free port",
                    action="Leave --port out to have any that is free.",
                ) from exc
        else:
            return listener
    raise UsageError("no port is free on this machine", value=ADDRESS)
