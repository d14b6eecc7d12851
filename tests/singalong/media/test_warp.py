import cv2
import numpy as np

from singalong.media.warp import apply_warp


def _face(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_no_flow_and_no_patch_leave_every_pixel_alone():
    face = _face()
    out = apply_warp(face, np.zeros((96, 96, 2), np.float32), np.zeros((4, 96, 96), np.float32))
    assert np.array_equal(out, face)
    assert out is not face


def test_flow_says_where_a_pixel_comes_from_in_shares_of_the_side():
    face = _face(width=50)
    flow = np.zeros((96, 96, 2), np.float32)
    flow[..., 0] = 0.1
    out = apply_warp(face, flow, np.zeros((4, 96, 96), np.float32))
    assert np.abs(out[:, :44].astype(int) - face[:, 5:49]).max() <= 1


def test_a_covering_patch_replaces_the_face():
    patch = np.zeros((4, 96, 96), np.float32)
    patch[3, 48:] = 1
    patch[2, 48:] = 0.5
    out = apply_warp(_face(), np.zeros((96, 96, 2), np.float32), patch)
    assert np.array_equal(np.unique(out[21:].reshape(-1, 3), axis=0), [[0, 0, 128]])
    assert np.array_equal(out[:19], _face()[:19])


def test_the_patchs_edge_is_sharper_on_a_large_face_than_its_cells():
    patch = np.zeros((4, 96, 96), np.float32)
    patch[:3] = 1
    # a soft edge: from 5 % to 95 % over six cells
    patch[3] = (1 / (1 + np.exp(-np.arange(-48, 48))))[:, None]
    face = np.zeros((384, 384, 3), np.uint8)
    out = apply_warp(face, np.zeros((96, 96, 2), np.float32), patch)[:, 200, 0].astype(int)
    edge_px = np.flatnonzero((out > 13) & (out < 242))
    assert len(edge_px) <= 8  # stretched as it is, it would be 24 wide
    assert abs(edge_px.mean() - 48 * 4) < 3
    assert out[0] == 0
    assert out[-1] == 255


def test_a_patch_at_the_crops_rim_stays_in_place():
    patch = np.zeros((4, 96, 96), np.float32)
    patch[:, 90:, 90:] = 1
    out = apply_warp(np.zeros((192, 192, 3), np.uint8), np.zeros((96, 96, 2), np.float32), patch)
    assert (out[184:, 184:] > 250).all()
    assert out[:170].max() == 0


def test_bending_only_what_moves_gives_what_bending_all_gives():
    face = np.random.default_rng(0).integers(0, 256, (151, 203, 3), np.uint8)
    flow = np.zeros((96, 96, 2), np.float32)
    flow[60:70, 30:52] = (0.02, -0.01)
    found = apply_warp(face, flow, np.zeros((4, 96, 96), np.float32))
    fine = cv2.resize(flow, (203, 151))
    map_x = np.arange(203, dtype=np.float32) + fine[..., 0] * 203
    map_y = np.arange(151, dtype=np.float32)[:, None] + fine[..., 1] * 151
    wanted = cv2.remap(face, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    assert (wanted != face).any()
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert (found[:85] == face[:85]).all()
