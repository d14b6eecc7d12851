import hashlib
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models import registry
from models.centerface import CenterFace
from models.detectors import Detections
from singalong.contracts import ClipFacts, ModelRef
from singalong.frames_table import Outcome
from singalong.media.decode import SmallFrame
from singalong.media.probe import probe_clip
from singalong.settings import AnalysisSettings, LimitSettings
from singalong.store import Store
from singalong.tracks import choose_face
from tasks import analyse
from tasks.analyse import Analysis, analyse_clip, analysis_version, load_analysis

REF = ModelRef(name="blobs", architecture="blobs", weights_sha256="ab" * 32)
SCALE = 0.5
SETTINGS = AnalysisSettings(min_sharpness=0)
"""The faces drawn here are flat."""
BACKDROPS = [
    cv2.resize(np.random.default_rng(seed).integers(0, 120, (5, 8, 3), dtype=np.uint8), (160, 90)) for seed in range(3)
]


class BlobDetector:
    """Takes white rectangles for faces."""

    def __init__(self) -> None:
        self.num_images = 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> Detections:
        self.num_images += 1
        _, _, stats, _ = cv2.connectedComponentsWithStats((image.min(axis=2) > 250).astype(np.uint8))
        x, y, width, height = stats[1:, :4].T.astype(np.float32)
        boxes = np.stack([x, y, x + width, y + height], axis=1)
        return Detections(boxes=boxes, scores=np.full(len(boxes), 0.9, np.float32), landmarks=None)


def picture(backdrop: int, *faces: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A small picture (90, 160, 3) with faces at (x, y) of some side."""
    image = BACKDROPS[backdrop].copy()
    for x, y, side in faces:
        image[y : y + side, x : x + side] = 255
    return image


def clip_facts(**changes: object) -> ClipFacts:
    facts = {
        "path": "/clips/clip.mp4",
        "sha256": "cd" * 32,
        "num_bytes": 1,
        "is_still": False,
        "width": 320,
        "height": 180,
        "rotation_deg": 0,
        "fps": Fraction(25),
        "num_frames": 1,
        "first_frame_s": 0.0,
        "duration_s": 1.0,
        "is_vfr": False,
        "codec": "h264",
        "pix_fmt": "yuv420p",
        "has_audio": False,
    }
    return ClipFacts.model_validate(facts | changes)


class Studio:
    """Analyses pictures as if they were a decoded clip."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.detector = Store(root), BlobDetector()
        self._monkeypatch = monkeypatch

    def folder(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        *,
        times_s: Sequence[float] | None = None,
        settings: AnalysisSettings | None = None,
        **changes: object,
    ) -> Path:
        def decoded(facts: ClipFacts, *, max_side_px: int, decoder: object = None) -> Iterator[SmallFrame]:
            for index, image in enumerate(pictures):
                yield SmallFrame(index / 25 if times_s is None else times_s[index], image, SCALE)

        self._monkeypatch.setattr(analyse, "iter_small_frames", decoded)
        return analyse_clip(
            clip_facts(**changes),
            detector=self.detector,
            detector_ref=REF,
            settings=settings or SETTINGS,
            store=self.store,
        )

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], **options: object) -> Analysis:
        return load_analysis(self.folder(pictures, **options), 0, 1e6)  # type: ignore[arg-type]


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    return Studio(tmp_path, monkeypatch)


def spans(analysis: Analysis) -> list[tuple[int, int, int]]:
    """(shot, first frame, last frame) of each track."""
    tracks = analysis.tracks
    rows = (tracks.select(tracks.track == track) for track in np.unique(tracks.track))
    return [(int(part.shot[0]), int(part.frame.min()), int(part.frame.max())) for part in rows]


