"""Weights and cards as the package ships them: `models/bundled/<name>/` with weights.safetensors and card.json.

Matrices are stored in half precision, which halves the files; what the cards say was measured on the stored weights.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.cards import CARD_FILE, ROLES, ModelCard, file_sha256
from models.registry import WEIGHTS_FILE

LICENCE = "the same as singalong's own code; trained on nothing but what singalong itself draws and synthesises"

_log = logging.getLogger(__name__)


def stored_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights as they are stored: matrices and kernels in half precision, vectors and statistics as they are.

    Counters of batch norms are left out: nothing reads them in eval mode.
    """
    return {
        key: (value.half() if value.dim() > 1 else value).contiguous().clone()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def write_bundle(
    folder: Path,
    network: nn.Module,
    *,
    architecture: str,
    trained_on: str,
    facts: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Write weights and card into `folder`, whose name is the model's; `facts` are further fields of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    save_file(stored_state(network), weights, metadata={"format": "pt"})
    card = ModelCard(
        name=folder.name,
        architecture=architecture,
        role=ROLES[architecture][0],
        weights=WEIGHTS_FILE,
        weights_sha256=file_sha256(weights),
        num_bytes=weights.stat().st_size,
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
        source="singalong itself (tasks/training)",
        licence=LICENCE,
        trained_on=trained_on,
        builtin=True,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **(facts or {}),
    )
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
    return card


def main() -> None:
    """Store a training run's network, then what was measured on the stored file with `--figures`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=["expert", "warper"])
    parser.add_argument("run", type=Path, help="of the warper: the folder that holds the runs ear and brush")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--figures", type=Path, default=None, help="JSON with metrics, thresholds, commands, made_on")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = json.loads(args.figures.read_text(encoding="utf-8")) if args.figures else {}
    network, architecture = _open(args.kind, args.run)
    card = write_bundle(
        args.folder,
        network,
        architecture=architecture,
        trained_on=args.trained_on,
        facts=figures,
    )
    _log.info("%s: %d bytes, sha256 %s", args.folder, card.num_bytes, card.weights_sha256)


def _open(kind: str, run: Path) -> tuple[nn.Module, str]:
    torch.set_num_threads(1)
    if kind == "expert":
        from tasks.training.expert import load_expert

        return load_expert(run), "singalong_expert"
    from tasks.training.check_warper import load_warper

    return load_warper(run / "ear", run / "brush"), "singalong_warper"


if __name__ == "__main__":
    main()
