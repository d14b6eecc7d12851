import numpy as np
import pytest

from models.registry import CARD_FILE, WEIGHTS_FILE
from models.small_expert import SmallExpert
from models.warper import Warper
from singalong.media.audio import level_db
from singalong.scoring import CurveScore
from tasks.training.bundle import stored_state, write_bundle
from tasks.training.check_expert import ExpertProbe, Trial, as_loud_as, auc, open_expert, score, summarise, thresholds
from tasks.training.check_warper import check_warper, correlation, dub, groups, sheet
from tasks.training.heldout import HeldoutClip
from tasks.training.mouth_reader import MouthReader


def _clip(seed: int) -> HeldoutClip:
    rng = np.random.default_rng(seed)
    num = 12

    def faces(rows: int = 96) -> np.ndarray:
        return rng.integers(0, 256, (num, rows, 96, 3)).astype(np.uint8)

    def mel() -> np.ndarray:
        return rng.uniform(-4, 2, (80, 180)).astype(np.float32)

    tracks = [rng.random((num, 9)).astype(np.float32) for _ in range(2)]
    one = np.ones(1, np.float32)
    mels = [mel() for _ in range(5)]
    return HeldoutClip(faces(48), faces(), faces(), *tracks, *mels, one, one, one, np.ones(2, np.float32))


def test_area_under_the_curve_of_known_samples():
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert auc(np.array([0.0]), np.array([1.0, 2.0])) == 0


def test_loudness_matched_sound_is_as_loud_at_every_moment():
    rng = np.random.default_rng(0)
    mel, like = rng.uniform(-1, 1, (2, 80, 30)).astype(np.float32)
    matched = as_loud_as(mel, like - 0.5)
    assert np.abs(level_db(matched) - level_db(like - 0.5)).max() < 0.1


def test_the_right_sound_is_found_and_a_late_one_reported():
    rng = np.random.default_rng(0)
    sound = np.abs(rng.standard_normal((70, 16))).astype(np.float32)
    sound /= np.linalg.norm(sound, axis=1, keepdims=True)
    assert score(sound[15:55], sound).offset_frames == 0
    # The sound that fits comes three windows later, so it has offset -3.
    assert score(sound[18:55], sound).offset_frames == -3


def _trials() -> list[Trial]:
    rows = []
    for clip in range(20):
        for source in ("voice", "mix"):
            for kind, confidence in (("true", 0.5 + 0.01 * clip), ("wrong", 0.01 * clip), ("loud", 0.02)):
                rows.append(Trial(clip, f"{source}_{kind}", clip % 2 == 0, CurveScore(confidence, 0.4, clip % 3)))
    return rows


def test_figures_and_thresholds_of_well_separated_trials():
    figures, limits = summarise(_trials()), thresholds(_trials())
    assert figures["voice_auc_wrong"] == figures["mix_auc_loud"] == 1
    assert figures["voice_within_1"] == pytest.approx(14 / 20)
    assert limits["pass_confidence"] == pytest.approx(0.5095)
    assert limits["fail_confidence"] == pytest.approx(0.1805)


def test_correlation_of_a_still_mouth_is_no_number():
    assert np.isnan(correlation(np.zeros(5, np.float32), np.arange(5, dtype=np.float32)))
    assert correlation(np.arange(5.0), np.arange(5.0) * 2) == pytest.approx(1)


def test_the_warper_is_judged_by_reader_and_expert():
    clips = [_clip(0), _clip(1)]
    warper, reader, probe = Warper().eval(), MouthReader().eval(), ExpertProbe(SmallExpert())
    figures = check_warper(warper, reader, probe, clips, source="mix")
    wanted = {"new_mouth", "old_mouth", "l1", "copy_l1", "confidence_made", "confidence_shuffled", "silence_opening"}
    assert wanted <= set(figures)
    assert groups(clips) == {
        "skin_light": [0, 1],
        "skin_medium": [],
        "skin_dark": [],
        "light_front": [],
        "light_side": [0, 1],
        "light_soft": [],
        "light_hard": [0, 1],
    }
    assert dub(warper, clips[0].faces, clips[0].mix_mel).shape == clips[0].faces.shape
    assert sheet(warper, clips, num_columns=2, scale=1).shape == (6 * 96, 2 * 96, 3)


def test_a_bundle_is_a_network_with_a_card(tmp_path):
    expert = SmallExpert().eval()
    card = write_bundle(
        tmp_path / "small",
        expert,
        architecture="singalong_expert",
        trained_on="nothing",
        facts={"metrics": {"auc": 0.5}},
    )
    assert (tmp_path / "small" / CARD_FILE).exists()
    assert card.metrics == {"auc": 0.5}
    again = open_expert(tmp_path / "small" / WEIGHTS_FILE).state_dict()
    assert all((again[key] == value.float()).all() for key, value in stored_state(expert).items())