def test_every_frame_of_a_face_has_a_row_in_pixels_of_the_clip(studio: Studio) -> None:
    found = studio([picture(0, (40, 20, 30))] * 22)
    assert found.tracks.frame.tolist() == list(range(22))
    assert np.unique(found.tracks.boxes, axis=0).tolist() == [[80, 40, 140, 100]]
    assert found.tracks.usable.all()
    assert 0 < found.tracks.detected.sum() < 22


def test_tracks_end_at_cuts_even_where_the_next_face_is_in_the_same_place(studio: Studio) -> None:
    found = studio([*[picture(0, (40, 20, 30))] * 13, *[picture(1, (42, 20, 30))] * 12, *[picture(2)] * 10])
    assert found.shots.start_frame.tolist() == [0, 13, 25]
    assert found.shots.end_frame.tolist() == [13, 25, 35]
    np.testing.assert_allclose(found.shots.start_s, [0, 0.52, 1.0])
    np.testing.assert_allclose(found.shots.end_s, [0.52, 1.0, 1.4])
    assert spans(found) == [(0, 0, 12), (1, 13, 24)]
    assert set(found.tracks.boxes[found.tracks.shot == 1, 0]) == {84}


def test_a_face_that_comes_and_goes_is_tracked_to_the_frame(studio: Studio) -> None:
    faces = [0] * 8 + [1] * 9 + [0] * 30 + [1] * 6
    found = studio([picture(0, *[(40, 20, 30)] * here) for here in faces])
    assert spans(found) == [(0, 8, 16), (0, 47, 52)]


def test_a_short_miss_is_bridged_and_a_long_one_is_not(studio: Studio) -> None:
    faces = [1] * 10 + [0] * 10 + [1] * 10
    pictures = [picture(0, *[(40, 20, 30)] * here) for here in faces]
    assert spans(studio(pictures)) == [(0, 0, 29)]
    settings = AnalysisSettings(max_gap_s=0.2, min_sharpness=0)
    assert spans(studio(pictures, settings=settings)) == [(0, 0, 9), (0, 20, 29)]


def test_nothing_is_drawn_on_what_hides_a_face_for_less_than_a_track_survives(studio: Studio) -> None:
    """The box is known before and after; in between it would be a guess on a hand."""
    found = studio([picture(0, *[(40, 20, 30)] * here) for here in [1] * 10 + [0] * 10 + [1] * 10])
    face = choose_face(found.tracks, found.shots, "largest", 0, 2)
    outcomes = [face.outcome_at(frame / 25) for frame in range(30)]
    assert outcomes == [Outcome.SYNCED] * 10 + [Outcome.HIDDEN] * 10 + [Outcome.SYNCED] * 10
    assert face.weight_at(9 / 25) < 0.2 < face.weight_at(5 / 25)


def test_each_track_has_a_look(studio: Studio) -> None:
    folder = studio.folder([picture(0, (40, 20, 30), (100, 20, 20))] * 12 + [picture(1, (40, 20, 30))] * 12)
    found = load_analysis(folder, 0, 1e6)
    assert sorted(found.looks) == [0, 1, 2]
    assert all(np.linalg.norm(look) == pytest.approx(1, abs=1e-4) for look in found.looks.values())
    assert sorted(load_analysis(folder, 0.7, 0.9).looks) == [2]


def test_limits_apply_where_an_analysis_is_read(studio: Studio) -> None:
    folder = studio.folder([picture(0, (40, 20, 30))] * 12)
    strict = SETTINGS.model_copy(update={"min_face_px": 100})
    assert analysis_version(strict, REF) == analysis_version(SETTINGS, REF)
    assert load_analysis(folder, 0, 1).tracks.usable.all()
    assert not load_analysis(folder, 0, 1, settings=strict).tracks.usable.any()


def test_a_clip_without_a_face_is_a_valid_analysis(studio: Studio) -> None:
    found = studio([picture(0)] * 12)
    assert len(found.tracks) == 0
    assert found.facts.num_tracks == 0
    assert found.facts.coverage == 0
    assert len(found.shots) == 1


