"""Beats for planning: asked for only where they decide something, found once per content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from singalong.config import Settings, load_settings
from singalong.errors import MediaError
from singalong.media.probe import probe_song
from singalong.settings import LimitSettings
from singalong.store import Store
from tasks import find_beats
from tasks.find_beats import beats_for, song_beats
from tests.singalong.builders import pair_row, song_facts
from tests.sounds import tone, write_sound


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Songs that were listened to."""
    paths: list[str] = []

    def listen(path: Path, channel: int | None) -> np.ndarray:
        paths.append(str(path))
        return np.array([0.5, 1.0001234])

    monkeypatch.setattr(find_beats, "find_beats", listen)
    return paths


def test_only_songs_of_rows_laid_end_to_end_are_listened_to(asked: list[str], tmp_path: Path) -> None:
    rows = [
        pair_row(1, song="/a.wav", montage="m"),
        pair_row(2, song="/a.wav", montage="m"),
        pair_row(3, song="/b.wav", montage="m", song_start_s=1.0),
        pair_row(4, song="/c.wav", montage="m", song_end_s=9.0),
        pair_row(5, song="/d.wav"),
        pair_row(6, song="/bad.wav", montage="m"),
    ]
    songs = {row.song: song_facts(row.song) for row in rows} | {"/bad.wav": MediaError("no song", file="/bad.wav")}
    told: list[tuple[int, int]] = []
    store = Store(tmp_path)
    beats = beats_for(rows, songs, settings=Settings(), store=store, progress=lambda *place: told.append(place))
    assert asked == ["/a.wav"]
    assert beats == {"/a.wav": (0.5, 1.0001)}
    assert told == [(1, 2), (2, 2)]


def test_a_song_is_listened_to_once_whatever_its_name(asked: list[str], tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("/a.wav", "/renamed.wav"):
        songs = {name: song_facts(name, sha256="a" * 64)}
        assert beats_for([pair_row(song=name, montage="m")], songs, settings=Settings(), store=store)[name]
    assert asked == ["/a.wav"]


def test_the_setting_turns_it_off(asked: list[str], tmp_path: Path) -> None:
    settings = load_settings(None, ["plan.snap_to_beats=false"])
    rows = [pair_row(montage="m")]
    songs = {rows[0].song: song_facts(rows[0].song)}
    assert beats_for(rows, songs, settings=settings, store=Store(tmp_path)) == {}
    assert asked == []


def test_beats_are_heard_where_the_channels_cancel_each_other_out(tmp_path: Path) -> None:
    clicks = np.zeros(6 * 16000, np.float32)
    for start in range(0, len(clicks), 8000):
        clicks[start : start + 800] = tone(900, 0.05, 16000)
    path = write_sound(tmp_path / "a.wav", np.stack([clicks, -clicks], axis=1), 16000)
    facts = probe_song(path, sha256="a" * 64, limits=LimitSettings())
    steps = np.diff(song_beats(facts, store=Store(tmp_path / "store")))
    assert len(steps) > 5
    assert abs(np.median(steps) - 0.5) < 0.02
