"""The vocals column: which sound drives the lips and scores of a row, and what of it makes other work."""

import re
from pathlib import Path
from typing import Any

import pytest

from singalong.config import Settings, load_settings
from singalong.contracts import PairPlan
from singalong.errors import ManifestError, UsageError
from singalong.manifest import read_manifest
from tests.singalong.builders import pair_row, plan_of, sha, song_facts, touch

SEPARATOR = {"songs": {"separator": ["demucs", "-o", "{folder}", "{song}"]}}


def planned(vocals: str, *, settings: dict[str, Any] | None = None, **song: Any) -> PairPlan:
    songs = {"/songs/s.wav": song_facts(**song), "/songs/v.wav": song_facts("/songs/v.wav", **song)}
    (pair,) = plan_of([pair_row(vocals=vocals)], songs=songs, settings=Settings.model_validate(settings or {})).pairs
    return pair


def problem(vocals: str, **song: Any) -> str:
    plan = plan_of([pair_row(vocals=vocals), pair_row(2)], songs={"/songs/s.wav": song_facts(**song)})
    assert [pair.pair_id for pair in plan.pairs] == ["p2"], "the other row goes on"
    (found,) = plan.problems
    return found.error_message


def keys(vocals: str, settings: dict[str, Any] | None = None, **song: Any) -> str:
    songs = {"/songs/s.wav": song_facts(**song), "/songs/v.wav": song_facts("/songs/v.wav")}
    rows = [pair_row(vocals=vocals, song_end_s=5)]
    return plan_of(rows, songs=songs, settings=Settings.model_validate(settings or {})).shards[0].work_key


@pytest.mark.parametrize(
    ("vocals", "num_channels", "channel"),
    [("left", 2, 0), ("right", 2, 1), ("channel:0", 1, 0), ("channel:1", 2, 1), ("channel:5", 6, 5), ("right", 6, 1)],
)
def test_a_channel_of_the_song_is_the_voice_and_its_words_are_not_looked_for(
    vocals: str, num_channels: int, channel: int
) -> None:
    pair = planned(vocals, num_channels=num_channels)
    assert (pair.voice, pair.voice_sha256, pair.voice_channel) == ("/songs/s.wav", sha("/songs/s.wav"), channel)
    assert not pair.finds_voice


@pytest.mark.parametrize(
    ("vocals", "num_channels", "words"),
    [
        ("right", 1, r"row 1, column vocals: /songs/s.wav has one channel \(mono\).*saw 'right'.*channel:0, auto"),
        ("left", 1, "one channel"),
        ("channel:2", 2, r"has 2 channels.*saw 'channel:2'.*left, right, channel:0 to channel:1"),
        ("channel:9", 6, "channel:0 to channel:5"),
    ],
)
def test_a_channel_that_the_song_does_not_have_is_a_problem_of_its_row_naming_what_there_is(
    vocals: str, num_channels: int, words: str
) -> None:
    assert re.search(words, problem(vocals, num_channels=num_channels))


def test_each_way_to_hear_a_song_is_work_of_its_own() -> None:
    ways = ["auto", "none", "left", "right", "/songs/v.wav", "separate"]
    assert len({keys(way, SEPARATOR) for way in ways}) == len(ways)
    assert keys("left") == keys("channel:0")
    assert keys("separate", SEPARATOR) != keys("separate", {"songs": {"separator": ["other", "{song}", "{output}"]}})
    assert keys("auto", SEPARATOR) == keys("auto"), "a program that is not asked for changes nothing"


def test_where_the_channels_cancel_out_the_loudest_is_heard_in_mixes_and_stems() -> None:
    assert planned("auto", heard_channel=1).voice_channel == 1
    assert planned("auto", heard_channel=1).finds_voice
    assert planned("/songs/v.wav", heard_channel=1).voice_channel == 1
    assert planned("left", heard_channel=1).voice_channel == 0
    assert keys("auto", heard_channel=1) != keys("auto")


def test_a_voice_to_separate_needs_a_program() -> None:
    message = problem("separate")
    assert "row 1, column vocals: no program that separates voices is set" in message
    assert "songs.separator" in message
    pair = planned("separate", settings=SEPARATOR)
    assert pair.separator_id is not None
    assert (pair.voice, pair.voice_channel, pair.finds_voice) == ("/songs/s.wav", None, False)


@pytest.mark.parametrize("command", ['["demucs"]', '["demucs", "{song}"]', '["demucs", "{folder}"]'])
def test_a_command_that_cannot_work_is_told_when_settings_are_read(command: str) -> None:
    with pytest.raises(UsageError, match=r"songs\.separator.*\{song\}, and \{folder\} or \{output\}"):
        load_settings(None, [f"songs.separator={command}"])
    good = load_settings(None, ['songs.separator=["a b", "--x={song}", "{output}"]'])
    assert good.songs.separator == ("a b", "--x={song}", "{output}")


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../b", ""])
def test_a_voice_is_looked_for_in_the_programs_folder_only(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"songs\.separated"):
        load_settings(None, [f'songs.separated="{pattern}"'])


def manifest(folder: Path, vocals: str) -> Path:
    for name in ("a.mp4", "s.wav", "left.wav"):
        touch(folder / name)
    path = folder / "m.csv"
    path.write_text(f"clip,song,vocals\na.mp4,s.wav,{vocals}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("vocals", ["auto", "none", "left", "right", "separate", "channel:0", "channel:63"])
def test_a_manifest_may_name_channels_and_separation(tmp_path: Path, vocals: str) -> None:
    assert read_manifest(manifest(tmp_path, vocals))[0].vocals == vocals


def test_a_stem_may_be_called_like_a_channel(tmp_path: Path) -> None:
    assert read_manifest(manifest(tmp_path, "./left.wav"))[0].vocals == str(tmp_path / "left.wav")


@pytest.mark.parametrize("vocals", ["channel:64", "channel:-1", "channel:x", "channel:", "channel:00", "Left", "RIGHT"])
def test_a_channel_that_is_none_is_told_with_what_can_be_said(tmp_path: Path, vocals: str) -> None:
    with pytest.raises(ManifestError, match=r"row 1, column vocals: not a choice of vocals.*channel:N \(from 0\)"):
        read_manifest(manifest(tmp_path, vocals))
