"""The manifest: every problem at once, each with its row and column; three formats that say the same."""

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from singalong.contracts import Fit, PairRow
from singalong.errors import InputError, ManifestError
from singalong.manifest import COLUMNS, read_manifest

EXAMPLES = Path(__file__).parents[2] / "manifests"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "still.png", "song.wav", "voice.wav", "day 1.mov"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "sub").mkdir()
    return tmp_path


def csv(folder: Path, *lines: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problems(path: Path, **options: object) -> list[InputError]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    assert str(path) in str(caught.value)
    return caught.value.problems


def only(path: Path, **options: object) -> InputError:
    found = problems(path, **options)
    assert len(found) == 1, found
    return found[0]


# ---- what is required


def test_rights_are_required_of_every_row_only_where_that_is_asked_for(folder: Path) -> None:
    path = csv(folder, "clip,song,rights", "a.mp4,song.wav,mine", "b.mp4,song.wav,")
    assert [pair.rights for pair in read_manifest(path)] == ["mine", None]
    problem = only(path, require=("rights",))
    assert (problem.row, problem.column) == (2, "rights")
    without = csv(folder, "clip,song", "a.mp4,song.wav")
    assert only(without, require=("rights",)).column == "rights"


# ---- what is read


def test_columns_are_frozen() -> None:
    assert list(COLUMNS) == [
        *(
            "pair_id",
            "clip",
            "song",
            "clip_start_s",
            "clip_end_s",
            "song_start_s",
            "song_end_s",
            "montage",
            "position",
        ),
        *("face", "fit", "generator", "vocals", "rights", "priority"),
    ]
    assert set(PairRow.model_fields) == {*COLUMNS, "row", "tags"}


def test_a_row_of_clip_and_song_gets_every_default(folder: Path) -> None:
    (pair,) = read_manifest(csv(folder, "clip,song", "a.mp4,song.wav"))
    assert pair == PairRow(row=1, pair_id="a__song", clip=str(folder / "a.mp4"), song=str(folder / "song.wav"))


def test_every_column_arrives_typed(folder: Path) -> None:
    names = ",".join([*COLUMNS, "tag_show"])
    values = 'x.1,a.mp4,song.wav,1.5,3,0,1e1,film,2,"at:10.5,20@1.5",loop,best,voice.wav,"CC BY, see mail",-3,late'
    (pair,) = read_manifest(csv(folder, names, values), available_models=["best"])
    assert pair.model_dump(exclude={"clip", "song"}) == {
        **{"row": 1, "pair_id": "x.1", "clip_start_s": 1.5, "clip_end_s": 3.0, "song_start_s": 0.0},
        **{"song_end_s": 10.0, "montage": "film", "position": 2.0, "face": "at:10.5,20@1.5", "fit": Fit.LOOP},
        **{
            "generator": "best",
            "vocals": str(folder / "voice.wav"),
            "rights": "CC BY, see mail",
            "priority": -3,
        },
        "tags": {"show": "late"},
    }


def test_the_speaker_can_be_asked_for(folder: Path) -> None:
    (pair,) = read_manifest(csv(folder, "clip,song,face", "a.mp4,song.wav,speaker"))
    assert pair.face == "speaker"


def test_the_picture_of_a_likeness_is_found_beside_the_manifest_and_told_from_others_by_its_first_bytes(
    folder: Path,
) -> None:
    Image.new("RGB", (64, 64)).save(folder / "sub" / "who is it.txt", format="JPEG")
    (pair,) = read_manifest(csv(folder, "clip,song,face", "a.mp4,song.wav,like:sub/who is it.txt"))
    assert pair.face == f"like:{folder / 'sub' / 'who is it.txt'}"
    absolute = csv(folder, "clip,song,face", f"a.mp4,song.wav,{pair.face}")
    assert read_manifest(absolute)[0].face == pair.face


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_every_kind_of_picture_that_can_be_read_may_be_a_likeness(folder: Path, kind: str) -> None:
    Image.new("RGB", (64, 64)).save(folder / "face", format=kind)
    (pair,) = read_manifest(csv(folder, "clip,song,face", "a.mp4,song.wav,like:face"))
    assert pair.face == f"like:{folder / 'face'}"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_comma_semicolon_and_tab_are_told_apart_by_the_header(folder: Path, delimiter: str) -> None:
    lines = [delimiter.join(line) for line in (["song", "clip", "tag_a"], ["song.wav", "a.mp4", '"x,y;z\tw"'])]
    path = csv(folder, *lines)
    if delimiter == "\t":
        assert only(path.rename(folder / "x.csv")).column == "tag_a"  # a tab inside a cell is a control character
    else:
        assert problems(path)[0].column == "tag_a"
        assert read_manifest(csv(folder, *[line.replace("\tw", "") for line in lines]))[0].tags["a"] == "x,y;z"


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(folder: Path) -> None:
    path = folder / "pairs.csv"
    path.write_bytes("\ufeffclip,song\r\n\r\na.mp4,song.wav\r\n , \r\nb.mp4,song.wav\r\n".encode())
    assert [(pair.row, pair.pair_id) for pair in read_manifest(path)] == [(1, "a__song"), (2, "b__song")]


def test_json_lines_and_parquet_say_the_same_as_csv(folder: Path) -> None:
    rows = [
        {"clip": "a.mp4", "song": "song.wav", "clip_end_s": 2.5, "priority": 2, "tag_n": "1"},
        {"clip": "b.mp4", "song": "song.wav", "montage": "film", "position": 1.5},
    ]
    columns = ["clip", "song", "clip_end_s", "priority", "tag_n", "montage", "position"]
    cells = [",".join(str(row.get(column, "")) for column in columns) for row in rows]
    from_csv = read_manifest(csv(folder, ",".join(columns), *cells))
    (folder / "p.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows]), folder / "p.parquet")
    assert read_manifest(folder / "p.jsonl") == from_csv == read_manifest(folder / "p.parquet")


def test_whole_numbers_serve_as_names_and_tags_where_the_format_has_numbers(folder: Path) -> None:
    row = {"clip": "a.mp4", "song": "song.wav", "pair_id": 7, "priority": 3.0, "tag_n": 1.5}
    (folder / "p.jsonl").write_text(json.dumps(row))
    (pair,) = read_manifest(folder / "p.jsonl")
    assert (pair.pair_id, pair.priority, pair.tags) == ("7", 3, {"n": "1.5"})


def test_paths_are_meant_from_the_manifest_not_from_where_the_program_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv(folder / "sub", "clip,song", "../a.mp4,../song.wav", f"{folder}/b.mp4,./../song.wav")
    monkeypatch.chdir(folder)
    pairs = read_manifest(Path("sub/pairs.csv"))
    assert [Path(pair.clip).resolve() for pair in pairs] == [folder / "a.mp4", folder / "b.mp4"]
    assert read_manifest(path) == pairs


def test_default_names_are_safe_unique_and_leave_given_names_alone(folder: Path) -> None:
    (folder / "映画.mp4").write_bytes(b"x")
    (folder / "Æther é.mp4").write_bytes(b"x")
    lines = [
        "pair_id,clip,song",
        ",a.mp4,song.wav",
        ",a.mp4,song.wav",
        ",day 1.mov,song.wav",
        ",映画.mp4,song.wav",
    ]
    path = csv(folder, *lines, ",Æther é.mp4,song.wav", "A__song,b.mp4,song.wav")
    ids = [pair.pair_id for pair in read_manifest(path)]
    assert ids == ["a__song-1", "a__song-2", "day-1__song", "x__song", "ther-e__song", "A__song"]


def test_examples_in_the_repository_are_sound(tmp_path: Path) -> None:
    examples = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".csv", ".jsonl"))
    assert len(examples) >= 3
    for example in examples:
        folder = tmp_path / example.name
        folder.mkdir()
        copy = Path(shutil.copy(example, folder))
        for problem in problems(copy):  # the media are not in the repository: nothing else may be wrong
            assert problem.problem.startswith("no such file")
            (folder / str(problem.value)).parent.mkdir(parents=True, exist_ok=True)
            (folder / str(problem.value)).write_bytes(b"media")
        assert read_manifest(copy)


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
        ("song", "s3://bucket/song.wav", "URLs"),
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


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200) | st.text(alphabet='clip,song;"\n\t \0é{}:[]', max_size=120).map(str.encode))
def test_any_bytes_at_all_give_pairs_or_a_manifest_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = folder / f"any{suffix}"
        path.write_bytes(data)
        with pytest.raises(ManifestError):
            read_manifest(path)


def test_many_rows_are_read_quickly_and_each_file_is_looked_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, real = [], Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **options: (looks.append(self), real(self, **options))[1])
    lines = [f"p{n},a.mp4,song.wav,{n % 7}.5,9,film{n % 9},{n},bounce,x" for n in range(20_000)]
    path = csv(folder, "pair_id,clip,song,clip_start_s,clip_end_s,montage,position,fit,tag_a", *lines)
    started = time.process_time()
    assert len(read_manifest(path)) == 20_000
    assert time.process_time() - started < 5
    assert len([look for look in looks if look.name in ("a.mp4", "song.wav")]) == 2
