import cv2
import numpy as np
import pytest

from tasks.training.batches import brush_batch, mouth_batch
from tasks.training.brush import BrushTrainer
from tasks.training.dataset import ExampleSet
from tasks.training.portraits import NUM_POSES, Portrait, make_portrait
from tests.tasks.training.stored import stored


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return make_portrait(3)


@pytest.fixture(scope="module")
def data(portrait, tmp_path_factory) -> ExampleSet:
    return stored([portrait, portrait], tmp_path_factory.mktemp("portraits"))


def test_a_portrait_follows_from_its_seed(portrait):
    again = make_portrait(3)
    assert np.array_equal(again.targets, portrait.targets)
    assert np.array_equal(again.flows, portrait.flows)


def test_both_pictures_differ_in_the_lower_face_only(portrait):
    change = np.abs(portrait.targets.astype(int) - portrait.references).max(axis=3)
    assert change[:, :45].max() <= 8  # JPEG and noise reach a little further than the mouth
    assert change[:, 70:].max() > 40


def test_the_smile_is_the_persons_own(portrait):
    plain = portrait.mouths[:, 2] < 0.05
    both = plain & (portrait.reference_mouths[:, 2] < 0.05)
    assert np.abs(portrait.mouths[both, -1] - portrait.reference_mouths[both, -1]).max() < 0.1


def test_the_known_flow_turns_the_reference_into_the_target(portrait):
    rows, columns = np.mgrid[:128, :112].astype(np.float32)
    improved = []
    for k in range(NUM_POSES):
        flow, known = portrait.flows[k], portrait.known[k] > 0
        bent = cv2.remap(portrait.references[k], columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        moved = known & (np.abs(flow).max(axis=2) > 0.5)
        if moved.sum() > 100:
            miss, copy = (
                cv2.absdiff(image, portrait.targets[k])[moved].mean() for image in (bent, portrait.references[k])
            )
            improved.append(miss / copy)
    assert improved
    assert np.mean(improved) < 0.7


def test_the_flow_is_not_known_inside_the_mouth(portrait):
    assert not ((portrait.holes > 128) & (portrait.known > 0)).any()


def test_pairs_show_the_same_face_with_another_mouth(data):
    batch, again = (brush_batch(data, 1, 0, num_pairs=4) for _ in range(2))
    assert np.array_equal(batch.references, again.references)
    assert batch.references.shape == batch.targets.shape == (4, 96, 96, 3)
    assert batch.mouths.shape == (4, 8)
    assert batch.flows.shape == (4, 96, 96, 2)
    assert set(np.unique(batch.around)) <= {0.0, 1.0}
    change = np.abs(batch.targets.astype(int) - batch.references).mean(axis=3)
    assert change[:, 60:].mean() > 3 * change[:, :30].mean()


def test_the_mouth_reader_gets_faces_and_their_mouths(data):
    faces, mouths = mouth_batch(data, 1, 0, num_faces=3)
    assert faces.shape == (3, 96, 96, 3)
    assert mouths.shape == (3, 9)


def test_a_batch_moves_every_weight_of_the_brush(data):
    trainer = BrushTrainer()
    loss, figures = trainer.loss(brush_batch(data, 1, 0, num_pairs=3))
    loss.backward()
    assert figures["copy_l1"] > 0
    assert all(parameter.grad is not None for parameter in trainer.parameters())
