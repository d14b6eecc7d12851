"""index.html of previews: one page that opens from the disk, with no script and no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Template

from singalong import __version__
from singalong.contracts import Plan, Row
from singalong.durable import write_atomic
from tasks.page_templates import page_template
from tasks.preview.clips import ClipPreview
from tasks.preview.results import ResultPreview


class Preview(Row):
    """All that lies in a folder of previews."""

    folder: str
    page: str
    clips: tuple[ClipPreview, ...]
    results: tuple[ResultPreview, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every clip and every pair could be shown."""
        clips = all(clip.failure is None and not clip.problems for clip in self.clips)
        return clips and all(result.failure is None for result in self.results)


def write_page(plan: Plan, preview: Preview) -> None:
    """Write the page that shows all sheets and results of a preview."""
    page = _template().render(plan=plan, preview=preview, version=__version__)
    write_atomic(Path(preview.page), page.encode("utf-8", "replace"))


@cache
def _template() -> Template:
    filters = {"percent": lambda share: f"{share:.0%}", "css": lambda mark: mark.replace(" ", "-")}
    return page_template("preview.html.j2", filters)
