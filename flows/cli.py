"""The `singalong` command. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from singalong import __version__
from singalong.errors import InputError

app = typer.Typer(
    name="singalong",
    help="Batch lip-sync: a manifest of clips and songs in, singing clips, montages and quality reports out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="List, add and verify models.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")
train_app = typer.Typer(
    help="Train the paper's networks on your own data.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(train_app, name="train")

EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; repeatable."),
]
Manifest = Annotated[Path, typer.Argument(help="Manifest: .csv, .jsonl or .parquet.", show_default=False)]
RequireRights = Annotated[
    bool, typer.Option("--require-rights", help="Refuse rows that do not say who allowed their use (column rights).")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)]

Dataset = Annotated[Path, typer.Argument(help="Dataset made by: singalong train prepare.", show_default=False)]
TrainRun = Annotated[Path, typer.Option("--run", help="Run folder: made, or gone on with.", show_default=False)]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Items of a step, shared by all workers.")]
NumSteps = Annotated[int, typer.Option("--num-steps", min=1, help="Steps to stop at; may be raised later.")]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Of Adam.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides first weights and batches.")]
EvalEvery = Annotated[int, typer.Option("--eval-every", min=1, help="Steps between evaluations.")]
EvalBatches = Annotated[
    int | None,
    typer.Option("--eval-batches", min=1, help="Batches of an evaluation; by default as many as the paper's code."),
]
CheckpointEvery = Annotated[
    int,
    typer.Option("--checkpoint-every", min=1, help="Steps between checkpoints; also every few minutes."),
]
NumWorkers = Annotated[int, typer.Option("--num-workers", min=1, help="Ray Train workers.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; by default GPUs where there are any.")]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"], typer.Option("--precision", help="bfloat16 is faster on new GPUs.")
]
ExecutorOption = Annotated[
    Literal["ray", "inprocess"], typer.Option("--executor", help="inprocess: no Prefect, no Ray, one worker.")
]
Width = Annotated[float, typer.Option("--width", help="Channels relative to the paper's networks.")]
Licence = Annotated[str, typer.Option("--licence", help="Licence of the result, for its card.")]
UNKNOWN_LICENCE = "unknown: depends on the training data"


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Folder for the inputs and the run.")] = Path("demo-run"),
    json: Json = False,
) -> None:
    """Make synthetic clips and a song, run the montage on them, say where to look."""
    from flows.commands.run import demo_command

    raise typer.Exit(demo_command(folder, as_json=json))


@app.command()
def plan(
    manifest: Manifest,
    config: Config = None,
    set_: Overrides = None,
    require_rights: RequireRights = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="DIR", help="Find the faces and write pictures here: who would sing, and how it looks."
        ),
    ] = None,
    preview_results: Annotated[
        bool,
        typer.Option(
            "--preview-results/--no-preview-results", help="Make a few frames of each pair, too; needs its song."
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Check a manifest and show what a run would do: shards, what is done already, cost. Runs nothing."""
    from flows.commands.plan import plan_command

    raise typer.Exit(
        plan_command(
            manifest,
            config=config,
            overrides=set_ or [],
            require_rights=require_rights,
            preview_dir=preview,
            preview_results=preview_results,
            as_json=json,
        )
    )


@app.command()
def run(
    manifest: Manifest,
    run: Annotated[Path, typer.Option("--run", help="Run folder: made, or resumed if it exists.", show_default=False)],
    config: Config = None,
    set_: Overrides = None,
    require_rights: RequireRights = False,
    json: Json = False,
) -> None:
    """Run a manifest, or resume the run in this folder. What is finished is never done again."""
    from flows.commands.run import run_command

    raise typer.Exit(
        run_command(manifest, run, config=config, overrides=set_ or [], require_rights=require_rights, as_json=json)
    )


