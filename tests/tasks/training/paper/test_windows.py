import numpy as np

from tasks.training.paper.windows import ExpertBatch, GeneratorBatch, Stream, expert_batch, generator_batch, mel_chunk


class Numbered:
    """Sequences that tell where they come from: frame f of video v is 40 v + f everywhere, and 2x2 pixels large."""

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def num_frames(self, i: int) -> int:
        return self._lengths[i]

    def faces(self, i, frames):
        numbers = np.array([40 * i + frame for frame in frames], np.uint8)
        return np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, 2, 3)).copy()

    def mel(self, i):
        columns = (self._lengths[i] - 1) * 80 // 25 + 16
        return np.tile(np.arange(columns, dtype=np.float32) + 1000 * i, (80, 1))


TWO = Numbered(24, 30)


def first_frames(windows) -> np.ndarray:
    return windows[:, 0, 0, 0, 0].astype(int)


def experts(seed=0, step=1, items=range(64), stream=Stream.TRAINING) -> ExpertBatch:
    return expert_batch(TWO, seed, stream, step, items)


def generators(seed=0, step=1, items=range(64), stream=Stream.TRAINING) -> GeneratorBatch:
    return generator_batch(TWO, seed, stream, step, items)


def test_a_batch_follows_from_seed_stream_and_step_alone():
    assert (generators().windows == generators().windows).all()
    assert (generators().frame_mels == generators().frame_mels).all()
    for other in (generators(seed=1), generators(step=2), generators(stream=Stream.EVALUATION)):
        assert (generators().windows != other.windows).any()


def test_the_shares_of_two_workers_make_the_whole_batch():
    whole, halves = experts(), [experts(items=range(32)), experts(items=range(32, 64))]
    for name in ("faces", "mels", "in_sync"):
        assert (np.concatenate([getattr(half, name) for half in halves]) == getattr(whole, name)).all()


def test_windows_are_five_frames_in_a_row_of_one_video():
    batch = generators()
    for windows in (batch.windows, batch.references):
        numbers = windows[:, :, 0, 0, 0].astype(int)
        assert (np.diff(numbers, axis=1) == 1).all()
    assert ((first_frames(batch.windows) < 40) == (first_frames(batch.references) < 40)).all()


def test_the_reference_is_another_window():
    batch = generators()
    assert (first_frames(batch.windows) != first_frames(batch.references)).all()


def test_all_videos_and_starts_are_drawn():
    starts = {int(start) for step in range(40) for start in first_frames(generators(step=step).windows)}
    assert starts == {*range(1, 20), *range(41, 66)}
    starts = {int(start) for step in range(40) for start in first_frames(experts(step=step).faces)}
    assert starts == {*range(20), *range(40, 66)}


def test_the_sound_of_an_expert_pair_begins_with_the_right_window():
    batch = experts()
    frames = first_frames(batch.faces)
    expected = (frames % 40) * 80 // 25 + 1000 * (frames // 40)
    assert batch.mels.shape == (64, 80, 16)
    in_sync = batch.in_sync == 1
    assert (batch.mels[in_sync, 0, 0] == expected[in_sync]).all()
    assert (batch.mels[~in_sync, 0, 0] != expected[~in_sync]).any()


def test_half_of_the_expert_pairs_are_out_of_sync():
    shares = [experts(step=step).in_sync.mean() for step in range(20)]
    assert 0.45 < np.mean(shares) < 0.55


def test_a_frame_hears_what_begins_one_frame_before_it():
    batch = generators()
    for first, mel, chunks in zip(first_frames(batch.windows), batch.mels, batch.frame_mels, strict=True):
        video, frame = divmod(int(first), 40)
        assert mel[0, 0] == int(80 * (frame / 25)) + 1000 * video
        assert [chunk[0, 0] for chunk in chunks] == [int(80 * ((frame + t - 1) / 25)) + 1000 * video for t in range(5)]


def test_short_videos_are_never_drawn():
    batch = generator_batch(Numbered(15, 30), 0, Stream.TRAINING, 1, range(32))
    assert (first_frames(batch.windows) >= 40).all()


def test_a_chunk_of_sound_is_sixteen_columns_from_the_frames_start():
    chunk = mel_chunk(TWO.mel(0), 7)
    assert chunk.shape == (80, 16)
    assert chunk[3].tolist() == list(range(22, 38))
