"""ASK: what a reviewer can ask for a pair that is to be made again, and whether what was asked for can be done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import registry
from singalong.asked import SETTINGS, Asked, read_asked, settings_for
from singalong.config import Settings, default_models_home
from singalong.contracts import Fit, PairPlan
from singalong.errors import UsageError
from singalong.face_choice import LIKE, SPEAKER
from singalong.plan import shards_of
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from singalong.tracks import choose_face
from singalong.usable import FLAWS
from tasks.analyse import CACHE_KIND, Analysis, analysis_version, load_analysis
from tasks.clues import Where, clues_of
from tasks.plan_run import resolve_models
from tasks.replan import Replanner

_VOCALS = ("auto", "none", "left", "right", "separate")
_OFFERED = (
    *("lipsync.mask", "lipsync.rest", "lipsync.feather", "lipsync.keep_detail"),
    *("analysis.min_face_px", "analysis.max_turn_deg", "analysis.max_tilt_deg", "analysis.min_sharpness"),
)
"""Settings that the page has fields for; the others of `singalong.asked.SETTINGS` can be written."""
SAME = "nothing would change: it would come out just as it is"


class Asking:
    """Answers for one run; plans that were made once are kept, as a person tries one thing after another."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._store = store_of(run.settings)
        self._replanner: Replanner | None = None

    def offers(self, pair: PairPlan) -> dict[str, Any]:
        """What a pair is made with, and what there is to choose among, for JSON."""
        settings = settings_for(self._run.settings, pair.overrides)
        values = {name: _dig(settings, name) for name in SETTINGS}
        now = {"face": pair.face, "fit": pair.fit.value, "generator": pair.generator.name}
        now |= {name: getattr(pair, name) for name in ("clip_start_s", "clip_end_s", "song_start_s", "song_end_s")}
        models = registry.list_models(default_models_home())
        choices = {
            "generator": [card.name for card in models if card.role == "generator" and card.trained],
            "fit": [fit.value for fit in Fit],
            "vocals": [word for word in _VOCALS if word != "separate" or settings.songs.separator],
            "lipsync.mask": ["lower_face", "box"],
        }
        return {"now": now | {name: values[name] for name in _OFFERED}, "choices": choices, "settings": list(SETTINGS)}

    def faces(self, pair: PairPlan, at_s: float) -> list[dict[str, Any]]:
        """The faces of the frame on screen at a time of the clip, from left to right, for JSON.

        Each has `box` (x1, y1, x2, y2, pixels of the upright frame), `flaw` (why it cannot sing, None where it can)
        and `ask`, what to ask for to have this one. Raises UsageError where the clip's analysis is not at hand.
        """
        found = self._analysis(pair, self._run.settings, (at_s, at_s))
        if found is None:
            raise UsageError(
                "the clip's analysis is not in the store any more",
                file=pair.clip,
                action="Run `singalong preview`, or write face=at:X,Y@T.",
            )
        tracks = found.tracks
        near = abs(tracks.pts_s - at_s) <= 1.5 * tracks.frame_s
        faces = []
        for track in sorted(set(tracks.track[near].tolist())):
            rows = [row for row in range(len(tracks)) if near[row] and tracks.track[row] == track]
            row = min(rows, key=lambda row: abs(tracks.pts_s[row] - at_s))
            x1, y1, x2, y2 = tracks.boxes[row].tolist()
            time_s = float(tracks.pts_s[row])
            flaw = FLAWS[int(tracks.flaws[row])].value if tracks.flaws[row] else None
            ask = f"face=at:{(x1 + x2) // 2},{(y1 + y2) // 2}@{max(time_s, 0.0):.3f}"
            faces.append({"box": [x1, y1, x2, y2], "flaw": flaw, "ask": ask})
        return sorted(faces, key=lambda face: face["box"][0])

    def check(self, pair_id: str, words: Sequence[str], present: frozenset[str]) -> Asked:
        """Read what is asked for a pair, and plan it, as a pass would.

        Args:
            pair_id: of the run.
            words: as `singalong.asked.read_asked` takes them.
            present: work keys of the take that is asked about.

        Raises UsageError for what cannot be read, cannot be done, or would change nothing, InputError for a model that
        is not installed and for a face that is not there.
        """
        run = self._run
        if self._replanner is None:
            self._rows = {row.pair_id: row for row in run.manifest}
            self._replanner = Replanner(run, self._store, run.settings, (), lambda *_: None)
        asked = read_asked(words, row=self._rows[pair_id], settings=run.settings)
        found = self._replanner.plan(frozenset([pair_id]), {pair_id: asked})
        why = found.refused.get(pair_id) or next(
            (problem.error_message for problem in found.problems if problem.pair_id == pair_id), None
        )
        if why is not None:
            raise UsageError(why)
        pair = next(pair for pair in found.pairs if pair.pair_id == pair_id)
        keys = resolve_models(run.settings).work_keys(run.settings)
        if present and {shard.work_key for shard in shards_of([pair], run.settings, keys)} == present:
            raise UsageError(SAME, value=", ".join(words), action="Ask for something else, or only reject it.")
        self._check_face(pair)
        return asked

    def _check_face(self, pair: PairPlan) -> None:
        """Refuse what a pass would only find out after minutes: that nobody is there who could sing."""
        if pair.face == SPEAKER or pair.face.startswith(LIKE):
            return
        span = pair.clip_start_s, pair.clip_end_s
        found = self._analysis(pair, settings_for(self._run.settings, pair.overrides), span)
        if found is None:
            return
        clues = clues_of(found, start_s=span[0], end_s=span[1], where=Where(pair.clip, pair.row, pair.place))
        face = choose_face(found.tracks, found.shots, pair.face, *span, clues)
        if not face.usable.any():
            raise UsageError(
                f"no usable face is found with this{f': {face.flaw_words}' if face.flaw_words else ''}",
                value=pair.face,
                expected="a face that can be seen from the front",
                action="Choose another face or span, or loosen analysis.min_face_px, max_turn_deg or min_sharpness.",
            )

    def _analysis(self, pair: PairPlan, settings: Settings, span: tuple[float, float]) -> Analysis | None:
        version = analysis_version(settings.analysis, self._run.plan.detector)
        folder: Path | None = self._store.cached(CACHE_KIND, pair.clip_sha256, version)
        return None if folder is None else load_analysis(folder, *span, settings=settings.analysis)


def _dig(settings: Settings, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)
