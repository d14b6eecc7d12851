"""What a warper can do, on people, voices and songs it never met; judged mostly by a reader it never met either.

Redub: every held-out clip is given another clip's sound. The mouth read off the result has to follow the new sound's
true mouth and not the old one that the input shows. Beside it stand the renderer's own pictures of the redub, which say
how well the reader reads, and the expert's confidences, which alone prove nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.warper import EAR_LEAD_STEPS, EAR_STEPS, Warper
from singalong.media.audio import MAX_ABS
from singalong.media.warp import apply_warp
from tasks.training.batches import cut_mels
from tasks.training.brush import load_brush
from tasks.training.check_expert import ExpertProbe, open_expert, score
from tasks.training.ear import load_ear
from tasks.training.heldout import HeldoutClip, mel_start, read_heldout
from tasks.training.mouth_reader import NUM_READ, MouthReader, load_reader

Faces = NDArray[np.uint8]
Floats = NDArray[np.float32]

_BATCH = 32
_CLOSED, _OPEN = 0.06, 0.3
_SKIN_BOUNDS = 2.9, 5.8
_SIDE_LIGHT, _HARD_LIGHT = 0.575, 0.675

_log = logging.getLogger(__name__)


@torch.inference_mode()
def dub(warper: Warper, faces: Faces, mel: Floats) -> Faces:
    """Faces (T, 96, 96, 3) of a HeldoutClip with the mouths of a sound, as a run makes them."""
    first = np.array([mel_start(t) for t in range(len(faces))]) - EAR_LEAD_STEPS
    windows = cut_mels(mel, first, EAR_STEPS)
    out = []
    for start in range(0, len(faces), _BATCH):
        pictures = faces[start : start + _BATCH]
        faces_BCHW = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
        flow, patch = warper(torch.from_numpy(windows[start : start + _BATCH])[:, None], faces_BCHW)
        fields = zip(pictures, flow.numpy(), patch.numpy(), strict=True)
        out += [apply_warp(face, bend, paint) for face, bend, paint in fields]
    return np.stack(out)


def check_warper(
    warper: Warper, reader: MouthReader, probe: ExpertProbe, clips: list[HeldoutClip], *, source: str
) -> dict[str, float]:
    """Figures over all clips, then the opening's correlation by group; `source` is voice or mix."""
    rows = [_check_clip(warper, reader, probe, clips, number, source) for number in range(len(clips))]
    figures = {name: mean([row[name] for row in rows]) for name in rows[0]}
    for group, members in groups(clips).items():
        figures[f"new_mouth_{group}"] = mean([rows[number]["new_mouth"] for number in members])
    return figures


def groups(clips: list[HeldoutClip]) -> dict[str, list[int]]:
    """Clips by skin tone and by lighting, as rows of `clips`."""
    tone = np.array([clip.skin_tone[0] for clip in clips])
    side, hardness = np.array([clip.light for clip in clips]).T
    chosen = {
        "skin_light": tone < _SKIN_BOUNDS[0],
        "skin_medium": (tone >= _SKIN_BOUNDS[0]) & (tone < _SKIN_BOUNDS[1]),
        "skin_dark": tone >= _SKIN_BOUNDS[1],
        "light_front": side < _SIDE_LIGHT,
        "light_side": side >= _SIDE_LIGHT,
        "light_soft": hardness < _HARD_LIGHT,
        "light_hard": hardness >= _HARD_LIGHT,
    }
    return {name: [int(number) for number in np.flatnonzero(mask)] for name, mask in chosen.items()}


def mean(values: list[float]) -> float:
    """The mean of the values that are numbers, four digits; NaN where there is none."""
    numbers = [value for value in values if not np.isnan(value)]
    return round(float(np.mean(numbers)), 4) if numbers else float("nan")


def _check_clip(
    warper: Warper, reader: MouthReader, probe: ExpertProbe, clips: list[HeldoutClip], number: int, source: str
) -> dict[str, float]:
    clip = clips[number]
    mel: Floats = getattr(clip, f"redub_{source}_mel")
    other: Floats = getattr(clips[(number + 1) % len(clips)], f"redub_{source}_mel")
    made = dub(warper, clip.faces, mel)
    read, read_truth = reader.read(made), reader.read(clip.redubbed)
    region = _mouth_region(clip)
    row = {
        "new_mouth": correlation(read[:, 0], clip.redub_mouths[:, 0]),
        "old_mouth": correlation(read[:, 0], clip.mouths[:, 0]),
        "new_width": correlation(read[:, 1], clip.redub_mouths[:, 1]),
        "real_new_mouth": correlation(read_truth[:, 0], clip.redub_mouths[:, 0]),
        "real_old_mouth": correlation(read_truth[:, 0], clip.mouths[:, 0]),
        "real_new_width": correlation(read_truth[:, 1], clip.redub_mouths[:, 1]),
        "l1": _l1(made, clip.redubbed, region),
        "copy_l1": _l1(clip.faces, clip.redubbed, region),
        "size_of_motion": float(read[:, 0].std() / max(read_truth[:, 0].std(), 1e-3)),
        "closures": _closed_share(read, clip.redub_mouths),
        "real_closures": _closed_share(read_truth, clip.redub_mouths),
    }
    for name, faces, sound in (("made", made, mel), ("real", clip.redubbed, mel), ("shuffled", made, other)):
        lips = probe.lips(np.ascontiguousarray(faces[:, 48:]))
        found = score(lips, probe.sound(sound, len(lips)))
        row[f"confidence_{name}"] = found.confidence
        row[f"within_1_{name}"] = float(abs(found.offset_frames) <= 1)
    return row | _check_rest(warper, reader, clip)


