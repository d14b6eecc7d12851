"""The certificate that films are signed with: the user's, or one of our own that is made once for a store."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singalong.durable import atomic_file
from singalong.errors import UsageError
from tasks.jobs import Signing

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

OWN_CERTIFICATE = Path("certificate") / "own.pem"
"""Our own key and certificates, in the store."""
_OWN_YEARS = 10
_FILES = "PEM files: the certificate with its chain, and its private key without a password"
_EC_ALGORITHMS = {256: "ES256", 384: "ES384", 521: "ES512"}


def check_certificate(certificate: str | None, private_key: str | None) -> tuple[Path, Path]:
    """Paths of the user's certificate and key; UsageError where one is missing or they do not belong together."""
    if certificate is None or private_key is None:
        missing = "film.certificate" if certificate is None else "film.certificate_key"
        raise UsageError(f"{missing} is not set, and the two go together", expected=_FILES)
    paths = Path(certificate).expanduser().resolve(), Path(private_key).expanduser().resolve()
    _read_pair(*paths)
    return paths


def load_signer(signing: Signing) -> Any:
    """A c2pa.Signer, to be closed after use; our own certificate is made if it is not there yet."""
    import c2pa

    certificate = Path(signing.certificate)
    if signing.private_key is None and not certificate.exists():
        make_own_certificate(certificate)
    chain, key, algorithm = _read_pair(certificate, Path(signing.private_key or signing.certificate))
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg[algorithm], chain, key, None)  # None: no time stamp authority
    return c2pa.Signer.from_info(info)


def make_own_certificate(path: Path) -> None:
    """Make a key, and a certificate for it under a root of its own, in one file that only its owner may read.

    The root's key is forgotten at once. Where another process makes one in the same instant, its file stands.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("singalong root", root_key.public_key(), None).sign(root_key, _sha256())
    own = _certificate("singalong, self-signed", key.public_key(), root_key.public_key()).sign(root_key, _sha256())
    pem = serialization.Encoding.PEM
    content = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    content += own.public_bytes(pem) + root.public_bytes(pem)
    with contextlib.suppress(FileExistsError), atomic_file(path, replace=False) as temp:
        fd = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, so that it never had another mode
            file.write(content)


def _certificate(
    name: str, public_key: EllipticCurvePublicKey, issuer_key: EllipticCurvePublicKey | None
) -> x509.CertificateBuilder:
    """A certificate as C2PA asks for it (specification, "X.509 certificates"); a root where there is no issuer."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    is_root, now = issuer_key is None, datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("singalong root"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of workers differ
        .not_valid_after(now + timedelta(days=365 * _OWN_YEARS))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(_key_usage(is_root=is_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if issuer_key is None:
        return builder
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    return builder.add_extension(usage, critical=False).add_extension(issuer, critical=False)


def _name(common_name: str) -> x509.Name:
    from cryptography import x509

    names = {x509.NameOID.ORGANIZATION_NAME: "singalong", x509.NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])


def _key_usage(*, is_root: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _read_pair(certificate: Path, private_key: Path) -> tuple[bytes, bytes, str]:
    """Certificate chain and key as PEM, and C2PA's name of the key's algorithm."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as exc:
        raise UsageError(f"no certificate can be read: {exc}", file=certificate, expected=_FILES) from exc
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as exc:
        raise UsageError(f"no private key can be read: {exc}", file=private_key, expected=_FILES) from exc
    if chain[0].public_key() != key.public_key():
        raise UsageError(f"is not the key of {certificate}", file=private_key, expected=_FILES)
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join(each.public_bytes(pem) for each in chain), key_pem, _algorithm(key, private_key)


def _algorithm(key: object, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in _EC_ALGORITHMS:
        return _EC_ALGORITHMS[key.curve.key_size]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ED25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    raise UsageError(
        "C2PA has no use for a key of this kind", file=path, value=type(key).__name__, expected="EC, RSA or Ed25519"
    )
