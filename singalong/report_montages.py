"""The rows of montages.parquet, folded from columns of the pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from singalong.contracts import Failure, Plan, Status, Verdict
from singalong.report_columns import Film, run_columns
from singalong.report_schema import MontageReportRow
from singalong.scoring import WORST_FIRST

PAIR_COLUMNS = (
    *("pair_id", "montage", "position", "row", "num_shards", "status", "verdict", "error_class", "error_message"),
    *("sync_confidence", "num_frames", "rights"),
)
"""What of the pairs is needed."""
_BAD = (Status.FAILED, Status.QUARANTINED)
Pair = Mapping[str, Any]


def montage_rows(head: Plan, pairs: pa.Table, films: Mapping[str, Film]) -> list[MontageReportRow]:
    """A row a montage, in the order in which their first pairs play; those of which no pair could be planned last.

    Args:
        head: the plan without its pairs.
        pairs: PAIR_COLUMNS of all pairs, in the order of the manifest.
        films: of the montages, by name.
    """
    in_montages = pairs.select(list(PAIR_COLUMNS)).filter(pairs["montage"].is_valid())
    rows: defaultdict[str, list[Pair]] = defaultdict(list)
    for batch in in_montages.to_batches(max_chunksize=10_000):
        for pair in batch.to_pylist():
            rows[pair["montage"]].append(pair)
    names = sorted(rows, key=lambda name: min(map(_playing_order, rows[name])))
    return [_montage(head, name, rows[name], films.get(name, Film())) for name in names]


def _playing_order(pair: Pair) -> tuple[bool, bool, float, int]:
    return not pair["num_shards"], pair["position"] is None, pair["position"] or 0.0, pair["row"]


def _montage(head: Plan, name: str, pairs: list[Pair], film: Film) -> MontageReportRow:
    num_done = sum(pair["status"] == Status.DONE for pair in pairs)
    confidences = [pair["sync_confidence"] for pair in pairs if pair["sync_confidence"] is not None]
    bad = [pair for pair in pairs if pair["status"] in _BAD]
    whole = film.path is not None and num_done == len(pairs)
    return MontageReportRow(
        **run_columns(head),
        montage=name,
        status=Status.DONE if whole else Status.FAILED if bad or film.failure else Status.PENDING,
        verdict=_worst(pair["verdict"] for pair in pairs),
        **_error(film.failure, bad),
        num_pairs=len(pairs),
        num_done=num_done,
        missing=film.missing,
        num_frames=sum(pair["num_frames"] for pair in pairs),
        duration_s=film.duration_s,
        sync_confidence_mean=sum(confidences) / len(confidences) if confidences else None,
        sync_confidence_min=min(confidences, default=None),
        output=film.path,
        output_sha256=film.sha256,
        thumbnail=film.thumbnail,
        rights="; ".join(sorted({pair["rights"] for pair in pairs if pair["rights"]})) or None,
    )


def _error(failure: Failure | None, bad: list[Pair]) -> dict[str, Any]:
    """The film's own failure, or that of the first pair that came to nothing."""
    if failure is not None:
        return {"error_class": failure.error_class, "error_message": failure.message}
    if not bad:
        return {}
    return {"error_class": bad[0]["error_class"], "error_message": f"{bad[0]['pair_id']}: {bad[0]['error_message']}"}


def _worst(verdicts: Iterable[str | None]) -> Verdict | None:
    there = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in there), None)
