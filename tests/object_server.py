"""An object server that speaks S3, for tests: moto's, in a process of its own on 127.0.0.1.

What is stored is in the child's memory, and stays there while the server is "lost". moto checks If-None-Match and then
writes, with nothing in between to stop a second writer, and S3 does it in one step: so the child lets one write in at a
time. `ObjectServer` is the parent's side; `python -m tests.object_server` is the child.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
_START_S = 60.0


class ObjectServer:
    """The parent's side: starts the child, and has it fail in the ways in which stores fail."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.object_server"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._child = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self.port = int(self._answer()["port"])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to use this server."""
        keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        return {"AWS_ENDPOINT_URL": self.endpoint, "NO_PROXY": "127.0.0.1", **keys}

    def make_bucket(self) -> str:
        """Name of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=30).close()
        return name

    # ---- how stores fail

    def lose(self) -> None:
        """Connections are refused, and those there are break; what is stored stays."""
        self._ask({"do": "lose"})

    def regain(self) -> None:
        self._ask({"do": "regain"})

    def lose_for(self, seconds: float, *, after_bytes: int) -> None:
        """Go away in the middle of the upload that brings this many bytes from now, and come back by itself."""
        self._ask({"do": "lose_for", "seconds": seconds, "after_bytes": after_bytes})

    def answer_next(self, times: int, status: int, code: str) -> None:
        """Answer the next requests with an error document instead of doing them."""
        self._ask({"do": "answer_next", "times": times, "status": status, "code": code})

    def swallow_answers(self, times: int) -> None:
        """Do the next writes, but break the connection instead of answering."""
        self._ask({"do": "swallow", "times": times})

    def delay(self, seconds: float) -> None:
        """Every answer takes this long more."""
        self._ask({"do": "delay", "seconds": seconds})

    def requests(self) -> list[str]:
        """Method, path and query of all requests since the last call."""
        return list(self._ask({"do": "requests"})["requests"])

    def pause(self) -> None:
        """Stand still, as a machine does that swaps: connections are made, and nothing comes."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def reset(self) -> None:
        """Be well again."""
        self.resume()
        self._ask({"do": "reset"})

    def close(self) -> None:
        self.resume()
        self._child.kill()
        self._child.communicate()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, f"the object server ended with {self._child.wait()}"
        return dict(json.loads(line))


Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Faults:
    """The child's side: stands before moto, counts, breaks, and lets one write in at a time."""

    def __init__(self, app: Wsgi, serialise: bool = True) -> None:
        self._app, self._lock = app, threading.Lock()
        self._writes = threading.Lock() if serialise else contextlib.nullcontext()
        self.requests: list[str] = []
        self.port, self._server = 0, None
        self.reset()

    def reset(self) -> None:
        self.is_lost, self.delay_s = False, 0.0
        self.lose_s, self.lose_after_bytes = 0.0, -1
        self.swallow, self.answers = 0, (0, 0, "")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query}")
        if self.is_lost:
            _break(environ)
        environ["wsgi.input"] = io.BytesIO(self._body(environ))
        if self.delay_s:
            time.sleep(self.delay_s)
        refusal = self._refusal()
        if refusal is not None:
            status, document = refusal
            start_response(f"{status} Refused", [("Content-Type", "application/xml")])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else document]
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._app(environ, start_response)
        with self._writes:
            answer = self._app(environ, start_response)
        with self._lock:
            self.swallow -= 1
            if self.swallow >= 0:
                _break(environ)
        return answer

    def _body(self, environ: dict[str, Any]) -> bytes:
        left, body = int(environ.get("CONTENT_LENGTH") or 0), io.BytesIO()
        while left:
            block = environ["wsgi.input"].read(min(left, 1 << 16))
            left -= len(block)
            body.write(block)
            if 0 <= self.lose_after_bytes < body.tell():
                self.lose_after_bytes = -1
                threading.Thread(target=self._lose_for_a_while, daemon=True).start()
                _break(environ)
            if not block or self.is_lost:
                _break(environ)
        return body.getvalue()

    def _refusal(self) -> tuple[int, bytes] | None:
        with self._lock:
            times, status, code = self.answers
            self.answers = (times - 1, status, code)
        if times <= 0:
            return None
        return status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()

    def _lose_for_a_while(self) -> None:
        self.lose()
        time.sleep(self.lose_s)
        self.regain()

    def listen(self) -> None:
        """Serve on the port of before; the first time on a free one."""
        from moto.moto_server.werkzeug_app import MotoRequestHandler
        from werkzeug.serving import make_server

        server = make_server("127.0.0.1", self.port, self, threaded=True, request_handler=MotoRequestHandler)
        self.port, self._server = server.server_port, server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def lose(self) -> None:
        self.is_lost = True
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.socket.close()

    def regain(self) -> None:
        self.is_lost = False
        if self._server is None:
            self.listen()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "lose":
                self.lose()
            case "regain":
                self.regain()
            case "lose_for":
                self.lose_s, self.lose_after_bytes = order["seconds"], order["after_bytes"]
            case "answer_next":
                self.answers = (order["times"], order["status"], order["code"])
            case "swallow":
                self.swallow = order["times"]
            case "delay":
                self.delay_s = order["seconds"]
            case "requests":
                with self._lock:
                    told, self.requests = self.requests, []
                return {"requests": told}
            case "reset":
                self.reset()
                self.regain()
                self.requests = []
        return {}


def _break(environ: dict[str, Any]) -> NoReturn:
    """End the connection without an answer."""
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    os.environ.setdefault("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(1 << 30))  # in memory, not in files
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    faults = Faults(DomainDispatcherApplication(create_backend_app), serialise="--racy" not in sys.argv)
    faults.listen()
    print(json.dumps({"port": faults.port}), file=answers, flush=True)
    for line in sys.stdin:  # ends with the parent, however that ends
        print(json.dumps(faults.obey(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