@app.command()
def reprocess(
    run: Run,
    failed: Annotated[bool, typer.Option("--failed", help="What failed, or was never finished.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="What a person rejected.")] = False,
    below: Annotated[float | None, typer.Option("--below", help="Sync confidence under this.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Condition on the columns of report.parquet.")
    ] = None,
    child: Annotated[
        Path | None, typer.Option("--run", help="Folder of the new run; by default RUN.2, RUN.3 and so on.")
    ] = None,
    set_: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Make part of a run again, in a run of its own that shares all finished work. The best take of a pair stands."""
    from flows.commands.reprocess import reprocess_command
    from tasks.selection import Wanted

    raise typer.Exit(
        reprocess_command(
            run,
            Wanted(failed=failed, rejected=rejected, below=below, where=where),
            child=child,
            overrides=set_ or [],
            dry_run=dry_run,
            as_json=json,
        )
    )


@app.command()
def status(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", help="Until nobody works on it any more; with --json one document a line.")
    ] = False,
    json: Json = False,
) -> None:
    """Show how far a run is: shards by state, failures by class, rate, time left, slowest shards, workers."""
    from flows.commands.inspect import status_command

    raise typer.Exit(status_command(run, watch=watch, as_json=json))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.", show_default=False)],
    json: Json = False,
) -> None:
    """Write the tables and index.html of a run, finished or not; of several runs, show what changed."""
    from flows.commands.inspect import report_command

    raise typer.Exit(report_command(runs, as_json=json))


@app.command()
def review(
    run: Run,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Port on 127.0.0.1; by default 8765, or any.", show_default=False
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, where there is a screen.")] = True,
    json: Json = False,
) -> None:
    """Serve the review page of a run, finished or not: the worst take first, judged from the keyboard. Ctrl-C ends."""
    from flows.commands.review import review_command

    raise typer.Exit(review_command(run, port=port, open_browser=open_, as_json=json))


@app.command()
def score(
    videos: Annotated[list[Path], typer.Argument(help="Talking videos.", show_default=False)],
    audio: Annotated[
        Path | None, typer.Option("--audio", help="Score against this sound instead of their own.")
    ] = None,
    face: Annotated[
        str, typer.Option("--face", help="Whose lips: largest, index:N, at:X,Y@T, speaker or like:IMAGE.")
    ] = "largest",
    config: Config = None,
    set_: Overrides = None,
    json: Json = False,
) -> None:
    """Measure sync offset, confidence (LSE-C) and distance (LSE-D) of any talking video."""
    from flows.commands.score import score_command

    raise typer.Exit(score_command(videos, audio=audio, face=face, config=config, overrides=set_ or [], as_json=json))


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, found and missing, and how to mend it."""
    from flows.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(as_json=json))


@models_app.command("list")
def models_list(json: Json = False) -> None:
    """List the models that can be used, built in and added."""
    from flows.commands.models import list_command

    raise typer.Exit(list_command(as_json=json))


@models_app.command("add")
def models_add(
    name: Annotated[str, typer.Argument(help="Name to use in manifests and settings.", show_default=False)],
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint: .pth, .pt, .model or .safetensors; or a face enhancer: .onnx.", show_default=False
        ),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of this name.")] = False,
    json: Json = False,
) -> None:
    """Add a checkpoint: checks every key and shape, runs no code in it, stores it as safetensors."""
    from flows.commands.models import add_command

    raise typer.Exit(add_command(name, checkpoint, replace=replace, as_json=json))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Published models, e.g. s3fd syncnet_v2.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All published models.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Fetch from here: a file's address, or a mirror's that ends in /."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the terms that are shown; mostly research only.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Fetch it again, or replace a model of this name.")
    ] = False,
    json: Json = False,
) -> None:
    """Fetch published weights, compare them with their known size and SHA-256, and add them."""
    from flows.commands.models import pull_command

    raise typer.Exit(
        pull_command(names or [], all_=all_, url=url, accept_licence=accept_licence, replace=replace, as_json=json)
    )


@models_app.command("verify")
def models_verify(json: Json = False) -> None:
    """Hash the weights of every added model and compare with its card."""
    from flows.commands.models import verify_command

    raise typer.Exit(verify_command(as_json=json))


@train_app.command("prepare")
def train_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of talking videos.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Dataset: made, or gone on with.", show_default=False)],
    config: Config = None,
    set_: Overrides = None,
    json: Json = False,
) -> None:
    """Cut talking videos into training sequences: faces, their sound in sync, bad ones left out with a reason."""
    from flows.commands.prepare import prepare_command

    raise typer.Exit(prepare_command(folder, data, config=config, overrides=set_ or [], as_json=json))


@train_app.command("expert")
def train_expert(
    dataset: Dataset,
    run: TrainRun,
    batch_size: BatchSize = 64,
    num_steps: NumSteps = 200_000,
    learning_rate: LearningRate = 1e-4,
    seed: Seed = 0,
    eval_every: EvalEvery = 10_000,
    eval_batches: EvalBatches = None,
    checkpoint_every: CheckpointEvery = 10_000,
    num_workers: NumWorkers = 1,
    device: Device = None,
    precision: PrecisionOption = "float32",
    executor: ExecutorOption = "ray",
    width: Width = 1.0,
    licence: Licence = UNKNOWN_LICENCE,
    json: Json = False,
) -> None:
    """Train the paper's sync expert: do these five faces belong to this sound? Goes on where it was stopped."""
    options = dict(locals())  # all of the above, by name
    from flows.commands.train import train_command

    raise typer.Exit(train_command("expert", as_json=options.pop("json"), **options))


@train_app.command("generator")
def train_generator(
    dataset: Dataset,
    run: TrainRun,
    expert: Annotated[str, typer.Option("--expert", help="Run folder, file or model name of a trained expert.")],
    gan: Annotated[bool, typer.Option("--gan", help="With the paper's visual quality discriminator.")] = False,
    batch_size: BatchSize = 16,
    num_steps: NumSteps = 258_000,
    learning_rate: LearningRate = 1e-4,
    seed: Seed = 0,
    eval_every: EvalEvery = 3_000,
    eval_batches: EvalBatches = None,
    checkpoint_every: CheckpointEvery = 3_000,
    sync_switch: Annotated[
        float,
        typer.Option("--sync-switch", help="Evaluated sync loss that lets the generator learn from the expert."),
    ] = 0.75,
    num_workers: NumWorkers = 1,
    device: Device = None,
    precision: PrecisionOption = "float32",
    executor: ExecutorOption = "ray",
    width: Width = 1.0,
    licence: Licence = UNKNOWN_LICENCE,
    json: Json = False,
) -> None:
    """Train the paper's generator against a frozen sync expert. Goes on where it was stopped."""
    options = dict(locals())  # all of the above, by name
    from flows.commands.train import train_command

    raise typer.Exit(train_command("generator", as_json=options.pop("json"), **options))


def main() -> None:
    """Console entry point: errors become sentences, Ctrl-C and SIGTERM become exit code 130."""
    from flows.interrupts import Interrupted, interruptible

    try:
        with interruptible():
            app()
    except (Interrupted, KeyboardInterrupt):
        typer.echo("interrupted: run the same command again to go on", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last border: no traceback reaches the terminal
        sys.exit(_report_error(error))


def _report_error(error: Exception) -> int:
    from flows.terminal import print_error
    from singalong.errors import classify

    known = classify(error)
    print_error(known)
    if os.environ.get("SINGALONG_TRACEBACK"):
        raise error
    # our own word that the input is wrong; a path that vanished under a running command is no such word
    return EXIT_USAGE if isinstance(error, InputError) else EXIT_SOME_FAILED
