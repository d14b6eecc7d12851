"""The manifest: three formats that say the same, and what its cells give."""

import json
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from singalong.contracts import Fit, PairRow
from singalong.manifest import COLUMNS, read_manifest
from tests.singalong.manifests import csv, only, problems

EXAMPLES = Path(__file__).parents[2] / "manifests"


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
    assert set(PairRow.model_fields) == {*COLUMNS, "row", "tags", "place", "to_song_end", "overrides"}


def test_a_row_of_clip_and_song_gets_every_default(folder: Path) -> None:
    (pair,) = read_manifest(csv(folder, "clip,song", "a.mp4,song.wav"))
    assert pair == PairRow(row=1, pair_id="a__song", clip=str(folder / "a.mp4"), song=str(folder / "song.wav"))


def test_every_column_arrives_typed(folder: Path) -> None:
    names = ",".join([*COLUMNS, "tag_show"])
    values = 'x.1,a.mp4,song.wav,1.5,3,0,1e1,film,2,"at:10.5,20@1.5",loop,best,voice.wav,"CC BY, see mail",-3,late'
    (pair,) = read_manifest(csv(folder, names, values), available_models=["best"])
    assert pair.model_dump(exclude={"clip", "song", "place", "to_song_end", "overrides"}) == {
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
