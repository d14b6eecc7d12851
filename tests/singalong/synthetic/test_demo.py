"""The demo's inputs: a song whose words and beats are known, and a cast that takes turns on its beats."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from singalong.manifest import read_manifest
from singalong.plan import montages
from singalong.synthetic import write_demo_inputs
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.demo import CAST, CUTS, Cut, demo_clip, manifest_rows
from singalong.synthetic.demo_song import FIRST_S, NUM_BARS, bar_start_s, demo_notes, demo_song
from tests.singalong.builders import clip_facts, plan_of, song_facts, touch

SMALL = replace(CAST[0], width=96, height=64, num_beats=1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_inputs(tmp_path_factory.mktemp("demo"), cast=[SMALL], cuts=[Cut("Ada", 0, 1)])


def test_the_manifest_names_files_that_exist(inputs: Path) -> None:
    montage, solo = read_manifest(inputs)
    assert (montage.montage, montage.tags["title"], solo.montage) == ("demo", "Ada", None)
    names = sorted(path.name for path in inputs.parent.iterdir())
    assert names == ["ada_96x64.mp4", "manifest.csv", "song.wav", "vocals.wav"]


def test_inputs_that_stand_are_left_alone_and_others_are_made_again(inputs: Path) -> None:
    clip = inputs.parent / SMALL.file
    before = clip.stat().st_mtime_ns
    write_demo_inputs(inputs.parent, cast=[SMALL], cuts=[Cut("Ada", 0, 1)])
    assert clip.stat().st_mtime_ns == before
    inputs.write_text("another", encoding="utf-8")
    told = []
    write_demo_inputs(
        inputs.parent, cast=[SMALL], cuts=[Cut("Ada", 0, 1)], progress=lambda done, total: told.append((done, total))
    )
    assert clip.stat().st_mtime_ns > before
    assert told == [(0, 1)]


def test_everybody_sings_and_every_cut_falls_on_the_bar_or_on_every_second_beat(tmp_path: Path) -> None:
    names = [character.file for character in CAST] + ["song.wav", "vocals.wav"]
    for name in names:
        touch(tmp_path / name)
    columns = list(manifest_rows()[0])
    lines = [",".join(columns)] + [",".join(f'"{row.get(name, "")}"' for name in columns) for row in manifest_rows()]
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    rows = read_manifest(tmp_path / "manifest.csv")

    song_s = bar_start_s(NUM_BARS) + 0.6
    beat_s = (bar_start_s(1) - bar_start_s(0)) / 4
    beats = [FIRST_S + beat * beat_s for beat in range(4 * NUM_BARS)]
    clips = {
        str(tmp_path / who.file): clip_facts(
            str(tmp_path / who.file), width=who.width, height=who.height, fps=who.fps, duration_s=_clip_s(who.num_beats)
        )
        for who in CAST
    }
    songs = {str(tmp_path / name): song_facts(str(tmp_path / name), duration_s=song_s) for name in names[-2:]}
    plan = plan_of(rows, clips=clips, songs=songs, beats={str(tmp_path / "song.wav"): beats})
    assert not plan.problems

    parts = montages(plan.pairs)["demo"]
    assert {part.tags["title"] for part in parts} == {who.name for who in CAST}
    assert parts[-1].song_end_s == song_s
    places = [(part.song_end_s - FIRST_S) / beat_s for part in parts[:-1]]
    assert places == pytest.approx([12, 20, 24, 28, 32, 36, 38, 40, 42, 44, 46, 48], abs=0.05)
    assert len({(who.width, who.height) for who in CAST}) == 3
    assert len({who.fps for who in CAST}) == 3


def _clip_s(num_beats: int) -> float:
    return len(demo_clip(replace(SMALL, num_beats=num_beats)).poses) / 25


def test_every_cut_is_of_somebody_in_the_cast_and_inside_their_clip() -> None:
    lengths = {who.name: who.num_beats for who in CAST}
    assert all(cut.first_beat + cut.num_beats <= lengths[cut.name] for cut in CUTS)


def test_the_song_has_its_words_its_beats_and_a_bar_without_voice() -> None:
    song = demo_song()
    assert song.mix.tobytes() == demo_song().mix.tobytes()
    assert song.voiced_spans[0][0] == pytest.approx(bar_start_s(1), abs=0.12)
    assert np.diff(song.beats_s) == pytest.approx(60 / 132)
    assert [note.syllable.vowel for note in demo_notes()][:6] == ["UW", "IH", "IH", "IH", "IH", "AY"]
    assert demo_notes()[-1].end_s < bar_start_s(NUM_BARS)


def test_the_same_seed_gives_the_same_pictures_and_speech() -> None:
    clips = [
        TalkingClip.from_seed(3, width=96, height=96, fps=Fraction(25), duration_s=0.2, half_height=0.3) for _ in "ab"
    ]
    first, second = (hashlib.sha256(b"".join(frame.tobytes() for frame in clip.frames())).digest() for clip in clips)
    assert first == second
    assert clips[0].speech.tobytes() == clips[1].speech.tobytes()


def test_a_clip_has_its_frames_its_rate_and_its_sound(tmp_path: Path) -> None:
    clip = TalkingClip.from_seed(1, width=96, height=64, fps=Fraction(30000, 1001), duration_s=0.5)
    with av.open(str(clip.write(tmp_path / "clip.mp4"))) as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(30000, 1001)
        assert sum(1 for _ in container.decode(video)) == 15
        assert len(container.streams.audio) == 1
