"""The child process of `bench.fuzz`: reads one damaged file as the product would, and says how that went."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from singalong.contracts import ClipFacts
from singalong.errors import BugError, SingalongError, classify
from singalong.manifest import read_manifest
from singalong.media.audio_reader import iter_audio
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tasks.child import limit_memory, serve

MEMORY_MB = 1024
LIMITS = LimitSettings(max_duration_s=600, max_pixels=1 << 22)
READ_S = 5.0
"""What the probe lets pass is read for so long; a longer clip is no fault."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`outcome` is ok, refused or bug; a bug comes with its traceback."""
    path = Path(request["path"])
    limit_memory(MEMORY_MB)
    try:
        {"manifest": _manifest, "clip": _clip, "song": _song}[request["kind"]](path)
    except SingalongError as error:
        kind = "bug" if isinstance(error, BugError) or not str(error) else "refused"
        return {"outcome": kind, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - what is being looked for
        kind = "bug" if isinstance(classify(error), BugError) else "refused"
        return {"outcome": kind, "text": "".join(traceback.format_exception(error))}
    return {"outcome": "ok", "text": ""}


def _manifest(path: Path) -> None:
    for row in read_manifest(path):
        row.model_dump_json()


def _clip(path: Path) -> None:
    facts = probe_clip(path, sha256="0" * 64, limits=LIMITS, still_fps=25)
    assert ClipFacts.model_validate_json(facts.model_dump_json()) == facts, "facts do not survive the cache"
    end = time.monotonic() + READ_S
    for _ in iter_small_frames(facts, max_side_px=64):
        if time.monotonic() > end:
            return
    with ClipReader(facts) as reader:
        middle_s = facts.duration_s / 2
        reader.read_chunk([0.0, 0.04, middle_s, middle_s + 0.04, facts.duration_s, 0.0])


def _song(path: Path) -> None:
    facts = probe_song(path, sha256="0" * 64, limits=LIMITS)
    assert facts.duration_s <= LIMITS.max_duration_s + 1, facts
    end = time.monotonic() + READ_S
    for _ in iter_audio(path, sample_rate_hz=16000, num_channels=1):
        if time.monotonic() > end:
            return


if __name__ == "__main__":
    serve(answer)
