"""`singalong models list | add | pull | verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from flows.exit_codes import EXIT_OK, EXIT_SOME_FAILED
from flows.terminal import err, out, print_error, print_json, print_table
from models import pull, registry
from models.cards import ModelCard
from models.pull import Source
from singalong.config import default_models_home
from singalong.errors import InputError, TransientIOError, UsageError


def list_command(*, as_json: bool) -> int:
    """Print every model that can be used."""
    cards = registry.list_models(default_models_home())
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
        return EXIT_OK
    rows: list[list[object]] = [
        [card.name, card.role, card.architecture, card.num_parameters, card.licence, card.trained_on] for card in cards
    ]
    print_table("Models", ["name", "role", "architecture", "parameters", "licence", "trained on"], rows)
    return EXIT_OK


def add_command(name: str, checkpoint: Path, *, replace: bool, as_json: bool) -> int:
    """Check a checkpoint and store it as safetensors."""
    card = registry.add_checkpoint(name, checkpoint, home=default_models_home(), replace=replace)
    if as_json:
        print_json(card.model_dump(mode="json"))
        return EXIT_OK
    size = f"{card.num_parameters:,} parameters" if card.num_parameters else f"{card.num_bytes / 1e6:.1f} MB"
    out.print(f"added {card.name}: {card.architecture} ({card.role}), {size}")
    out.print(f"licence: {card.licence}", markup=False)
    out.print(f"trained on: {card.trained_on}", markup=False)
    return EXIT_OK


def pull_command(
    names: list[str], *, all_: bool, url: str | None, accept_licence: bool, replace: bool, as_json: bool
) -> int:
    """Fetch published models; exit code 1 if one could not be fetched, 2 if the terms were not accepted."""
    sources = _chosen(names, all_=all_, url=url)
    for source in sources:
        size = source.published.num_bytes
        about = f"{size / 1e6:.0f} MB" if size else "size unknown"
        err.print(f"{source.name}: {source.file}, {about}, trained on {source.published.trained_on}", markup=False)
        err.print(f"  terms: {source.terms}", markup=False)
    if not accept_licence:
        raise UsageError(
            "nothing is fetched before you accept these terms",
            action="If you may use the files so, run this again with --accept-licence.",
        )
    fetched: list[ModelCard] = []
    with _progress() as bar:
        for source in sources:
            try:
                card = pull.pull(source.name, home=default_models_home(), url=url, replace=replace, bar=bar)
            except (InputError, TransientIOError) as error:
                print_error(error)
            else:
                fetched.append(card)
    if as_json:
        print_json([card.model_dump(mode="json") for card in fetched])
    else:
        for card in fetched:
            out.print(f"{card.name}: {card.architecture} ({card.role}), from {card.source}", markup=False)
    return EXIT_OK if len(fetched) == len(sources) else EXIT_SOME_FAILED


def _chosen(names: list[str], *, all_: bool, url: str | None) -> list[Source]:
    if all_ == bool(names):
        raise UsageError(
            "which models?", expected=f"names or --all; there are {', '.join(source.name for source in pull.SOURCES)}"
        )
    sources = list(pull.SOURCES) if all_ else [pull.find_source(name) for name in dict.fromkeys(names)]
    if url is not None and len(sources) > 1 and not url.endswith("/"):
        raise UsageError("one address for several files", value=url, expected="a folder: an address that ends in /")
    return sources


class _RichBar:
    """A bar of rich behind the interface that pooch calls."""

    def __init__(self, progress: Progress, name: str, num_bytes: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=num_bytes)
        self._total = num_bytes or 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, num_bytes: int) -> None:
        self._total = num_bytes
        self._progress.update(self._task, total=num_bytes)

    def update(self, num_bytes: int) -> None:
        self._progress.update(self._task, advance=num_bytes)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.update(self._task, completed=self._total)


@contextmanager
def _progress() -> Iterator[Callable[[str, int | None], _RichBar]]:
    """Makes bars on standard error; none where that is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, disable=not err.is_terminal) as progress:
        yield lambda name, num_bytes: _RichBar(progress, name, num_bytes)


def verify_command(*, as_json: bool) -> int:
    """Hash the weights of every added model; exit code 1 if one does not match its card."""
    problems = registry.verify(default_models_home())
    if as_json:
        print_json([str(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(str(problem), markup=False)
        out.print("all models match their cards" if not problems else f"{len(problems)} models do not match")
    return EXIT_SOME_FAILED if problems else EXIT_OK
