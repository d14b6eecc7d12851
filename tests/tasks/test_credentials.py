"""Content credentials: written, read back, and gone wrong as soon as a film is touched."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from singalong import __version__
from singalong.config import Settings, load_settings
from singalong.errors import UsageError
from singalong.store import Store
from tasks import certificate
from tasks.certificate import OWN_CERTIFICATE, load_signer, make_own_certificate
from tasks.credentials import COMPOSITE, SOURCES_LABEL, credentials_for, read_credentials, signing_of
from tasks.films import Film
from tasks.jobs import FilmFacts, Segment
from tasks.join import join
from tests.segments import numbers_of, write_segment
from tests.tasks.test_films import GENERATOR, pair

PAIRS = (
    pair("a", clip="/clips/a.mp4", clip_sha256="a" * 64, num_frames=3, rights="CC BY 4.0"),
    pair("b", clip="/clips/b.mp4", clip_sha256="b" * 64, num_frames=3),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(None, [f"run.store={tmp_path / 'store'}"])


def film_of(folder: Path, settings: Settings) -> Film:
    folder.mkdir(exist_ok=True)
    segment = write_segment(folder / "segment.mp4", range(6))
    segments = (Segment(path=str(segment), content_id="s"),)
    return Film("mix", folder, PAIRS, segments, Fraction(25), signing=signing_of(settings))


def made(folder: Path, settings: Settings) -> tuple[Film, FilmFacts]:
    film = film_of(folder, settings)
    return film, join(film.job().model_copy(update={"audio": ()}), Store(settings.store_path))


def test_a_film_tells_maker_sources_model_and_rights(tmp_path: Path, settings: Settings) -> None:
    film, facts = made(tmp_path, settings)
    found = read_credentials(film.output)
    assert found["validation_state"] == "Valid"
    assert [status["code"] for status in found["validation_status"]] == ["signingCredential.untrusted"]
    manifest = found["manifests"][found["active_manifest"]]
    generator = manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("singalong", __version__)
    told = {each["label"]: each["data"] for each in manifest["assertions"]}
    actions = told["c2pa.actions.v2"]["actions"]
    assert [action["action"] for action in actions] == ["c2pa.created", "c2pa.edited"]
    assert {action["digitalSourceType"] for action in actions} == {COMPOSITE}
    sources = told[SOURCES_LABEL]["sources"]
    assert [(each["role"], each["title"], each["sha256"]) for each in sources] == [
        ("clip", "a.mp4", "a" * 64),
        ("clip", "b.mp4", "b" * 64),
        ("song", "song.wav", "2" * 64),
    ]
    assert {each["title"] for each in manifest["ingredients"]} == {"a.mp4", "b.mp4", "song.wav"}
    (model,) = told[SOURCES_LABEL]["models"]
    assert (model["name"], model["weights_sha256"]) == (GENERATOR.name, GENERATOR.weights_sha256)
    assert told[SOURCES_LABEL]["rights"] == "CC BY 4.0"
    assert "path" not in model
    assert facts.num_frames == 6


def test_signing_leaves_the_pictures_and_the_tags_as_they_are(tmp_path: Path, settings: Settings) -> None:
    film, facts = made(tmp_path, settings)
    assert numbers_of(film.output) == list(range(6))
    with av.open(str(film.output)) as container:
        assert "AI-generated" in container.metadata["comment"]
    again = made(tmp_path / "again", settings)[1]
    assert again.content_sha256 == facts.content_sha256
    assert again.sha256 != facts.sha256
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_changed_film_does_not_verify(tmp_path: Path, settings: Settings) -> None:
    film, _ = made(tmp_path, settings)
    data = bytearray(film.output.read_bytes())
    data[data.rindex(b"mdat") + 100] ^= 1
    film.output.write_bytes(data)
    found = read_credentials(film.output)
    assert found["validation_state"] == "Invalid"
    assert "assertion.bmffHash.mismatch" in [status["code"] for status in found["validation_status"]]


def test_films_are_not_signed_where_that_is_not_wanted_and_made_again_where_that_changes(
    tmp_path: Path, settings: Settings
) -> None:
    plain = load_settings(None, [f"run.store={tmp_path / 'store'}", "film.credentials=none"])
    film, facts = made(tmp_path, plain)
    assert facts.sha256 == facts.content_sha256
    assert b"c2pa" not in film.output.read_bytes()
    assert film.key() != film_of(tmp_path, settings).key()
    assert not (tmp_path / "store").exists()


def test_our_own_certificate_is_made_once_and_is_the_owners_alone(tmp_path: Path, settings: Settings) -> None:
    made(tmp_path, settings)
    path = tmp_path / "store" / OWN_CERTIFICATE
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    made(tmp_path / "again", settings)
    assert path.read_bytes() == first


def test_workers_that_need_it_at_once_get_the_same_certificate(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    threads = [threading.Thread(target=make_own_certificate, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.name for each in tmp_path.iterdir()] == ["own.pem"]
    assert path.read_bytes().count(b"BEGIN CERTIFICATE") == 2


def certificate_of(folder: Path, key: object) -> tuple[Path, Path]:
    """A user's certificate, signed by a root of theirs, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    root = ec.generate_private_key(ec.SECP256R1())
    builder = certificate._certificate("Studio X", key.public_key(), root.public_key())  # type: ignore[attr-defined]
    pem = serialization.Encoding.PEM
    root_certificate = certificate._certificate("root", root.public_key(), None).sign(root, hashes.SHA256())
    own = builder.sign(root, hashes.SHA256())
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(own.public_bytes(pem) + root_certificate.public_bytes(pem))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, pkcs8, plain))  # type: ignore[attr-defined]
    return chain, private


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519", "RSA"])
def test_a_users_own_certificate_signs(kind: str, tmp_path: Path) -> None:
    keys = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }
    chain, private = certificate_of(tmp_path, keys[kind]())
    settings = load_settings(None, [f"film.certificate={chain}", f"film.certificate_key={private}"])
    film, _ = made(tmp_path, settings)
    found = read_credentials(film.output)
    assert found["validation_state"] == "Valid"
    assert found["manifests"][found["active_manifest"]]["signature_info"]["common_name"] == "Studio X"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINGALONG_STORE", str(tmp_path / "store"))
        assert film.key() != film_of(tmp_path, Settings()).key()


