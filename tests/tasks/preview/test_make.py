"""A folder of previews: every clip is shown or accounted for, nothing is found out twice, names do no harm."""

from __future__ import annotations

import csv
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import pytest

from singalong.config import Settings
from singalong.contracts import Plan
from singalong.errors import UsageError
from singalong.store import Store
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song
from tasks.analyse import CACHE_KIND, analysis_version
from tasks.plan_run import plan_run
from tasks.preview.make import make_preview, preview_folder

HOSTILE = "<img src=x onerror=alert(1)> '&\" имя 日本語.mp4"
DAMAGED = "damaged.mp4"


def write_clip(path: Path, seed: int, size: tuple[int, int], half_height: float) -> Path:
    """Somebody who is silent, for less than a second."""
    width, height = size
    clip = TalkingClip.from_seed(
        seed,
        width=width,
        height=height,
        fps=Fraction(12),
        duration_s=0.75,
        speaks=False,
        half_height=half_height,
        max_yaw=0.1,
    )
    return clip.write(path)


class Made:
    """One preview of: a good clip used twice, one of hostile name, one damaged after planning, one never readable."""

    def __init__(self, folder: Path) -> None:
        first = write_clip(folder / "first.mp4", 33, (320, 180), 0.3)
        second = write_clip(folder / HOSTILE, 9, (180, 320), 0.17)
        (folder / DAMAGED).write_bytes(second.read_bytes() + b"\0")
        (folder / "text.mp4").write_text("no video at all")
        write_wav(folder / "song.wav", Song.from_seed(9, 1.2, snr_db=6.0, intro=False).vocals)
        rows = [
            {"pair_id": "a", "clip": first.name, "face": "largest"},
            {"pair_id": "b", "clip": first.name, "face": "index:3"},
            {"pair_id": "c", "clip": DAMAGED, "face": "largest"},
            {"pair_id": "d", "clip": HOSTILE, "face": "largest"},
            {"pair_id": "e", "clip": "text.mp4", "face": "largest"},
        ]
        with (folder / "preview.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["pair_id", "clip", "face", "song", "vocals"])
            writer.writeheader()
            writer.writerows(row | {"song": "song.wav", "vocals": "none"} for row in rows)
        self.settings, self.out = Settings.model_validate({"run": {"store": str(folder / "store")}}), folder / "out"
        self.store = Store(self.settings.store_path)
        self.plan, _ = plan_run(folder / "preview.csv", settings=self.settings, store=self.store)
        (folder / DAMAGED).write_bytes(b"overwritten while you looked")
        self.preview = make_preview(self.plan, preview_folder(self.out), settings=self.settings)

    def analysis(self, clip_sha256: str) -> Path | None:
        version = analysis_version(self.settings.analysis, self.plan.detector)
        return self.store.cached(CACHE_KIND, clip_sha256, version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("preview"))


def test_every_clip_has_a_sheet_or_a_reason_and_none_stops_the_others(made: Made) -> None:
    clips = {clip.pairs: clip for clip in made.preview.clips}
    assert set(clips) == {("a", "b"), ("c",), ("d",)}
    for pairs in (("a", "b"), ("d",)):
        assert clips[pairs].failure is None
        assert [cv2.imread(str(made.out / name)) is not None for name in clips[pairs].files] == [True]
    failure = clips["c",].failure
    assert failure is not None
    assert DAMAGED in failure.message
    assert [problem.pair_id for problem in made.plan.problems] == ["e"]
    assert not made.preview.is_whole


def test_a_pair_whose_face_is_not_there_is_told_of_and_the_sheet_shows_who_is(made: Made) -> None:
    clip = made.preview.clips[0]
    assert list(clip.problems) == ["b"]
    assert "index:0" in clip.problems["b"]
    assert [(person.face, person.sings) for person in clip.people] == [("index:0", ("a",))]


def test_results_are_made_of_pairs_that_have_a_face(made: Made) -> None:
    assert [(result.pair_id, result.failure) for result in made.preview.results] == [("a", None), ("d", None)]
    for result in made.preview.results:
        picture = cv2.imread(str(made.out / (result.file or "")))
        assert picture is not None
        assert picture.std() > 20


def test_what_was_found_out_lies_in_the_store_and_is_not_found_out_again(made: Made, tmp_path: Path) -> None:
    folders = [made.analysis(clip.clip_sha256) for clip in made.preview.clips if clip.failure is None]
    before = [(folder / "facts.json").stat().st_mtime_ns for folder in folders if folder is not None]
    assert len(before) == 2
    again = make_preview(made.plan, preview_folder(tmp_path), settings=made.settings, with_results=False)
    assert [(folder / "facts.json").stat().st_mtime_ns for folder in folders if folder is not None] == before
    assert again.clips == made.preview.clips
    assert again.results == ()


def test_trials_leave_no_work_in_the_store(made: Made) -> None:
    assert not list(made.store.root.glob("work/*/*"))


class PageReader(HTMLParser):
    """What a browser would load and run of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.handlers += [tag] * (tag == "script")
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_all_files_and_a_name_cannot_break_out_of_it(made: Made) -> None:
    page = PageReader(Path(made.preview.page).read_text(encoding="utf-8"))
    assert page.handlers == []
    assert all((made.out / unquote(source)).is_file() for source in page.sources)
    files = {name for clip in made.preview.clips for name in clip.files}
    files |= {result.file for result in made.preview.results if result.file}
    assert files == {unquote(source) for source in page.sources}
    assert HOSTILE in page.text
    for word in ("index:0", "at:", "row 5", DAMAGED):
        assert word in page.text


def test_sheets_of_clips_of_any_name_have_plain_file_names(made: Made) -> None:
    names = [name for clip in made.preview.clips for name in clip.files]
    assert all(name.isascii() and " " not in name and "<" not in name for name in names)


@pytest.mark.parametrize("kind", ["a file", "below a file", "not writable"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    place = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "x", "not writable": Path("/proc/x")}
    with pytest.raises(UsageError, match="folder that can be written"):
        preview_folder(place[kind])


def test_a_plan_without_pairs_gives_a_page_that_says_why(made: Made, tmp_path: Path) -> None:
    empty = Plan.model_validate(made.plan.model_dump() | {"pairs": (), "shards": ()})
    preview = make_preview(empty, tmp_path, settings=made.settings)
    assert preview.clips == ()
    assert "cannot be opened" in PageReader(Path(preview.page).read_text()).text


def test_progress_is_told_clip_by_clip(made: Made, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    make_preview(
        made.plan, tmp_path, settings=made.settings, with_results=False, progress=lambda *step: steps.append(step)
    )
    assert steps == [("previews", number, 3) for number in range(4)]
