"""Small valid records for tests: name what matters to the test, the rest has a sane value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from singalong.config import Settings
from singalong.contracts import (
    AttemptRow,
    ClipFacts,
    Failure,
    ModelRef,
    PairRow,
    Plan,
    ShardPlan,
    ShardResult,
    SongFacts,
    SyncScore,
)
from singalong.errors import ErrorClass
from singalong.plan import make_plan


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def clip_facts(path: str = "/clips/a.mp4", **values: Any) -> ClipFacts:
    facts: dict[str, Any] = {
        **{"path": path, "sha256": sha(path), "num_bytes": 1000, "is_still": False, "width": 640, "height": 360},
        **{"rotation_deg": 0, "fps": 25, "num_frames": 200, "first_frame_s": 0.0, "duration_s": 8.0, "is_vfr": False},
        **{"codec": "h264", "pix_fmt": "yuv420p", "has_audio": True},
    }
    return ClipFacts(**facts | values)


def still_facts(path: str = "/clips/still.png", **values: Any) -> ClipFacts:
    return clip_facts(path, **{"is_still": True, "num_frames": 1, "duration_s": 0.0, "has_audio": False} | values)


def song_facts(path: str = "/songs/s.wav", **values: Any) -> SongFacts:
    facts: dict[str, Any] = {
        **{"path": path, "sha256": sha(path), "num_bytes": 1000, "sample_rate_hz": 44100, "num_channels": 2},
        **{"num_samples": 30 * 44100, "duration_s": 30.0, "codec": "pcm_s16le"},
    }
    return SongFacts(**facts | values)


def pair_row(row: int = 1, **values: Any) -> PairRow:
    defaults = {"row": row, "pair_id": f"p{row}", "clip": "/clips/a.mp4", "song": "/songs/s.wav"}
    return PairRow(**defaults | values)


def model(name: str = "g", **values: Any) -> ModelRef:
    return ModelRef(**{"name": name, "architecture": "wav2lip", "weights_sha256": sha(name)} | values)


def plan_of(
    rows: Sequence[PairRow],
    *,
    clips: dict[str, Any] | None = None,
    songs: dict[str, Any] | None = None,
    settings: Settings | None = None,
    **values: Any,
) -> Plan:
    clips = {row.clip: clip_facts(row.clip) for row in rows} | (clips or {})
    songs = {row.song: song_facts(row.song) for row in rows} | (songs or {})
    options: dict[str, Any] = {
        **{
            "generator_for": lambda name: model(name or "g"),
            "detector": model("centerface"),
            "scorer": model("expert"),
        },
        **{"run_id": "run-1", "created_at": "2026-01-01T00:00:00Z"},
    }
    return make_plan(rows, clips, songs, settings=settings or Settings(), **options | values)


def shard_result(shard: ShardPlan, **values: Any) -> ShardResult:
    return ShardResult(
        **{
            **{"work_key": shard.work_key, "segment_sha256": sha("seg"), "frames_sha256": sha("frames")},
            **{"num_frames": shard.num_frames, "num_face_frames": shard.num_frames, "num_voiced_frames": 10},
            **{"rest_motion": 0.5, "device": "cpu", "node": "box", "seconds": {"decode": 1.5, "generate": 2.0}},
            **{"peak_rss_mb": 512.0, "created_at": "2026-01-01T00:00:00Z"},
            "score": SyncScore(scorer="expert", num_windows=9, confidence=7.5, distance=6.5, offset_frames=-1),
        }
        | values
    )


def attempt(shard: ShardPlan, number: int = 1, outcome: str = "done", **values: Any) -> AttemptRow:
    """An attempt that ended as `done` or in a failure of the class named."""
    defaults: dict[str, Any] = {
        **{"run_id": "run-1", "shard_id": shard.shard_id, "attempt": number, "work_key": shard.work_key},
        **{"started_at": f"2026-01-01T00:00:{number:02d}Z", "finished_at": f"2026-01-01T00:01:{number:02d}Z"},
        "worker": "box:1",
    }
    if outcome == "done":
        defaults["result"] = shard_result(shard)
    else:
        defaults["failure"] = Failure(error_class=ErrorClass(outcome), message=f"attempt {number} failed")
    return AttemptRow(**defaults | values)


def touch(path: Path, content: bytes = b"media") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


NTSC = Fraction(30000, 1001)
