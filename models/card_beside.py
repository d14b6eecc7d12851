"""What is known of a checkpoint before it is added: by its digest, and by the card that a training left beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.cards import CARD_FILE, ROLES, ModelCard, find_published, same_size_as_published
from singalong.errors import WeightsError

_KEPT = frozenset(
    {
        *("role", "published", "licence", "trained_on", "thresholds", "metrics", "commands", "made_on"),
        *("training", "trained"),
    }
)
"""What of such a card stays true wherever the weights lie, and whatever they are called."""
_ACTION = "Mend it, or move it away to add the weights without it."


def known_of(path: Path, *, sha256: str, architecture: str) -> dict[str, Any]:
    """Fields of the card of a file with this digest; what authors say of a file they published beats a card beside it.

    Raises WeightsError as `card_beside` does.
    """
    beside = card_beside(path, sha256=sha256, architecture=architecture)
    known = beside.model_dump(include=set(_KEPT)) if beside else {}
    published, near = find_published(sha256), same_size_as_published(path.stat().st_size)
    if published:
        known |= {"published": published.file, "licence": published.licence, "trained_on": published.trained_on}
    elif near and not known.get("published"):
        known["published"] = f"size of {near.file}, other content"
    return known


def card_beside(path: Path, *, sha256: str, architecture: str) -> ModelCard | None:
    """The card in a checkpoint's folder; None where there is none, or where it is of another file there.

    Raises WeightsError for one that cannot be read, lacks something, or is not of these weights.
    """
    file = path.with_name(CARD_FILE)
    try:
        card = ModelCard.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WeightsError(f"cannot read the card: {exc.strerror}", file=file, action=_ACTION) from exc
    except ValidationError as exc:
        raise WeightsError(_problems(exc), file=file, expected="a model's card", action=_ACTION) from exc
    if card.weights_sha256 != sha256:
        if _is_of_a_neighbour(card, path):
            return None
        raise WeightsError(
            f"the card is not of {path.name}, beside which it lies",
            file=file,
            value=card.weights_sha256,
            expected=f"weights_sha256 {sha256}",
            action=_ACTION,
        )
    if card.architecture != architecture or card.role not in ROLES[architecture]:
        raise WeightsError(
            "the card is of another network",
            file=file,
            value=f"{card.architecture}, {card.role}",
            expected=f"{architecture}, {' or '.join(ROLES[architecture])}",
            action=_ACTION,
        )
    return card


def _is_of_a_neighbour(card: ModelCard, path: Path) -> bool:
    name = Path(card.weights or "").name
    return name not in ("", path.name) and path.with_name(name).is_file()


def _problems(error: ValidationError) -> str:
    """All of them at once, each with the field that has it."""
    found = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
    return "; ".join(f"{place}: {said}" if place else said for place, said in found)
