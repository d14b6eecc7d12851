"""CREDENTIALS: every film says in itself, signed, what it is: C2PA content credentials in the MP4 file.

The manifest names singalong, the sources by SHA-256, the models and the rights, and marks the film as a composite with
generated parts. Nothing is asked of the network: no time stamp, no look-up of certificates.

A certificate of our own is made where the user has none. It is self-signed: it proves that a film was not changed since
it was made, not who made it.

Specification: https://c2pa.org/specifications; source types: https://cv.iptc.org/newscodes/digitalsourcetype.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from singalong import __version__
from singalong.config import Settings
from singalong.contracts import PairPlan
from singalong.durable import sha256_of
from singalong.errors import BugError
from tasks.certificate import OWN_CERTIFICATE, check_certificate, load_signer
from tasks.jobs import Credentials, Signing, SourceFile

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOURCES_LABEL = "singalong.sources"
"""Our own assertion: sources and models with their SHA-256, and rights."""
_MIME = "video/mp4"
_AGENT = {"name": "singalong", "version": __version__}
_SETTINGS = {
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    # By default c2pa holds up to twice 256 MB of a film; hashed by the megabyte it holds 10 MB of any. All hashes go
    # into the manifest (32 bytes each): with proofs beside the pictures it is larger and slower.
    "core": {
        "backing_store_memory_threshold_in_mb": 4,
        "merkle_tree_chunk_size_in_kb": 1024,
        "merkle_tree_max_proofs": 0,
    },
}


@cache
def can_sign() -> bool:
    """Whether the library for content credentials works here."""
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def signing_of(settings: Settings) -> Signing | None:
    """What films are signed with by these settings; None where they are not signed. Makes no certificate.

    Raises UsageError for a certificate or key of the user's that cannot be used.
    """
    film = settings.film
    if film.credentials == "none" or not can_sign():
        return None
    if film.certificate is None and film.certificate_key is None:
        return Signing(certificate=str(settings.store_path / OWN_CERTIFICATE), certificate_id="own")
    certificate, private_key = check_certificate(film.certificate, film.certificate_key)
    return Signing(certificate=str(certificate), private_key=str(private_key), certificate_id=sha256_of(certificate))


def credentials_for(pairs: Iterable[PairPlan], signing: Signing | None) -> Credentials | None:
    """What the credentials of a film of these pairs tell; None where films are not signed."""
    if signing is None:
        return None
    pairs = list(pairs)
    files = [("clip", pair.clip, pair.clip_file_sha256 or pair.clip_sha256, pair.rights) for pair in pairs]
    files += [("song", pair.song, pair.song_sha256, pair.rights) for pair in pairs]
    sources = {
        (role, sha256): SourceFile(role=role, title=Path(path).name, sha256=sha256, rights=rights)
        for role, path, sha256, rights in reversed(files)  # of several names for one content the first
    }
    models = {pair.generator.weights_sha256: pair.generator for pair in pairs}
    rights = sorted({pair.rights for pair in pairs if pair.rights})
    return Credentials(
        signing=signing,
        sources=tuple(sources[key] for key in sorted(sources)),
        models=tuple(models[key] for key in sorted(models)),
        rights="; ".join(rights) or None,
    )


def embed_credentials(film: Path, title: str, credentials: Credentials) -> None:
    """Sign a finished film: its pictures and sound stay as they are, the manifest is put before them.

    The file is written anew beside its place and then replaced; memory does not grow with the film. Raises BugError
    where the signed film does not verify.
    """
    import c2pa

    signed = film.with_name(f"{film.name.removesuffix('.tmp')}.signed.tmp")
    context = c2pa.Context.from_dict(_SETTINGS)
    try:
        builder = c2pa.Builder(json.dumps(manifest_of(title, credentials)), context=context)
        with load_signer(credentials.signing) as signer, film.open("rb") as source, signed.open("w+b") as target:
            builder.sign(signer, _MIME, source, target)
        _verify(signed)
        signed.replace(film)
    except c2pa.C2paError as exc:
        raise BugError(
            f"its content credentials could not be written: {exc}", file=film, action="Or: --set film.credentials=none"
        ) from exc
    finally:
        signed.unlink(missing_ok=True)


def read_credentials(film: Path) -> dict[str, Any]:
    """The credentials of a film as C2PA tells them: manifests, and `validation_state`, Valid or Trusted if unchanged.

    Raises c2pa.C2paError for a film without any.
    """
    import c2pa

    with film.open("rb") as file, c2pa.Reader(_MIME, file, context=c2pa.Context.from_dict(_SETTINGS)) as reader:
        found: dict[str, Any] = json.loads(reader.json())
    return found


def manifest_of(title: str, credentials: Credentials) -> dict[str, Any]:
    """The manifest as c2pa's builder takes it."""
    models = ", ".join(model.name for model in credentials.models)
    made = {"digitalSourceType": COMPOSITE, "softwareAgent": _AGENT}
    edited = {"action": "c2pa.edited", "description": f"Lip movements generated by {models} from the song"} | made
    facts = {
        "sources": [source.model_dump(mode="json") for source in credentials.sources],
        "models": [model.model_dump(mode="json", exclude={"path"}) for model in credentials.models],
        "rights": credentials.rights,
    }
    return {
        "claim_generator_info": [_AGENT],
        "title": title,
        "format": _MIME,
        "ingredients": [
            {
                "title": source.title,
                "relationship": "componentOf",
                "description": f"{source.role}, sha256 {source.sha256}",
            }
            for source in credentials.sources
        ],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created"} | made, edited]}},
            {"label": SOURCES_LABEL, "data": facts},
        ],
    }


def _verify(film: Path) -> None:
    found = read_credentials(film)
    if found.get("validation_state") not in ("Valid", "Trusted"):
        raise BugError(
            "the content credentials just written do not verify",
            file=film,
            value=found.get("validation_status"),
            action="Or: --set film.credentials=none",
        )
