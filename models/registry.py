"""The models on this computer: `HOME/NAME/weights.safetensors` (or `.onnx`) and `card.json`, and the built-in ones.

Cards are plain JSON, so that listing and choosing models needs no torch; only `add_checkpoint` imports it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import ValidationError

from models.card_beside import known_of
from models.cards import (
    CARD_FILE,
    ROLES,
    ModelCard,
    Role,
    builtin_cards,
    bundled_folders,
    file_sha256,
)
from singalong.contracts import ModelRef
from singalong.errors import InputError, UsageError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ModelCard", "add_checkpoint", "find_card", "list_models", "resolve", "verify"]

Purpose = Literal["generator", "scorer", "detector", "enhancer"]

WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "weights.onnx"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RESERVED = frozenset({"auto", "none", "centerface", "untrained", "singalong-expert", "singalong-warper"})
# Best first: the GAN variant looks sharper (section 4.3 of the paper), SyncNet's scores are the published ones;
# our own small models stand in until somebody adds others.
_PREFERRED_FILES = ("wav2lip_gan.pth", "wav2lip.pth")
_PREFERRED_SCORERS = ("syncnet_v2", "lipsync_expert", "singalong_expert")


def add_checkpoint(
    name: str,
    path: str | Path,
    *,
    home: Path,
    role: Role | None = None,
    replace: bool = False,
    licence: str | None = None,
    trained_on: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    source: str | None = None,
) -> ModelCard:
    """Check a checkpoint, and store its weights as safetensors with a card, whole or not at all.

    `source` is where the file came from, if not from `path` itself. The network is recognised by its keys; an `.onnx`
    file is a face enhancer, and is stored as it is. What a card beside the file says of it is kept, unless it is said
    here. Raises WeightsError for a file that is not the weights of a known network, or a card that is not the file's,
    UsageError for a bad name or role, InputError if the name is taken and `replace` is not set.
    """
    check_name(name, home, replace=replace)
    path = Path(path).expanduser().resolve()
    read = _read_enhancer if path.suffix.lower() == ".onnx" else _read_network
    weights_file, facts, write = read(path)
    source_sha256, architecture = file_sha256(path), facts["architecture"]
    known = known_of(path, sha256=source_sha256, architecture=architecture)
    said = {"licence": licence, "trained_on": trained_on, "thresholds": thresholds and dict(thresholds)}
    known |= {field: value for field, value in said.items() if value}
    known["role"] = _role(role or known.get("role"), architecture)
    card = ModelCard(
        **facts,
        **known,
        name=name,
        weights=str(home.resolve() / name / weights_file),
        weights_sha256="",
        num_bytes=0,
        source=source or str(path),
        source_sha256=source_sha256,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return _install(card, write, home)


_Read = tuple[str, dict[str, Any], Callable[[Path], object]]
"""Of a checkpoint: the name of its file when it is installed, what is found in it, and how to write that file."""


def _read_network(path: Path) -> _Read:
    from models.architectures import check_state, identify, num_parameters
    from models.checkpoints import read_checkpoint

    state = read_checkpoint(path)
    architecture = identify(state, file=path)
    # sfd_face is known by name only; checking it against s3fd explains what to use instead.
    width = check_state(state, "s3fd" if architecture == "sfd_face" else architecture, file=path)
    facts = {"architecture": architecture, "width": width, "num_parameters": num_parameters(state)}
    return WEIGHTS_FILE, facts, lambda weights: _save_state(state, weights)


def _read_enhancer(path: Path) -> _Read:
    from models.enhancer import check_enhancer

    facts = {"architecture": check_enhancer(path).architecture}
    return ONNX_FILE, facts, lambda weights: shutil.copyfile(path, weights)


def list_models(home: Path) -> list[ModelCard]:
    """Built-in and installed models, by name; folders without a readable card are left out (see `verify`)."""
    return sorted([*builtin_cards(), *_installed(home)], key=lambda card: card.name)


def find_card(name: str, home: Path) -> ModelCard:
    """The card of one model. Raises InputError that lists what there is."""
    for card in builtin_cards():
        if card.name == name:
            return card
    if _NAME.fullmatch(name) and (home / name).is_dir():
        return _read_card(home / name)
    known = list_models(home)
    raise InputError(f"there is no model named {name!r}", expected=_listing(known), action="See: singalong models list")


@overload
def resolve(name: str, role: Literal["generator", "detector"], *, home: Path) -> ModelRef: ...
@overload
def resolve(name: str, role: Literal["scorer", "enhancer"], *, home: Path) -> ModelRef | None: ...
def resolve(name: str, role: Purpose, *, home: Path) -> ModelRef | None:
    """The model to use as generator, scorer, detector or enhancer.

    `auto` takes the best installed: the published generators first, then other added ones, newest first, then our own;
    SyncNet before the paper's expert before our own; CenterFace. `none` is no scorer, or no enhancer. Raises InputError
    that lists the models of that role for an unknown name, a model of another role, or missing weights.
    """
    if role in ("scorer", "enhancer") and name == "none":
        return None
    if name == "auto":
        card = _best(role, _fitting(list_models(home), role))
        if card is None and role == "scorer":
            return None
    else:
        card = find_card(name, home)
    if card is None or not _fits(card, role):
        found = f"the model {name!r} is for the role {card.role}, not {role}" if card else f"no {role} is installed"
        raise InputError(
            found,
            expected=_listing(_fitting(list_models(home), role)),
            action="Add one: singalong models add NAME FILE",
        )
    if card.weights is not None and not Path(card.weights).is_file():
        raise InputError(
            f"the weights of the model {card.name!r} are missing",
            file=card.weights,
            action=f"Add it again: singalong models add {card.name} FILE --replace",
        )
    return card.ref()


def verify(home: Path) -> list[WeightsError]:
    """Hash the weights of all added and bundled models again; the problems, none if all match their cards."""
    problems = []
    for folder in [*bundled_folders(), *_folders(home)]:
        again = "Install singalong again." if folder.parent != home else None
        try:
            card = _read_card(folder)
            _verify(card, folder, again or f"Add it again: singalong models add {card.name} FILE --replace")
        except WeightsError as exc:
            problems.append(exc)
    return problems


def _verify(card: ModelCard, folder: Path, again: str) -> None:
    weights = Path(card.weights or "")
    if card.name != folder.name:
        raise WeightsError(
            "the card names another model", file=folder / CARD_FILE, value=card.name, expected=folder.name
        )
    if not weights.is_file():
        raise WeightsError("the weights are missing", file=weights, action=again)
    digest = file_sha256(weights)
    if digest != card.weights_sha256:
        raise WeightsError(
            "the weights are not those on the card",
            file=weights,
            value=digest,
            expected=card.weights_sha256,
            action=again,
        )


def check_name(name: str, home: Path, *, replace: bool) -> None:
    """Raise UsageError for a name no model may have, InputError for one that is taken and not to be replaced."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "bad name for a model",
            value=name,
            expected="up to 64 of a-z, 0-9, dot, dash and underscore, the first a letter or digit",
        )
    if name in _RESERVED:
        raise UsageError("this name is taken by a built-in model or a keyword", value=name)
    if (home / name).exists() and not replace:
        raise InputError(
            f"there is a model named {name!r} already",
            file=home / name,
            action="Choose another name, or use --replace.",
        )


