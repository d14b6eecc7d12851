"""TITLES: what the parts of a montage say of themselves; the numbers are those of pairs.parquet."""

from __future__ import annotations

from singalong.config import Settings
from singalong.contracts import PairPlan, Title
from singalong.report_schema import PairReportRow
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.report import pair_rows

TITLE_TAG = "title"
"""The manifest column `tag_title` names the pair for people."""


def titles_of(run: RunFolder, store: Store, settings: Settings) -> dict[str, Title]:
    """The title of each pair by its id; none where `film.titles` is none. Pairs that are not done have no scores."""
    match settings.film.titles:
        case "none":
            return {}
        case "name":
            return {pair.pair_id: Title(name=shown_name(pair)) for pair in run.plan.pairs}
        case "score":
            rows = pair_rows(run, store)
            return {pair.pair_id: _with_score(pair, rows[pair.pair_id]) for pair in run.plan.pairs}


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
