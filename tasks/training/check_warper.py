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

from models.warper import Warper
from singalong.media.audio import CHUNK_STEPS
from singalong.media.warp import apply_warp
from tasks.training.check_expert import ExpertProbe, open_expert, score
from tasks.training.heldout import HeldoutClip, mel_start, read_heldout
from tasks.training.mouth_reader import NUM_READ, MouthReader, load_reader

Faces = NDArray[np.uint8]
Floats = NDArray[np.float32]

_BATCH = 32
_CLOSED, _OPEN = 0.06, 0.3

_log = logging.getLogger(__name__)


@torch.inference_mode()
def dub(warper: Warper, faces: Faces, mel: Floats) -> Faces:
    """Faces (T, 96, 96, 3) of a HeldoutClip with the mouths of a sound, as a run makes them."""
    windows = np.stack([mel[:, mel_start(t) : mel_start(t) + CHUNK_STEPS] for t in range(len(faces))])
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
    """Figures over all clips; `source` is voice or mix."""
    rows = [_check_clip(warper, reader, probe, clips, number, source) for number in range(len(clips))]
    return {name: round(float(np.nanmean([row[name] for row in rows])), 4) for name in rows[0]}


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
    parser.add_argument("warper", type=Path, help="a training run's folder or a weights file")
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


def open_warper(path: Path) -> Warper:
    """The warper of a training run's folder, or of a weights file."""
    if path.is_dir():
        from tasks.training.warper import load_warper

        return load_warper(path)
    from models.checkpoints import load_network

    network = load_network(path, "singalong_warper")
    assert isinstance(network, Warper)
    return network


if __name__ == "__main__":
    main()
