"""Who has agreed to stay visible: names, dates, cameras, and for each an encrypted embedding. Knows no video.

The list is TOML that can be read; the embedding in it cannot: AES-256-GCM under a key from a key file, bound to all
else the entry says, so that an entry whose expiry date or cameras were edited no longer opens. An entry taken out
is covered again. What this cannot prevent: whoever may write the list can put back an older one, until it expires.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streamer.errors import SinkError, SourceError
from streamer.types import Floats

log = logging.getLogger(__name__)

NONCE_BYTES = 12  # what AES-GCM is defined for
_PURPOSE = b"veil consent list 1"  # so that a key file used elsewhere too is another key here
_HEADING = "# Who has agreed to stay visible. Written by `veil consent`; an entry that is edited no longer opens.\n"


@dataclass(frozen=True, slots=True)
class RecognizerId:
    """Which network an embedding is from; those of two networks do not compare.

    Attributes:
        name: As a person knows it, such as "identity".
        sha256: Of its weights, 64 hex digits.
    """

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Consent:
    """One entry of a list.

    Attributes:
        name: Who it is; one entry a name.
        enrolled: The first day on which they may be visible.
        expires: The last.
        cameras: Where; empty for everywhere.
        recognizer: What knows them.
        sealed: Nonce, ciphertext and tag of the embedding.
    """

    name: str
    enrolled: date
    expires: date
    cameras: tuple[str, ...]
    recognizer: RecognizerId
    sealed: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for text in (self.name, *self.cameras):
            if not text.strip() or not text.isprintable():
                raise ValueError(f"a name must be printable and not empty, got {text!r}")
        if self.expires < self.enrolled:
            raise ValueError(f"the consent of {self.name} expires on {self.expires}, before it begins: {self.enrolled}")

    def why_not(self, *, camera: str | None, today: date, recognizer: RecognizerId) -> str:
        """Return why this consent does not hold here and now, or ""."""
        if today > self.expires:
            return f"expired on {self.expires}"
        if today < self.enrolled:
            return f"begins on {self.enrolled} only; is the clock right?"
        if self.cameras and camera not in self.cameras:
            return f"holds for {', '.join(self.cameras)}, not for {camera or 'a camera without a name'}"
        if recognizer.sha256 != self.recognizer.sha256:
            return f"was enrolled with another recogniser, {self.recognizer.name}: enrol anew"
        return ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose consent holds.

    Attributes:
        name: As in the list.
        expires: The last day.
        embedding: `(D,)` float32, unit.
    """

    name: str
    expires: date
    embedding: Floats = field(repr=False, compare=False)  # it identifies: no log may show it


@dataclass(frozen=True, slots=True)
class ConsentList:
    """Those of a list whose consent holds for one camera on one day, in memory only.

    Attributes:
        people: Who may stay visible.
        left_out: Names of all others, and why they stay covered.
    """

    people: tuple[Person, ...]
    left_out: Mapping[str, str]

    @classmethod
    def load(cls, path: Path, *, key: bytes, camera: str | None, today: date, recognizer: RecognizerId) -> ConsentList:
        """Read a list; of those whose consent does not hold, the embedding is not even decrypted.

        Args:
            key: Of a key file (`models.privacy.load_key`).
            camera: The name of what is filmed with, as in the entries; None opens only entries for every camera.
            today: The day that expiry dates are compared with.
            recognizer: What embeds the faces of the video.

        Raises:
            SourceError: If the list cannot be read, or an entry was edited or is under another key.
        """
        people, left_out = [], {}
        for consent in read_consents(path):
            if reason := consent.why_not(camera=camera, today=today, recognizer=recognizer):
                log.info("%s stays covered: the consent %s", consent.name, reason)
                left_out[consent.name] = reason
                continue
            people.append(Person(consent.name, consent.expires, unseal(consent, key, path)))
        return cls(tuple(people), left_out)


def seal(consent: Consent, embedding: Floats, key: bytes) -> Consent:
    """Return `consent` with its embedding, encrypted and bound to all else it says.

    Args:
        embedding: `(D,)`, unit.

    Raises:
        ValueError: If it is no unit vector.
    """
    _check_unit(embedding)
    nonce = secrets.token_bytes(NONCE_BYTES)
    plain = np.asarray(embedding, "<f4").tobytes()
    sealed = nonce + AESGCM(_derived(key)).encrypt(nonce, plain, _bound(consent))
    return Consent(consent.name, consent.enrolled, consent.expires, consent.cameras, consent.recognizer, sealed=sealed)