def test_a_still_is_one_frame_and_one_shot(studio: Studio) -> None:
    found = studio([picture(0, (40, 20, 30))], is_still=True)
    assert spans(found) == [(0, 0, 0)]
    face = choose_face(found.tracks, found.shots, "largest", 0, 5)
    assert face.box_at(0.0) == (80, 40, 140, 100)


def test_presentation_times_are_those_of_the_clip(studio: Studio) -> None:
    times_s = [0.5, 0.54, 0.7, 0.74, 1.74]
    found = studio([picture(0, (40, 20, 30))] * 5, times_s=times_s)
    assert found.tracks.pts_s.tolist() == times_s
    assert found.facts.longest_frame_s == pytest.approx(1.0)


def test_faces_too_low_are_kept_but_not_usable(studio: Studio) -> None:
    found = studio([picture(0, (40, 20, 11), (100, 20, 12))] * 3)
    by_side = {int(box[2] - box[0]): bool(ok) for box, ok in zip(found.tracks.boxes, found.tracks.usable, strict=True)}
    assert by_side == {22: False, 24: True}


def test_facts_say_what_was_found(studio: Studio) -> None:
    folder = studio.folder([picture(0, *[(40, 20, 30)] * (index >= 5)) for index in range(20)])
    facts = json.loads((folder / "facts.json").read_text())
    expected = {"num_frames": 20, "num_shots": 1, "num_tracks": 1, "num_face_frames": 15, "coverage": 0.75}
    assert {key: facts[key] for key in expected} == expected
    assert facts["num_detections"] == studio.detector.num_images
    assert set(facts["seconds"]) == {"decode", "shots", "detect", "link"}


def test_only_the_rows_a_span_needs_are_read(studio: Studio) -> None:
    folder = studio.folder([picture(0, (40, 20, 30))] * 100)
    found = load_analysis(folder, 1.0, 2.0)
    assert 0.9 <= found.tracks.pts_s.min() <= 0.96  # the frame on screen as the span starts is among them
    assert 1.96 <= found.tracks.pts_s.max() <= 2.04


def test_a_clip_is_analysed_once(studio: Studio) -> None:
    first = studio.folder([picture(0)] * 6)
    looks = studio.detector.num_images
    assert studio.folder([picture(0)] * 6) == first
    assert studio.detector.num_images == looks


def test_another_detector_or_setting_makes_another_analysis() -> None:
    settings = AnalysisSettings()
    versions = {
        analysis_version(settings, REF),
        analysis_version(settings, REF.model_copy(update={"weights_sha256": "ef" * 32})),
        analysis_version(AnalysisSettings(detect_every_s=0.1), REF),
    }
    assert len(versions) == 3
    assert analysis_version(settings, REF.model_copy(update={"name": "alias"})) in versions


# ---- real clips


