"""Shards go where their clip is cached; nobody starves for it."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice

from tasks.actors.placement import KNOWN, NEW, STRANGE, Homes
from tasks.dispatch import LOOK_AHEAD
from tasks.jobs import AnalyseJob, Job, SongJob
from tests.singalong.builders import clip_facts


def job(clip: str) -> Job:
    return AnalyseJob(clip=clip_facts(sha256=clip))


def test_a_clip_is_known_to_the_nodes_that_had_it_until_they_are_gone() -> None:
    homes = Homes()
    assert homes.rank(job("a"), {"n1"}) == NEW
    homes.sent(job("a"), "n1")
    assert homes.rank(job("a"), {"n1", "n2"}) == KNOWN
    assert homes.rank(job("a"), {"n2"}) == STRANGE
    assert homes.choose(job("a"), {"n1": 1, "n2": 9}) == "n1"
    homes.forget("n1")
    assert homes.rank(job("a"), {"n2"}) == NEW


def test_a_job_nobody_knows_goes_to_the_emptiest_node() -> None:
    assert Homes().choose(SongJob(path="s", sha256="0" * 64), {"n1": 1, "n2": 3, "n3": 2}) == "n2"


def fetches(clips: list[str], *, nodes: int, slots: int, by_clip: bool) -> tuple[int, int]:
    """How often a node met a clip for the first time, and how many rounds it took: each round ends every job."""
    homes, ready, met = Homes(), deque(clips), set[tuple[str, str]]()
    rounds = 0
    while ready:
        rounds += 1
        free = Counter({f"n{number}": slots for number in range(nodes)})
        while ready and +free:
            place = 0
            if by_clip:
                ranks = [homes.rank(job(clip), (+free).keys()) for clip in islice(ready, LOOK_AHEAD)]
                place = ranks.index(min(ranks))
            clip = ready[place]
            del ready[place]
            node = homes.choose(job(clip), +free) if by_clip else max(free, key=lambda name: free[name])
            homes.sent(job(clip), node)
            free[node] -= 1
            met.add((node, clip))
    return len(met), rounds


def test_clips_are_fetched_by_few_nodes_and_no_slot_idles_for_it() -> None:
    clips = [f"clip{number}" for number in range(40) for _ in range(30)]
    in_order, rounds_in_order = fetches(clips, nodes=8, slots=4, by_clip=False)
    by_clip, rounds_by_clip = fetches(clips, nodes=8, slots=4, by_clip=True)
    assert in_order > 5 * 40
    assert by_clip < 2 * 40, "about once each"
    assert rounds_by_clip == rounds_in_order


def test_all_nodes_help_with_a_single_long_clip() -> None:
    assert fetches(["long"] * 320, nodes=8, slots=4, by_clip=True) == (8, 10)
