"""Batches grow into a device's memory, shrink where it runs out, and remember what fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.batch_fit import LARGEST_BATCH, BatchFit, memory_of
from models.engine import GeneratorEngine
from models.generator import Generator
from models.seeded import seed_weights
from tests.models.test_engine import UNTRAINED, inputs, save


class Card:
    """A device with so much memory for batches, of which a frame takes so much: no real GPU is to be had here."""

    def __init__(self, room: int, frame: int = 10) -> None:
        self.room, self.frame, self.others, self.frames = room, frame, 0, 0

    def start(self) -> None:
        self.frames = 0

    def taken_bytes(self) -> int:
        return self.frame * self.frames

    def allowed_bytes(self) -> int:
        return self.room - self.others


def compute(fit: BatchFit, card: Card, num_frames: int) -> bool:
    """One batch on the card; whether it fitted."""
    fit.start()
    if card.frame * num_frames > card.allowed_bytes():
        assert fit.failed(num_frames)
        return False
    card.frames = num_frames
    fit.fitted(num_frames)
    return True


def sizes(fit: BatchFit, card: Card, num_batches: int) -> list[int]:
    found = []
    for _ in range(num_batches):
        found.append(fit.size)
        compute(fit, card, fit.size)
    return found


def test_a_batch_doubles_while_twice_as_much_would_fit_and_then_stays():
    assert sizes(card := BatchFit(8, c := Card(room=700)), c, 6) == [8, 16, 32, 64, 64, 64]
    assert card.wanted == 64


def test_memory_is_never_run_out_of_where_nobody_else_takes_any():
    for room in (85, 160, 161, 1000, 12345):
        fit, card = BatchFit(8, Card(room=room)), Card(room=room)
        assert all(compute(fit, card, fit.size) for _ in range(12)), room


def test_what_another_process_took_halves_the_batch_for_good():
    card = Card(room=700)
    fit = BatchFit(8, card)
    sizes(fit, card, 5)
    card.others = 300
    assert not compute(fit, card, fit.size)
    card.others = 0
    assert sizes(fit, card, 4) == [32, 32, 32, 32]


def test_a_batch_that_was_not_full_says_nothing_about_larger_ones():
    card = Card(room=10_000)
    fit = BatchFit(8, card)
    compute(fit, card, 3)
    assert fit.size == 8


def test_growing_ends_somewhere_however_large_the_card():
    card = Card(room=1 << 60)
    assert max(sizes(BatchFit(8, card), card, 20)) == LARGEST_BATCH


def test_a_limit_of_an_earlier_try_is_never_exceeded():
    card = Card(room=10_000)
    fit = BatchFit(8, card)
    fit.limit(4)
    assert sizes(fit, card, 4) == [4, 4, 4, 4]


def test_one_frame_that_does_not_fit_cannot_be_halved():
    assert not BatchFit(8, Card(room=5)).failed(1)


def test_on_a_cpu_batches_do_not_grow():
    fit = BatchFit(8, memory_of(torch.device("cpu"), 0.25))
    fit.start()
    fit.fitted(8)
    assert (fit.size, fit.wanted, fit.can_grow) == (8, 8, False)


def test_an_engine_grows_into_memory_and_draws_the_same(tmp_path):
    network = Generator(width=0.125).eval()
    seed_weights(network, 1)
    ref = save(network, tmp_path / "weights.safetensors")
    mel, faces = inputs(30)
    card = Card(room=170)
    growing = GeneratorEngine(ref, device="cpu", precision="float32", batch_size=4, memory=card)
    done, original = [], growing._batch

    def count(mel, faces, sung):
        done.append(len(faces))
        card.frames = len(faces)
        return original(mel, faces, sung)

    growing._batch = count
    drawn = np.stack(growing.generate(mel, faces))
    fixed = GeneratorEngine(ref, device="cpu", precision="float32", batch_size=4)
    assert done == [4, 8, 16, 2]
    assert growing.batch_size == 16
    assert np.abs(drawn.astype(int) - np.stack(fixed.generate(mel, faces)).astype(int)).max() <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: growth into a real card's memory is not tried")
def test_a_batch_grows_into_a_share_of_a_real_card_and_stays_within_it():
    engine = GeneratorEngine(UNTRAINED, device="cuda", batch_size=8, gpu_share=0.1)
    mel, faces = inputs(64)
    for _ in range(6):
        engine.generate(mel, faces)
    assert engine.batch_size > 8
    assert torch.cuda.max_memory_reserved() <= 0.1 * torch.cuda.get_device_properties(0).total_memory
