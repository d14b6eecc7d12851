"""The border where exceptions become rows."""

from __future__ import annotations

import traceback

from singalong.contracts import Failure
from singalong.errors import ChangedFileError, classify


def failure_of(error: BaseException) -> Failure:
    """The row that tells of an exception; the traceback is kept for errors that are not ours."""
    ours = classify(error)
    trace = "" if ours is error else "".join(traceback.format_exception(error))
    return Failure(
        error_class=ours.error_class,
        message=str(ours),
        traceback=trace,
        file_changed=isinstance(ours, ChangedFileError),
    )
