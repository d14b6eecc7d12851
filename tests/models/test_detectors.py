import numpy as np
import pytest
import torch

from models.detectors import Detections, S3FDDetector, load_detector
from models.s3fd import S3FD
from singalong.contracts import ModelRef
from singalong.errors import InputError, ResourceError


class FakeS3FD(torch.nn.Module):
    """Sees one face as large as the image, reaching 10 pixels beyond it on every side."""

    def __init__(self, most_images=99):
        super().__init__()
        self.most_images, self.batches = most_images, []

    def detect(self, images):
        if len(images) > self.most_images:
            raise RuntimeError("CUDA out of memory. Tried to allocate much")
        self.batches.append([image.shape for image in images])
        return [np.array([[-10, -10, image.shape[1] + 10, image.shape[0] + 10, 0.9]], np.float32) for image in images]


def images(*sizes):
    return [np.zeros((height, width, 3), np.uint8) for height, width in sizes]


def test_boxes_are_clipped_to_the_image():
    found = S3FDDetector(FakeS3FD(), device="cpu").detect(images((40, 60)))
    np.testing.assert_array_equal(found[0].boxes, [[0, 0, 60, 40]])
    np.testing.assert_allclose(found[0].scores, [0.9])
    assert found[0].landmarks is None
    assert len(found[0]) == 1


def test_large_images_are_shrunk_and_boxes_scaled_back():
    network = FakeS3FD()
    found = S3FDDetector(network, device="cpu", max_side_px=100).detect(images((300, 200), (50, 80)))
    assert network.batches == [[(100, 67, 3), (50, 80, 3)]]
    np.testing.assert_allclose(found[0].boxes, [[0, 0, 200, 300]])
    np.testing.assert_allclose(found[1].boxes, [[0, 0, 80, 50]])


def test_batches_stay_below_the_pixel_limit_in_order():
    network = FakeS3FD()
    detector = S3FDDetector(network, device="cpu")
    detector.max_batch_px = 1000
    found = detector.detect(images((10, 40), (10, 50), (20, 30), (50, 60), (10, 10)))
    assert [len(batch) for batch in network.batches] == [2, 1, 1, 1]
    assert [tuple(one.boxes[0, 2:]) for one in found] == [(40, 10), (50, 10), (30, 20), (60, 50), (10, 10)]
    assert detector.detect([]) == []


def test_running_out_of_memory_halves_the_batch():
    network = FakeS3FD(most_images=2)
    found = S3FDDetector(network, device="cpu").detect(images(*[(32, 32)] * 5))
    assert len(found) == 5
    assert max(len(batch) for batch in network.batches) == 2
    with pytest.raises(ResourceError, match="even one image"):
        S3FDDetector(FakeS3FD(most_images=0), device="cpu").detect(images((32, 48)))


def test_a_flat_image_holds_no_face_for_a_fresh_network():
    torch.manual_seed(0)
    found = S3FDDetector(S3FD().eval(), device="cpu").detect(images((64, 96)))
    assert isinstance(found[0], Detections)
    assert found[0].boxes.shape[1:] == (4,)
    assert found[0].boxes.dtype == np.float32


def test_s3fd_is_loaded_from_its_weights(tmp_path):
    torch.manual_seed(0)
    torch.save(S3FD().state_dict(), tmp_path / "s3fd.pth")
    ref = ModelRef(name="s3fd", architecture="s3fd", path=str(tmp_path / "s3fd.pth"), weights_sha256="0")
    assert isinstance(load_detector(ref, device="cpu"), S3FDDetector)


def test_a_model_that_is_no_detector_is_refused():
    ref = ModelRef(name="mine", architecture="syncnet_v2", path="x", weights_sha256="0")
    with pytest.raises(InputError, match="'mine' is no face detector"):
        load_detector(ref)
