"""Sources as they are read: of each the hash, and whether it was changed meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamer.batch.storage import sha256_of
from streamer.errors import SourceError

FRESH_SECONDS = 3.0  # a second change so soon may bear the same time: FAT counts in two seconds, NFS in one


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source on this machine, as it was before it was read.

    Size, inode and times tell a change without a second hash, which costs as much as a second reading: whatever writes
    to a file moves its ctime, which no program sets. Only of a file that was fresh these prove nothing, and it is
    hashed again.

    Attributes:
        path: Where it is.
        sha256: Of its bytes, as hex.
        state: What changes with them.
        was_fresh: Whether its last change was less than `FRESH_SECONDS` before.
    """

    path: Path
    sha256: str
    state: tuple[int, ...]
    was_fresh: bool

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return what a file is now, before it is read.

        Raises:
            SourceError: If it cannot be read.
        """
        state = _state(path)
        return cls(path, sha256_of(str(path)), state, was_fresh=time.time_ns() - state[-1] < FRESH_SECONDS * 1e9)

    def check(self) -> None:
        """Raise a SourceError if the file is not what it was, so that nobody knows what was read."""
        if _state(self.path) != self.state or (self.was_fresh and sha256_of(str(self.path)) != self.sha256):
            raise SourceError(f"{self.path} changed while it was read; do it again when nothing writes to it")


def _state(path: Path) -> tuple[int, ...]:
    try:
        about = path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
