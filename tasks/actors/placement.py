"""Which of the jobs that wait suits the slots that are free: a clip's shards go where its file is cached. Pure.

Nodes keep what they fetched (see `singalong.remote_store`), or at least have it in the memory of their disks. So of the
next jobs in line comes first one whose clip a free node has had, then one whose clip nobody has had, then the first.
Nobody waits for a node that has its clip: a job that no free node knows goes to any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from tasks.jobs import AnalyseJob, Job, LipsyncJob, SpeakersJob

_MAX_CLIPS = 100_000
"""Clips remembered; beyond that those not asked for longest are forgotten."""
KNOWN, NEW, STRANGE = range(3)


class Homes:
    """Which nodes have had which clip."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, set[str]] = OrderedDict()

    def rank(self, job: Job, free: Collection[str]) -> int:
        """KNOWN to a free node, NEW to all nodes, or STRANGE: known to nodes that have no slot free."""
        homes = self._nodes.get(clip_of(job) or "")
        if not homes:
            return NEW
        return STRANGE if homes.isdisjoint(free) else KNOWN

    def choose(self, job: Job, free: Mapping[str, int]) -> str:
        """The node for a job, of those with that many free slots: one that knows it, then the emptiest."""
        homes = self._nodes.get(clip_of(job) or "", set())
        known = [node for node in homes if node in free]
        return max(known or free, key=lambda node: free[node])

    def sent(self, job: Job, node: str) -> None:
        """A job went to a node, which has its clip from now on."""
        clip = clip_of(job)
        if clip is None:
            return
        self._nodes.setdefault(clip, set()).add(node)
        self._nodes.move_to_end(clip)
        if len(self._nodes) > _MAX_CLIPS:
            self._nodes.popitem(last=False)

    def forget(self, node: str) -> None:
        """A node is gone, and its cache with it."""
        for homes in self._nodes.values():
            homes.discard(node)


def clip_of(job: Job) -> str | None:
    """Hash of the clip a job reads, if it reads one."""
    return job.clip.sha256 if isinstance(job, AnalyseJob | LipsyncJob | SpeakersJob) else None
