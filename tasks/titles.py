"""TITLES: what the parts of a montage say of themselves; the numbers are those of pairs.parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from singalong.config import Settings
from singalong.contracts import PairPlan, Title
from singalong.report_schema import PairReportRow

Rows = Callable[[], Mapping[str, PairReportRow]]

TITLE_TAG = "title"
"""The manifest column `tag_title` names the pair for people."""


def titles_of(pairs: Iterable[PairPlan], settings: Settings, rows: Rows) -> dict[str, Title]:
    """The title of each pair by its id; none where `film.titles` is none. Pairs that are not done have no scores.

    `rows` gives those of pairs.parquet, by pair id, if scores are to be shown.
    """
    match settings.film.titles:
        case "none":
            return {}
        case "name":
            return {pair.pair_id: Title(name=shown_name(pair)) for pair in pairs}
        case "score":
            scored = rows()
            return {pair.pair_id: _with_score(pair, scored[pair.pair_id]) for pair in pairs}


def shown_name(pair: PairPlan) -> str:
    """What the pair is called for people: its tag_title, or else its pair_id."""
    return pair.tags.get(TITLE_TAG, "").strip() or pair.pair_id


def _with_score(pair: PairPlan, row: PairReportRow) -> Title:
    parts = []
    if row.sync_confidence is not None:
        parts.append(f"confidence {row.sync_confidence:.2f}")
    if row.sync_offset_frames is not None:
        parts.append(f"offset {row.sync_offset_frames:+d}" if row.sync_offset_frames else "offset 0")
    if row.verdict is not None:
        parts.append(row.verdict.value)
    return Title(name=shown_name(pair), note=" · ".join(parts), verdict=row.verdict)
