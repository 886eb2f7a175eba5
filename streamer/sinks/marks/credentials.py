"""Signs outputs with C2PA manifests (Content Credentials), by the user's own key; needs the extra `mark`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

import streamer
from streamer.errors import SinkError
from streamer.sinks.marks.mark import SOURCE_TYPE

HELD_BY = (".mp4", ".mov", ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
BY_CURVE = {256: "es256", 384: "es384", 521: "es512"}
ALTERED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"  # covered, and nothing generated


class Credentials:
    """A key and its certificates, with which files are signed.

    Args:
        key: A private key in PEM without a passphrase: EC (P-256, P-384, P-521), Ed25519 or RSA.
        certificates: Its certificate in PEM, and after it those up to the authority, as C2PA asks for.
        audit_sha256: Returns the hash of the last line of the audit log, which the manifest then names; "" for none.

    Raises:
        SinkError: If the extra is missing, or one of them cannot be used.
    """

    def __init__(self, key: Path, certificates: Path, *, audit_sha256: Callable[[], str] = str) -> None:
        self._c2pa = _library()
        self._audit_sha256 = audit_sha256
        chain, secret = _read(certificates), _read(key)
        algorithm = _algorithm(key, secret, certificates, chain)
        try:
            info = self._c2pa.C2paSignerInfo(
                algorithm.encode(), chain, secret, None
            )  # None asks no server for the time
            self._signer = self._c2pa.Signer.from_info(info)
        except self._c2pa.C2paError as error:
            raise SinkError(f"cannot sign with {key} and {certificates}: {error}") from error

    def check(self, path: Path) -> None:
        """Raise the SinkError that a file deserves which cannot hold a manifest; a folder is told by its pictures."""
        if path.suffix and path.suffix.lower() not in HELD_BY:
            raise SinkError(f"cannot sign {path}: {path.suffix} holds no C2PA manifest; write {' '.join(HELD_BY)}")

    def sign(self, path: Path, *, is_generated: bool) -> None:
        """Put a manifest into a file.

        Args:
            path: What is signed; replaced once that is done.
            is_generated: Whether faces in it were drawn; else they were only covered.

        Raises:
            SinkError: If it cannot be signed.
        """
        self.check(path)
        signed = path.with_name(f"{path.stem}.signed{path.suffix}")
        try:
            with self._c2pa.Builder(self._manifest(is_generated=is_generated)) as builder:
                builder.sign_file(path, signed, self._signer)
            signed.replace(path)
        except (self._c2pa.C2paError, OSError) as error:
            signed.unlink(missing_ok=True)
            raise SinkError(f"cannot sign {path}: {' '.join(str(error).split())}") from error

    def _manifest(self, *, is_generated: bool) -> dict[str, Any]:
        agent = {"name": "Veil", "version": streamer.__version__}
        made = {
            "action": "c2pa.created",
            "digitalSourceType": SOURCE_TYPE if is_generated else ALTERED,
            "softwareAgent": agent,
        }
        assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}]
        if log := self._audit_sha256():
            assertions.append({"label": "org.veil.audit", "data": {"last_line_sha256": log}})
        return {"claim_generator_info": [agent], "assertions": assertions}


def _library() -> Any:  # noqa: ANN401 - a module that may be missing
    try:
        import c2pa
    except ImportError as error:
        raise SinkError("signing needs c2pa-python: pip install -c constraints.txt -e '.[mark]'") from error
    return c2pa


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror or error}") from error


def _algorithm(key: Path, secret: bytes, certificates: Path, chain: bytes) -> str:
    """Return what a key signs by, once it is sure that the first certificate is of that key."""
    try:
        private = load_pem_private_key(secret, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SinkError(f"{key}: no private key in PEM without a passphrase") from error
    try:
        public = load_pem_x509_certificates(chain)[0].public_key()
    except (ValueError, IndexError) as error:
        raise SinkError(f"{certificates}: no certificate in PEM") from error
    if public != private.public_key():
        raise SinkError(f"{certificates}: its first certificate is not of the key {key}")
    if isinstance(private, EllipticCurvePrivateKey) and private.key_size in BY_CURVE:
        return BY_CURVE[private.key_size]
    if isinstance(private, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, RSAPrivateKey):
        return "ps256"
    raise SinkError(f"{key}: C2PA signs with EC (P-256, P-384, P-521), Ed25519 or RSA keys")
