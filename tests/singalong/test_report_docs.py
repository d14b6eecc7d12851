"""The columns are documented, and the document is that of the present columns."""

from pathlib import Path

from singalong.report_docs import report_markdown

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def test_the_documented_columns_are_those_of_the_reports() -> None:
    told = "write it anew: python -m singalong.report_docs docs/report.md"
    assert PAGE.read_text(encoding="utf-8") == report_markdown(), told


def test_units_are_said() -> None:
    text = report_markdown()
    for line in ("| `sync_offset_frames` | whole number | in 25 fps frames; 0 is in sync |", "| `tag_*` | text |"):
        assert line in text