@pytest.fixture(scope="session")
def real_ref(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return registry.resolve("centerface", "detector", home=tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def centerface(real_ref: ModelRef) -> CenterFace:
    assert real_ref.path is not None
    return CenterFace(Path(real_ref.path))


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all real clips: each is analysed once."""
    return tmp_path_factory.mktemp("store")


def analysed(path: Path, centerface: CenterFace, ref: ModelRef, root: Path) -> Analysis:
    facts = probe_clip(
        path, sha256=hashlib.sha256(path.name.encode()).hexdigest(), limits=LimitSettings(), still_fps=25
    )
    # A small side keeps the test fast; every face of these clips is large enough for it.
    settings = AnalysisSettings(detect_side_px=256)
    folder = analyse_clip(facts, detector=centerface, detector_ref=ref, settings=settings, store=Store(root))
    return load_analysis(folder, 0, 1e6)


@pytest.mark.parametrize(
    ("name", "num_tracks"),
    [
        ("clips/grid_s1_bbaf2n_mpeg1.mpg", 1),
        ("clips/grid_two_faces_left_speaks.mp4", 2),
        ("clips/headpose_two_faces.mp4", 2),
        ("clips/headpose_profile.mp4", 1),
        ("clips/webcam_rot90_1s.mov", 1),
        ("clips/corrupt_truncated_faststart.mp4", 1),
        ("stills/grid_still_exif6.jpg", 1),
    ],
)
def test_faces_of_a_single_shot_are_followed_from_end_to_end(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path, name: str, num_tracks: int
) -> None:
    found = analysed(shared_data / name, centerface, real_ref, real_root)
    assert len(found.shots) == 1
    assert spans(found) == [(0, 0, found.facts.num_frames - 1)] * num_tracks
    assert (found.tracks.boxes[:, 2:] <= [found.facts.width, found.facts.height]).all()


def test_real_cuts_part_the_tracks(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    found = analysed(shared_data / "clips/cuts_3speakers_noface.mp4", centerface, real_ref, real_root)
    np.testing.assert_allclose(found.shots.start_s, [0, 2.40, 3.92, 6.32], atol=1e-3)
    assert spans(found) == [(0, 0, 59), (2, 98, 157), (3, 158, 217)]


def test_a_face_hidden_by_paper_is_lost_and_found(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    found = analysed(shared_data / "clips/webcam_vfr_face_leaves.mov", centerface, real_ref, real_root)
    assert len(found.shots) == 1
    before, after = (found.tracks.pts_s[found.tracks.track == track] for track in (0, 1))
    assert before.min() < 0.1
    assert 1.6 < before.max() < 1.9
    assert 5.1 < after.min() < 5.5
    assert after.max() > 7.2
    face = choose_face(found.tracks, found.shots, "largest", 0, 7.5)
    assert face.box_at(float(before[0])) is not None
    assert face.box_at(float(after[-1])) is not None


def test_a_real_profile_is_passed_through_until_it_turns_to_the_camera(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    found = analysed(shared_data / "clips/headpose_profile.mp4", centerface, real_ref, real_root)
    face = choose_face(found.tracks, found.shots, "largest", 0, 1e3)
    outcomes = [face.outcome_at(time_s) for time_s in face.pts_s]
    assert set(outcomes[:5]) == {Outcome.TURNED}
    assert set(outcomes[8:]) == {Outcome.SYNCED}


def test_a_real_head_that_leans_over_is_passed_through(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    found = analysed(shared_data / "clips/headpose_two_faces.mp4", centerface, real_ref, real_root)
    man = choose_face(found.tracks, found.shots, "index:1", 0, 1e3)
    outcomes = [man.outcome_at(time_s) for time_s in man.pts_s]
    assert set(outcomes[:4]) == {Outcome.SYNCED}
    assert set(outcomes[10:]) == {Outcome.TILTED}


@pytest.mark.parametrize("name", ["grid_two_faces_left_speaks.mp4", "asl_sister_noaudio.mkv"])
def test_real_faces_that_look_at_the_camera_are_usable_throughout(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path, name: str
) -> None:
    found = analysed(shared_data / "clips" / name, centerface, real_ref, real_root)
    assert found.tracks.usable.all()


def test_a_real_person_pointed_at_sings_in_no_other_persons_shot(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    """All three sit in the same place, so by place the others would sing."""
    found = analysed(shared_data / "clips/cuts_3speakers_noface.mp4", centerface, real_ref, real_root)
    for shot, time_s in ((0, 1.0), (2, 5.0), (3, 7.0)):
        face = choose_face(found.tracks, found.shots, f"at:0.5,0.5@{time_s}", 0, 8.7)
        assert set(face.shot.tolist()) == {shot}


def test_a_hooded_worker_is_no_face(
    shared_data: Path, centerface: CenterFace, real_ref: ModelRef, real_root: Path
) -> None:
    found = analysed(shared_data / "clips/nasa_noface_2v2a.mp4", centerface, real_ref, real_root)
    assert len(found.tracks) == 0
