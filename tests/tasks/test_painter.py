"""Faces laid back into frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import registry
from models.engine import Bend
from models.enhancer import Enhancer
from singalong.media.decode import ClipReader
from singalong.media.detail import DetailTransfer
from singalong.media.frames import YuvFrame, face_region_to_bgr, frame_to_bgr, over_chroma, paste_bgr, yuv_values
from singalong.media.geometry import Box, Part, part_of
from singalong.media.probe import probe_clip
from singalong.media.warp import apply_warp
from singalong.settings import LimitSettings, LipsyncSettings
from tasks.painter import FacePainter, Painted, Spot
from tests.enhancers import sharpener
from tests.painted_faces import BOX, LANDMARKS, SPOT, DrawingEngine, face_frame, mels, with_cast

X1, Y1, X2, Y2 = BOX
PAPER = {"mask": "box", "feather": 0.0, "match_color": False, "keep_detail": False}
PLAIN = {"match_color": False, "keep_detail": False}


def painter(draw: object, **settings: object) -> FacePainter:
    engine = DrawingEngine(draw)  # type: ignore[arg-type]
    return FacePainter(LipsyncSettings.model_validate(settings), engine, fps=25)  # type: ignore[arg-type]


def paint(frame: YuvFrame, draw: object, spot: Spot = SPOT, **settings: object) -> YuvFrame:
    return painter(draw, **settings).paint([frame], [spot], mels(1)).frames[0]


def steepest_step(source: YuvFrame, output: YuvFrame) -> float:
    """Largest slope of (output - source), levels of luma a pixel, off the mouth and blurred: what shows as an edge."""
    delta = cv2.GaussianBlur(output.y.astype(np.float32) - source.y, (0, 0), 2.0)
    slope = np.hypot(*np.gradient(delta))
    slope[200:235, 115:205] = 0
    return float(slope.max())


def test_a_generator_that_shifts_colours_leaves_no_visible_box() -> None:
    frame = face_frame(grain=1.0)
    paper, plain, ours = (steepest_step(frame, paint(frame, with_cast, **way)) for way in (PAPER, PLAIN, {}))
    assert paper > 1.0
    assert ours < 0.1 * paper
    assert ours < 0.5 * plain


def test_nothing_beside_the_jaw_changes() -> None:
    frame = face_frame()
    neighbour = np.s_[220:280, X1 : X1 + 18]  # where another face might be, inside the box
    assert (paint(frame, lambda face: face // 2).y[neighbour] == frame.y[neighbour]).all()
    plain = paint(frame, lambda face: face // 2, Spot(BOX))
    assert (plain.y[neighbour] != frame.y[neighbour]).any()


def test_without_landmarks_and_in_the_papers_way_the_masks_are_rectangles() -> None:
    frame = face_frame()
    output = paint(frame, lambda face: np.zeros_like(face), **PAPER)
    assert (output.y[Y1:Y2, X1:X2] == 16).all()
    mask = painter(with_cast).mask(Spot(BOX))
    assert (mask == mask[:, ::-1]).all()
    assert mask[200, 30] == mask[150, 30]
    assert (painter(with_cast, mask="box", feather=0.0).mask(SPOT) == 1).all()


def test_impossible_landmarks_are_not_followed() -> None:
    lost = painter(with_cast).mask(Spot(BOX, np.zeros((5, 2))))
    assert (lost == painter(with_cast).mask(Spot(BOX))).all()


def bending(face: np.ndarray) -> Bend:
    """Moves everything, up to the rim of the crop, and paints a dark mouth."""
    flow = np.full((96, 96, 2), 0.03, np.float32)
    patch = np.zeros((4, 96, 96), np.float32)
    patch[3, 70:78, 38:58] = 1
    return Bend(flow, patch)


@pytest.mark.parametrize("way", [{}, {"feather": 0.0}, PAPER])
def test_a_bent_face_joins_without_a_seam(way: dict[str, object]) -> None:
    frame = face_frame(grain=0.0)
    output = paint(frame, bending, **way)
    x1, y1, x2, y2 = BOX
    delta = np.abs(output.y.astype(int) - frame.y)
    assert delta[y1:y2, x1:x2].max() > 30
    outside = np.ones(delta.shape, bool)
    outside[y1:y2, x1:x2] = False
    assert delta[outside].max() == 0
    assert (
        max(delta[y2 - 3 : y2, x1:x2].max(), delta[200:y2, x1 : x1 + 3].max()) <= 8
    )  # of 110 from skin to wall: moved by a hair
    assert delta[: y1 + 90].max() <= 1  # the eyes


def darker(face: np.ndarray) -> np.ndarray:
    return face // 2


@pytest.mark.parametrize("draw", [bending, darker])
def test_lips_fade_in_and_out_where_a_face_turns_away(draw: object) -> None:
    frame = face_frame(grain=0.0)
    amounts = []
    for weight in (0.0, 0.3, 0.6, 1.0):
        output = paint(frame, draw, replace(SPOT, weight=weight), **PLAIN)
        amounts.append(float(np.abs(output.y.astype(int) - frame.y).mean()))
    assert amounts[0] == 0
    assert amounts == sorted(amounts)
    assert amounts[1] < 0.6 * amounts[3]


def test_of_a_bent_face_only_what_is_bent_or_painted_changes() -> None:
    frame = face_frame(grain=12.0)

    def little(face: np.ndarray) -> Bend:
        fields = bending(face)
        return Bend(np.zeros_like(fields.flow), fields.patch)

    output = paint(frame, little)
    changed = np.argwhere(output.y != frame.y)
    assert len(changed) > 200
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert top >= 210
    assert bottom <= 240
    assert left >= 130
    assert right <= 190
    chroma = np.argwhere(output.u != frame.u)
    assert (chroma.min(axis=0) >= (104, 64)).all()
    assert (chroma.max(axis=0) <= (121, 96)).all()


def test_frames_without_a_face_and_the_sources_are_left_alone() -> None:
    frames = [face_frame(seed=i) for i in range(3)]
    before = [frame.copy() for frame in frames]
    made = painter(with_cast).paint(frames, [SPOT, None, SPOT], mels(3))
    assert made.frames[1] is frames[1]
    assert sorted(made.faces) == [0, 2]
    for frame, copy in zip(frames, before, strict=True):
        assert (frame.y == copy.y).all()


def test_nothing_to_paint_needs_no_generator() -> None:
    def refuse(face: np.ndarray) -> np.ndarray:
        raise AssertionError

    assert painter(refuse).paint([face_frame()], [None], mels(1)).faces == {}


@pytest.mark.parametrize("draw", [with_cast, lambda face: face[:, ::-1]])
def test_how_frames_are_split_into_calls_changes_no_pixel(draw: object) -> None:
    frames = [face_frame(seed=i, mouth_open=i % 3 / 2) for i in range(6)]
    spots = [SPOT] * 3 + [None] + [Spot(BOX, LANDMARKS, shot=1)] * 2
    whole = painter(draw).paint(frames, spots, mels(6)).frames
    by_parts = painter(draw)
    parts: list[Painted] = [by_parts.paint(frames[i : i + 2], spots[i : i + 2], mels(2)) for i in (0, 2, 4)]
    for a, b in zip(whole, [frame for part in parts for frame in part.frames], strict=True):
        assert (a.y == b.y).all()
        assert (a.v == b.v).all()


def test_a_painted_face_keeps_the_clips_grain_from_frame_to_frame() -> None:
    frames = [face_frame(seed=i, grain=5.0) for i in range(4)]
    cheek = np.s_[190:220, 90:115]
    naive, ours = (painter(lambda face: face, **way).paint(frames, [SPOT] * 4, mels(4)).frames for way in (PLAIN, {}))
    source, plain, kept = (np.std([f.y[cheek] for f in made], axis=0).mean() for made in (frames, naive, ours))
    assert plain < 0.7 * source
    assert 0.9 < kept / source < 1.1
    assert np.abs(frame_to_bgr(ours[0]).astype(int) - frame_to_bgr(frames[0])).mean() < 2


def test_an_enhancer_sharpens_the_lower_face_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    registry.add_checkpoint("sharp", sharpener(tmp_path / "sharp.onnx"), home=home)
    ref = registry.resolve("sharp", "enhancer", home=home)
    assert ref is not None
    frame = face_frame(grain=0.0)
    outputs = {}
    for name, enhancer, weight in (("none", None, 1.0), ("half", Enhancer(ref), 0.5), ("full", Enhancer(ref), 1.0)):
        engine, settings = DrawingEngine(lambda face: face), LipsyncSettings(enhancer_weight=weight)
        face_painter = FacePainter(settings, engine, fps=25, enhancer=enhancer)  # type: ignore[arg-type]
        outputs[name] = face_painter.paint([frame], [SPOT], mels(1)).frames[0].y.astype(float)
    lips = np.s_[195:235, 120:200]
    sharpness = {name: np.hypot(*np.gradient(y))[lips].mean() for name, y in outputs.items()}
    assert sharpness["full"] > sharpness["half"] > 1.02 * sharpness["none"]
    assert (outputs["full"][:130] == frame.y[:130]).all()
    assert (outputs["full"][:, : X1 + 10] == frame.y[:, : X1 + 10]).all()


def test_a_face_without_landmarks_is_not_enhanced() -> None:
    class Never:
        side = 256

    face_painter = FacePainter(LipsyncSettings(), DrawingEngine(lambda face: face), fps=25, enhancer=Never())  # type: ignore[arg-type]
    face_painter.paint([face_frame()], [Spot(BOX)], mels(1))


def test_a_shard_that_starts_in_the_middle_looks_as_if_it_had_not() -> None:
    frames = [face_frame(seed=i, mouth_open=i % 4 / 3) for i in range(16)]
    whole = painter(with_cast).paint(frames, [SPOT] * 16, mels(16)).frames
    later = painter(with_cast).paint(frames[10:], [SPOT] * 6, mels(6)).frames
    step = cv2.GaussianBlur(later[0].y.astype(np.float32) - whole[10].y, (0, 0), 3)
    assert np.abs(step).max() < 1.5  # levels; a mouth that moves changes tens


def test_on_a_real_face_a_colour_shift_shows_no_box(shared_data: Path) -> None:
    path = shared_data / "clips" / "jwp_intro_vga.mp4"
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    with ClipReader(facts) as reader:
        frame = reader.read_chunk([2.0])[0]
    landmarks = np.array([[244.0, 150.0], [306.0, 153.0], [274.0, 187.0], [242.0, 218.0], [293.0, 221.0]])
    box = (200, 79, 338, 278)  # as CenterFace finds it, with the paper's pads
    outputs = {}
    for name, spot, way in (("paper", Spot(box), PAPER), ("ours", Spot(box, landmarks), {})):
        outputs[name] = paint(frame, with_cast, spot, **way).y.astype(int) - frame.y
    beside = np.s_[230:278, 200:222]  # bookshelf and collar
    assert np.abs(outputs["paper"][beside]).mean() > 2
    assert np.abs(outputs["ours"][beside]).max() <= 1
    steps = {}
    for name, delta in outputs.items():
        steps[name] = np.hypot(*np.gradient(cv2.GaussianBlur(delta.astype(np.float32), (0, 0), 2.0))).max()
    assert steps["ours"] < 0.25 * steps["paper"]


def test_only_what_a_mask_shows_is_finished() -> None:
    parts = []
    made = painter(darker, feather=0.1)
    enlarge = made._detail.enlarge_samples

    def watched(frame: YuvFrame, box: Box, drawn: np.ndarray, part: Part) -> tuple[np.ndarray, np.ndarray]:
        luma, chroma = enlarge(frame, box, drawn, part)
        parts.append((luma.shape, chroma.shape, part))
        return luma, chroma

    made._detail.enlarge_samples = watched  # type: ignore[method-assign]
    made.paint([face_frame()], [replace(SPOT, box=(61, 41, 260, 280))], mels(1))
    ((size, chroma_size, (rows, columns)),) = parts
    assert size[0] * size[1] < 0.65 * (260 - 61) * (280 - 41)
    assert (41 + rows.start) % 2 == (61 + columns.start) % 2 == 0  # whole samples of chroma: nothing is added
    assert chroma_size == (size[0] // 2, size[1] // 2, 2)


def enlarge_through_bgr(
    self: DetailTransfer, frame: YuvFrame, box: Box, made: np.ndarray, part: Part
) -> tuple[np.ndarray, np.ndarray]:
    bgr = self.enlarge(face_region_to_bgr(frame, box), made, part)
    y, *uv = cv2.split(yuv_values(frame, bgr.astype(np.float32)))
    place = part_of(box, part)
    return y, np.dstack([over_chroma(plane, place, edge=cv2.BORDER_REPLICATE) for plane in uv])  # type: ignore[arg-type]


def warp_through_bgr(frame: YuvFrame, box: Box, flow: np.ndarray, patch: np.ndarray) -> None:
    crop = face_region_to_bgr(frame, box)
    face = apply_warp(crop, flow, patch)
    paste_bgr(frame, box, face, (face != crop).any(axis=2).astype(np.float32))


def new_mouth(face: np.ndarray) -> np.ndarray:
    """What a trained generator makes: a cast, and another mouth."""
    other = with_cast(face)
    other[62:78, 30:66] = cv2.GaussianBlur(other[62:78, 30:66] // 2 + np.uint8([20, 10, 70]), (0, 0), 2)
    return other


def smile(face: np.ndarray) -> Bend:
    """Wider lips, and teeth."""
    rows, columns = np.mgrid[:96, :96].astype(np.float32)
    near = np.exp(-(((columns - 48) / 22) ** 2 + ((rows - 70) / 12) ** 2))
    flow = np.stack([-0.06 * near * np.sign(columns - 48) * np.abs(columns - 48) / 22, 0.03 * near], axis=-1)
    patch = np.zeros((4, 96, 96), np.float32)
    patch[:3], patch[3] = 0.8, np.clip(3 * np.exp(-(((columns - 48) / 12) ** 2 + ((rows - 70) / 5) ** 2)) - 1, 0, 1)
    return Bend(flow.astype(np.float32), patch)


@pytest.mark.parametrize("draw", [new_mouth, smile])
@pytest.mark.parametrize("box", [BOX, (X1 + 1, Y1 + 1, X2, Y2 - 1), (X1, Y1 + 1, X2 + 1, Y2)])
def test_a_frames_own_samples_give_the_picture_that_bgr_gives(
    box: Box, draw: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [face_frame(seed=i) for i in range(3)]
    spots = [replace(SPOT, box=box)] * 3
    ours = painter(draw).paint(frames, spots, mels(3))
    monkeypatch.setattr(DetailTransfer, "enlarge_samples", enlarge_through_bgr)
    monkeypatch.setattr("tasks.painter.warp_samples", warp_through_bgr)
    theirs = painter(draw).paint(frames, spots, mels(3))
    assert (theirs.frames[2].v != frames[2].v).sum() > 200
    for plane in ("y", "u", "v"):
        off = np.abs(getattr(ours.frames[2], plane).astype(int) - getattr(theirs.frames[2], plane))
        assert np.percentile(off, 99) <= 1
        assert off.max() <= 6  # where two colours meet, chroma is no finer than the clip's
    assert np.abs(ours.faces[2]().astype(int) - theirs.faces[2]()).mean() < 1


def test_chroma_lies_beneath_its_luma_in_boxes_with_odd_corners() -> None:
    edges = []
    for shift in range(2):
        frame = face_frame(grain=0.0)
        box = (X1 + shift, Y1 + shift, X2 + shift, Y2 + shift)

        def red_below(face: np.ndarray) -> np.ndarray:
            face = np.full_like(face, 128)
            face[66:] = (40, 40, 220)
            return face

        output = paint(frame, red_below, Spot(box), match_color=False)
        red = output.v[90:112, 80].astype(float) - output.v[90, 80]
        edges.append(2 * (112 - red.sum() / red[-1]))
    # a box one pixel lower paints one pixel lower, though there is chroma for every second only
    assert abs(edges[1] - edges[0] - 1) < 0.25
