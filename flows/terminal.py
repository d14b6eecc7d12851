"""What people see in the terminal: progress while a run goes on, summaries after it, errors as sentences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.exit_codes import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED
from flows.interrupts import INTERRUPTED
from singalong.contracts import Row
from singalong.errors import SingalongError

if TYPE_CHECKING:
    from tasks.summary import FailureNote

SummaryT = TypeVar("SummaryT", bound=Row)

_MAX_FAILURES_SHOWN = 20
_PIPED_WIDTH = 200
"""Columns of tables that go to a file or another program."""
_PLANNING = {
    "clips": "looking at clips",
    "songs": "listening to songs",
    "pictures": "looking at pictures of who is to sing",
    "beats": "finding the beats of songs",
    "previews": "looking at who would sing, clip by clip",
}

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def planning() -> Iterator[Callable[[str, int, int], None]]:
    """Show on standard error what planning is at; the body is given what to tell it: step, number done, of how many."""
    with err.status("checking the manifest and its media") as status:
        yield lambda step, done, total: status.update(f"{_PLANNING[step]}: {done} of {total}")


@contextmanager
def stray_output_aside() -> Iterator[None]:
    """Send what libraries print on standard output to standard error while the body runs.

    Ray tells there of every worker that dies; what we print there may be one JSON document.
    """
    with redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_outcome(
    summary: SummaryT | None, *, complete: Callable[[SummaryT], bool], show: Callable[[SummaryT], None], as_json: bool
) -> int:
    """Say what became of work that is resumable; its exit code. No summary: it was interrupted."""
    if summary is None:
        err.print(INTERRUPTED)
        return EXIT_INTERRUPTED
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        show(summary)
    return EXIT_OK if complete(summary) else EXIT_SOME_FAILED


def print_failures(failures: Sequence[FailureNote], rest_is_in: str) -> None:
    """The first failures, and where the others are."""
    for failure in failures[:_MAX_FAILURES_SHOWN]:
        out.print(f"[red]{failure.error_class}[/] ", end="")
        out.print(f"{failure.name}: {failure.message}", markup=False)
    hidden = len(failures) - _MAX_FAILURES_SHOWN
    if hidden > 0:
        out.print(f"... and {hidden} more, in the {rest_is_in}")


def print_error(error: SingalongError) -> None:
    """An error as a sentence, never as a traceback."""
    err.print(f"[bold red]error[/] [dim]{error.error_class}[/] {escape(str(error))}")


def print_warning(text: str) -> None:
    """A warning on standard error."""
    err.print(f"[bold yellow]note[/] {escape(text)}")


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """A plain table; every cell is text, not markup."""
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[escape("" if cell is None else str(cell)) for cell in row])
    out.print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Lines of `name  value`; values may have several lines."""
    for line in _fact_lines(facts):
        out.print(line)


def facts_text(facts: Mapping[str, object]) -> Text:
    """The same lines, to be shown in place."""
    return Text.from_markup("\n".join(_fact_lines(facts)))


def _fact_lines(facts: Mapping[str, object]) -> Iterator[str]:
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        first, *rest = str(value).split("\n")
        yield f"{escape(name):<{width}}  {escape(first)}"
        yield from (f"{'':<{width}}  {escape(line)}" for line in rest)
