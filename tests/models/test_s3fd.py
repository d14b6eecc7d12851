import numpy as np
import pytest
import torch

from models.s3fd import S3FD, best_box, decode, decode_level, preprocess, suppress


def inclusive_iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def random_boxes(num, seed=0):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (num, 2))
    sizes = rng.uniform(5, 30, (num, 2))
    return np.hstack([corners, corners + sizes, rng.permutation(num)[:, None] / num]).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_greedy_by_score_with_inclusive_pixels(seed):
    boxes = random_boxes(40, seed)
    keep = []
    for index in sorted(range(40), key=lambda i: -boxes[i, 4]):
        if all(inclusive_iou(boxes[index], boxes[kept]) <= 0.3 for kept in keep):
            keep.append(index)
    assert suppress(boxes).tolist() == keep


def test_suppression_of_nothing_is_nothing():
    assert suppress(np.zeros((0, 5), np.float32)).tolist() == []


def test_zero_regression_gives_the_prior_square_of_four_strides():
    cls = torch.full((1, 2, 3, 4), -5.0)
    cls[0, 0] = 5.0
    cls[0, :, 1, 2] = torch.tensor([0.0, 3.0])
    found = decode_level(cls, torch.zeros(1, 4, 3, 4), stride=8)
    # Cell (row 1, column 2) of stride 8 is centred at x 20, y 12; the prior's side is 32.
    score = 1 / (1 + np.exp(-3.0))
    np.testing.assert_allclose(found.numpy(), [[[4, -4, 36, 28, score]]], atol=1e-5)


def test_decoding_moves_by_a_tenth_and_scales_by_the_exponential():
    box = decode(torch.tensor([1.0, -2.0, 5.0, 0.0]), torch.tensor([50.0, 60.0, 10.0, 20.0]))
    width = 10 * np.e
    np.testing.assert_allclose(box.numpy(), [51 - width / 2, 46, 51 + width / 2, 66], rtol=1e-6)


def test_candidate_of_one_image_is_listed_for_all():
    cls = torch.zeros(2, 2, 1, 2)
    cls[:, 0] = 9.0
    cls[1, 1, 0, 1] = 12.0
    found = decode_level(cls, torch.zeros(2, 4, 1, 2), stride=4)
    assert found.shape == (1, 2, 5)
    assert found[0, 0, 4] < 0.05 < 0.9 < found[0, 1, 4]


def test_means_are_subtracted_from_red_first():
    batch = preprocess([np.full((40, 50, 3), (10, 20, 30), np.uint8)])
    assert batch.shape == (1, 3, 40, 50)
    assert batch[0, :, 0, 0].tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_tiny_images_are_padded_to_what_five_poolings_need():
    assert preprocess([np.zeros((7, 50, 3), np.uint8)]).shape == (1, 3, 32, 50)


def test_best_box_is_truncated_and_clipped_at_zero_only():
    assert best_box(np.zeros((0, 5), np.float32)) is None
    assert best_box(np.asarray([[-3.2, 4.9, 700.9, 8.1, 0.9]], np.float32)) == (0, 4, 700, 8)


@pytest.fixture(scope="module")
def reference_network(reference_state):
    network = S3FD().eval()
    network.load_state_dict(reference_state("s3fd"))
    return network


@pytest.fixture(scope="module")
def images(vectors, make_weights):
    golden = vectors("s3fd")
    height, width = golden["image_hw"]
    stack = [make_weights.smooth_image(f"s3fd/img{k}", int(height), int(width), 3, 0) for k in range(3)]
    stack[1][:] = int(golden["flat_value"])
    return stack


def test_raw_heads_match_the_reference_vectors(reference_network, images, vectors):
    golden = vectors("s3fd")
    with torch.inference_mode():
        heads = reference_network(preprocess(images[:1]))
    for index, head in enumerate(heads):
        np.testing.assert_allclose(head.numpy(), golden[f"raw{index:02d}"], atol=1e-4)


def test_candidates_match_the_reference_vectors(reference_network, images, vectors):
    golden = vectors("s3fd")
    np.testing.assert_allclose(reference_network.candidates(images[:1])[:, 0], golden["detect_list"], atol=1e-2)
    np.testing.assert_allclose(reference_network.candidates(images), golden["batch_list"], atol=1e-2)
    decoded = decode(torch.from_numpy(golden["loc"]), torch.from_numpy(golden["priors"]))
    np.testing.assert_allclose(decoded.numpy(), golden["decoded"], atol=1e-2)


def test_detections_match_the_reference_vectors(reference_network, images, vectors):
    golden = vectors("s3fd")
    found = reference_network.detect(images)
    for index, boxes in enumerate(found):
        np.testing.assert_allclose(boxes, golden[f"final{index}"], atol=1e-2)
        assert best_box(boxes) == tuple(golden["rects"][index])
    np.testing.assert_array_equal(suppress(golden["nms_dets"]), golden["nms_keep"])


def test_images_of_several_sizes_come_back_in_their_order(reference_network, images):
    mixed = [images[0], images[2][:96], images[2]]
    found = reference_network.detect(mixed)
    for image, boxes in zip(mixed, found, strict=True):
        np.testing.assert_allclose(boxes, reference_network.detect([image])[0], atol=1e-2)
