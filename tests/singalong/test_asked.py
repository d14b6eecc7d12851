"""What can be asked for of one pair: cells of its row and some of the settings, read and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from singalong.asked import CELLS, SETTINGS, read_asked, settings_for, without
from singalong.config import Settings
from singalong.contracts import Fit, PairRow
from singalong.errors import UsageError
from singalong.manifest import COLUMNS
from tests.singalong.builders import pair_row, touch

ROW = pair_row(1, song_end_s=4)


def asked(*words: str, row: PairRow = ROW) -> PairRow:
    return read_asked(words, row=row, settings=Settings()).applied(row)


def test_cells_arrive_typed_and_everything_else_stays() -> None:
    row = asked("face=at:10,20@1.5", "fit=loop", "generator=wav2lip", "song_start_s=1.5", "vocals=none")
    expected = {"face": "at:10,20@1.5", "fit": Fit.LOOP, "generator": "wav2lip", "song_start_s": 1.5, "vocals": "none"}
    assert row == ROW.model_copy(update=expected)


def test_settings_are_kept_as_overrides_and_a_new_value_takes_the_place_of_an_old_one() -> None:
    row = asked("lipsync.mask=box", " lipsync.pads = [0, 20, 0, 0]")
    assert row.overrides == ("lipsync.mask=box", "lipsync.pads=[0, 20, 0, 0]")
    row = asked("lipsync.mask=lower_face", "analysis.max_turn_deg=60", row=row)
    assert row.overrides == ("lipsync.pads=[0, 20, 0, 0]", "lipsync.mask=lower_face", "analysis.max_turn_deg=60")
    settings = settings_for(Settings(), row.overrides)
    assert (settings.lipsync.pads, settings.analysis.max_turn_deg) == ((0, 20, 0, 0), 60)
    assert without(row.overrides, ["lipsync.mask"]) == ("lipsync.pads=[0, 20, 0, 0]", "analysis.max_turn_deg=60")


def test_a_run_wide_generator_is_taken_as_the_pairs_own_and_an_empty_time_as_the_default() -> None:
    assert asked("lipsync.generator=wav2lip").generator == "wav2lip"
    assert asked("song_end_s=").song_end_s is None


def test_files_are_meant_from_the_folder_of_the_song(tmp_path: Path) -> None:
    song = touch(tmp_path / "song.wav")
    stem = touch(tmp_path / "voice.wav")
    row = ROW.model_copy(update={"song": str(song)})
    assert asked("vocals=voice.wav", row=row).vocals == str(stem)
    limited = Settings.model_validate({"limits": {"media_roots": [str(tmp_path / "elsewhere")]}})
    with pytest.raises(UsageError, match="media_roots"):
        read_asked(["vocals=voice.wav"], row=row, settings=limited)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("box",), "NAME=VALUE"),
        (("lipsync.maks=box",), "Did you mean lipsync.mask"),
        (("fase=largest",), "Did you mean face"),
        (("lipsync.mask=oval",), "lower_face"),
        (("lipsync.crf=99",), "lipsync.crf"),
        (("run.num_actors=99",), "one for all pairs"),
        (("analysis.detector=s3fd",), "--set analysis.detector=s3fd"),
        (("lipsync.precision=float32",), "one for all pairs"),
        (("clip=/etc/passwd",), "nothing of this name"),
        (("face=biggest",), "not a choice of face"),
        (("face=like:/etc/passwd",), "not a picture"),
        (("fit=loup",), "Did you mean loop"),
        (("vocals=missing.wav",), "no such file"),
        (("song_start_s=-1",), "negative"),
        (("song_start_s=1,5",), "after a point"),
        (("song_start_s=5", "song_end_s=3"), "ends before it starts"),
        (("song_start_s=4.5",), "ends before it starts"),
        (("fit=loop", "fit=cut"), "twice"),
        (("generator=",), "no generator is named"),
        (("lipsync.mask=b\x00x",), "setting|cannot"),
    ],
)
def test_what_cannot_be_asked_for_is_explained(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        asked(*words)


def test_what_can_be_asked_for_is_frozen() -> None:
    assert set(CELLS) <= set(COLUMNS)
    assert set(SETTINGS) == {
        *("lipsync.pads", "lipsync.mask", "lipsync.feather", "lipsync.match_color", "lipsync.keep_detail"),
        *("lipsync.enhancer_weight", "lipsync.rest", "lipsync.crf"),
        *("analysis.min_face_px", "analysis.max_turn_deg", "analysis.max_tilt_deg", "analysis.min_sharpness"),
    }
