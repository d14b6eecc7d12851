"""Work keys: the content hash that names a shard's result.

Two shards have the same key if and only if they must give the same pixels and the same scores. So a key
covers the bytes of clip and voice, the spans, every setting that changes an output, the weights and the
version of the algorithm; and it leaves out names, paths, tags and how the work is spread over workers.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from singalong.asked import settings_for
from singalong.config import Settings
from singalong.contracts import ModelRef, PairPlan
from singalong.face_choice import LIKE, SPEAKER
from singalong.versions import (
    ALGORITHM_VERSION,
    ANALYSIS_VERSION,
    LIKENESS_VERSION,
    SONG_VERSION,
    SPEAKERS_VERSION,
    VOICE_VERSION,
)

WORK_KEY_CHARS = 40


class WorkKeys:
    """Makes the work keys of one plan; what all its shards have in common is gathered once."""

    def __init__(
        self, settings: Settings, detector: ModelRef, scorer: ModelRef | None, enhancer: ModelRef | None = None
    ) -> None:
        self._settings = settings
        self._unused = {"generator", "enhancer"} | (set() if enhancer else {"enhancer_weight"})
        self._models = {
            "algorithms": [ALGORITHM_VERSION, ANALYSIS_VERSION, SONG_VERSION],
            "detector": _model(detector),
            "scorer": None if scorer is None else _model(scorer),
            "enhancer": None if enhancer is None else _model(enhancer),
        }
        self._common: dict[tuple[str, ...], dict[str, str]] = {}

    def _common_of(self, overrides: tuple[str, ...]) -> dict[str, str]:
        """What pairs with these settings of their own have in common, as JSON: a million pairs share it."""
        if overrides not in self._common:
            settings = settings_for(self._settings, overrides)
            # Of each section everything but the name of a model, whose weights stand for it: a setting that is
            # added some day changes the keys, and forgetting it here cannot make old work pass for new.
            common = self._models | {
                "analysis": settings.analysis.model_dump(mode="json", exclude={"detector"}),
                "lipsync": settings.lipsync.model_dump(mode="json", exclude=self._unused),
                "score": settings.score.model_dump(mode="json", exclude={"scorer"}),
            }
            self._common[overrides] = {name: _json(value) for name, value in common.items()}
        return self._common[overrides]

    def keys(self, pair: PairPlan, ranges: list[tuple[int, int]]) -> list[str]:
        """The work keys of the frame ranges [start_frame, end_frame) of a pair, lower-case hex."""
        own = {
            "clip": pair.clip_sha256,
            "voice": pair.voice_sha256,
            "finds_voice": VOICE_VERSION if pair.finds_voice else None,
            "voice_channel": pair.voice_channel,
            "separator": pair.separator_id,
            "clip_span_s": [repr(pair.clip_start_s), repr(pair.clip_end_s)],
            "song_span_s": [repr(pair.song_start_s), repr(pair.song_end_s)],
            "fit": pair.fit.value,
            "face": _face(pair),
            "fps": str(pair.fps),
            "size": [pair.width, pair.height],
            "generator": _model(pair.generator),
        }
        texts = self._common_of(pair.overrides) | {name: _json(value) for name, value in own.items()}
        material = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))
        prefix = hashlib.sha256(f"{{{material}}}".encode())
        keys = []
        for start_frame, end_frame in ranges:
            digest = prefix.copy()
            digest.update(f"\nframes {start_frame} {end_frame}".encode())
            keys.append(digest.hexdigest()[:WORK_KEY_CHARS])
        return keys


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _face(pair: PairPlan) -> Any:
    """What the choice of face hangs on: how the speaker is found, a picture's content and how it is read."""
    if pair.face == SPEAKER:
        return [SPEAKER, SPEAKERS_VERSION, VOICE_VERSION]
    return pair.face if pair.picture_sha256 is None else [LIKE, LIKENESS_VERSION, pair.picture_sha256]


def _model(ref: ModelRef) -> list[str]:
    return [ref.architecture, ref.weights_sha256]
