"""What manifests are refused for: every problem at once, each with its row and column."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.errors import ManifestError
from singalong.manifest import read_manifest
from tests.singalong.manifests import csv, only, problems

# ---- what is refused, cell by cell


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("clip", "", "missing"),
        ("song", "", "missing"),
        ("clip", "c.mp4", "no such file"),
        ("clip", "a.mp4/x", "no such file"),
        ("clip", "sub", "is a folder"),
        ("song", "/dev/null", "device"),
        ("clip", "https://example.org/a.mp4", "URLs"),
        ("song", "gs://bucket/song.wav", "URLs"),
        ("clip", "ftp://example.org/a.mp4", "URLs"),
        ("clip", "=HYPERLINK(1)", "formula"),
        ("clip", "@SUM(1)", "formula"),
        ("clip", "x" * 5000, "at most 4096 characters"),
        ("clip", "x" * 300, "File name too long"),
        ("clip", "a\x07.mp4", "U+0007"),
        ("pair_id", "=1+1", "formula"),
        ("pair_id", ".hidden", "file name"),
        ("pair_id", "a/b", "file name"),
        ("pair_id", "..", "file name"),
        ("pair_id", "naïve", "file name"),
        ("pair_id", "x" * 81, "81 characters"),
        ("montage", "my film", "file name"),
        ("montage", "@x", "formula"),
        ("clip_start_s", "1,5", "point"),
        ("clip_start_s", "0:10", "not a number"),
        ("clip_start_s", "nan", "not a number"),
        ("clip_start_s", "1_0", "not a number"),
        ("clip_start_s", "1e999", "finite"),
        ("song_start_s", "-0.5", "negative"),
        ("clip_end_s", "0", "ends before"),
        ("song_end_s", "-1", "negative"),
        ("position", "first", "not a number"),
        ("priority", "1.5", "whole number"),
        ("priority", "99999999999", "out of range"),
        ("face", "biggest", "choice of face"),
        ("face", "index:-1", "choice of face"),
        ("face", "at:1,2", "choice of face"),
        ("face", "Speaker", "choice of face"),
        ("face", "like:", "no picture is named"),
        ("face", "like:me.jpg", "no such file"),
        ("face", "like:sub", "is a folder"),
        ("face", "like:b.mp4", "not a picture"),
        ("fit", "bouce", "Did you mean bounce?"),
        ("generator", "wav2lpi", "Did you mean wav2lip?"),
        ("vocals", "vocals.wav", "no such file"),
        ("vocals", "sub", "is a folder"),
        ("tag_x", "bell\x07", "U+0007"),
    ],
)
def test_a_bad_cell_is_reported_with_row_line_column_and_value(
    folder: Path, column: str, value: str, words: str
) -> None:
    good = {"clip": "a.mp4", "song": "song.wav"}
    row = good | {column: value}
    quoted = ",".join(f'"{cell}"' for cell in row.values())
    filler = ",".join(good.get(name, "") for name in row)
    problem = only(csv(folder, ",".join(row), filler, "", quoted), available_models=["wav2lip"])
    assert (problem.row, problem.column) == (2, column)
    assert words in str(problem)
    assert "[line 4]" in str(problem)
    assert problem.value == (value or None)


def test_spans_must_end_after_they_start(folder: Path) -> None:
    found = problems(csv(folder, "clip,song,clip_start_s,clip_end_s,song_start_s,song_end_s", "a.mp4,song.wav,2,2,3,1"))
    assert [problem.column for problem in found] == ["clip_end_s", "song_end_s"]


def test_a_near_miss_of_a_file_name_is_suggested(folder: Path) -> None:
    assert "Did you mean still.png?" in str(only(csv(folder, "clip,song", "stil.png,song.wav")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_reported(folder: Path) -> None:
    (folder / "a.mp4").chmod(0)
    assert "may not be read" in str(only(csv(folder, "clip,song", "a.mp4,song.wav")))


# ---- what is refused across rows


def test_pair_ids_given_twice_are_refused_whatever_their_letter_case(folder: Path) -> None:
    problem = only(csv(folder, "pair_id,clip,song", "One,a.mp4,song.wav", "one,b.mp4,song.wav"))
    assert (problem.row, problem.column) == (2, "pair_id")
    assert "row 1" in str(problem)


def test_a_position_belongs_to_one_row_of_a_montage(folder: Path) -> None:
    lines = ["film,1", "film,1.0", "other,1", "film,", "film,", ",1"]
    problem = only(csv(folder, "montage,position,clip,song", *[f"{line},a.mp4,song.wav" for line in lines]))
    assert (problem.row, problem.column) == (2, "position")


def test_montage_names_that_differ_only_by_letter_case_are_refused(folder: Path) -> None:
    problem = only(csv(folder, "montage,clip,song", "Film,a.mp4,song.wav", "film,b.mp4,song.wav"))
    assert (problem.row, problem.column) == (2, "montage")


def test_every_problem_is_reported_at_once_in_the_order_of_the_rows(folder: Path) -> None:
    lines = [
        "clip,song,fit,pirority,face",
        "x.mp4,song.wav,spin,1,",
        "a.mp4,,cut,1,singer",
        "a.mp4,song.wav",
    ]
    found = problems(csv(folder, *lines))
    assert [(problem.row, problem.column) for problem in found] == [
        *[(None, "pirority"), (1, "clip"), (1, "fit"), (2, "song"), (2, "face"), (3, None)],
    ]
    assert "Did you mean priority?" in str(found[0])


# ---- what is refused of a whole file


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"clip,song\n", "no rows"),
        ("clip,song\na,b\n".encode("utf-16"), "UTF-16"),
        ("clip,song\nf\xe9te.mp4,b\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe9)"),
        (b"clip,song\na\0b,c\n", "line 2 contains a NUL"),
        (b'clip,song\n"a,b\n', "broken quoting"),
        (b'clip,song\n"a"x,b\n', "broken quoting"),
        (b"clip,song,clip\na.mp4,song.wav,b.mp4\n", "twice"),
        (b"clip,song,\na.mp4,song.wav,x\n", "column 3 has no name"),
        (b"clip,song,tag_\na.mp4,song.wav,x\n", "unknown column"),
        (b"Clip,song\na.mp4,song.wav\n", "Did you mean clip?"),
        (b"clip,song\na.mp4,song.wav,3\n", "wrong number of cells [line 2] (saw 3); expected 2"),
    ],
)
def test_a_file_that_is_no_manifest_says_what_is_wrong_with_it(folder: Path, data: bytes, words: str) -> None:
    path = folder / "pairs.csv"
    path.write_bytes(data)
    assert any(words in str(problem) for problem in problems(path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"clip": "a.mp4", "clip": "b.mp4", "song": "song.wav"}', "'clip' stands there twice"),
        ('{"clip": ["a.mp4"], "song": "song.wav"}', "not a text or a number"),
        ('{"clip": "a.mp4", "song": "song.wav", "priority": true}', "not a text or a number"),
        ('{"clip": "a.mp4", "song": "song.wav", "position": NaN}', "not a finite number"),
        ('{"clip": "a.mp4", "song": "song.wav", "position": 1' + "0" * 400 + "}", "not a finite number"),
        ('{"clip": "a.mp4", "song": "song.wav", "pair_id": 1.5}', "not a text"),
        ('{"clip": "\\ud800.mp4", "song": "song.wav"}', "U+D800"),
        ('{"clip": "a.mp4\\u0000", "song": "song.wav"}', "U+0000"),
        ('{"song": "song.wav"}', "missing"),
        ("{}", "missing"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_of_json_is_reported_with_its_line(folder: Path, line: str, words: str) -> None:
    (folder / "p.jsonl").write_text('{"clip": "a.mp4", "song": "song.wav"}\n\n' + line)
    for problem in problems(folder / "p.jsonl"):
        assert problem.row == 2
        assert words in str(problem)
        assert "[line 3]" in str(problem)


def test_damaged_parquet_unknown_kinds_and_missing_manifests_are_refused(folder: Path) -> None:
    (folder / "p.parquet").write_bytes(b"PAR1 not really PAR1")
    assert "damaged" in str(only(folder / "p.parquet"))
    (folder / "p.xlsx").write_bytes(b"PK")
    assert "expected a file ending in .csv" in str(only(folder / "p.xlsx"))
    assert "No such file" in str(only(folder / "none.csv"))
    (folder / "dir.csv").mkdir()
    assert "directory" in str(only(folder / "dir.csv"))


def test_columns_of_other_types_in_parquet_are_refused_row_by_row(folder: Path) -> None:
    pq.write_table(pa.table({"clip": ["a.mp4"], "song": [["song.wav"]]}), folder / "p.parquet")
    problem = only(folder / "p.parquet")
    assert (problem.row, problem.column) == (1, "song")


@settings(max_examples=150)
@given(data=st.binary(max_size=200) | st.text(alphabet='clip,song;"\n\t \0é{}:[]', max_size=120).map(str.encode))
def test_any_bytes_at_all_give_pairs_or_a_manifest_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = folder / f"any{suffix}"
        path.write_bytes(data)
        with pytest.raises(ManifestError):
            read_manifest(path)
