"""index.html: one page that opens from the disk, with no script, no network and nothing but relative
links.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate, groupby
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from singalong import __version__
from singalong.contracts import Status, Verdict
from singalong.errors import ErrorClass
from singalong.fold import RunFold
from singalong.report import Report
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow
from singalong.reviews import Ruling
from singalong.runfolder import RunFolder
from singalong.scoring import LEVEL_CONFIDENCE

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
NUM_HISTOGRAM_BINS = 16

_STATUS_ORDER = (Status.FAILED, Status.QUARANTINED, Status.PENDING, Status.DONE)
_VERDICT_ORDER = (Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_SCORABLE, Verdict.PASS, None)
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


@dataclass(frozen=True)
class FailureGroup:
    """Failures that share class and message."""

    error_class: ErrorClass
    meaning: str
    message: str
    names: tuple[str, ...]


def render_page(run: RunFolder, fold: RunFold, report: Report, *, notes: Sequence[str]) -> str:
    """The page of a run. All text from outside is escaped by the template."""
    pairs = sorted(report.pairs, key=_worst_first)
    groups = _failure_groups(report)
    changed = [pair for pair in pairs if pair.confidence_before is not None or pair.verdict_before is not None]
    return _template().render(
        run=run,
        notes=[*notes, *_damage_notes(fold), *_cut_notes(len(pairs), len(report.montages))],
        report=report,
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        tiles=_tiles(report),
        status_bar=bar(Counter(row.status.value for row in report.shards), [s.value for s in reversed(_STATUS_ORDER)]),
        verdict_bar=bar(
            Counter(pair.verdict.value for pair in pairs if pair.verdict),
            [verdict.value for verdict in reversed(_VERDICT_ORDER) if verdict],
        ),
        histogram=histogram([pair.sync_confidence for pair in pairs if pair.sync_confidence is not None]),
        time_bar=_time_bar(report.shards),
        failures=groups[:MAX_FAILURES_SHOWN],
        num_failures_hidden=max(0, len(groups) - MAX_FAILURES_SHOWN),
        montages=report.montages[:MAX_MONTAGES],
        strips=strips(report.pairs),
        pairs=pairs[:MAX_CARDS],
        pair_groups=_pair_groups(pairs[MAX_CARDS : MAX_CARDS + MAX_LINES]),
        changed=changed,
        effects=_effects(changed),
        shifts=_shifts(changed),
    )


def strips(pairs: Iterable[PairReportRow]) -> dict[str, list[StripPart]]:
    """The pairs of each montage in playing order, as wide as they are long; those without frames are a sliver."""
    films: defaultdict[str, list[PairReportRow]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda row: (row.position is None, row.position or 0.0, row.row)):
        if pair.montage is not None:
            films[pair.montage].append(pair)
    found, room = dict[str, list[StripPart]](), MAX_STRIP_PARTS
    for name, own in films.items():
        room -= len(own)
        if room < 0:
            found[name] = []
            continue
        seconds = [max(pair.num_frames, 1) / (pair.fps or 25.0) for pair in own]
        starts = accumulate(seconds, initial=0.0)
        scale = 100 / sum(seconds)
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


def _effects(changed: Sequence[PairReportRow]) -> str:
    """How many of the pairs that were made again got better, worse or stayed as they were."""
    effects = Counter(_effect(pair) for pair in changed)
    return ", ".join(f"{effects[word]} {word}" for word in ("better", "worse", "as good as before") if effects[word])


def _effect(pair: PairReportRow) -> str:
    order = {verdict: place for place, verdict in enumerate(_VERDICT_ORDER)}
    moved = order[pair.verdict] - order[pair.verdict_before] if pair.verdict and pair.verdict_before else 0
    if moved == 0 and pair.sync_confidence is not None and pair.confidence_before is not None:
        change = pair.sync_confidence - pair.confidence_before
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


def _tiles(report: Report) -> list[tuple[str, str]]:
    done = [pair for pair in report.pairs if pair.status is Status.DONE]
    seconds = sum(pair.num_frames / pair.fps for pair in done if pair.fps)
    tiles = [
        ("pairs done", f"{len(done)} of {len(report.pairs)}"),
        ("video made", _duration(seconds)),
        ("frames", f"{sum(row.num_frames for row in report.shards if row.status is Status.DONE):,}"),
    ]
    judged = [pair for pair in report.pairs if pair.review_ruling]
    if judged:
        rejected = sum(pair.review_ruling is Ruling.REJECT for pair in judged)
        tiles.append(("reviewed", f"{len(judged)} of {len(report.pairs)}, {rejected} sent back"))
    if report.montages:
        made = sum(montage.output is not None for montage in report.montages)
        tiles.append(("montages made", f"{made} of {len(report.montages)}"))
    return tiles


def _time_bar(shards: Sequence[ReportRow]) -> list[Part]:
    seconds: Counter[str] = Counter()
    for row in shards:
        seconds.update(row.seconds)
    return bar(seconds, [name for name, _ in seconds.most_common()])


def _failure_groups(report: Report) -> list[FailureGroup]:
    """Failures by class and message, the most frequent first; films that failed though their shards did
    not.
    """
    rows: list[tuple[ErrorClass, str, str]] = [
        (row.error_class, row.error_message or "", row.shard_id or row.pair_id)
        for row in report.shards
        if row.error_class and row.status is not Status.PENDING
    ]
    rows += [
        (row.error_class, row.error_message or "", row.pair_id)
        for row in report.pairs
        if row.error_class and row.num_shards and row.num_done == row.num_shards
    ]
    names: dict[tuple[ErrorClass, str], list[str]] = {}
    for error_class, message, name in rows:
        names.setdefault((error_class, message), []).append(name)
    groups = [
        FailureGroup(error_class, _MEANINGS[error_class], message, tuple(own))
        for (error_class, message), own in names.items()
    ]
    return sorted(groups, key=lambda group: -len(group.names))


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


def _cut_notes(num_pairs: int, num_montages: int) -> list[str]:
    notes = []
    if num_pairs > MAX_CARDS + MAX_LINES:
        shown = f"the {MAX_CARDS + MAX_LINES:,} worst of {num_pairs:,} pairs"
        notes.append(f"This page shows {shown}. All are in pairs.parquet.")
    if num_montages > MAX_MONTAGES:
        notes.append(f"This page shows {MAX_MONTAGES:,} of {num_montages:,} montages. All are in montages.parquet.")
    return notes


def _worst_first(pair: PairReportRow) -> tuple[int, int, float, int]:
    confidence = pair.sync_confidence if pair.sync_confidence is not None else float("inf")
    return _STATUS_ORDER.index(pair.status), _VERDICT_ORDER.index(pair.verdict), confidence, pair.row


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
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "duration": _duration,
        "badge": _badge,
        "review": _review,
        "link": quote,
        "file_name": lambda path: Path(path).name,
        "css": lambda label: "c-" + str(label).replace(" ", "-"),
    }
    return environment.get_template("report.html.j2")
