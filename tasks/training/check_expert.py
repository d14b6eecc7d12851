"""What a sync expert can do, on people, voices and songs it never met: offsets, confidences, thresholds.

Everything is scored as in a run: lips from the real detector's boxes, sound windows of 0.2 s, the search of 15 frames
to either side (`singalong.scoring`). Each held-out clip of 4 s is scored against

    true      its own sound
    wrong     the sounds of other clips
    loud      the sounds of other clips, made as loud as its own at every moment: loudness alone must not convince
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.small_expert import SmallExpert
from singalong.frames_table import MAX_OFFSET_FRAMES
from singalong.media.audio import CHUNK_STEPS, MAX_ABS, MIN_LEVEL_DB, level_db
from singalong.scoring import CurveScore, distance_rows, offset_curve, read_curve, sound_index
from tasks.training.batches import WINDOW
from tasks.training.heldout import HeldoutClip, mel_start, read_heldout

_NUM_WRONG = 4
_UNIT_PER_DB = 2 * MAX_ABS / -MIN_LEVEL_DB

Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One scoring: of which clip, against what, and the outcome."""

    clip: int
    kind: str
    sings: bool
    score: CurveScore


class ExpertProbe:
    """Embeds held-out clips with an expert and scores them against any sound."""

    def __init__(self, expert: SmallExpert) -> None:
        self._expert = expert.eval()

    @torch.inference_mode()
    def lips(self, crops: NDArray[np.uint8]) -> Floats:
        """Embeddings (T - 4, D) of lower halves (T, 48, 96, 3)."""
        windows = np.stack([crops[k : k + WINDOW] for k in range(len(crops) - WINDOW + 1)])
        parts = []
        for start in range(0, len(windows), 32):
            batch_B5HWC = torch.from_numpy(windows[start : start + 32])
            faces_BCHW = batch_B5HWC.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
            parts.append(self._expert.embed_face(faces_BCHW).numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def sound(self, mel: Floats, num_windows: int) -> Floats:
        """Embeddings (num_windows + 30, D) of the windows from 15 frames before the pictures on."""
        first = [mel_start(frame) for frame in range(-MAX_OFFSET_FRAMES, num_windows + MAX_OFFSET_FRAMES)]
        windows = np.stack([mel[:, start : start + CHUNK_STEPS] for start in first])
        return np.asarray(self._expert.embed_audio(torch.from_numpy(windows)[:, None]).numpy())


def score(lips_ND: Floats, sound_MD: Floats) -> CurveScore:
    """Offset, confidence and distance over all windows."""
    index_NO = sound_index(np.arange(len(lips_ND)) + MAX_OFFSET_FRAMES)
    found = read_curve(offset_curve(distance_rows(lips_ND, sound_MD, index_NO)))
    assert found is not None
    return found


def as_loud_as(mel: Floats, like: Floats) -> Floats:
    """A mel (80, S) with the loudness contour of another, so that how loud it is tells nothing."""
    change_db = level_db(like) - level_db(mel)
    return np.clip(mel + (change_db * _UNIT_PER_DB).astype(np.float32), -MAX_ABS, MAX_ABS).astype(np.float32)


def run_trials(expert: SmallExpert, clips: list[HeldoutClip]) -> list[Trial]:
    """All trials of all clips, on the voice alone (kinds `voice_*`) and on the mix (`mix_*`)."""
    probe = ExpertProbe(expert)
    lips = [probe.lips(clip.scored) for clip in clips]
    return [trial for source in ("voice", "mix") for trial in _trials_of(probe, clips, lips, source)]


def _trials_of(probe: ExpertProbe, clips: list[HeldoutClip], lips: list[Floats], source: str) -> Iterator[Trial]:
    mels: list[Floats] = [getattr(clip, f"{source}_mel") for clip in clips]
    sounds = [probe.sound(mel, len(lips[0])) for mel in mels]
    for number, clip in enumerate(clips):

        def trial(kind: str, sound: Floats, number: int = number, sings: bool = bool(clip.sings[0])) -> Trial:
            return Trial(number, f"{source}_{kind}", sings, score(lips[number], sound))

        yield trial("true", sounds[number])
        for shift in range(1, _NUM_WRONG + 1):
            other = (number + shift) % len(clips)
            yield trial("wrong", sounds[other])
            yield trial("loud", probe.sound(as_loud_as(mels[other], mels[number]), len(lips[0])))


def auc(positive: Floats, negative: Floats) -> float:
    """Chance that a positive exceeds a negative; ties count half."""
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(above)


def summarise(trials: list[Trial]) -> dict[str, float]:
    """The figures of a model card."""

    def confidence(kind: str, keep: Callable[[Trial], bool] = lambda _: True) -> Floats:
        return np.array([t.score.confidence for t in trials if t.kind == kind and keep(t)], np.float32)

    figures: dict[str, float] = {"num_clips": float(len({trial.clip for trial in trials}))}
    for source in ("voice", "mix"):
        true = [trial for trial in trials if trial.kind == f"{source}_true"]
        for label, some in (
            ("", true),
            ("song_", [t for t in true if t.sings]),
            ("speech_", [t for t in true if not t.sings]),
        ):
            if some:
                offsets = np.abs([trial.score.offset_frames for trial in some])
                figures[f"{source}_{label}within_1"] = float((offsets <= 1).mean())
                figures[f"{source}_{label}exact"] = float((offsets == 0).mean())
        figures[f"{source}_auc_wrong"] = auc(confidence(f"{source}_true"), confidence(f"{source}_wrong"))
        figures[f"{source}_auc_loud"] = auc(confidence(f"{source}_true"), confidence(f"{source}_loud"))
        for kind in ("true", "wrong", "loud"):
            figures[f"{source}_{kind}_median"] = float(np.median(confidence(f"{source}_{kind}")))
    return {name: round(value, 4) for name, value in figures.items()}


def thresholds(trials: list[Trial]) -> dict[str, float]:
    """Where pass and fail begin: 5 % of true pairs lie below the one, 5 % of wrong pairs above the other.

    Over the voice and the mix together. Where the two cross, pass takes the higher and fail the lower.
    """
    true = [trial.score.confidence for trial in trials if trial.kind.endswith("true")]
    wrong = [trial.score.confidence for trial in trials if trial.kind.endswith("wrong")]
    low_true, high_wrong = float(np.quantile(true, 0.05)), float(np.quantile(wrong, 0.95))
    return {
        "pass_confidence": round(max(low_true, high_wrong), 4),
        "fail_confidence": round(min(low_true, high_wrong), 4),
        "max_offset_frames": 2,
    }


def main() -> None:
    """Score held-out clips with an expert: a training run's folder or a weights file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("expert", type=Path)
    parser.add_argument("heldout", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    trials = run_trials(open_expert(args.expert), read_heldout(args.heldout, args.limit))
    _log.info("%s", json.dumps({"metrics": summarise(trials), "thresholds": thresholds(trials)}, indent=1))


def open_expert(path: Path) -> SmallExpert:
    """The expert of a training run's folder, or of a weights file."""
    if path.is_dir():
        from tasks.training.expert import load_expert

        return load_expert(path)
    from models.checkpoints import load_network

    network = load_network(path, "singalong_expert")
    assert isinstance(network, SmallExpert)
    return network


if __name__ == "__main__":
    main()