def test_a_certificate_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    chain, _ = certificate_of(tmp_path / "one", ec.generate_private_key(ec.SECP256R1()))
    other, key = certificate_of(tmp_path / "two", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "empty.pem").touch()
    for settings, hint in [
        ([f"film.certificate={chain}"], "film.certificate_key is not set"),
        ([f"film.certificate_key={key}"], "film.certificate is not set"),
        ([f"film.certificate={chain}", f"film.certificate_key={key}"], "is not the key of"),
        ([f"film.certificate={tmp_path / 'empty.pem'}", f"film.certificate_key={key}"], "no certificate can be read"),
        ([f"film.certificate={other}", f"film.certificate_key={tmp_path / 'none.pem'}"], "no private key can be read"),
    ]:
        with pytest.raises(UsageError, match=hint):
            signing_of(load_settings(None, settings))


def test_credentials_hold_nothing_of_the_machine(tmp_path: Path, settings: Settings) -> None:
    film, _ = made(tmp_path, settings)
    told = json.dumps(read_credentials(film.output))
    assert str(tmp_path) not in told
    assert "/clips/" not in told
    assert credentials_for(PAIRS, None) is None


def test_the_signer_is_closed_after_use(tmp_path: Path, settings: Settings) -> None:
    signing = signing_of(settings)
    assert signing is not None
    with load_signer(signing) as signer:
        assert signer.is_valid
    assert not signer.is_valid
