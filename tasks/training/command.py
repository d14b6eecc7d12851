"""What the training commands of our own networks have in common: arguments, one thread, how a run is read again."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import cv2
import torch
from torch import nn

from tasks.training.loop import CHECKPOINT_FILE, LoopSettings


def training_parser(
    description: str | None, *, num_steps: int, learning_rate: float, seed: int
) -> argparse.ArgumentParser:
    """The arguments of a training, with its defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--num-steps", type=int, default=num_steps)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--num-shards", type=int, default=None, help="examples to use, in shards; all by default")
    return parser


def begin(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, LoopSettings]:
    """Read the command line and set the process up: progress on standard error, one thread."""
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return args, LoopSettings(num_steps=args.num_steps, learning_rate=args.learning_rate)


def read_trained(network: nn.Module, run: Path) -> None:
    """Give a network, or a trainer around it, the weights of a run's last checkpoint."""
    network.load_state_dict(torch.load(run / CHECKPOINT_FILE, weights_only=True)["network"])
