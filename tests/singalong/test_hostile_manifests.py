"""Manifests from strangers: code in cells, files that never end, tables that unpack to more than a machine holds."""

import json
import os
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from singalong import manifest_readers
from singalong.errors import InputError, ManifestError
from singalong.manifest import read_manifest

GOOD = {"clip": "a.mp4", "song": "song.wav"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("a.mp4", "song.wav"):
        (folder / name).write_bytes(b"media")
    return folder


def problems(path: Path, **options: object) -> list[InputError]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)
    return caught.value.problems


def of_cell(folder: Path, column: str, value: str) -> list[InputError]:
    """What is wrong with one cell, whichever format it comes in; it must be the same."""
    row = GOOD | {column: value}
    pq.write_table(pa.Table.from_pylist([row]), folder / "p.parquet")
    (folder / "p.jsonl").write_text(json.dumps(row))
    found = [problems(folder / name) for name in ("p.parquet", "p.jsonl")]
    said = [
        [(one.problem.removesuffix(" [line 1]"), one.row, one.column, one.expected) for one in two] for two in found
    ]
    assert said[0] == said[1]
    return found[0]


def passes(folder: Path, column: str, value: str) -> bool:
    pq.write_table(pa.Table.from_pylist([GOOD | {column: value}]), folder / "p.parquet")
    return len(read_manifest(folder / "p.parquet")) == 1


# ---- cells


@pytest.mark.parametrize(
    "value",
    [
        *(
            "http://x.org/a.mp4",
            "ftp://x/a",
            "file:///etc/passwd",
            "file:a.mp4",
            "data:video/mp4;base64,AAAA",
            "pipe:0",
        ),
        *("concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:a.mp4", "HTTPS://x", "gs://bucket/a.mp4", "fd:3", "tcp:x"),
    ],
)
def test_addresses_are_refused_wherever_a_file_is_named(folder: Path, value: str) -> None:
    for column, prefix in (("clip", ""), ("song", ""), ("vocals", ""), ("face", "like:")):
        (problem,) = of_cell(folder, column, prefix + value)
        assert (problem.row, problem.column) == (1, column)
        assert problem.expected


@pytest.mark.parametrize("value", ["\\\\server\\share\\a.mp4", "//?/C:/a.mp4"])
def test_network_paths_of_windows_are_refused(folder: Path, value: str) -> None:
    (problem,) = of_cell(folder, "clip", value)
    assert "network paths" in str(problem)


@pytest.mark.parametrize("column", ["clip", "pair_id", "montage", "tag_note", "rights", "vocals"])
@pytest.mark.parametrize(
    "value", ["=1+1", '=HYPERLINK("http://x")', "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "＝1+1"]
)
def test_formulas_are_refused_in_every_column_that_reports_carry(folder: Path, column: str, value: str) -> None:
    (problem,) = of_cell(folder, column, value)
    assert (problem.row, problem.column, problem.value) == (1, column, value)


@pytest.mark.parametrize("value", ["-1", "+3.5", "-", "- quiet", "+49 170 1234567", "a=b", "1=1", "-happy"])
def test_signs_in_honest_tags_are_no_formulas(folder: Path, value: str) -> None:
    assert passes(folder, "tag_note", value)
    assert passes(folder, "rights", value)


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u2069", "\x1b", "\x00", "\u2028"])
@pytest.mark.parametrize("column", ["clip", "tag_note", "rights", "face"])
def test_characters_that_deceive_the_eye_or_the_terminal_are_refused(folder: Path, column: str, char: str) -> None:
    (problem,) = of_cell(folder, column, f"x{char}gpj.exe")
    assert f"U+{ord(char):04X}" in str(problem)


def test_text_of_right_to_left_languages_is_no_deception(folder: Path) -> None:
    assert passes(folder, "tag_note", "שיר — أغنية")
    assert passes(folder, "rights", "می\u200cخواهم")  # a joiner that Persian cannot be written without


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        "/etc/x",
        "a/b",
        "a\\b",
        ".x",
        "CON",
        "nul",
        "com1.mp4",
        "Aux.x",
        "film.",
        "-rf",
        "a b",
        "é",
        "a\u202eb",
    ],
)
@pytest.mark.parametrize("column", ["pair_id", "montage"])
def test_names_of_outputs_cannot_leave_the_folder_nor_surprise_a_file_system(
    folder: Path, column: str, name: str
) -> None:
    (problem,) = of_cell(folder, column, name)
    assert (problem.row, problem.column) == (1, column)


