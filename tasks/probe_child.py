"""The child process of `tasks.probe_apart`: looks into one media file after the other, within limits on itself.

Requests and answers are lines of JSON on standard input and output. Anything else that anybody prints goes nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from singalong.config import LimitSettings
from singalong.errors import MediaError, SingalongError, classify
from singalong.media.probe import probe_clip, probe_song

_MB = 1 << 20


def main(answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
    """Answer until the other end is closed."""
    answer = answer or probe
    with os.fdopen(os.dup(1), "wb") as answers, Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, 0)
        _send(answers, {"ready": True})
        for line in sys.stdin.buffer:
            _send(answers, answer(json.loads(line)))


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Facts, or the error of ours that says why there are none."""
    path, limits = Path(request["path"]), LimitSettings.model_validate(request["limits"])
    limit_memory(limits.probe_memory_mb)
    try:
        if request["kind"] == "clip":
            clip = probe_clip(path, sha256=request["sha256"], limits=limits, still_fps=request["still_fps"])
            return {"facts": clip.model_dump(mode="json")}
        return {"facts": probe_song(path, sha256=request["sha256"], limits=limits).model_dump(mode="json")}
    except MemoryError:
        error: SingalongError = MediaError(
            "it needs too much memory",
            file=path,
            expected=f"at most {limits.probe_memory_mb} MB",
            action="Convert it to MP4 (H.264), or raise limits.probe_memory_mb.",
        )
    except Exception as exc:  # noqa: BLE001 - the border where every error becomes an answer
        error = classify(exc)
    return {"error": _content(error)}


def limit_memory(num_mb: int) -> None:
    """Let this process have so much more memory than its libraries take."""
    _limit(resource.RLIMIT_AS, _address_space() + num_mb * _MB)


def _content(error: SingalongError) -> dict[str, Any]:
    plain = isinstance(error.value, str | int | float | None)
    return {
        "error_class": error.error_class.value,
        "problem": error.problem,
        "file": None if error.file is None else str(error.file),
        "value": error.value if plain else str(error.value),
        "expected": error.expected,
        "action": error.action,
    }


def _address_space() -> int:
    """Bytes of address space in use now: libraries mostly, before any media is read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 2048 * _MB  # no /proc: as measured elsewhere, and some
    return pages * resource.getpagesize()


def _limit(which: int, soft: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # a stricter limit from outside stands
        _, hard = resource.getrlimit(which)
        resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _send(answers: Any, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
