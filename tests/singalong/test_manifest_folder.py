"""Folders as manifests: what they mean, that names stay as they are, and what is left out."""

import os
import threading
import time
from pathlib import Path

import pytest

from singalong.contracts import PairRow
from singalong.errors import ManifestError
from singalong.manifest_folder import read_manifests
from tests.singalong.builders import touch


def fill(folder: Path, *names: str) -> Path:
    """A folder with these files, all of them written long ago."""
    for name in names:
        os.utime(touch(folder / name, name.encode()), (1e9, 1e9))
    return folder


def pairs(folder: Path, **options: object) -> dict[str, tuple[str, str]]:
    """Clip and song by pair id."""
    rows, _ = read_manifests(folder, **options)
    return {row.pair_id: (_below(folder, row.clip), _below(folder, row.song)) for row in rows}


def _below(folder: Path, path: str) -> str:
    return Path(path).relative_to(folder).as_posix()


def notes(folder: Path, **options: object) -> str:
    return "\n".join(read_manifests(folder, **options)[1])


def refused(folder: Path, **options: object) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read_manifests(folder, **options)
    return caught.value


# ---- what a folder means


def test_every_clip_sings_every_song(tmp_path: Path) -> None:
    fill(tmp_path, "clips/b.mp4", "clips/a.mov", "clips/day/c.png", "songs/x.wav", "songs/y.mp3")
    assert pairs(tmp_path) == {
        **{"a__x": ("clips/a.mov", "songs/x.wav"), "a__y": ("clips/a.mov", "songs/y.mp3")},
        **{"b__x": ("clips/b.mp4", "songs/x.wav"), "b__y": ("clips/b.mp4", "songs/y.mp3")},
        "day-c-cfc6da__x": ("clips/day/c.png", "songs/x.wav"),
        "day-c-cfc6da__y": ("clips/day/c.png", "songs/y.mp3"),
    }


def test_a_clip_sings_the_song_beside_it(tmp_path: Path) -> None:
    fill(tmp_path, "anna.mp4", "anna.wav", "Ben.MOV", "ben.mp3")
    assert pairs(tmp_path) == {"anna": ("anna.mp4", "anna.wav"), "Ben": ("Ben.MOV", "ben.mp3")}


def test_a_folder_within_is_a_montage_in_order_of_names_in_which_each_sings_all_of_its_own_song(tmp_path: Path) -> None:
    fill(tmp_path, *(f"night/take {n}{end}" for n in (10, 2, 1) for end in (".mp4", ".wav")), "solo.mp4", "solo.wav")
    rows, _ = read_manifests(tmp_path)
    night = [row for row in rows if row.montage == "night"]
    assert [Path(row.clip).stem for row in night] == ["take 1", "take 2", "take 10"]
    assert all(row.to_song_end and row.song_start_s == 0 and not row.is_laid_end_to_end for row in night)
    assert [row.pair_id for row in rows if row.montage is None] == ["solo"]


def test_clips_without_a_song_of_their_own_share_the_one_that_is_over(tmp_path: Path) -> None:
    fill(tmp_path, "night/a.mp4", "night/b.jpg", "night/c.mp4", "night/c.wav", "night/anthem.mp3")
    rows, _ = read_manifests(tmp_path)
    assert [(row.pair_id, Path(row.song).name, row.is_laid_end_to_end) for row in rows] == [
        *(("night.a", "anthem.mp3", True), ("night.b", "anthem.mp3", True)),
        ("night.c", "c.wav", False),
    ]
    assert rows[1].clip_end_s == 4.0  # a picture has no length of its own


def test_manifests_count_together_and_their_files_are_meant_from_the_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "s.wav", "stray.mp4")
    (tmp_path / "one.csv").write_text("clip,song,pair_id\na.mp4,s.wav,first\n")
    (tmp_path / "two.jsonl").write_text('{"clip": "a.mp4", "song": "s.wav"}\n{"clip": "a.mp4", "song": "s.wav"}\n')
    assert list(pairs(tmp_path, settled_s=0)) == ["first", "two.a__s", "two.a__s-2"]
    rows, left_out = read_manifests(tmp_path, settled_s=0)
    assert [(row.row, row.place) for row in rows] == [
        (1, "one.csv, row 1"),
        (2, "two.jsonl, row 1"),
        (3, "two.jsonl, row 2"),
    ]
    assert left_out == []


def test_problems_of_all_manifests_are_told_at_once_each_with_its_file(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "s.wav")
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    (tmp_path / "one.csv").write_text("clip,song,pair_id\na.mp4,s.wav,x\n")
    (tmp_path / "two.csv").write_text("clip,song,pair_id\na.mp4,none.wav,y\na.mp4,s.wav,X\n")
    said = [str(problem) for problem in refused(tmp_path, settled_s=0).problems]
    assert [text.split(":")[0] for text in said] == [
        "bad.parquet",
        "two.csv, row 1, column song",
        "two.csv, row 2, column pair_id",
    ]
    assert "row 1 of one.csv" in said[2]


# ---- names stay


def ids(folder: Path) -> dict[str, str]:
    return {row.pair_id: row.clip for row in read_manifests(folder)[0]}


