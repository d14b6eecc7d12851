"""`singalong train prepare`."""

from __future__ import annotations

from pathlib import Path

from flows.terminal import err, out, print_failures, print_outcome, print_table, print_warning
from models import registry
from singalong.config import Settings, default_models_home, load_settings
from singalong.contracts import ModelRef
from tasks.training.prepare import PrepareSession, PrepareSummary


def prepare_command(folder: Path, dataset: Path, *, config: Path | None, overrides: list[str], as_json: bool) -> int:
    """Prepare a folder, or go on with it; exit code 0 all done, 1 some videos failed, 130 interrupted."""
    settings = load_settings(config, overrides)
    home = default_models_home()
    detector = registry.resolve(settings.analysis.detector, "detector", home=home)
    scorer = registry.resolve(settings.score.scorer, "scorer", home=home)
    summary = _execute(folder, dataset, settings, detector=detector, scorer=scorer)
    return print_outcome(summary, complete=lambda done: not done.failures, show=_show, as_json=as_json)


def _execute(
    folder: Path, dataset: Path, settings: Settings, *, detector: ModelRef, scorer: ModelRef | None
) -> PrepareSummary | None:
    """Run the flow; None if it was interrupted."""
    from flows.watchers import current_watcher, terminal_progress

    if settings.run.executor == "inprocess":
        from flows.prepare_order import prepare_stages

        with (
            terminal_progress(),
            PrepareSession(
                folder, dataset, settings, detector=detector, scorer=scorer, watcher=current_watcher()
            ) as session,
        ):
            return prepare_stages(session)
    with err.status("starting Prefect"):
        from flows.prefect_runs import run_to_end
        from flows.prepare_flow import prepare_dataset
    with terminal_progress():
        summary: PrepareSummary | None = run_to_end(
            prepare_dataset,
            str(folder.absolute()),
            str(dataset.absolute()),
            settings.model_dump(mode="json"),
            detector.model_dump(mode="json"),
            scorer.model_dump(mode="json") if scorer else None,
        )
    return summary


def _show(summary: PrepareSummary) -> None:
    if summary.scorer is None:
        print_warning("nothing was scored: sound that is off was not corrected, and nobody was left out for it")
    elif summary.scorer == "singalong-expert":
        print_warning(
            "scored with the small bundled scorer, which is unsure of real faces: it leaves out good sequences, too, "
            "and lets some wrong ones pass. SyncNet knows better: singalong models pull syncnet_v2"
        )
    print_failures(summary.failures, "table")
    if summary.reasons:
        print_table("not kept", ["reason", "candidates"], [[name, num] for name, num in summary.reasons.items()])
    if summary.offsets:
        rows: list[list[object]] = [[f"{offset:+d}", num] for offset, num in summary.offsets.items()]
        print_table("sound moved by, in 25 fps frames", ["offset", "sequences"], rows)
    same = f" ({summary.num_duplicates} of them twice)" if summary.num_duplicates else ""
    out.print(
        f"{summary.num_videos} videos{same}, {summary.num_candidates} faces followed, "
        f"{summary.num_sequences} sequences kept, {summary.seconds / 60:.1f} minutes"
    )
    splits = ", ".join(f"{count} videos {split}" for split, count in sorted(summary.sources.items()))
    out.print(f"{'split':<9} {splits or 'nothing to split'}")
    out.print(f"{'dataset':<9} {summary.dataset}", markup=False)
    out.print(f"{'table':<9} {summary.table}", markup=False)
