import threading

import pytest

from tasks.training.paper.prefetch import Prefetch


def test_batches_come_in_order_each_once():
    with Prefetch(lambda step: step * step, 3, 9, num_ahead=4) as batches:
        assert list(batches) == [(step, step * step) for step in range(3, 9)]


def test_nothing_is_made_where_nothing_is_left():
    with Prefetch(lambda step: pytest.fail("called"), 5, 5) as batches:
        assert list(batches) == []


def test_the_next_batch_is_made_while_this_one_is_used():
    made = threading.Event()

    def make(step: int) -> int:
        if step == 2:
            made.set()
        return step

    with Prefetch(make, 1, 4, num_ahead=1) as batches:
        assert next(batches) == (1, 1)
        assert made.wait(10)


def test_what_goes_wrong_comes_out_where_its_batch_is_asked_for():
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("damaged")
        return step

    with Prefetch(make, 1, 4) as batches:
        assert next(batches) == (1, 1)
        with pytest.raises(ValueError, match="damaged"):
            next(batches)
