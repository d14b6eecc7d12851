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
