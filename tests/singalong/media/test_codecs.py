"""Who decodes and encodes: the GPU's units only where they work and give what the processor gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from singalong.media import codecs
from singalong.media.codecs import NVENC, Choice, choose_decoder, choose_encoder, device_words, flaw_of, nvenc_options
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.encode import SegmentWriter
from singalong.media.join import join_segments, segments_match
from singalong.media.probe import probe_clip
from singalong.media.recode import joinable
from singalong.settings import LimitSettings
from tests.segments import BT601, numbered_frame, numbers_of, write_segment

ON_CARD = Choice("nvidia", "for the test")
HAS_CARD = Path("/dev/nvidiactl").exists()
without_card = pytest.mark.skipif(HAS_CARD, reason="an NVIDIA driver is here")


@without_card
@pytest.mark.parametrize("choose", [choose_decoder, choose_encoder])
def test_without_a_card_the_processor_works_and_says_why(choose) -> None:
    assert choose("auto") == Choice("cpu", choose("auto").reason)
    assert "finds no NVIDIA driver" in choose("auto").reason
    assert "was asked for" in choose("nvidia").reason
    assert choose("cpu") == Choice("cpu", "as set")


@without_card
def test_units_that_cannot_be_opened_are_found_out_by_opening_them() -> None:
    for flaw in (codecs._decoder_flaw(), codecs._encoder_flaw()):
        assert flaw is not None
        assert flaw.startswith("cannot be opened: ")


@pytest.mark.parametrize(("crf", "is_good"), [("18", True), ("19", True), ("30", False)])
def test_an_encoder_that_makes_worse_pictures_than_x264_is_not_used(crf: str, is_good: bool) -> None:
    wanted = codecs._decoded(codecs._encoded("libx264", {"preset": "superfast", "crf": "18"}), None)
    found = codecs._decoded(codecs._encoded("libx264", {"preset": "superfast", "crf": crf}), None)
    assert (flaw_of(codecs._pictures(), found, wanted) is None) is is_good


def test_an_encoder_that_loses_a_frame_is_not_used() -> None:
    wanted = codecs._decoded(codecs._encoded("libx264", {"preset": "superfast", "crf": "18"}), None)
    assert "7 frames for 8" in (flaw_of(codecs._pictures(), wanted[1:], wanted) or "")


@without_card
def test_a_segment_is_written_by_x264_where_nvenc_does_not_open(tmp_path: Path) -> None:
    size = {"width": 128, "height": 96}
    path = tmp_path / "a.mp4"
    with SegmentWriter(path, **size, fps=Fraction(25), color=BT601, crf=18, preset="swift", encoder=ON_CARD) as writer:
        for number in range(9):
            writer.write(numbered_frame(number, (128, 96), BT601))
    assert numbers_of(path) == list(range(9))
    assert not writer.encoder.is_nvidia
    assert "could not be opened" in writer.encoder.reason
    plain = write_segment(tmp_path / "b.mp4", range(9), preset="swift", crf=18)
    assert path.read_bytes() == plain.read_bytes()


@without_card
def test_a_clip_decodes_on_the_processor_where_nvdec_does_not_open(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "a.mp4", range(9))
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    with ClipReader(facts, decoder=ON_CARD) as asked, ClipReader(facts) as plain:
        ours, theirs = (reader.read_chunk([0.0, 0.2]) for reader in (asked, plain))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.y, b.y)
    assert len(list(iter_small_frames(facts, max_side_px=64, decoder=ON_CARD))) == 9


def test_segments_of_two_encoders_are_brought_to_one_before_they_are_joined(tmp_path: Path) -> None:
    first = write_segment(tmp_path / "a.mp4", range(12), preset="swift")
    second = write_segment(tmp_path / "b.mp4", range(12, 20), preset="slow")  # as another encoder's: other headers
    film = tmp_path / "film.mp4"
    with joinable([first, second], film, fps=Fraction(25)) as segments:
        assert segments_match(segments)
        join_segments(segments, film, fps=Fraction(25), audio=[], metadata={})
    assert numbers_of(film) == list(range(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "film.mp4"]


def test_segments_of_one_encoder_are_joined_as_they_are(tmp_path: Path) -> None:
    paths = [write_segment(tmp_path / f"{start}.mp4", range(start, start + 5)) for start in (0, 5)]
    with joinable(paths, tmp_path / "film.mp4", fps=Fraction(25)) as segments:
        assert segments == paths


def test_the_report_says_what_the_card_did_and_why_not_the_rest() -> None:
    no_card, card = Choice("cpu", "NVENC finds no NVIDIA driver"), Choice("nvidia", "works")
    assert device_words("cpu (bfloat16)", no_card, no_card) == "cpu (bfloat16)"
    asked = Choice("cpu", "NVDEC was asked for, but finds no NVIDIA driver")
    assert device_words("cpu (float32)", asked, no_card) == f"cpu (float32); {asked.reason}"
    assert device_words("cuda:0 NVIDIA H200 (bfloat16)", card, no_card) == (
        "cuda:0 NVIDIA H200 (bfloat16); NVDEC; encoded on the CPU (NVENC finds no NVIDIA driver)"
    )


@pytest.mark.skipif(not HAS_CARD, reason="no NVIDIA driver: NVENC and NVDEC are not tried")
def test_the_cards_units_are_used_or_refused_with_a_reason() -> None:
    assert choose_decoder("auto").reason
    assert choose_encoder("auto").reason
    assert NVENC
    assert nvenc_options(18, 50)["g"] == "50"
