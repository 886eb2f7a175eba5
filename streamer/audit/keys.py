"""Ed25519 keys in PEM files: the private one signs an audit log, the public one tells others who did."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from streamer.errors import SinkError, SourceError


def create_signing_key(path: Path) -> Ed25519PublicKey:
    """Make a private key, readable by its owner only, and return its public key; a file that exists is kept.

    Raises:
        SinkError: If the file exists, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key()


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, from its first byte on.

    Raises:
        SinkError: If the file exists, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise SinkError(f"cannot write the key {path}: it exists; a key is never replaced, name another") from error
    except OSError as error:
        raise SinkError(f"cannot write the key {path}: {error.strerror or error}") from error


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file.

    Raises:
        SourceError: If it cannot be read, needs a passphrase, or is no Ed25519 private key.
    """
    try:
        key = load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise SourceError(f"{path}: the key needs a passphrase; store it without one, mode 600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SourceError(f"{path}: no private key in PEM; `veil audit-key FILE` makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SourceError(f"{path}: not an Ed25519 key; `veil audit-key FILE` makes one")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM file.

    Raises:
        SourceError: If it cannot be read, or is no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SourceError(f"{path}: no public key in PEM; `veil audit-key` printed it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SourceError(f"{path}: not an Ed25519 key; `veil audit-key` printed it")
    return key


def public_pem(key: Ed25519PublicKey) -> str:
    """Return the key as PEM, which may be published."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """Return the key's 32 bytes."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the key {path}: {error.strerror or error}") from error
