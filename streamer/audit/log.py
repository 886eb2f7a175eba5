"""What a run did, as a log that shows when it was changed: figures per second, no picture, no embedding, no place.

A line is JSON with sorted keys and without spaces. `previous` is the SHA-256 of the line before, as it stands in the
file without its end; `seal` is, of the line without `seal`, the Ed25519 signature where the run had a key, else the
SHA-256. So an edited, removed, inserted or moved line is found, and what was written before a kill stays proven.

What it cannot show: an unsigned log can be written anew by whoever may write the file; of an unfinished one nobody
knows how many lines were cut off; and whoever has the signing key can write whatever they like.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import streamer
from streamer.audit.keys import load_signing_key, public_bytes
from streamer.errors import SinkError
from streamer.masking import mask_secrets
from streamer.tally import Tally
from streamer.types import SafeFrame

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

FORMAT = 1  # raised when an older reader would misread a log
NOTHING_BEFORE = "0" * 64
_DOMAIN = b"veil audit line\n"  # signed with the line, so that no signature made for something else passes for one
_OURS = frozenset({"kind", "format", "veil", "started", "public_key", "line", "previous", "seal"})


@dataclass(frozen=True, slots=True)
class GuardFigures:
    """How like their sources the faces drawn were.

    Attributes:
        compared: Tracks whose source and output were compared.
        highest: The highest score among them, as cosine; None if there was none.
        threshold: Above which no face is shown; a first stranger is held to less (`streamer.render.guard`).
        escalations: How often a face was covered more strongly for it.
    """

    compared: int
    highest: float | None
    threshold: float
    escalations: int

    def __add__(self, later: GuardFigures) -> GuardFigures:
        scores = [score for score in (self.highest, later.highest) if score is not None]
        return GuardFigures(
            self.compared + later.compared,
            max(scores, default=None),
            later.threshold,
            self.escalations + later.escalations,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted over a second, or over a whole run; figures of successive times add up.

    Attributes:
        frames: All of them, those covered whole too.
        whole: Frames that were covered whole.
        dropped: Frames that were not written at all.
        tiers: Face-frames by what covered them.
        reasons: Face-frames that were not drawn, by why.
        failures: Frames covered whole, by the kind of failure.
        guard: None where no guard was running.
    """

    frames: int = 0
    whole: int = 0
    dropped: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    guard: GuardFigures | None = None

    @classmethod
    def of(cls, frame: SafeFrame, *, dropped: int, guard: GuardFigures | None) -> Self:
        """Return the figures of one frame, and of what was dropped before it."""
        tally = Tally.of(frame, dropped=dropped)
        failures = {reason.partition(":")[0]: count for reason, count in tally.failures.items()}  # the rest may be data
        return cls(
            tally.frames,
            tally.whole,
            tally.dropped,
            dict[str, int](tally.tiers.items()),
            tally.reasons,
            failures,
            guard,
        )

    def __add__(self, later: Figures) -> Figures:
        guards = [guard for guard in (self.guard, later.guard) if guard]
        return Figures(
            self.frames + later.frames,
            self.whole + later.whole,
            self.dropped + later.dropped,
            _sum(self.tiers, later.tiers),
            _sum(self.reasons, later.reasons),
            _sum(self.failures, later.failures),
            guards[0] + guards[1] if len(guards) == 2 else guards[0] if guards else None,
        )

    @property
    def face_frames(self) -> int:
        """How many faces there were, each counted in every frame."""
        return sum(self.tiers.values())

    def record(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        guard = dataclasses.asdict(self.guard) if self.guard else None
        return values | {name: dict(values[name]) for name in ("tiers", "reasons", "failures")} | {"guard": guard}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the figures in a line of a log.

        Raises:
            KeyError, TypeError: If they are not all there.
        """
        guard = record["guard"]
        values = {each.name: record[each.name] for each in dataclasses.fields(cls)}
        return cls(**values | {"guard": GuardFigures(**guard) if guard else None})


@dataclass(frozen=True, slots=True)
class _Written:
    """How far a log is; replaced by one assignment, so that a signal leaves it as before a line or as after it."""

    size: int = 0  # bytes
    lines: int = 0
    previous: str = NOTHING_BEFORE
    seconds: int = 0
    now: int | None = None  # the second that `figures` are of
    figures: Figures = Figures()
    totals: Figures = Figures()


class AuditLog:
    """A log of one run; leaving the context closes it and says why the run ended.

    Enter it around the sink, and add each frame before it is written, so that nothing is written that is not counted.

    Args:
        path: Where to; a file that exists is never replaced.
        header: What was run: the names and SHA-256 of the model and its settings (`settings_sha256`), the source.
            Passwords and queries of URLs in it are masked; other secrets do not belong there.
        signing_key: An Ed25519 private key in PEM (`streamer.audit.keys.create_signing_key`); None for no signature.

    Raises:
        SourceError: If the key cannot be read.
        ValueError: If the header has a name that the log itself uses.
    """

    def __init__(
        self, path: Path | str, *, header: Mapping[str, str | int | float], signing_key: Path | None = None
    ) -> None:
        if taken := _OURS & header.keys():
            raise ValueError(f"the log itself says {', '.join(sorted(taken))}; leave it out of the header")
        self._path = Path(path)
        self._key = load_signing_key(signing_key) if signing_key else None
        self._header = {name: mask_secrets(v) if isinstance(v, str) else v for name, v in header.items()}
        self._written = _Written()
        self._file: int | None = None
        self._is_regular = False

    def __enter__(self) -> Self:
        self._file = _create(self._path)
        self._is_regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        ours = {
            "kind": "header",
            "format": FORMAT,
            "veil": streamer.__version__,
            "started": _now(),
            "public_key": public_bytes(self._key.public_key()).hex() if self._key else None,
        }
        try:
            self._written = self._append(self._header | ours)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return  # it could not be written, which is why the run ends
        try:
            self._end(_reason(kind))
        except SinkError as failure:
            if kind is None:
                raise
            log.error("%s", failure)  # the run ends for another reason, which must not be hidden
        finally:
            self._release()

    @property
    def last_line_sha256(self) -> str:
        """The hash of the last line so far: what is signed with it belongs to this log."""
        return self._written.previous

    def add(self, frame: SafeFrame, *, dropped: int = 0, guard: GuardFigures | None = None) -> None:
        """Count one frame; the line of a second is written when the next one begins, and is in the file at once.

        Args:
            dropped: Frames that were dropped since the frame before.
            guard: What the guard did for this frame.

        Raises:
            SinkError: If the line cannot be written; the run must end.
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame is counted, got {type(frame).__name__}")
        if self._file is None:
            raise SinkError(f"cannot write the audit log {self._path}: it is closed")
        second = math.floor(frame.seconds)
        if self._written.now != second:
            self._end_second()
        figures = self._written.figures + Figures.of(frame, dropped=dropped, guard=guard)
        self._written = replace(self._written, now=second, figures=figures)

    def _end_second(self) -> None:
        before = self._written
        if before.now is None:
            return
        written = self._append({"kind": "second", "second": before.now} | before.figures.record())
        totals, seconds = before.totals + before.figures, before.seconds + 1
        self._written = replace(written, now=None, figures=Figures(), totals=totals, seconds=seconds)

    def _end(self, reason: str) -> None:
        self._end_second()
        written = self._written
        closing = {"kind": "end", "reason": reason, "ended": _now(), "seconds": written.seconds}
        self._append(closing | written.totals.record())
        if self._is_regular and self._file is not None:
            with self._failing_clearly():
                os.fsync(self._file)  # some file systems find out only here that the disk is full

    def _append(self, record: Mapping[str, Any]) -> _Written:
        """Write one line, and return how far the log is then."""
        before, file = self._written, self._file
        assert file is not None
        line = sealed({**record, "line": before.lines + 1, "previous": before.previous}, self._key)
        with self._failing_clearly():
            self._drop_half_line()  # of a write that a signal interrupted
            _write_all(file, line + b"\n")
        digest = hashlib.sha256(line).hexdigest()
        return replace(before, size=before.size + len(line) + 1, lines=before.lines + 1, previous=digest)

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                self._drop_half_line()
            self._release()
            raise SinkError(f"cannot write the audit log {self._path}: {_what(error)}") from error

    def _drop_half_line(self) -> None:
        if self._is_regular and self._file is not None:
            os.ftruncate(self._file, self._written.size)

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def settings_sha256(settings: DataclassInstance) -> str:
    """Return the SHA-256 of the fields of `settings`, as hex; those kept out of its `repr` are secrets and left out."""
    public = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings) if each.repr}
    return hashlib.sha256(canonical({name: str(value) for name, value in public.items()})).hexdigest()


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the one way to write a record.

    Raises:
        ValueError: If a number in it is not finite.
    """
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def sealed(record: Mapping[str, Any], key: Ed25519PrivateKey | None) -> bytes:
    """Return the line of a record with its seal, without the line's end."""
    content = canonical(record)
    seal = key.sign(to_sign(content)) if key else hashlib.sha256(content).digest()
    return canonical({**record, "seal": seal.hex()})


def to_sign(content: bytes) -> bytes:
    """Return what is signed of a line's content: the content, said to be an audit log's."""
    return _DOMAIN + content


def _create(path: Path) -> int:
    """Return a descriptor to write at; a device or a pipe is written as it is, a file is made."""
    try:
        is_file = not path.exists() or path.is_file()
        return os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if is_file else 0), 0o666)
    except FileExistsError as error:
        raise SinkError(f"cannot write the audit log {path}: it exists; remove it, or choose another name") from error
    except OSError as error:
        raise SinkError(f"cannot write the audit log {path}: {error.strerror}; choose another place") from error


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _reason(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "complete"
    return "interrupted" if issubclass(kind, KeyboardInterrupt | GeneratorExit) else f"failed: {kind.__name__}"


def _what(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; the run ends, what was logged before stays"
    return f"{error.strerror or error}; the run ends"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _sum(counts: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + others.get(name, 0) for name in counts.keys() | others.keys()}
