"""Files of an archive, on this machine or wherever fsspec reaches: s3://, gs://, memory:// and others."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from fsspec.core import url_to_fs

from streamer.errors import SinkError, SourceError, StreamerError
from streamer.masking import mask_secrets

log = logging.getLogger(__name__)

BLOCK = 1 << 20  # bytes read at once to hash
DESCRIPTORS = Path("/proc/self/fd")  # of Linux: open files of this process, also those that have no name


def local_path(url: str) -> Path | None:
    """Return the path of what lies on this machine, or None."""
    scheme, mark, path = url.partition("://")
    if not mark:
        return Path(url).absolute()
    return Path(path).absolute() if scheme in ("file", "local") else None


def within(folder: str, name: str) -> str:
    """Return the place of `name` in a folder."""
    path = local_path(folder)
    return str(path / name) if path else f"{folder.rstrip('/')}/{name}"


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of `url`, and the path in it.

    Raises:
        StreamerError: If there is none for it, or what reads it is not installed.
    """
    try:
        return url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError, OSError) as error:
        raise StreamerError(f"cannot reach {mask_secrets(url)}: {_reason(error)}") from error


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other processes out of a folder on this machine, which is made; an object store knows no locks.

    Raises:
        StreamerError: If another process has it, or it cannot be made.
    """
    path = local_path(folder)
    if path is None:
        yield
        return
    new = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        opened = os.open(path, os.O_RDONLY)  # the folder itself: nothing is left of the lock, however this ends
    except OSError as error:
        raise StreamerError(f"cannot write {path}: {error.strerror}") from error
    try:
        _lock(opened, path)
        yield
    finally:
        os.close(opened)
        with suppress(OSError):  # it is not empty
            for each in new:
                each.rmdir()


def _lock(opened: int, path: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StreamerError(f"another run writes to {path}; wait for its end, or choose another --out") from error
    except OSError as error:  # such as NFS, which locks no folders
        log.warning("%s cannot be locked (%s): start no other run into it", path, error.strerror)


def exists(url: str) -> bool:
    """Return whether there is a file or folder."""
    files, path = file_system(url)
    return bool(files.exists(path))


def identity_of(url: str) -> object:
    """Return what all names of a file have in common, links to it among them; of what is not there the name."""
    if path := local_path(url):
        try:
            about = path.stat()
        except OSError:
            return path
        return about.st_dev, about.st_ino
    files, remote = file_system(url)
    return files.unstrip_protocol(remote)


def sha256_of(url: str) -> str:
    """Return the SHA-256 of a file, as hex.

    Raises:
        SourceError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with _reading(url):
        files, path = file_system(url)
        with files.open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def fetch(url: str, copy: Path) -> Path:
    """Return a file on this machine: itself if it is there, or else `copy`, which is made.

    Raises:
        SourceError: If it cannot be read.
    """
    if path := local_path(url):
        return path
    with _reading(url):
        files, remote = file_system(url)
        files.get_file(remote, str(copy))
    return copy


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """Give a source on this machine: itself, or a copy among the temporary files, never where the output is.

    On Linux the copy has no name, but a link of that suffix to what is open: it is gone with this process, however that
    ends. What is said of the copy is said of `url`.

    Raises:
        SourceError: If it cannot be read.
    """
    if path := local_path(url):
        yield path
        return
    with TemporaryDirectory(prefix="veil-", ignore_cleanup_errors=True) as folder, TemporaryFile() as nameless:
        copy = Path(folder) / f"source{Path(url.partition('?')[0]).suffix}"
        if DESCRIPTORS.is_dir():
            copy.symlink_to(DESCRIPTORS / str(nameless.fileno()))
        try:
            yield fetch(url, copy)
        except StreamerError as error:
            raise type(error)(str(error).replace(str(copy), mask_secrets(url))) from error


def publish(file: Path, url: str) -> None:
    """Move a finished local file to its place, where it is seen only when it is whole.

    An object store shows an object only then; on this machine `file` must lie on the disk of `url`.

    Raises:
        SinkError: If it cannot be written.
    """
    try:
        if path := local_path(url):
            path.parent.mkdir(parents=True, exist_ok=True)
            file.replace(path)
            return
        files, remote = file_system(url)
        files.makedirs(remote.rpartition("/")[0], exist_ok=True)
        files.put_file(str(file), remote)
        file.unlink()
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot write {mask_secrets(url)}: {_reason(error)}") from error


def remove(url: str) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path := local_path(url):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return
    files, remote = file_system(url)
    if files.exists(remote):
        files.rm(remote, recursive=True)


@contextmanager
def _reading(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {mask_secrets(url)}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}".splitlines()[0]
