"""Pictures as a source: one, or a folder of them."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from streamer.decoding import EXIF
from streamer.errors import SourceError
from streamer.types import Frame, Image, VideoInfo

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
PICTURE_SECONDS = Fraction(1)  # far enough apart that nothing follows a face from one picture into the next


class PictureSource:
    """One frame per picture, in the order of their names; sizes may differ.

    `info.names[frame.index]` is the file of a frame. A picture's own orientation (EXIF) is applied. Alpha is dropped,
    not composited: what was transparent shows, so a face under it is found. Of several pages only the first is read.

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
        names = tuple(picture.name for picture in pictures)
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
                image = _load_picture(picture)
            except SourceError as error:
                if len(self._pictures) == 1:
                    raise
                self.corrupt_packets += 1
                log.warning("picture %d left out: %s", index, error)
                continue
            yield Frame(image, index, index, PICTURE_SECONDS)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of `folder` by name.

    Raises:
        SourceError: If there are none.
    """
    # Names with a leading dot are the shadow files of macOS, not pictures.
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise SourceError(f"cannot open {folder}: no picture among its {len(files)} files; expected {kinds}")
    if len(pictures) < len(files):
        log.warning("%s: %d files that are not pictures are left out", folder, len(files) - len(pictures))
    return pictures


def _load_picture(path: Path) -> Image:
    try:
        data = path.read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check its permissions") from error
    except cv2.error as error:  # more pixels than OpenCV takes
        raise SourceError(f"cannot decode {path}: {error.err}") from error
    if image is None:
        raise SourceError(f"cannot decode {path}: not a picture, or damaged")
    if (pages := cv2.imcount(str(path))) > 1:
        log.warning("%s has %d pages: only the first is read", path, pages)
    if _has_alpha(data):
        log.warning("%s has an alpha channel: it is dropped", path)
    return EXIF[_webp_orientation(data) - 1].apply(np.asarray(image, np.uint8))


def _has_alpha(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return data[25] in (4, 6)  # color types with alpha
    if data[8:16] == b"WEBPVP8X":
        return bool(data[20] & 0x10)
    return data[8:16] == b"WEBPVP8L" and bool(data[24] & 0x10)


def _webp_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a WebP file, 1 to 8; 1 for other files, to which OpenCV applies it itself."""
    at = 12
    while data[8:12] == b"WEBP" and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0")
            # Orientation is tag 0x112, a short, one value: twelve bytes with the value in the ninth and tenth.
            order = "<" if exif.startswith(b"II") else ">"
            _, _, after = exif.partition(struct.pack(order + "HHI", 0x112, 3, 1))
            value = int(struct.unpack(order + "H", after[:2])[0]) if len(after) >= 2 else 1
            return value if 1 <= value <= 8 else 1
        at += 8 + size + size % 2
    return 1
