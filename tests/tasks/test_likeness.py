"""The look of a picture's face: the largest one, upright, found once; pictures that show none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import registry
from models.detectors import Detector, load_detector
from singalong.config import Settings
from singalong.errors import MediaError, NoFaceError
from singalong.looks import likeness
from singalong.store import Store
from tasks import likeness as likeness_module
from tasks.clues import LOOK_FILE, likeness_version
from tasks.likeness import find_likeness
from tasks.probe_media import picture_facts
from tests.two_people import LISTENER, SPEAKER, person

SETTINGS = Settings()
REF = registry.resolve("centerface", "detector", home=Path("/nonexistent"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(REF)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def faces() -> dict[str, Image.Image]:
    """One drawn person large, another small."""
    return {
        "large": _portrait(LISTENER, 0.36),
        "small": _portrait(SPEAKER, 0.22),
    }


def _portrait(seed: int, half_height: float) -> Image.Image:
    bgr = next(iter(person(seed, seconds=0.2, half_height=half_height).frames()))
    return Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def look_of(path: Path, store: Store, detector: Any, settings: Settings = SETTINGS) -> np.ndarray:
    assert REF is not None
    folder = find_likeness(
        picture_facts(str(path), settings=settings, store=store),
        version=likeness_version(settings.analysis, REF),
        detector=detector,
        settings=settings.analysis,
        store=store,
    )
    return np.asarray(np.load(folder / LOOK_FILE))


def saved(picture: Image.Image, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def test_the_largest_of_several_faces_counts(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image]
) -> None:
    both = Image.fromarray(np.hstack([np.asarray(faces["small"]), np.asarray(faces["large"])]))
    found = look_of(saved(both, tmp_path / "both.png"), store, detector)
    large, small = (look_of(saved(faces[who], tmp_path / f"{who}.png"), store, detector) for who in ("large", "small"))
    assert likeness(found, large) > 0.9
    assert likeness(found, small) < 0.8


def test_a_picture_that_is_stored_turned_is_turned_upright_first(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image]
) -> None:
    upright = look_of(saved(faces["large"], tmp_path / "upright.png"), store, detector)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(faces["large"].rotate(90, expand=True), tmp_path / "turned.jpg", exif=exif, quality=95)
    assert likeness(look_of(turned, store, detector), upright) > 0.9


def test_a_picture_is_looked_at_once_whatever_it_is_called(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image]
) -> None:
    first = look_of(saved(faces["small"], tmp_path / "a.png"), store, detector)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    nobody = SimpleNamespace(detect=None)  # calling it would fail
    np.testing.assert_array_equal(look_of(tmp_path / "b.png", store, nobody), first)


def test_a_moving_still_setting_does_not_make_another_picture_of_it(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image]
) -> None:
    path = saved(faces["small"], tmp_path / "a.png")
    look_of(path, store, detector)
    moving = SETTINGS.model_copy(update={"plan": SETTINGS.plan.model_copy(update={"still_motion": 0.05})})
    look_of(path, store, SimpleNamespace(detect=None), moving)


def test_a_small_face_in_a_large_picture_is_found(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Image.new("RGB", (3600, 2400), (90, 100, 110))
    wall.paste(faces["small"], (2800, 1700))
    path = saved(wall, tmp_path / "wall.png")
    assert len(look_of(path, store, detector))
    monkeypatch.setattr(likeness_module, "MAX_SIDE_PX", SETTINGS.analysis.detect_side_px)
    with pytest.raises(NoFaceError):
        look_of(path, Store(tmp_path / "other"), detector)


def test_a_picture_without_a_face_is_refused_by_name(tmp_path: Path, store: Store, detector: Detector) -> None:
    path = saved(Image.new("RGB", (200, 200), (120, 90, 60)), tmp_path / "wall.png")
    with pytest.raises(NoFaceError, match="no face is found") as caught:
        look_of(path, store, detector)
    assert str(path) in str(caught.value)
    assert "index:N" in str(caught.value)


def test_something_that_moves_is_no_picture(
    tmp_path: Path, store: Store, detector: Detector, faces: dict[str, Image.Image]
) -> None:
    others = [faces["large"].rotate(angle) for angle in (5, 10)]
    path = saved(faces["large"], tmp_path / "moving.gif", save_all=True, append_images=others)
    with pytest.raises(MediaError, match="a video, not a picture"):
        look_of(path, store, detector)


def test_a_real_picture_stored_turned_is_like_itself_upright(
    tmp_path: Path, store: Store, detector: Detector, shared_data: Path
) -> None:
    turned = look_of(shared_data / "stills" / "grid_still_exif6.jpg", store, detector)
    other = look_of(shared_data / "stills" / "grid_still.png", store, detector)
    with Image.open(shared_data / "stills" / "grid_still_exif6.jpg") as image:
        upright = image.rotate(-90, expand=True)
    same = look_of(saved(upright, tmp_path / "upright.png"), store, detector)
    assert likeness(turned, same) > 0.9 > likeness(turned, other)
