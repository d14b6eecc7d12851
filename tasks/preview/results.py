"""One picture of what each pair will look like."""

from __future__ import annotations

from singalong.contracts import Failure, Row


class ResultPreview(Row):
    """One picture of what a pair will look like, or why there is none."""

    pair_id: str
    file: str | None = None
    failure: Failure | None = None