def unseal(consent: Consent, key: bytes, path: Path) -> Floats:
    """Return the embedding of an entry, `(D,)` float32, unit.

    Args:
        path: Of the list, to be named in the error.

    Raises:
        SourceError: If the entry was edited, or is under another key.
    """
    nonce, ciphertext = consent.sealed[:NONCE_BYTES], consent.sealed[NONCE_BYTES:]
    try:
        plain = AESGCM(_derived(key)).decrypt(nonce, ciphertext, _bound(consent))
        embedding = np.frombuffer(plain, "<f4").astype(np.float32)
        _check_unit(embedding)
    except (InvalidTag, ValueError) as error:
        raise SourceError(
            f"{path}: the entry of {consent.name} does not open: it was edited, or the key is another; enrol anew"
        ) from error
    return embedding


def read_consents(path: Path) -> list[Consent]:
    """Return the entries of a list, as they stand there.

    Raises:
        SourceError: If it cannot be read, or an entry lacks something or is there twice.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SourceError(f"cannot read the consent list {path}: {error.strerror or error}") from error
    except ValueError as error:  # of UTF-8 and of TOML
        raise SourceError(f"{path}: no TOML: {error}") from error
    entries = content.get("person", [])
    if not isinstance(entries, list) or content.keys() - {"person"}:
        raise SourceError(f"{path}: holds something else than [[person]] entries")
    consents = [_consent(entry, f"{path}: entry {number}") for number, entry in enumerate(entries, 1)]
    names = [consent.name for consent in consents]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise SourceError(f"{path}: {min(doubled)} is there twice; take one out by hand")
    return consents


def write_consents(path: Path, consents: Sequence[Consent]) -> None:
    """Write a list; what was there before is replaced once the new one is whole. Only its owner can read it.

    Raises:
        SinkError: If it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    import tomli_w  # whoever only reads a list needs none

    text = f"{_HEADING}\n{tomli_w.dumps({'person': [_entry(consent) for consent in consents]})}"
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write the consent list {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _derived(key: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(key)


def _bound(consent: Consent) -> bytes:
    """Return what the ciphertext is bound to: everything else that the entry says."""
    return json.dumps(
        [
            consent.name,
            consent.enrolled.isoformat(),
            consent.expires.isoformat(),
            list(consent.cameras),
            consent.recognizer.name,
            consent.recognizer.sha256,
        ]
    ).encode("ascii")


def _consent(entry: Mapping[str, Any], where: str) -> Consent:
    try:
        cameras = entry.get("cameras", [])
        texts = [entry["name"], entry["recognizer"], entry["recognizer_sha256"], entry["embedding"], *cameras]
        if not all(isinstance(text, str) for text in texts) or not isinstance(cameras, list):
            raise TypeError("a text is none")
        if not all(type(entry[day]) is date for day in ("enrolled", "expires")):  # a time of day is a date as well
            raise TypeError("a date is none; write 2027-01-31")
        recognizer = RecognizerId(entry["recognizer"], entry["recognizer_sha256"])
        sealed = base64.b64decode(entry["embedding"], validate=True)
        return Consent(entry["name"], entry["enrolled"], entry["expires"], tuple(cameras), recognizer, sealed=sealed)
    except KeyError as error:
        raise SourceError(f"{where}: lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"{where}: {error}") from error


def _entry(consent: Consent) -> dict[str, Any]:
    """Return what `_consent` reads."""
    return {
        "name": consent.name,
        "enrolled": consent.enrolled,
        "expires": consent.expires,
        "cameras": list(consent.cameras),
        "recognizer": consent.recognizer.name,
        "recognizer_sha256": consent.recognizer.sha256,
        "embedding": base64.b64encode(consent.sealed).decode("ascii"),
    }


def _check_unit(embedding: Floats) -> None:
    if embedding.ndim != 1 or not abs(float(np.linalg.norm(embedding)) - 1) < 1e-3:  # not <: catches what is no number
        raise ValueError(f"the embedding must be a unit vector (D,), got {embedding.shape}")