def test_a_cell_of_ten_megabytes_is_a_problem_of_its_row(folder: Path) -> None:
    (problem,) = of_cell(folder, "tag_note", "x" * 10_000_000)
    assert len(str(problem)) < 500
    (folder / "p.csv").write_text("clip,song,tag_note\na.mp4,song.wav,ok\na.mp4,song.wav," + "x" * 10_000_000)
    (problem,) = problems(folder / "p.csv")
    assert problem.row == 2
    assert "very long cell" in str(problem)


def test_a_number_of_four_thousand_digits_is_no_tag(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"clip": "a.mp4", "song": "song.wav", "tag_a": 1' + "0" * 4200 + "}")
    (problem,) = problems(folder / "p.jsonl")
    assert problem.column == "tag_a"


# ---- where files may lie


def test_files_may_lie_anywhere_unless_folders_are_set(folder: Path) -> None:
    outside = folder.parent / "outside.mp4"
    outside.write_bytes(b"media")
    (folder / "link.mp4").symlink_to(outside)
    (folder / "inner.mp4").symlink_to(folder / "a.mp4")
    lines = [f"{clip},song.wav" for clip in ("../outside.mp4", str(outside), "link.mp4", "inner.mp4", "../media/a.mp4")]
    path = folder / "p.csv"
    path.write_text("\n".join(["clip,song", *lines]))
    assert len(read_manifest(path)) == 5
    found = problems(path, roots=[str(folder)])
    assert [problem.row for problem in found] == [1, 2, 3]
    assert all("limits.media_roots" in str(problem) and str(folder) in str(problem) for problem in found)


def test_outside_the_folders_nothing_is_said_of_what_exists(folder: Path) -> None:
    path = folder / "p.csv"
    path.write_text("clip,song,vocals,face\n/etc/passwd,/etc/no-such,/root/x,like:/etc/hostname\n")
    found = problems(path, roots=[str(folder)])
    assert [problem.column for problem in found] == ["clip", "song", "vocals", "face"]
    assert len({problem.problem for problem in found}) == 1


# ---- files that are no files


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_pipes_devices_and_folders_are_refused_without_waiting(folder: Path, suffix: str) -> None:
    pipe, zero, inner = (folder / f"{name}{suffix}" for name in ("pipe", "zero", "inner"))
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    inner.mkdir()
    started = time.monotonic()
    assert "pipe or a device" in str(problems(pipe)[0])
    assert "pipe or a device" in str(problems(zero)[0])
    assert "directory" in str(problems(inner)[0])
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_huge_file_is_refused_by_its_size(folder: Path, suffix: str) -> None:
    path = folder / f"huge{suffix}"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    (problem,) = problems(path)
    assert "at most 256 MB" in str(problem)


def test_too_many_rows_are_refused_in_every_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_readers, "MAX_ROWS", 3)
    rows = [GOOD] * 4
    (folder / "p.csv").write_text("clip,song\n" + "a.mp4,song.wav\n" * 4)
    (folder / "p.jsonl").write_text('{"clip": "a.mp4", "song": "song.wav"}\n' * 4)
    pq.write_table(pa.Table.from_pylist(rows), folder / "p.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        (problem,) = problems(folder / f"p.{suffix}")
        assert "at most 3" in str(problem)


def test_too_many_columns_are_refused_in_every_format(folder: Path) -> None:
    names = [f"tag_{number}" for number in range(1001)]
    (folder / "p.csv").write_text(",".join(names) + "\n")
    (folder / "p.jsonl").write_text("\n".join(f'{{"{name}": 1}}' for name in names))
    pq.write_table(pa.table({name: ["x"] for name in names}), folder / "p.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        (problem,) = problems(folder / f"p.{suffix}")
        assert "at most 1000" in str(problem)


# ---- what unpacks to more


def repeated(value: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))


def test_one_huge_cell_repeated_takes_the_room_of_one(folder: Path) -> None:
    count = 2000
    cells = {"clip": repeated("a.mp4", count), "song": repeated("song.wav", count)}
    pq.write_table(pa.table(cells | {"tag_a": repeated("x" * 2_000_000, count)}), folder / "p.parquet")
    tracemalloc.start()
    before = pa.default_memory_pool().max_memory()
    found = problems(folder / "p.parquet")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {problem.column for problem in found} == {"tag_a"}
    assert len(found) == count
    assert peak + max(0, pa.default_memory_pool().max_memory() - before) < 100e6  # plainly read: 4 GB


def test_a_parquet_file_that_says_it_unpacks_to_gigabytes_is_refused_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"clip": ["a.mp4"], "song": ["song.wav"], "tag_a": ["x" * 3_000_000]})
    pq.write_table(table, folder / "p.parquet", compression="zstd", use_dictionary=False)
    monkeypatch.setattr(manifest_readers, "_MAX_PARQUET_BYTES", 1 << 20)
    (problem,) = problems(folder / "p.parquet")
    assert "too large" in str(problem)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("clip", pa.array([b"a.mp4"])),
        ("clip", pa.array([b"a.mp4"], pa.binary(5))),
        ("song", pa.array([{"x": 1}])),
        ("song", pa.array([["song.wav"]])),
        ("tag_a", pa.array([-(2**62)], pa.timestamp("ms"))),
        ("tag_a", pa.array([2**62], pa.duration("s"))),
        ("tag_a", pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())),
        ("priority", pa.array([2**64 - 1], pa.uint64())),
        ("position", pa.array([float("nan")])),
        ("clip_start_s", pa.array([float("inf")])),
    ],
)
def test_columns_of_any_type_are_read_or_refused(folder: Path, column: str, values: pa.Array) -> None:
    cells = {"clip": pa.array(["a.mp4"]), "song": pa.array(["song.wav"])} | {column: values}
    pq.write_table(pa.table(cells), folder / "p.parquet")
    assert len(problems(folder / "p.parquet")) == 1


