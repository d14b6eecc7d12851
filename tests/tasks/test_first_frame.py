"""What a pair's shards take from its first frame is read from the clip once."""

from pathlib import Path

from singalong.contracts import ClipFacts
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings
from tasks import first_frame as module
from tasks.first_frame import first_frame
from tests.videos import make_video

BT709_FULL = (1, 1, 1, 2)


class CountingReader(ClipReader):
    """Counts the frames that are asked for."""

    asked = 0

    def read_chunk(self, times_s):
        self.asked += len(times_s)
        return super().read_chunk(times_s)


def clip(path: Path, sha256: str = "0" * 64, **making) -> ClipFacts:
    return probe_clip(make_video(path, num_frames=5, **making), sha256=sha256, limits=LimitSettings(), still_fps=25)


def test_the_second_shard_of_a_pair_does_not_read_it(tmp_path: Path) -> None:
    facts = clip(tmp_path / "clip.mp4")
    with CountingReader(facts) as first, CountingReader(facts) as second:
        told = first_frame(facts, 0.08, first)
        assert first_frame(facts, 0.08, second) == told
        assert (first.asked, second.asked) == (1, 0)
        assert told.num_bytes == 128 * 96 * 3 // 2
        assert not told.is_deep


def test_another_clip_span_or_content_is_read(tmp_path: Path) -> None:
    plain, full = clip(tmp_path / "plain.mp4"), clip(tmp_path / "full.mp4", color=BT709_FULL)
    again = plain.model_copy(update={"sha256": "1" * 64})
    with CountingReader(plain) as one, CountingReader(full) as other:
        told = first_frame(plain, 0.0, one)
        assert first_frame(full, 0.0, other).color != told.color
        first_frame(plain, 0.1, one)
        first_frame(again, 0.0, one)
        assert one.asked == 3


def test_what_is_remembered_does_not_grow(tmp_path: Path) -> None:
    facts = clip(tmp_path / "clip.mp4")
    with ClipReader(facts) as reader:
        for number in range(module._KEPT + 20):
            first_frame(facts, number * 1e-4, reader)
    assert len(module._known) == module._KEPT
