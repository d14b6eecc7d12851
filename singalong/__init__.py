"""singalong: batch lip-sync. A manifest of clips and songs in, singing clips and quality reports out.

singalong.load_report(run)    a run's report as a pandas data frame
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singalong.load import load_report

__all__ = ["__version__", "load_report"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import singalong`, and with it every --help, must not wait for pandas.
    if name == "load_report":
        from singalong.load import load_report

        return load_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
