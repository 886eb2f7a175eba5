"""The margins that a container tells players to cut off a picture: Matroska's PixelCrop and QuickTime's clean aperture.

What H.264 and HEVC cut off their decoders cut off; these two are left to the player, and PyAV does not hand them on.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import floor
from typing import BinaryIO, Literal, Protocol

from streamer.types import Image

LEAST_SIDE = 16  # pixels that must be left of a side; a file that cuts off more is damaged
MAX_CHILDREN = 100_000  # of one element; a damaged file must not be read for ever

# Matroska (RFC 9559).
SEGMENT, TRACKS, TRACK, KIND, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
KIND_OF_VIDEO = 1
CROPS = {0x54BB: "top", 0x54AA: "bottom", 0x54CC: "left", 0x54DD: "right"}
# ISO/IEC 14496-12: bytes before the sample entries, and before the boxes of an entry of video.
ENTRIES, VISUAL_ENTRY = 8, 78

Span = tuple[int, int]  # first byte of the content, and the one after its last
Walk = Callable[[BinaryIO, Span], Iterator[tuple[Hashable, Span]]]


@dataclass(frozen=True, slots=True)
class Margins:
    """Pixels to cut off each side of the picture as it is stored, before it is turned upright."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def fit(self, width: int, height: int) -> bool:
        """Return whether a picture is left of one of `width` x `height`."""
        rest = min(width - self.left - self.right, height - self.top - self.bottom)
        return min(self.top, self.bottom, self.left, self.right) >= 0 and rest >= min(LEAST_SIDE, width, height)

    def cut(self, image: Image) -> Image:
        """Return the `(H, W, 3)` picture without them: a view."""
        height, width = image.shape[:2]
        return image[self.top : height - self.bottom, self.left : width - self.right]


NO_MARGINS = Margins()


class Readable(Protocol):
    """A `Path`, or what is read like one."""

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return its bytes."""
        ...


def margins_of(path: Readable, *, place: int, width: int, height: int) -> Margins:
    """Return the margins of a video track of a Matroska, mp4 or mov file; none where it is damaged there.

    Args:
        path: The file.
        place: Of the track among those of video, from 0.
        width: Of the picture as it is stored, as is `height`.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            whole = 0, file.seek(0, io.SEEK_END)
            file.seek(0)
            is_matroska = file.read(4) == b"\x1a\x45\xdf\xa3"
            of_each = _of_matroska(file, whole) if is_matroska else _of_mp4(file, whole, (width, height))
            margins = next(islice(of_each, place, None), NO_MARGINS)
    except (struct.error, ZeroDivisionError):
        return NO_MARGINS
    return margins if margins.fit(width, height) else NO_MARGINS


def _of_matroska(file: BinaryIO, whole: Span) -> Iterator[Margins]:
    """Yield the margins of each track of video."""
    for track in _inside(_elements, file, whole, (SEGMENT, TRACKS, TRACK)):
        if [_unsigned(file, span) for span in _inside(_elements, file, track, (KIND,))] == [KIND_OF_VIDEO]:
            crops = [item for video in _inside(_elements, file, track, (VIDEO,)) for item in _elements(file, video)]
            yield Margins(**{CROPS[name]: _unsigned(file, span) for name, span in crops if name in CROPS})


def _of_mp4(file: BinaryIO, whole: Span, size: tuple[int, int]) -> Iterator[Margins]:
    """Yield the margins of each track of video."""
    for media in _inside(_boxes, file, whole, (b"moov", b"trak", b"mdia")):
        if [_read(file, start + 8, 4) for start, _ in _inside(_boxes, file, media, (b"hdlr",))] != [b"vide"]:
            continue
        entries = [
            (start + VISUAL_ENTRY, end)
            for start, stop in _inside(_boxes, file, media, (b"minf", b"stbl", b"stsd"))
            for _, (start, end) in _boxes(file, (start + ENTRIES, stop))
        ]
        apertures = [span for entry in entries for span in _inside(_boxes, file, entry, (b"clap",))]
        yield _clean_aperture(_read(file, apertures[0][0], 32), size) if apertures else NO_MARGINS


def _clean_aperture(data: bytes, size: tuple[int, int]) -> Margins:
    """Return what lies outside of a clean aperture: width, height and the offset of its centre, as fractions."""
    numbers = struct.unpack(">IIIIiIiI", data)
    wide, high, x, y = (Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    left, top = floor((size[0] - wide) / 2 + x), floor((size[1] - high) / 2 + y)
    return Margins(top, size[1] - top - round(high), left, size[0] - left - round(wide))


def _inside(walk: Walk, file: BinaryIO, span: Span, path: tuple[Hashable, ...]) -> Iterator[Span]:
    """Yield the content of everything that lies at `path` within `span`."""
    if not path:
        yield span
        return
    for name, content in walk(file, span):
        if name == path[0]:
            yield from _inside(walk, file, content, path[1:])


def _elements(file: BinaryIO, span: Span) -> Iterator[tuple[int, Span]]:
    """Yield number and content of the elements of Matroska in `span`; one of unknown size goes on to its end."""
    at, end = span
    for _ in range(MAX_CHILDREN):
        if at >= end:
            return
        name, at = _variable(file, at, keep_marker=True)
        size, at = _variable(file, at, keep_marker=False)
        stop = min(at + size, end) if size >= 0 else end
        yield name, (at, stop)
        at = stop


def _variable(file: BinaryIO, at: int, *, keep_marker: bool) -> tuple[int, int]:
    """Return a number of variable length, -1 where all its bits are set, and where it ends."""
    first = _read(file, at, 1)[0]
    length = 9 - first.bit_length()
    if length > 8:
        raise struct.error("no length")
    value = int.from_bytes(_read(file, at, length), "big")
    marker = 1 << 7 * length
    if not keep_marker:
        value = value - marker if value != 2 * marker - 1 else -1
    return value, at + length


def _boxes(file: BinaryIO, span: Span) -> Iterator[tuple[bytes, Span]]:
    """Yield name and content of the boxes in `span`."""
    at, end = span
    for _ in range(MAX_CHILDREN):
        if at + 8 > end:
            return
        size, name = struct.unpack(">I4s", _read(file, at, 8))
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", _read(file, at + 8, 8))[0], 16
        stop = min(at + size, end) if size else end
        if stop < at + header:
            return
        yield name, (at + header, stop)
        at = stop


def _unsigned(file: BinaryIO, span: Span) -> int:
    return int.from_bytes(_read(file, span[0], min(8, span[1] - span[0])), "big")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise struct.error("the file ends early")
    return data
