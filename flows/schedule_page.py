"""What a person reads in Prefect of a firing: pages in Markdown, with commands to copy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from singalong.scoring import WORST_FIRST
from tasks.summary import RunSummary
from tasks.verdicts import verdict_counts, worst_pairs

_MAX_FILMS = 20
_MAX_NOTES = 10


def summary_page(summary: RunSummary, run: str, folder: Path | None, *, started: datetime, was_finished: bool) -> str:
    """What a firing came to: counts, verdicts, where everything lies, what to do next.

    run: where the run is, for everybody. folder: where it is for us, if it is there.
    """
    parts = [f"# {_headline(summary, was_finished=was_finished)}", _facts(summary, run, started)]
    verdicts = verdict_counts(folder) if folder else {}
    if verdicts:
        rows = [(verdict, str(verdicts[verdict])) for verdict in sorted(verdicts, key=_worst_first)]
        parts.append("## Verdicts\n\n" + _table(("verdict", "pairs"), rows))
    worst = worst_pairs(folder) if folder else []
    if worst:
        pairs = [(pair, verdict, f"{confidence:.2f}") for pair, verdict, confidence in worst]
        parts.append("## Look at these first\n\n" + _table(("pair", "verdict", "sync confidence"), pairs))
    if summary.notes:
        parts.append("## To know\n\n" + "\n".join(f"- {_text(note)}" for note in summary.notes[:_MAX_NOTES]))
    parts += [_next_steps(summary, run), _where("Montages", summary.montages), _where("Videos", summary.films)]
    return "\n\n".join(part for part in parts if part) + "\n"


def failed_page(run: str, name: str, problem: str) -> str:
    """A firing that raised, after its last retry."""
    return _page(
        "Failed",
        _text(problem),
        f"What was finished is kept in {_code(run)}. Mend the cause, then fire it again:",
        _command("singalong", "schedule", "--now", name),
    )


def cancelled_page(run: str, name: str) -> str:
    """A firing that a person cancelled."""
    return _page(
        "Cancelled",
        f"What was finished is kept in {_code(run)}. It goes on there at the next firing, with Retry on the page of "
        "this run, or with:",
        _command("singalong", "schedule", "--now", name),
        "How far it is:",
        _command("singalong", "status", run),
    )


def crashed_page(run: str, problem: str) -> str:
    """A firing whose process died."""
    return _page(
        "Died",
        _text(problem),
        f"It goes on by itself as soon as a worker is there; what was finished is kept in {_code(run)}. How far it is:",
        _command("singalong", "status", run),
        "If it dies again and again, look at its machine's memory and disk, and schedule it with fewer actors: "
        "`--set run.num_actors=1`.",
    )


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", *parts)) + "\n"


def _headline(summary: RunSummary, *, was_finished: bool) -> str:
    if was_finished and summary.complete:
        return "Nothing to do: all is made"
    if summary.complete:
        return f"All {summary.num_pairs} pairs made"
    return f"{len(summary.failures)} failed, {len(summary.films)} of {summary.num_pairs} pairs made"


def _facts(summary: RunSummary, run: str, started: datetime) -> str:
    minutes = (datetime.now(UTC) - started).total_seconds() / 60
    shards = ", ".join(f"{count} {status}" for status, count in sorted(summary.shards.items()))
    report = f"{run.rstrip('/')}/index.html"
    rows = [
        ("pairs", str(summary.num_pairs)),
        ("shards", f"{summary.num_shards} ({shards})" if shards else "0"),
        ("frames", f"{summary.num_frames:,}"),
        ("montages", str(len(summary.montages))),
        ("took", f"{minutes:.1f} minutes"),
        ("report", _code(report)),
    ]
    return _table(("run", _code(run)), rows)


def _where(title: str, films: tuple[str, ...]) -> str:
    if not films:
        return ""
    lines = [f"- {_code(film)}" for film in films[:_MAX_FILMS]]
    hidden = len(films) - _MAX_FILMS
    return f"## {title}\n\n" + "\n".join([*lines, *([f"- and {hidden} more beside them"] if hidden > 0 else [])])


def _next_steps(summary: RunSummary, run: str) -> str:
    steps = f"## Judge it\n\n{_command('singalong', 'review', run)}"
    if summary.failures:
        again = _command("singalong", "reprocess", run, "--failed")
        steps += f"\n\nThe failures are in the table beside this page. Once their cause is mended:\n\n{again}"
    return steps


def _worst_first(verdict: str) -> int:
    return WORST_FIRST.index(verdict) if verdict in WORST_FIRST else len(WORST_FIRST)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def _command(*words: str) -> str:
    return "    " + shlex.join(words)


def _text(text: str) -> str:
    """Text of errors as text: no markup, no paragraphs of their own."""
    return " ".join(text.replace("<", "&lt;").replace("|", "\\|").replace("`", "'").split())
