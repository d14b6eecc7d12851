"""Where nobody sings lips rest, but only with a generator that can, and only if it is wanted."""

from types import SimpleNamespace

import numpy as np
import pytest

from singalong.config import Settings
from tasks.lipsync import _sung_shares

VOICED = np.arange(800) >= 400  # from 5 s on
PAIR = SimpleNamespace(fps=25, num_frames=200, song_start_s=2.0)
SHARD = SimpleNamespace(start_frame=25, end_frame=100)  # 3 to 6 s of the song


def shares(*, can_rest: bool = True, rest: bool = True, pair: SimpleNamespace = PAIR) -> np.ndarray | None:
    settings = Settings.model_validate({"lipsync": {"rest": rest}})
    voice, generator = SimpleNamespace(voiced=VOICED), SimpleNamespace(can_rest=can_rest)
    return _sung_shares(voice, pair, SHARD, settings, generator)


def test_each_frame_is_told_how_much_to_sing() -> None:
    sung = shares()
    assert sung.shape == (75,)
    assert (sung[:25] == 0).all()  # to 4 s
    assert (sung[38:] == 1).all()  # from 4.5 s
    assert (np.diff(sung) >= 0).all()


def test_frames_behind_the_end_of_the_song_go_on_as_it_ended() -> None:
    sung = shares(pair=SimpleNamespace(fps=25, num_frames=200, song_start_s=9.0))
    assert (sung == 1).all()


@pytest.mark.parametrize("options", [{"can_rest": False}, {"rest": False}])
def test_nothing_is_held_back_where_the_generator_cannot_rest_or_nobody_wants_it(options: dict[str, bool]) -> None:
    assert shares(**options) is None
