"""The files by which a node of a cluster shows that it sees what this machine sees."""

from __future__ import annotations

from pathlib import Path

from singalong.contracts import PairPlan, Plan
from singalong.objects import is_url
from singalong.remote_run import location_of
from singalong.runfolder import RunFolder

_MAX_FOLDERS = 200
"""Every worker looks at them when it comes up, perhaps over a network."""


def files_to_see(run: RunFolder, plan: Plan) -> tuple[str, ...]:
    """One file of the run's folder, and one of each folder of clips and songs; nothing of what is at URLs."""
    places: dict[Path, str] = {}
    if not is_url(location_of(run.path)):
        places[run.path] = str(run.path / "run.json")
    for pair in plan.pairs:
        for place in _media(pair):
            if len(places) < _MAX_FOLDERS and not is_url(place):
                places.setdefault(Path(place).parent, place)
    return tuple(places.values())


def _media(pair: PairPlan) -> tuple[str, ...]:
    return pair.clip, pair.song, pair.voice