def _check_rest(warper: Warper, reader: MouthReader, clip: HeldoutClip) -> dict[str, float]:
    """How open the mouth stands, and how much it moves, where nobody sings: in silence, and while the band plays."""
    row: dict[str, float] = {}
    has_band = clip.redub_band_mel.max() > -MAX_ABS
    for name, mel in (("silence", np.full_like(clip.redub_band_mel, -MAX_ABS)), ("band", clip.redub_band_mel)):
        if name == "band" and not has_band:
            row |= {"band_opening": float("nan"), "band_motion": float("nan")}
            continue
        opening = reader.read(dub(warper, clip.faces, mel))[:, 0]
        row |= {f"{name}_opening": float(opening.mean()), f"{name}_motion": float(opening.std())}
    return row


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's; NaN where one of them does not move."""
    if min(float(a.std()), float(b.std())) < 1e-4:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _closed_share(read: Floats, truth: Floats) -> float:
    """Of the moments when the true mouth is shut, the share in which it is read as nearly shut."""
    shut = truth[:, 0] < _CLOSED
    return float((read[shut, 0] < 0.5 * _OPEN).mean()) if shut.any() else float("nan")


def _mouth_region(clip: HeldoutClip) -> NDArray[np.bool_]:
    """Where either drawing of the clip ever differs, dilated: (96, 96)."""
    change = cv2.absdiff(clip.faces.reshape(-1, 96, 3), clip.redubbed.reshape(-1, 96, 3)).reshape(clip.faces.shape)
    return np.asarray((change.max(axis=3) > 24).mean(axis=0) > 0.05)


def _l1(made: Faces, truth: Faces, region: NDArray[np.bool_]) -> float:
    difference = np.abs(made.astype(np.int16) - truth)[:, region]
    return float(difference.mean()) / 255


def sheet(warper: Warper, clips: Iterable[HeldoutClip], *, num_columns: int = 12, scale: int = 2) -> Faces:
    """Rows of input, result and truth for some clips, to look at."""
    rows = []
    for clip in clips:
        frames = np.linspace(5, len(clip.faces) - 6, num_columns).astype(int)
        made = dub(warper, clip.faces, clip.redub_voice_mel)
        rows += [np.hstack(faces[frames]) for faces in (clip.faces, made, clip.redubbed)]
    return np.asarray(cv2.resize(np.vstack(rows), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST))


def main() -> None:
    """Redub held-out clips with a warper and judge the result."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("warper", type=Path, help="the folder of the training runs ear and brush, or a weights file")
    parser.add_argument("heldout", type=Path)
    parser.add_argument("--expert", type=Path, required=True)
    parser.add_argument("--reader", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--sheet", type=Path, default=None, help="write a picture of a few clips here")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    warper, reader = open_warper(args.warper), load_reader(args.reader)
    probe, clips = ExpertProbe(open_expert(args.expert)), read_heldout(args.heldout, args.limit)
    if args.sheet is not None:
        cv2.imwrite(str(args.sheet), sheet(warper, clips[:5]))
    figures = {source: check_warper(warper, reader, probe, clips, source=source) for source in ("voice", "mix")}
    _log.info("%s", json.dumps({"num_clips": len(clips), "num_read": NUM_READ, **figures}, indent=1))


def load_warper(ear: Path, brush: Path) -> Warper:
    """The warper of the last checkpoints of two training runs, in eval mode."""
    warper = Warper()
    warper.ear, warper.brush = load_ear(ear), load_brush(brush)
    return warper.eval()


def open_warper(path: Path) -> Warper:
    """The warper of a folder with the training runs ear and brush, or of a weights file."""
    if path.is_dir():
        return load_warper(path / "ear", path / "brush")
    from models.checkpoints import load_network

    network = load_network(path, "singalong_warper")
    assert isinstance(network, Warper)
    return network


if __name__ == "__main__":
    main()
