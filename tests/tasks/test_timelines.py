"""Timelines of montages: opened again with OpenTimelineIO, frame by frame where the film has them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import PairPlan, Status, Verdict
from singalong.report_schema import PairReportRow
from tasks.films import FilmRecord, montage_parts
from tasks.jobs import FilmFacts
from tasks.timelines import METADATA, Timeline, marked_frames
from tests.tasks.test_films import RATES, pair, record


def row(name: str) -> PairReportRow:
    return PairReportRow.model_construct(
        pair_id=name, status=Status.DONE, verdict=Verdict.PASS, sync_confidence=3.5, sync_offset_frames=0
    )


def timeline_of(
    folder: Path, pairs: list[PairPlan], *, beats: tuple[float, ...] = (), thresholds: object = 1
) -> Timeline:
    films = {}
    for each in pairs:
        path = folder / "outputs" / f"{each.pair_id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        facts = FilmFacts(path=str(path), sha256="3" * 64, num_frames=each.num_frames, duration_s=1.0)
        films[each.pair_id] = FilmRecord(key="k", pairs=(each.pair_id,), film=facts, num_bytes=1)
    return Timeline(
        name="mix",
        path=folder / "montages" / "mix.otio",
        parts=tuple(montage_parts(pairs, films)),
        scored_by=[thresholds],
        scores=lambda: {each.pair_id: row(each.pair_id) for each in pairs},
        beats_s=lambda _: beats,
    )


PAIRS = [
    pair("a", tags={"title": "Ada"}, rights="CC BY 4.0", fps=Fraction(30000, 1001), num_frames=60),
    pair("b", fps=Fraction(25), num_frames=30, song_start_s=2.002, song_end_s=3.202),
    pair("c", fps=Fraction(30000, 1001), num_frames=61, song="/other.wav", song_start_s=1.0),
]
MONTAGE = FilmRecord(key="m", pairs=("a", "b", "c"), film=record("mix").film, num_bytes=1)


@pytest.fixture
def opened(tmp_path: Path) -> otio.schema.Timeline:
    timeline = timeline_of(tmp_path, PAIRS, beats=(0.5, 2.002, 2.6))
    timeline.write(MONTAGE)
    return otio.adapters.read_from_file(str(timeline.path))


def test_both_tracks_are_as_long_as_the_film(tmp_path: Path, opened: otio.schema.Timeline) -> None:
    total = sum(part.num_frames for part in timeline_of(tmp_path, PAIRS).parts)
    for track in opened.tracks:
        durations = [clip.source_range.duration for clip in track]
        assert sum(duration.value for duration in durations) == total
        assert {duration.rate for duration in durations} == {30000 / 1001}
    assert opened.metadata[METADATA]["fps"] == "30000/1001"


def test_a_clip_is_the_pairs_own_film_found_from_where_the_timeline_lies(
    tmp_path: Path, opened: otio.schema.Timeline
) -> None:
    (picture,) = opened.video_tracks()
    for clip, expected in zip(picture, PAIRS, strict=True):
        assert (tmp_path / "montages" / clip.media_reference.target_url).resolve().stem == expected.pair_id
        assert (tmp_path / "montages" / clip.media_reference.target_url).is_file()
        available = clip.media_reference.available_range
        assert (available.duration.value, available.duration.rate) == (expected.num_frames, float(expected.fps))


def test_a_clip_says_who_sings_how_well_and_by_whose_leave(opened: otio.schema.Timeline) -> None:
    first = next(iter(opened.video_tracks()[0]))
    assert first.name == "Ada"
    facts = first.metadata[METADATA]
    assert (facts["pair_id"], facts["verdict"], facts["sync_confidence"]) == ("a", "pass", 3.5)
    assert (facts["clip"], facts["song"], facts["generator"], facts["rights"]) == (
        "/a.mp4",
        "/song.wav",
        "g",
        "CC BY 4.0",
    )


def test_neighbouring_spans_of_a_song_are_one_clip_of_the_audio_track(opened: otio.schema.Timeline) -> None:
    (song,) = opened.audio_tracks()
    assert [clip.media_reference.target_url for clip in song] == ["file:///song.wav", "file:///other.wav"]
    assert song[1].source_range.start_time.to_seconds() == pytest.approx(1.0)


def test_markers_stand_at_cuts_and_at_the_beats_between_them(opened: otio.schema.Timeline) -> None:
    found = [(marker.name, marker.marked_range.start_time.value) for marker in opened.tracks.markers]
    # beats: 0.5 s, 2.002 s (the cut), 2.6 s; the third part sings from 1.0 s on and meets 2.002 and 2.6 s again
    assert found == [("beat", 15), ("cut", 60), ("beat", 78), ("cut", 96), ("beat", 126), ("beat", 144)]


@given(st.lists(st.tuples(RATES, st.integers(1, 400)), min_size=1, max_size=20))
def test_cuts_are_the_sums_of_the_parts_frames(parts: list[tuple[Fraction, int]]) -> None:
    pairs = [pair(str(i), fps=fps, num_frames=n) for i, (fps, n) in enumerate(parts)]
    laid = montage_parts(pairs, {p.pair_id: record(p.pair_id) for p in pairs})
    cuts, beats = marked_frames(laid, lambda _: (0.0, 0.5))
    assert cuts == [sum(part.num_frames for part in laid[:n]) for n in range(1, len(laid))]
    assert not set(cuts) & set(beats)


def test_a_timeline_stands_until_film_scores_or_file_change(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, PAIRS)
    assert not timeline.stands(MONTAGE)
    written = MONTAGE.model_copy(update={"timeline": timeline.write(MONTAGE)})
    assert timeline.stands(written)
    assert not timeline.stands(written.model_copy(update={"key": "another film"}))
    assert not timeline_of(tmp_path, PAIRS, thresholds=2).stands(written)
    timeline.path.write_bytes(b"cut short")
    assert not timeline.stands(written)
