"""What every file that is written goes through: checked before the work, whole or not there at all after it."""

from __future__ import annotations

import errno
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import cv2

from streamer.errors import SinkError
from streamer.sources.special_files import special_kind
from streamer.types import SafeFrame, VideoInfo

if TYPE_CHECKING:
    from streamer.sinks.marks.credentials import Credentials

PART_STEM = 50  # characters of the name: with four bytes each and what follows still a name that file systems take
STANDARD_OUTPUTS = ("/dev/std", "/dev/fd/", "/proc/self/fd/")


def final_place(path: str | Path) -> Path:
    """Return where an output is to be written: at the end of a link, which stays.

    Raises:
        SinkError: If that is no place for a file.
    """
    absolute = Path(path).absolute()
    if str(path) == "-" or str(absolute).startswith(STANDARD_OUTPUTS):
        raise SinkError(f"cannot write to standard output ({path}): name a file")
    if kind := special_kind(absolute):
        raise SinkError(f"cannot write {absolute}: it is {kind}; name a file")
    try:
        return absolute.resolve() if absolute.is_symlink() else absolute
    except (RuntimeError, OSError) as error:  # RuntimeError is pathlib's for a circle
        raise SinkError(f"cannot write {absolute}: it is a link that leads nowhere") from error


def check_place(path: Path, source_path: Path | None, *, overwrite: bool) -> None:
    """Raise the SinkError that would otherwise come after hours of work."""
    if not path.parent.is_dir():
        raise SinkError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if source_path is not None and _overlap(path, source_path):
        raise SinkError(f"cannot write {path}: it would overwrite the input {source_path}; choose another name")
    check_free(path, overwrite=overwrite)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise a SinkError if there is something at `path` that may not be replaced."""
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty_folder and not overwrite:
        raise SinkError(f"cannot write {path}: {path.name} exists; remove it, or pass overwrite=True")


def _overlap(target: Path, source: Path) -> bool:
    """Return whether one is the other, or lies in it."""
    a, b = target.resolve(), source.resolve()
    return a == b or a in b.parents or b in a.parents or (a.exists() and b.exists() and a.samefile(b))


class PartSink(ABC):
    """Writes under a name of its own; renamed when left without an exception, removed with one or when writing fails.

    Attributes:
        audio_packets: Packets of sound copied so far, or made in another voice.
        audio_failures: Why sound ended before its end, of each stream that did; once it is left.
    """

    def __init__(
        self, path: Path, info: VideoInfo, *, overwrite: bool, mark: bool, credentials: Credentials | None
    ) -> None:
        self.audio_packets, self.audio_failures = 0, tuple[str, ...]()
        self._mark, self._credentials = mark, credentials
        self._path = path
        self._info = info
        self._overwrite = overwrite
        # Of each run: two that write the same output do not write into one file.
        self._part = path.with_name(f"{path.stem[:PART_STEM]}.{token_hex(4)}.part{path.suffix}")
        self._opened = ExitStack()
        self._count = 0
        self._is_open = False

    def __enter__(self) -> Self:
        try:
            with self._discarding_on_failure():
                self._open()
        except BaseException:  # a signal may come as `with` ends
            self._discard()
            raise
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_open or kind is not None:
            return self._discard()
        with self._discarding_on_failure():
            if not self._count:
                raise SinkError(f"cannot write {self._path}: there was no frame to write")
            self._complete()
            if self._credentials:
                self._sign(self._credentials)
            check_free(self._path, overwrite=self._overwrite)  # another run may have been faster
            self._install()
        self._is_open = False

    def write(self, frame: SafeFrame) -> None:
        """Write one frame.

        Raises:
            SinkError: If it cannot be written; what was written so far is removed.
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be written, got {type(frame).__name__}")
        if not self._is_open:
            raise SinkError(f"cannot write {self._path}: it is closed")
        with self._discarding_on_failure():
            self._write(frame)
        self._count += 1

    @contextmanager
    def _discarding_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, cv2.error) as error:
            self._discard()
            raise SinkError(f"cannot write {self._path}: {reason_of(error)}") from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        self._is_open = False
        with suppress(av.FFmpegError, OSError):  # a full disk fails here once more
            self._opened.close()
        with suppress(OSError):
            shutil.rmtree(self._part) if self._part.is_dir() else self._part.unlink()

    def _open(self) -> None:
        """Make the part; until then there is nothing that a signal could leave behind."""
        self._part.touch()

    @abstractmethod
    def _write(self, frame: SafeFrame) -> None: ...

    def _complete(self) -> None:  # noqa: B027 - a picture is written at once
        """Write what is missing of the part."""

    def _sign(self, credentials: Credentials) -> None:
        """Sign what was written."""
        credentials.sign(self._part, is_generated=self._mark)

    def _install(self) -> None:
        """Give the part its final name."""
        self._part.replace(self._path)


def reason_of(error: Exception) -> str:
    """Return in a line why something could not be written."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; nothing of it was kept"
    return (getattr(error, "strerror", None) or str(error)).replace("\n", " ")
