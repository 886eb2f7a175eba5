"""Pictures as a source: one, or a folder of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from streamer.errors import SourceError
from streamer.sources.picture_file import PICTURE_SUFFIXES, is_picture, load_picture
from streamer.types import Frame, VideoInfo

log = logging.getLogger(__name__)

NAMED_FILES = 5  # of those left out; the rest is counted
PICTURE_SECONDS = Fraction(1)  # far enough apart that nothing follows a face from one picture into the next


class PictureSource:
    """One frame per picture, in the order of their names; sizes may differ.

    `info.names[frame.index]` is the file of a frame, from the folder on. A picture's own orientation (EXIF) is applied
    and its colours become sRGB. Alpha is dropped, not composited: what was transparent shows, so a face under it
    is found. Of several pages only the first is read.

    Attributes:
        info: Size of the first picture; `pts` counts seconds, one a picture.
        corrupt_packets: Pictures that could not be read so far; each is logged, and its index skipped.
        audio_streams: 0.
    """

    def __init__(self, path: Path, pictures: Sequence[Path]) -> None:
        self.corrupt_packets = self.audio_streams = 0
        self._pictures = pictures
        frames = self._read()
        first = next(frames, None)
        if first is None:
            raise SourceError(f"cannot open {path}: none of its {len(pictures)} pictures can be decoded")
        height, width = first.image.shape[:2]
        names = tuple(_name(picture, path) for picture in pictures)
        rate = 1 / PICTURE_SECONDS
        self.info = VideoInfo(width, height, rate, PICTURE_SECONDS, len(pictures), colorspace=0, names=names)
        self._frames = chain([first], frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames = chain(())

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _read(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._pictures):
            try:
                image = load_picture(picture)
            except SourceError as error:
                if len(self._pictures) == 1:
                    raise
                self.corrupt_packets += 1
                log.warning("picture %d left out: %s", index, error)
                continue
            yield Frame(image, index, index, PICTURE_SECONDS, is_own=True)


def _name(picture: Path, opened: Path) -> str:
    return picture.name if picture == opened else picture.relative_to(opened).as_posix()


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the pictures of `folder`, and with `recursive` of the folders in it, by name.

    Raises:
        SourceError: If there are none.
        OSError: If a folder cannot be read.
    """
    files = files_in(folder, recursive=recursive)
    pictures = [file for file in files if _is_readable_picture(file)]
    if not pictures:
        hint = "" if recursive or not folders_in(folder) else f"; recursive=True searches its {_folders(folder)}"
        raise SourceError(f"cannot open {folder}: no picture among its {len(files)} files{hint}")
    if others := [file for file in files if file not in set(pictures)]:
        log.warning("%s: left out, as they are no pictures: %s", folder, _names(others, folder))
    if not recursive and folders_in(folder):
        log.warning("%s: its %s are left out; recursive=True takes them too", folder, _folders(folder))
    return pictures


def files_in(folder: Path, *, recursive: bool) -> list[Path]:
    """Return the files of `folder` by name; those with a leading dot are shadow files of macOS and the like."""
    found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in found if entry.is_file()]
    if recursive:  # a link to a folder could lead in a circle
        deeper = [entry for entry in found if entry.is_dir() and not entry.is_symlink()]
        files += [file for entry in deeper for file in files_in(entry, recursive=True)]
    return files


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in `folder`."""
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _folders(folder: Path) -> str:
    count = len(folders_in(folder))
    return "1 subfolder" if count == 1 else f"{count} subfolders"


def _names(files: Sequence[Path], folder: Path) -> str:
    named = ", ".join(str(file.relative_to(folder)) for file in files[:NAMED_FILES])
    return named if len(files) <= NAMED_FILES else f"{named} and {len(files) - NAMED_FILES} more"


def _is_readable_picture(file: Path) -> bool:
    try:
        return is_picture(file)
    except OSError:  # its name decides; if it is to be read, the error is said then
        return file.suffix.lower() in PICTURE_SUFFIXES
