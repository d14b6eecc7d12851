"""`singalong run` and `singalong demo`: what takes long to come up begins before the rest is imported."""

from __future__ import annotations

from pathlib import Path

from flows.own_server import begin_server
from flows.terminal import err, out
from singalong.config import Settings, load_settings

_DEMO_SETTINGS = ["film.titles=score", "film.fill=blur"]


def run_command(
    manifest: str | Path,
    run: str | Path,
    *,
    config: Path | None,
    overrides: list[str],
    require_rights: bool,
    as_json: bool,
) -> int:
    """Run a manifest, or resume its run; exit code 0 all done, 1 something failed, 130 interrupted."""
    settings = load_settings(config, overrides)
    _begin(settings)
    from flows.running import finish, plan_and_run

    return finish(plan_and_run(manifest, run, settings, require_rights=require_rights), as_json=as_json)


def demo_command(folder: Path, *, as_json: bool) -> int:
    """Make synthetic input, run it, and name the film to watch before all else."""
    settings = load_settings(overrides=_DEMO_SETTINGS)
    from flows.running import finish, plan_and_run
    from singalong.synthetic import write_demo_inputs

    with err.status("composing a song") as status:
        manifest = write_demo_inputs(
            folder / "inputs", progress=lambda done, total: status.update(f"drawing clip {done + 1} of {total}")
        )
    _begin(settings)
    summary = plan_and_run(manifest, folder / "run", settings)
    if summary is not None and summary.montages and not as_json:
        out.print(f"{'watch':<9} {summary.montages[0]}", markup=False)
    return finish(summary, as_json=as_json)


def _begin(settings: Settings) -> None:
    """Prefect's server takes longer to come up than all that comes before it is asked."""
    if settings.run.executor != "inprocess":
        begin_server()
