"""`singalong score`."""

from __future__ import annotations

from pathlib import Path

from flows.exit_codes import EXIT_OK, EXIT_SOME_FAILED
from flows.terminal import print_error, print_json, print_table
from models import registry
from models.detectors import load_detector
from models.scorers import load_scorer
from singalong.config import default_models_home, load_settings
from singalong.errors import InputError, UsageError
from singalong.remote_run import refuse_other_urls
from singalong.remote_store import store_of
from singalong.tracks import parse_face_spec
from singalong.urls import is_url
from tasks.score import VideoScore, score_video


def score_command(
    videos: list[str],
    *,
    audio: str | None,
    face: str,
    config: Path | None,
    overrides: list[str],
    as_json: bool,
) -> int:
    """Score videos; exit code 1 if one could not be scored at all, 2 without a scorer or such a choice of face."""
    settings = load_settings(config, overrides)
    parse_face_spec(face)
    for location in (*videos, audio or ""):
        if not is_url(location):
            refuse_other_urls(location)
    home = default_models_home()
    scorer_ref = registry.resolve(settings.score.scorer, "scorer", home=home)
    if scorer_ref is None:
        raise UsageError(
            "no sync scorer is installed",
            expected="syncnet_v2 or lipsync_expert weights",
            action="Add one with: singalong models add NAME CHECKPOINT",
        )
    detector_ref = registry.resolve(settings.analysis.detector, "detector", home=home)
    assert detector_ref is not None
    scorer, detector = load_scorer(scorer_ref), load_detector(detector_ref)
    store = store_of(settings)
    scores: list[VideoScore] = []
    failed = False
    for video in videos:
        try:
            scores.append(
                score_video(
                    video,
                    scorer=scorer,
                    detector=detector,
                    detector_ref=detector_ref,
                    store=store,
                    settings=settings,
                    scorer_ref=scorer_ref,
                    audio=audio,
                    face=face,
                )
            )
        except InputError as error:
            print_error(error)
            failed = True
    _print(scores, scorer.name, as_json=as_json)
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _print(scores: list[VideoScore], scorer: str, *, as_json: bool) -> None:
    if as_json:
        print_json([score.model_dump(mode="json") for score in scores])
        return
    rows: list[list[object]] = []
    for entry in scores:
        score = entry.score
        if score.confidence is None:
            rows.append([entry.video, "not scorable", "", "", "", "", entry.reason])
            continue
        rows.append(
            [
                entry.video,
                f"{score.confidence:.3f}",
                f"{score.distance:.3f}",
                f"{score.offset_frames:+d}",
                "" if score.confidence_mismatched is None else f"{score.confidence_mismatched:.3f}",
                score.num_windows,
                f"face {entry.face_coverage:.0%}, voice {entry.voiced_share:.0%}",
            ]
        )
    columns = ["video", "confidence (LSE-C)", "distance (LSE-D)", "offset", "mismatched", "windows", "coverage"]
    print_table(f"scored by {scorer}; offset in 25 fps frames", columns, rows)
