"""Checks an audit log: whether it is as it was written, to its end, and by whom it is signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from streamer.audit.keys import load_public_key, public_bytes
from streamer.audit.log import FORMAT, NOTHING_BEFORE, Figures, canonical, to_sign
from streamer.errors import SourceError

MAX_LINE = 1 << 20  # bytes; ours have 500, and what has more must not fill the memory


@dataclass(frozen=True, slots=True)
class Verification:
    """What a log proves.

    Attributes:
        lines: Of it that are as they were written, from the first on.
        seconds: Of media time that have a line among them.
        totals: Of these seconds.
        reason: Why the run ended: "complete", "interrupted", "failed: TYPE"; "" where the log does not say.
        signed_by: The public key that every line is signed with, 64 hex digits; "" where it has no signature.
        problem: What was changed, with the number of the line; "" for nothing.
        unfinished: Why there is no end, such as "not closed: the run was killed"; "" where there is one.
    """

    lines: int
    seconds: int
    totals: Figures
    reason: str
    signed_by: str
    problem: str
    unfinished: str

    @property
    def frames(self) -> int:
        """How many frames the intact lines count."""
        return self.totals.frames


def verify(path: Path, public_key: Path | None = None) -> Verification:
    """Return what the log at `path` proves; nothing in it is trusted.

    Args:
        public_key: A PEM file; the log must then be signed with this key, and not only with one that it names itself.

    Raises:
        SourceError: If the log or the key cannot be read.
    """
    chain = _Chain(public_bytes(load_public_key(public_key)).hex() if public_key else None)
    problem, unfinished = "", ""
    for line in _lines(path):
        if not line.endswith(b"\n") and not chain.is_closed and len(line) < MAX_LINE:
            unfinished = f"line {chain.lines + 1} was cut: the run was killed, or the log was cut short"
            break
        try:
            chain.take(line)
        except _BrokenLineError as error:
            problem = f"line {chain.lines + 1} {error}"
            break
    if not chain.lines:
        problem = problem or "line 1 is missing: this is no audit log"
    elif not problem and not chain.is_closed:
        unfinished = unfinished or "not closed: the run was killed, or the end was cut off"
    return chain.proves(problem, unfinished)


class _BrokenLineError(Exception):
    pass


class _Chain:
    """The lines so far, all of them intact."""

    def __init__(self, trusted: str | None) -> None:
        self.lines, self.seconds = 0, 0
        self.totals, self.reason = Figures(), ""
        self._trusted, self._signer = trusted, ""
        self._key: Ed25519PublicKey | None = None
        self._previous = NOTHING_BEFORE

    @property
    def is_closed(self) -> bool:
        return bool(self.reason)

    def take(self, line: bytes) -> None:
        """Add a line, with its end.

        Raises:
            _BrokenLineError: If it is not what was written there.
        """
        content = line.removesuffix(b"\n")
        record = _parsed(content)
        if self.is_closed:
            _broken("comes after the end of the log")
        if record.get("line") != self.lines + 1:
            _broken(f"is line {record.get('line')} of its log: lines were removed, inserted or moved")
        if record.get("previous") != self._previous:
            _broken("does not continue the line before: either was changed")
        try:
            self._read(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _BrokenLineError("is none that an audit log has there") from error
        self.lines += 1
        self._previous = hashlib.sha256(content).hexdigest()

    def proves(self, problem: str, unfinished: str) -> Verification:
        return Verification(
            self.lines, self.seconds, self.totals, self.reason, self._signer, problem=problem, unfinished=unfinished
        )

    def _read(self, record: dict[str, Any]) -> None:
        seal = record.pop("seal")
        if self.lines == 0:
            self._read_header(record)
        self._check_seal(seal, canonical(record))
        if record["kind"] == "second" and self.lines:
            self.totals += Figures.from_record(record)
            self.seconds += 1
        elif record["kind"] == "end" and self.lines:
            self._read_end(record)
        elif self.lines:
            _broken("is none that an audit log has there")

    def _read_header(self, header: Mapping[str, Any]) -> None:
        if header["kind"] != "header":
            _broken("is no header: this is no audit log")
        if header["format"] != FORMAT:
            _broken(f"says format {header['format']}, this version of veil reads {FORMAT}; update Veil")
        if header["public_key"] is None:
            if self._trusted:
                _broken("has no signature: anybody could have written this log")
            return
        if self._trusted not in (None, header["public_key"]):
            _broken(f"is signed with another key, {header['public_key']}")
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(header["public_key"]))
        self._signer = public_bytes(self._key).hex()

    def _check_seal(self, seal: str, content: bytes) -> None:
        if self._key is None:
            if seal != hashlib.sha256(content).hexdigest():
                _broken("was changed: its checksum is another")
            return
        try:
            signature = bytes.fromhex(seal)
            self._key.verify(signature, to_sign(content))
        except (InvalidSignature, ValueError) as error:
            raise _BrokenLineError("was changed: its signature does not fit") from error
        if signature.hex() != seal:  # capitals, which mean the same but were not written
            _broken("was changed: its signature is written otherwise")

    def _read_end(self, record: Mapping[str, Any]) -> None:
        if Figures.from_record(record) != self.totals or record["seconds"] != self.seconds:
            _broken("says other totals than the lines before it add up to")
        self.reason = str(record["reason"])


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                yield line
    except OSError as error:
        raise SourceError(f"cannot read the log {path}: {error.strerror or error}") from error


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content)
        if isinstance(record, dict) and canonical(record) == content:
            return record
    except (ValueError, RecursionError):
        pass
    _broken("was changed: this is not how a line is written")


def _broken(what: str) -> Never:
    raise _BrokenLineError(what)
