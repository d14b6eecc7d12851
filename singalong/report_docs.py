"""docs/report.md: the columns of the reports, written from the records themselves.

`python -m singalong.report_docs docs/report.md` writes it; a test says when it is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from singalong.contracts import Row
from singalong.report_schema import TAG_PREFIX, MontageReportRow, PairReportRow, ReportRow, TakeRow, report_schema

_TABLES: dict[str, tuple[type[Row], str]] = {
    "shards": (ReportRow, "report.parquet: a row a shard, and one for each manifest row that could not be planned."),
    "pairs": (PairReportRow, "pairs.parquet: a row a pair."),
    "montages": (MontageReportRow, "montages.parquet: a row a montage."),
    "takes": (TakeRow, "takes.parquet, of runs that make part of another again: a row a take of what was made again."),
}
_TYPES = {"string": "text", "int64": "whole number", "double": "number", "bool": "true or false"}
_INTRODUCTION = """\
# The report's columns

    import singalong

    pairs = singalong.load_report("run", "pairs")  # a pandas.DataFrame; or "shards" (the default), "montages", "takes"

Times are in seconds, ranges end before their end. Scores are on the scale of the scorer named in the row: those of two
scorers do not compare. What is not known is empty. The manifest's own `tag_*` columns come last, as text.
"""


def report_markdown() -> str:
    """All tables of `singalong.load_report` in Markdown: column, kind, meaning."""
    parts = [_INTRODUCTION]
    for name, (model, title) in _TABLES.items():
        parts.append(f'## load_report(run, "{name}")\n\n{title}\n\n{_table(model)}\n')
    return "\n".join(parts)


def _table(model: type[Row]) -> str:
    lines = ["| column | kind | meaning |", "|---|---|---|"]
    for field in report_schema(model):
        meaning = model.model_fields[field.name].description
        assert meaning, f"{model.__name__}.{field.name} says nothing of itself"
        lines.append(f"| `{field.name}` | {_kind(str(field.type))} | {meaning.replace('|', chr(92) + '|')} |")
    if "tags" in model.model_fields:
        lines.append(f"| `{TAG_PREFIX}*` | text | {model.model_fields['tags'].description} |")
    return "\n".join(lines)


def _kind(name: str) -> str:
    if name.startswith("list"):
        return "list of texts"
    return "numbers by name" if name.startswith("map") else _TYPES[name]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(report_markdown(), encoding="utf-8")
