"""index.html: one page that opens from the disk, with no script, no network and nothing but relative
links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate, groupby, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Template

from singalong import __version__
from singalong.contracts import Status, Verdict
from singalong.errors import ErrorClass
from singalong.fold import Ints, RunFold
from singalong.report_schema import MontageReportRow, PairReportRow
from singalong.reviews import Ruling
from singalong.runfolder import RunFolder
from singalong.scoring import LEVEL_CONFIDENCE, WORST_FIRST
from tasks.page_templates import page_template
from tasks.report_files import STATUS_ORDER, ReportFiles

MAX_CARDS = 120
"""Pairs with a film and all their facts; with more of them a browser takes seconds to lay the page out."""
PAIRS_A_GROUP = 250
"""Of the others each has a line, in groups that are folded up: what is folded up costs next to nothing."""
MAX_LINES = 20_000
"""Lines of pairs in all: the page stays below some 10 MB. Those shown are the worst; pairs.parquet has all."""
MAX_MONTAGES = 500
MAX_STRIP_PARTS = 20_000
"""Pairs in the strips of all montages; a montage beyond that has none."""
MAX_FAILURES_SHOWN = 60
MAX_CHANGED = 5_000
"""Pairs that were made again and are shown before and after; all are counted."""
NUM_HISTOGRAM_BINS = 16

_MEANINGS = {
    ErrorClass.INPUT: "The input cannot be used; trying again will not help. Mend the clip, the song or the row.",
    ErrorClass.TRANSIENT_IO: "Storage failed again and again. Run the same command again.",
    ErrorClass.RESOURCE: "Out of memory or disk. Free some, or run fewer workers, then run again.",
    ErrorClass.INFRA: "Workers died on it. The message and logs/ may say why.",
    ErrorClass.TIMEOUT: "It ran longer than run.shard_timeout_s. Raise that, or make shards shorter.",
    ErrorClass.BUG: "A defect of singalong or of a library. Please report it with the message.",
}


@dataclass(frozen=True)
class Part:
    """A part of a bar: a label, how much, its share of the whole, and where it starts; both in percent."""

    label: str
    amount: float
    share: float
    start: float

    @property
    def css(self) -> str:
        """Class that gives its colour."""
        return "c-" + self.label.replace(" ", "-")


@dataclass(frozen=True)
class StripPart:
    """A pair in the strip of its montage: when it is on, in percent of the whole, and what became of it."""

    pair: PairReportRow
    start: float
    share: float


@dataclass(frozen=True)
class Shift:
    """Where the confidence of a pair was and is, on a rail from 6 to 114."""

    was: float
    now: float


@dataclass(frozen=True)
class PairGroup:
    """Pairs in lines, under what they have in common."""

    title: str
    pairs: tuple[PairReportRow, ...]


def render_page(
    run: RunFolder,
    fold: RunFold,
    files: ReportFiles,
    montages: Sequence[MontageReportRow],
    *,
    notes: Sequence[str],
) -> str:
    """The page of a run, from its tables. All text from outside is escaped by the template."""
    order, groups = files.worst_first(), files.failures()
    seconds, again = files.seconds_by_stage(), _made_again(files, order)
    changed, shown = files.rows(again[:MAX_CHANGED]), files.rows(order[: MAX_CARDS + MAX_LINES])
    cut = _cut_notes(files.num_pairs, len(montages), len(again))
    return _template().render(
        run=run,
        head=run.outline.head,
        notes=[*notes, *_damage_notes(fold), *cut],
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        tiles=_tiles(files, montages),
        status_bar=bar(files.shards_by_status(), [s.value for s in reversed(STATUS_ORDER)]),
        verdict_bar=bar(
            Counter(files.pairs["verdict"].drop_null().to_pylist()),
            [verdict.value for verdict in reversed(WORST_FIRST)],
        ),
        histogram=histogram(files.pairs["sync_confidence"].drop_null().to_pylist()),
        time_bar=bar(seconds, [name for name, _ in seconds.most_common()]),
        failures=groups[:MAX_FAILURES_SHOWN],
        meanings=_MEANINGS,
        num_failures_hidden=max(0, len(groups) - MAX_FAILURES_SHOWN),
        montages=montages[:MAX_MONTAGES],
        strips=strips(files, [montage.montage for montage in montages[:MAX_MONTAGES]]),
        pairs=shown[:MAX_CARDS],
        pair_groups=_pair_groups(shown[MAX_CARDS:]),
        num_changed=len(again),
        changed=changed,
        effects=_effects(files, again),
        shifts=_shifts(changed),
    )


def strips(files: ReportFiles, names: Sequence[str]) -> dict[str, list[StripPart]]:
    """The pairs of these montages in playing order, as wide as they are long; those without frames are a sliver."""
    pairs = files.pairs
    position = pairs["position"].fill_null(np.inf).to_numpy()
    order = np.lexsort((pairs["row"].to_numpy(), position))
    number = pc.index_in(pairs["montage"], value_set=pa.array(names, pa.string())).fill_null(-1).to_numpy()[order]
    order = order[np.argsort(number, kind="stable")]
    sizes = np.bincount(number + 1, minlength=len(names) + 1)
    num_shown = int(np.searchsorted(np.cumsum(sizes[1:]), MAX_STRIP_PARTS, side="right"))
    rows = iter(files.rows(order[sizes[0] : sizes[: num_shown + 1].sum()]))
    found = dict[str, list[StripPart]]()
    for name, size in zip(names, sizes[1:].tolist(), strict=True):
        own = list(islice(rows, size if len(found) < num_shown else 0))
        seconds = [max(pair.num_frames, 1) / (pair.fps or 25.0) for pair in own]
        starts, scale = accumulate(seconds, initial=0.0), 100 / sum(seconds) if seconds else 0.0
        found[name] = [
            StripPart(pair, start * scale, length * scale)
            for pair, start, length in zip(own, starts, seconds, strict=False)
        ]
    return found


def bar(amounts: Mapping[str, float], order: Iterable[str]) -> list[Part]:
    """Parts of a stacked bar, in the given order, without the empty ones."""
    total, start, parts = sum(amounts.values()), 0.0, []
    for label in order:
        amount = amounts.get(label, 0)
        if amount:
            share = 100.0 * amount / total
            parts.append(Part(label, amount, share, start))
            start += share
    return parts


def histogram(values: Sequence[float]) -> list[Part]:
    """Counts of values in equal steps from the smallest to the largest; `start` is where a step begins,
    `share` its height in percent of the highest.
    """
    if not values:
        return []
    low, high = min(values), max(values)
    step = (high - low) / NUM_HISTOGRAM_BINS or 1.0
    counts = Counter(min(int((value - low) / step), NUM_HISTOGRAM_BINS - 1) for value in values)
    highest = max(counts.values())
    return [
        Part(
            f"{low + bin_ * step:.2f} to {low + (bin_ + 1) * step:.2f}",
            counts[bin_],
            100 * counts[bin_] / highest,
            bin_,
        )
        for bin_ in range(NUM_HISTOGRAM_BINS)
    ]


def _made_again(files: ReportFiles, order: Ints) -> Ints:
    """Those of the pairs, in this order, of which another take stood before."""
    pairs = files.pairs
    was = pc.or_(pairs["confidence_before"].is_valid(), pairs["verdict_before"].is_valid()).to_numpy()
    return np.asarray(order[was[order]], np.int64)


def _effects(files: ReportFiles, changed: Ints) -> str:
    """How many of the pairs that were made again got better, worse or stayed as they were."""
    names = ["verdict", "verdict_before", "sync_confidence", "confidence_before"]
    columns = files.pairs.select(names).take(pa.array(changed)).to_pydict()
    effects = Counter(_effect(*row) for row in zip(*columns.values(), strict=True))
    return ", ".join(f"{effects[word]} {word}" for word in ("better", "worse", "as good as before") if effects[word])


def _effect(verdict: str | None, before: str | None, confidence: float | None, confidence_before: float | None) -> str:
    moved = WORST_FIRST.index(Verdict(verdict)) - WORST_FIRST.index(Verdict(before)) if verdict and before else 0
    if moved == 0 and confidence is not None and confidence_before is not None:
        change = confidence - confidence_before
        moved = 0 if abs(change) < LEVEL_CONFIDENCE else 1 if change > 0 else -1
    return "better" if moved > 0 else "worse" if moved < 0 else "as good as before"


def _shifts(changed: Sequence[PairReportRow]) -> dict[str, Shift]:
    """Where the confidence of each was and is, by pair id, from 0 to the highest; of those of which both are known."""
    known = {
        pair.pair_id: (max(pair.confidence_before, 0.0), max(pair.sync_confidence, 0.0))
        for pair in changed
        if pair.confidence_before is not None and pair.sync_confidence is not None
    }
    top = max((max(values) for values in known.values()), default=0.0) or 1.0
    return {
        name: Shift(round(6 + 108 * was / top, 1), round(6 + 108 * now / top, 1)) for name, (was, now) in known.items()
    }


def _tiles(files: ReportFiles, montages: Sequence[MontageReportRow]) -> list[tuple[str, str]]:
    pairs = files.pairs
    done = pairs.filter(pc.equal(pairs["status"], Status.DONE.value))
    seconds = pc.sum(pc.divide(done["num_frames"].cast(pa.float64()), done["fps"])).as_py() or 0.0
    tiles = [
        ("pairs done", f"{done.num_rows} of {files.num_pairs}"),
        ("video made", _duration(seconds)),
        ("frames", f"{files.frames_made():,}"),
    ]
    rulings = Counter(pairs["review_ruling"].drop_null().to_pylist())
    if rulings:
        rejected = rulings[Ruling.REJECT.value]
        tiles.append(("reviewed", f"{rulings.total()} of {files.num_pairs}, {rejected} sent back"))
    if montages:
        made = sum(montage.output is not None for montage in montages)
        tiles.append(("montages made", f"{made} of {len(montages)}"))
    return tiles


def _pair_groups(pairs: Sequence[PairReportRow]) -> list[PairGroup]:
    """Pairs in their order, in groups of one badge, none of them too long."""
    groups: list[PairGroup] = []
    for badge, own in groupby(pairs, key=_badge):
        rows = list(own)
        for start in range(0, len(rows), PAIRS_A_GROUP):
            part = tuple(rows[start : start + PAIRS_A_GROUP])
            is_whole = len(rows) <= PAIRS_A_GROUP
            of = str(len(rows)) if is_whole else f"{start + 1} to {start + len(part)} of {len(rows)}"
            groups.append(PairGroup(f"{badge}, {of}{_range_of(part)}", part))
    return groups


def _range_of(pairs: Sequence[PairReportRow]) -> str:
    confidences = [pair.sync_confidence for pair in pairs if pair.sync_confidence is not None]
    return f": confidence {min(confidences):.2f} to {max(confidences):.2f}" if confidences else ""


def _damage_notes(fold: RunFold) -> list[str]:
    if not fold.damaged:
        return []
    return [
        f"{len(fold.damaged)} attempt files cannot be read and do not count, the first: {fold.damaged[0]}. "
        "Check the disk; running the manifest again does the work again where it must."
    ]


def _cut_notes(num_pairs: int, num_montages: int, num_changed: int) -> list[str]:
    notes = []
    if num_pairs > MAX_CARDS + MAX_LINES:
        shown = f"the {MAX_CARDS + MAX_LINES:,} worst of {num_pairs:,} pairs"
        notes.append(f"This page shows {shown}. All are in pairs.parquet.")
    if num_montages > MAX_MONTAGES:
        notes.append(f"This page shows {MAX_MONTAGES:,} of {num_montages:,} montages. All are in montages.parquet.")
    if num_changed > MAX_CHANGED:
        shown = f"{MAX_CHANGED:,} of {num_changed:,} pairs that were made again"
        notes.append(f"This page shows {shown}. All are in pairs.parquet.")
    return notes


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _review(row: PairReportRow) -> str:
    """What a person decided, in words; empty where nobody did."""
    if row.review_ruling is None:
        return ""
    verb = "accepted" if row.review_ruling is Ruling.ACCEPT else "rejected"
    words = f"{verb} by {row.reviewer}" + (f": {row.review_reason}" if row.review_reason else "")
    return f"{words}; to be made again with {', '.join(row.review_settings)}" if row.review_settings else words


def _badge(row: PairReportRow | MontageReportRow) -> str:
    """The one word that says where a pair stands: its verdict if it is done, else its status."""
    return row.verdict.value if row.status is Status.DONE and row.verdict else row.status.value


@cache
def _template() -> Template:
    filters: dict[str, Callable[..., str]] = {
        "number": _number,
        "percent": _percent,
        "duration": _duration,
        "badge": _badge,
        "review": _review,
        "css": lambda label: "c-" + str(label).replace(" ", "-"),
    }
    return page_template("report.html.j2", filters)