@pytest.mark.parametrize("layout", ["", "clips/"])
def test_no_new_file_renames_another_pair(tmp_path: Path, layout: str) -> None:
    kinds = ("mp4",) if layout else ("mp4", "wav")
    names = ["b c", "b-c", "b_c", "Müller", "Muller", "歌", "唱", "x" * 60, "x" * 61, "b c.2", "--b", "con"]
    fill(tmp_path, "songs/s.wav") if layout else None
    before: dict[str, str] = {}
    for name in names:
        fill(tmp_path, *(f"{layout}{name}.{kind}" for kind in kinds))
        now = ids(tmp_path)
        assert before.items() < now.items()
        before = now
    assert len(before) == len(names)


def test_a_manifest_that_comes_renames_no_pair_of_another(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "s.wav")
    (tmp_path / "m.csv").write_text("clip,song\na.mp4,s.wav\n")
    before = read_manifests(tmp_path, settled_s=0)[0][0].pair_id
    (tmp_path / "a.csv").write_text("clip,song\na.mp4,s.wav\n")
    assert before in [row.pair_id for row in read_manifests(tmp_path, settled_s=0)[0]]


def test_of_two_files_that_differ_by_their_ending_only_one_counts_and_the_other_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.mov", "a.mp4", "a.wav", "a.mp3")
    assert pairs(tmp_path) == {"a": ("a.mov", "a.mp3")}
    assert "a.mp4" in notes(tmp_path)
    assert "a.wav" in notes(tmp_path)


# ---- what is left out


def test_what_is_hidden_is_not_seen_and_what_is_not_known_is_noted(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "a.wav", ".hidden.mp4", "._a.mp4", "Thumbs.db", ".git/x.mp4", "readme.txt", "b.mp4.part")
    fill(tmp_path, "lonely.mp4", "night/deep/x.mp4")
    assert list(pairs(tmp_path)) == ["a"]
    told = notes(tmp_path)
    assert all(name in told for name in ("readme.txt", "b.mp4.part", "lonely.mp4", "night/deep"))
    assert not any(name in told for name in ("hidden", "._a", "Thumbs", ".git"))


def test_a_file_that_grows_is_left_for_the_next_time_and_one_that_was_just_copied_is_not(tmp_path: Path) -> None:
    fill(tmp_path, "old.mp4", "old.wav", "slow.wav")
    touch(tmp_path / "new.mp4")
    touch(tmp_path / "new.wav")
    done, begun = threading.Event(), threading.Event()

    def write() -> None:
        with (tmp_path / "slow.mp4").open("wb", buffering=0) as file:
            while not done.wait(0.02):
                file.write(b"more")
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    try:
        rows, left_out = read_manifests(tmp_path, settled_s=0.3, max_wait_s=0.8)
    finally:
        done.set()
        writer.join()
    assert {row.pair_id for row in rows} == {"old", "new"}
    assert any("still being written: slow.mp4" in text for text in left_out)


def test_a_time_stamp_in_the_future_is_not_waited_for_twice(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "a.wav")
    later = time.time() + 3600
    os.utime(tmp_path / "a.mp4", (later, later))
    assert list(pairs(tmp_path, settled_s=0.1)) == ["a"]


def test_links_are_followed_but_not_to_nowhere_nor_out_of_the_roots_nor_in_circles(tmp_path: Path) -> None:
    folder, away = tmp_path / "in", fill(tmp_path / "away", "far.mp4", "far.wav")
    fill(folder, "a.mp4", "a.wav")
    for name in ("far.mp4", "far.wav"):
        (folder / name).symlink_to(away / name)
    (folder / "gone.mp4").symlink_to(tmp_path / "nothing")
    (folder / "again").symlink_to(folder)
    assert {row.pair_id for row in read_manifests(folder)[0]} == {"a", "far"}
    assert "gone.mp4" in notes(folder)
    rows, left_out = read_manifests(folder, roots=[str(folder)])
    assert [row.pair_id for row in rows] == ["a"]
    assert any("outside the folders" in text and "far.mp4" in text for text in left_out)


def test_a_name_that_shows_as_another_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "a.wav", "\u202e4pm.b.mp4", "line\nbreak.mp4")
    assert list(pairs(tmp_path)) == ["a"]
    assert "U+202E" in notes(tmp_path)
    assert "U+000A" in notes(tmp_path)


@pytest.mark.parametrize("name", ["readme.txt", "lonely.mp4", "clips/a.mp4", "x/y/z.mp4"])
def test_a_folder_in_which_there_is_nothing_to_do_is_refused_with_what_would_be_something(
    tmp_path: Path, name: str
) -> None:
    fill(tmp_path, name)
    assert "the folders clips and songs" in str(refused(tmp_path))


def test_rights_cannot_be_asked_of_media_alone(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "a.wav")
    assert "column rights" in str(refused(tmp_path, require=["rights"]))


def test_a_file_that_is_no_folder_is_read_as_the_manifest_it_is(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "s.wav")
    (tmp_path / "m.csv").write_text("clip,song\na.mp4,s.wav\n")
    rows, left_out = read_manifests(tmp_path / "m.csv")
    assert left_out == []
    assert rows == [PairRow(row=1, pair_id="a__s", clip=str(tmp_path / "a.mp4"), song=str(tmp_path / "s.wav"))]


def test_ten_thousand_files_take_seconds(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    fill(tmp_path, "songs/s.wav")
    for number in range(10_000):
        os.close(os.open(tmp_path / "clips" / f"{number}.mp4", os.O_CREAT, 0o644))
    started_s = time.process_time()
    rows, _ = read_manifests(tmp_path, settled_s=0.01)
    assert len(rows) == 10_000
    assert [row.pair_id for row in rows[:3]] == ["0__s", "1__s", "2__s"]
    assert time.process_time() - started_s < 10
