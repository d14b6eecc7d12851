"""The child process of `tasks.probe_apart`: looks into one media file after the other, within limits on itself.

See `tasks.child` for how it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from singalong.errors import MediaError, SingalongError, classify
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tasks.child import limit_memory, serve


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


if __name__ == "__main__":
    serve(probe)
