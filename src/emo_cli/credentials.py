"""Content credentials: a signed C2PA manifest in a video, which shows who made it and whether it was changed since.

An extra (`pip install 'emo-cli[c2pa]'`). A certificate of one's own making proves only that videos come from the same
hand; one from an authority that C2PA trusts names the hand.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer import get_app_dir

from emo_cli import __version__, provenance, scratch
from emo_cli.errors import DeviceError, InputError, OutputError, UsageError

SIGNABLE = (".mp4", ".mov")
CERTIFICATE, KEY = "certificate.pem", "key.pem"
YEARS = 10
GENERATOR_ASSERTION = "org.emo-cli.recipe"
NEEDED = "Content credentials need an extra: run `pip install 'emo-cli[c2pa]'`."


@dataclass(frozen=True)
class Identity:
    """PEM files: a certificate with the chain above it, and the private key that belongs to it."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Manifest:
    """What a signed video says: who signed, whether its bytes are as signed, the actions and our record.

    valid: the signature fits the bytes; trusted: and an authority known to the C2PA library vouches for the signer.
    """

    signer: str | None
    valid: bool
    trusted: bool
    source_type: str | None
    record: dict[str, Any] | None


def identity(wish: str, folder: Path | None = None) -> Identity:
    """Who signs, from a user's words: "self" for the certificate kept in a folder, or "CERTIFICATE,KEY".

    folder: without it, `signing` where the system keeps what belongs to a user's programs.
    """
    if wish == "self":
        return self_made(folder or Path(get_app_dir("emo"), "signing"))
    certificate, comma, key = wish.partition(",")
    if not comma or not certificate or not key:
        raise UsageError(f'"{wish}" does not say who signs. Give self, or two PEM files as CERTIFICATE,KEY.')
    return Identity(Path(certificate).expanduser(), Path(key).expanduser())


def check(identity: Identity, output: Path) -> None:
    """Raises, before the long work, what would make signing impossible after it."""
    _library()
    if output.suffix.lower() not in SIGNABLE:
        raise OutputError(f"{output} cannot be signed; give it a name that ends with {' or '.join(SIGNABLE)}.")
    _signer(identity)


def sign(video: Path, identity: Identity, recipe: provenance.Recipe) -> None:
    """Put a signed manifest with the recipe into a finished video, in its place. Raises OutputError."""
    c2pa = _library()
    record = provenance.record(recipe)
    made = {"action": "c2pa.created", "digitalSourceType": provenance.SOURCE_TYPE}
    manifest = {
        "title": provenance.sentence(recipe),
        "claim_generator_info": [{"name": "emo", "version": __version__}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [made]}},
            {"label": GENERATOR_ASSERTION, "data": record},
        ],
    }
    try:
        with c2pa.Builder(manifest) as builder, _signer(identity) as signer, scratch.beside(video) as signed:
            builder.sign_file(video, signed, signer)
            os.replace(signed, video)
    except (c2pa.C2paError, OSError) as error:
        raise OutputError(f"The video cannot be signed ({error}); check certificate and key.") from error


def read(video: Path) -> Manifest | None:
    """The manifest of a video; None where there is none, or where the extra is not installed."""
    if video.suffix.lower() not in SIGNABLE:
        return None
    try:
        c2pa = _library()
        with c2pa.Reader(video) as reader:
            told = json.loads(reader.json())
    except DeviceError:
        return None
    except Exception as error:  # the library raises its own kinds for a missing manifest and for damaged files
        if "ManifestNotFound" in f"{type(error).__name__} {error}" or "JumbfNotFound" in str(error):
            return None
        raise InputError(f"The content credentials of {video} cannot be read ({error}).") from error
    manifest = told["manifests"][told["active_manifest"]]
    data = {assertion["label"]: assertion.get("data", {}) for assertion in manifest.get("assertions", [])}
    listed = (found["actions"] for label, found in data.items() if label.startswith("c2pa.actions"))
    actions: list[dict[str, Any]] = next(listed, [])
    state = told.get("validation_state", "Invalid")
    return Manifest(
        signer=manifest.get("signature_info", {}).get("common_name"),
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        source_type=next((action.get("digitalSourceType") for action in actions), None),
        record=data.get(GENERATOR_ASSERTION),
    )


def self_made(folder: Path) -> Identity:
    """The identity in a folder, made there at the first call: an authority of one's own, and a certificate from it."""
    found = Identity(folder / CERTIFICATE, folder / KEY)
    if found.certificate.is_file() and found.key.is_file():
        return found
    certificate, key = _forged()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in ((found.key, key), (found.certificate, certificate)):
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:  # readable by its owner alone
                part.write(content)
            os.replace(part.name, path)
    except OSError as error:
        raise OutputError(f"A certificate cannot be kept in {folder} ({error.strerror}); give your own.") from error
    return found


def _forged() -> tuple[bytes, bytes]:
    """PEM of a certificate with its authority's, and of its key (ECDSA P-256)."""
    _library()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("emo authority of this machine", authority, None, authority)
    leaf = _certificate("emo on this machine", key, root, authority)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))
    assert isinstance(leaf, x509.Certificate)
    plain = serialization.NoEncryption()
    return chain, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _certificate(name: str, key: Any, issuer: Any, issuing_key: Any) -> Any:
    """A certificate for a key; without an issuer one that vouches for others."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    parts = ((NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, "emo-cli, self-made"))
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
    root, now = issuer is None, datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "crl_sign": root, "key_cert_sign": root}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if root else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not root, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key.public_key()), critical=False)
    )
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuing_key, hashes.SHA256())


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise DeviceError(NEEDED) from error
    return c2pa


def _signer(identity: Identity) -> Any:
    c2pa = _library()
    try:
        chain, key = identity.certificate.read_text(), identity.key.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"The certificate or its key cannot be read ({error}); give two PEM files.") from error
    try:
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(_algorithm(key), chain.encode(), key.encode(), None))
    except (c2pa.C2paError, ValueError) as error:
        raise InputError(f"{identity.certificate} cannot sign ({error}); give a PEM chain and its key.") from error


def _algorithm(key: str) -> str:
    """C2PA's word for the kind of signature that a private key makes."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        found = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError) as error:
        raise InputError(f"The private key cannot be used ({error}); give one in PEM, without a password.") from error
    if isinstance(found, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}.get(found.key_size, "es256")
    return "ed25519" if isinstance(found, ed25519.Ed25519PrivateKey) else "ps256"