def test_a_damaged_table_of_texts_is_damage_and_not_another_text(folder: Path) -> None:
    cells = {"clip": ["a.mp4"] * 3, "song": ["song.wav"] * 3, "tag_a": ["x", "y", "z"]}
    pq.write_table(pa.table(cells), folder / "p.parquet", compression="none")
    data = (folder / "p.parquet").read_bytes()
    packed = b"\x02\x03\x24"  # indices 0, 1, 2 in two bits each
    assert data.count(packed) == 1
    (folder / "p.parquet").write_bytes(data.replace(packed, b"\x02\x03\x34"))  # 0, 1, 3 of three
    (problem,) = problems(folder / "p.parquet")
    assert "damaged" in str(problem)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_text_is_text_however_it_is_packed(folder: Path, kind: pa.DataType) -> None:
    cells = {name: pa.array([value, value]).cast(kind) for name, value in GOOD.items()}
    pq.write_table(pa.table(cells), folder / "p.parquet")
    assert [Path(row.clip).name for row in read_manifest(folder / "p.parquet")] == ["a.mp4", "a.mp4"]


def test_a_key_given_twice_among_fifty_thousand_is_found_at_once(folder: Path) -> None:
    keys = ", ".join(f'"k{number}": 1' for number in range(50_000))
    (folder / "p.jsonl").write_text(f'{{{keys}, "k49999": 2}}')
    started = time.process_time()
    assert any("'k49999' stands there twice" in str(problem) for problem in problems(folder / "p.jsonl"))
    assert time.process_time() - started < 3


# ---- what is said of it all


def test_thousands_of_problems_are_kept_but_not_all_are_shown(folder: Path) -> None:
    (folder / "p.csv").write_text("clip,song\n" + "".join(f"x{number}.mp4,song.wav\n" for number in range(3000)))
    with pytest.raises(ManifestError) as caught:
        read_manifest(folder / "p.csv")
    assert len(caught.value.problems) == 3000
    assert "3000 problems" in str(caught.value)
    assert "… and 2800 more" in str(caught.value)
    assert len(str(caught.value)) < 100_000


def test_the_time_of_reading_grows_with_the_rows_and_no_faster(folder: Path) -> None:
    def seconds(count: int) -> float:
        lines = [f"p{number},a.mp4,song.wav,film{number % 50},{number}" for number in range(count)]
        (folder / "p.csv").write_text("\n".join(["pair_id,clip,song,montage,position", *lines]))
        started = time.process_time()
        assert len(read_manifest(folder / "p.csv")) == count
        return time.process_time() - started

    seconds(100)
    assert seconds(16_000) < 40 * max(seconds(2000), 0.02)  # eight times the rows; squared it would be 64
