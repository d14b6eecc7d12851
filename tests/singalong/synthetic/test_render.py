from fractions import Fraction

import cv2
import numpy as np
import pytest

from singalong.synthetic.articulation import still_mouth
from singalong.synthetic.cast import BEARDS, CLOTHES, GLASSES, HAIR_STYLES, Identity
from singalong.synthetic.clips import TalkingClip
from singalong.synthetic.lips import mouth_truth
from singalong.synthetic.motion import backward_flow
from singalong.synthetic.phonemes import MOUTH_NAMES, PhonemeSpan
from singalong.synthetic.poses import POSE_NAMES, pose_track
from singalong.synthetic.render import FaceRenderer, Scene, render

COLUMN = {name: index for index, name in enumerate(MOUTH_NAMES)}


def _mouth(**values):
    mouth = still_mouth(1)[0].copy()
    for name, value in values.items():
        mouth[COLUMN[name]] = value
    return mouth


def _pose(**values):
    pose = pose_track(1, fps=25, seed=0, half_height=0.36, centre=(0.5, 0.5), liveliness=0.0)[0]
    pose[3:] = 0
    for name, value in values.items():
        pose[POSE_NAMES.index(name)] = value
    return pose


def _dark_share(renderer, mouth):
    """Share of the mouth's surroundings that is the dark of an open mouth."""
    pose = _pose()
    image = renderer.frame(pose, mouth).astype(int).sum(axis=2)
    left, top, right, bottom = (int(v) for v in renderer.geometry(pose, mouth).box)
    lower = image[(top + 2 * bottom) // 3 : bottom + 8, left:right]
    return (lower < 150).mean()


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(Identity.from_seed(4, beard="none"), Scene(), width=128, height=128)


def test_the_same_seeds_give_the_same_bytes():
    poses = pose_track(3, fps=25, seed=5)
    frames = [
        b"".join(
            f.tobytes()
            for f in render(Identity.from_seed(5), poses, still_mouth(3), scene=Scene.from_seed(5), width=96, height=96)
        )
        for _ in range(2)
    ]
    assert frames[0] == frames[1]


def test_another_mouth_changes_the_lower_face_only():
    for seed in range(4):
        person, scene = Identity.from_seed(seed), Scene.from_seed(seed)
        renderer = FaceRenderer(person, scene, width=160, height=160)
        pose = pose_track(1, fps=25, seed=seed, half_height=0.36, centre=(0.5, 0.5))[0]
        shut, wide = (renderer.frame(pose, _mouth(opening=o, jaw=o), 3) for o in (0.0, 0.9))
        changed = np.abs(shut.astype(int) - wide).max(axis=2) > 0
        marks = renderer.geometry(pose, _mouth()).landmarks
        eyes_y, across = marks[:2, 1].max(), np.linalg.norm(marks[1] - marks[0])
        rows, columns = np.nonzero(changed)
        margin = 16 if scene.quality.jpeg else 3
        assert rows.min() > eyes_y - margin
        assert columns.max() - columns.min() < 3.4 * across + 2 * margin
        assert changed.mean() > 0.02


def test_what_the_mouth_does_can_be_seen(renderer):
    assert _dark_share(renderer, _mouth(opening=0.9, jaw=0.9)) > _dark_share(renderer, _mouth()) + 0.02


def test_geometry_follows_the_mouth(renderer):
    pose = _pose()
    shut, wide = (renderer.geometry(pose, _mouth(opening=o, jaw=o)) for o in (0.0, 0.9))
    assert wide.chin[1] > shut.chin[1] + 4
    assert np.allclose(wide.box, shut.box)
    spread, narrow = (renderer.geometry(pose, _mouth(width=w)).landmarks for w in (0.9, -0.9))
    assert spread[4, 0] - spread[3, 0] > narrow[4, 0] - narrow[3, 0] + 2


def test_blinking_changes_the_eyes_only(renderer):
    open_eyes, shut_eyes = (renderer.frame(_pose(blink=b), _mouth()) for b in (0.0, 1.0))
    rows, _ = np.nonzero(np.abs(open_eyes.astype(int) - shut_eyes).max(axis=2) > 6)
    box = renderer.geometry(_pose(), _mouth()).box
    assert rows.min() > box[1]
    assert rows.max() < (box[1] + box[3]) / 2 + 6


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_is_drawn(style):
    person = Identity.from_seed(1, hair_style=style, beard="none")
    frame = FaceRenderer(person, Scene(), width=64, height=64).frame(_pose(), _mouth())
    bald = FaceRenderer(Identity.from_seed(1, hair_style="bald", beard="none"), Scene(), width=64, height=64)
    assert (np.abs(frame.astype(int) - bald.frame(_pose(), _mouth())).max() > 20) == (style != "bald")


@pytest.mark.parametrize(("field", "values"), [("beard", BEARDS), ("glasses", GLASSES), ("clothes", CLOTHES)])
def test_every_feature_is_drawn(field, values):
    looks = {
        FaceRenderer(Identity.from_seed(2, **{field: value}), Scene(), width=64, height=64)
        .frame(_pose(), _mouth())
        .tobytes()
        for value in values
    }
    assert len(looks) == len(values)


def test_a_face_that_leaves_the_frame_is_cut_off_cleanly():
    renderer = FaceRenderer(Identity.from_seed(1), Scene(), width=64, height=64)
    for x, y in ((-0.5, 0.5), (1.5, 0.5), (0.5, -1.2), (0.5, 2.5), (0.0, 0.0)):
        assert renderer.frame(_pose(x=x, y=y), _mouth()).shape == (64, 64, 3)


def test_frames_can_be_asked_for_in_any_order():
    clip = TalkingClip.from_seed(8, width=80, height=80, fps=Fraction(25), duration_s=0.4, half_height=0.36)
    in_order = list(clip.frames())
    alone = clip.renderer().frame(clip.poses[7], clip.mouths[7], 7)
    assert np.array_equal(alone, in_order[7])


def test_dubbing_keeps_everything_above_the_mouth():
    clip = TalkingClip.from_seed(6, width=96, height=96, fps=Fraction(25), duration_s=0.4, half_height=0.36)
    dub = clip.dubbed([PhonemeSpan(1.0, 1.5, "AA")], start_s=1.0)
    assert dub.phonemes[0] == PhonemeSpan(0.0, 0.5, "AA")
    marks = clip.renderer().geometry(clip.poses[6], clip.mouths[6]).landmarks
    top = int(marks[:2, 1].max()) - (16 if clip.scene.quality.jpeg else 3)
    own, other = list(clip.frames())[6], list(dub.frames())[6]
    assert np.array_equal(own[:top], other[:top])
    assert not np.array_equal(own, other)


def test_known_flow_turns_one_mouth_into_another(renderer):
    pose = _pose(yaw=0.15, roll=0.1)
    source, target = _mouth(opening=0.1, jaw=0.05), _mouth(opening=0.7, jaw=0.7, width=0.3)
    flow, visible = backward_flow(renderer, pose, source, target)
    rows, columns = np.mgrid[0:128, 0:128].astype(np.float32)
    first, second = renderer.frame(pose, source), renderer.frame(pose, target)
    warped = cv2.remap(first, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    where = (visible > 0) & (np.abs(first.astype(int) - second).max(axis=2) > 8)
    before, after = (np.abs(image.astype(int) - second)[where].mean() for image in (first, warped))
    assert after < 0.4 * before
    assert (visible == 0).mean() > 0.005


def test_the_truth_of_a_mouth_says_what_shows():
    person = Identity.from_seed(3)
    shut, wide, teeth = mouth_truth(
        person, np.stack([_mouth(smile=0), _mouth(opening=1, jaw=1), _mouth(opening=0.25, teeth=0.8, width=1)])
    )
    gap, width, jaw, upper, _, tongue = range(6)
    assert shut[[gap, upper, tongue]].max() < 1e-6
    assert wide[gap] > 0.3
    assert wide[jaw] > 0.15
    assert wide[tongue] > 0.01
    assert 0.03 < teeth[upper] <= teeth[gap] + 1e-6
    assert teeth[width] > shut[width]
