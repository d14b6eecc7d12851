"""The `singalong train` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.options import Config, Json, Overrides, RayAddress, with_address

train_app = typer.Typer(
    help="Train the paper's networks on your own data.", no_args_is_help=True, rich_markup_mode=None
)

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


@train_app.command("prepare")
def train_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of talking videos.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Dataset: made, or gone on with.", show_default=False)],
    config: Config = None,
    set_: Overrides = None,
    ray_address: RayAddress = None,
    json: Json = False,
) -> None:
    """Cut talking videos into training sequences: faces, their sound in sync, bad ones left out with a reason."""
    from flows.commands.prepare import prepare_command

    raise typer.Exit(
        prepare_command(folder, data, config=config, overrides=with_address(set_, ray_address), as_json=json)
    )


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