def _role(role: Role | None, architecture: str) -> Role:
    allowed = ROLES[architecture]
    if role is not None and role not in allowed:
        raise UsageError(f"{architecture} cannot be a {role}", expected=" or ".join(allowed))
    return role or allowed[0]


def _install(card: ModelCard, write: Callable[[Path], object], home: Path) -> ModelCard:
    """Write weights and card to a folder beside the final one, then rename it: others see all of it or nothing."""
    assert card.weights is not None
    home.mkdir(parents=True, exist_ok=True)
    final, temporary = home / card.name, home / f".adding-{card.name}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        weights = temporary / Path(card.weights).name
        write(weights)
        card = card.model_copy(update={"weights_sha256": file_sha256(weights), "num_bytes": weights.stat().st_size})
        (temporary / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _sync([weights, temporary / CARD_FILE, temporary])
        _rename(temporary, final)
        _sync([home])
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def _save_state(state: Mapping[str, Tensor], weights: Path) -> None:
    from safetensors.torch import save_file

    # The header is fixed, so that the same weights give the same file, and the same work keys, everywhere.
    save_file({key: tensor.clone() for key, tensor in state.items()}, weights, metadata={"format": "pt"})


def _rename(temporary: Path, final: Path) -> None:
    old = final.with_name(f".old-{final.name}-{secrets.token_hex(4)}")
    if final.exists():
        final.rename(old)
    try:
        temporary.rename(final)
    except OSError as exc:
        if old.exists() and not final.exists():
            old.rename(final)
        raise InputError(f"cannot install the model: {exc.strerror}", file=final) from exc
    shutil.rmtree(old, ignore_errors=True)


def _sync(paths: Iterable[Path]) -> None:
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _folders(home: Path) -> list[Path]:
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))


def _installed(home: Path) -> list[ModelCard]:
    cards = []
    for folder in _folders(home):
        try:
            cards.append(_read_card(folder))
        except WeightsError:
            continue
    return cards


def _read_card(folder: Path) -> ModelCard:
    path = folder / CARD_FILE
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise WeightsError(
            f"cannot read the card of the model {folder.name!r}",
            file=path,
            action=f"Add it again: singalong models add {folder.name} FILE --replace",
        ) from exc
    # The folder may have been moved or copied to another computer.
    file = Path(card.weights or WEIGHTS_FILE).name
    return card.model_copy(update={"weights": str((folder / file).resolve())})


def _fits(card: ModelCard, role: Purpose) -> bool:
    return role in ROLES.get(card.architecture, ())


def _fitting(cards: Iterable[ModelCard], role: Purpose) -> list[ModelCard]:
    return [card for card in cards if _fits(card, role)]


def _best(role: Purpose, cards: list[ModelCard]) -> ModelCard | None:
    if role == "detector":
        return next((card for card in cards if card.builtin), cards[0] if cards else None)
    newest = sorted(cards, key=lambda card: card.created_at or "", reverse=True)
    if role == "scorer":
        preferred = [
            card for architecture in _PREFERRED_SCORERS for card in newest if card.architecture == architecture
        ]
        return preferred[0] if preferred else None
    rank = {file: index for index, file in enumerate(_PREFERRED_FILES)}
    newest.sort(key=lambda card: (not card.trained, card.builtin, rank.get(card.published or "", len(rank))))
    return newest[0] if newest else None


def _listing(cards: Iterable[ModelCard]) -> str:
    return "one of " + (", ".join(f"{card.name} ({card.role})" for card in cards) or "none installed")
