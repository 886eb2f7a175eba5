from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamer.sources.file_source import open_source
from streamer.sources.margins import NO_MARGINS, Margins, margins_of
from tests.clips import picture

Clip = Callable[..., Path]
LOSSLESS = {"codec": "ffv1", "pix_fmt": "yuv444p"}


def elements(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return id and content of each element of Matroska."""
    found, at = [], 0
    while at < len(data):
        wide = 9 - data[at].bit_length()
        name, at = data[at : at + wide], at + wide
        wide = 9 - data[at].bit_length()
        size, at = int.from_bytes(data[at : at + wide], "big") - (1 << 7 * wide), at + wide
        found.append((name, data[at : at + size]))
        at += size
    return found


def element(name: bytes, content: bytes) -> bytes:
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content


def with_pixel_crop(path: Path, **crop: int) -> Path:
    """Give the video track of a Matroska file margins."""
    ids = {"top": b"\x54\xbb", "bottom": b"\x54\xaa", "left": b"\x54\xcc", "right": b"\x54\xdd"}
    added = b"".join(element(ids[side], value.to_bytes(2, "big")) for side, value in crop.items())

    def changed(name: bytes, content: bytes) -> bytes:
        if name in (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"):  # Segment, Tracks, TrackEntry
            content = b"".join(changed(*child) for child in elements(content))
        return element(name, content + (added if name == b"\xe0" else b""))

    path.write_bytes(b"".join(changed(*child) for child in elements(path.read_bytes())))
    return path


def with_clean_aperture(path: Path, *, width: int, height: int, x: int, y: int, kind: bytes) -> Path:
    """Give the only track of a mov file, whose index is at its end, a clean aperture; x and y in half pixels."""
    data = bytearray(path.read_bytes())
    clap = struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, x, 2, y, 2)
    names = [data.index(name, data.index(b"moov")) for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    names.append(data.index(kind, names[-1]))
    (entry_size,) = struct.unpack(">I", data[names[-1] - 4 : names[-1]])
    data[names[-1] - 4 + entry_size : names[-1] - 4 + entry_size] = clap
    for at in names:
        data[at - 4 : at] = (int.from_bytes(data[at - 4 : at], "big") + len(clap)).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_what_matroska_crops_is_cut_off(clip: Clip) -> None:
    with open_source(with_pixel_crop(clip("clip.mkv", **LOSSLESS), top=10, left=14, right=3)) as source:
        frames = list(source)
    assert (source.info.width, source.info.height) == (47, 38)
    assert source.info.notes == ("cut to 47x38, as the file says",)
    assert np.abs(frames[3].image.astype(int) - picture(3)[10:, 14:61]).max() <= 3
    assert frames[0].image.flags.c_contiguous


def test_what_lies_outside_a_clean_aperture_is_cut_off(clip: Clip) -> None:
    path = clip("clip.mov", codec="png", pix_fmt="rgb24")
    with open_source(with_clean_aperture(path, width=40, height=30, x=8, y=-6, kind=b"png ")) as source:
        frames = list(source)
    left, top = (64 - 40) // 2 + 4, (48 - 30) // 2 - 3
    assert (frames[3].image == picture(3)[top : top + 30, left : left + 40]).all()


def test_a_turned_picture_is_cut_before_it_is_turned(clip: Clip) -> None:
    path = clip("clip.mov", codec="png", pix_fmt="rgb24", rotation=(90, False))
    with open_source(with_clean_aperture(path, width=40, height=30, x=0, y=0, kind=b"png ")) as source:
        frame = next(iter(source))
    assert frame.image.shape == (source.info.height, source.info.width, 3) == (40, 30, 3)
    assert (frame.image == np.rot90(picture(0)[9:39, 12:52])).all()


def test_margins_that_leave_nothing_are_not_believed(clip: Clip) -> None:
    with open_source(with_pixel_crop(clip("clip.mkv", **LOSSLESS), left=40, right=14)) as source:
        assert (source.info.width, source.info.height) == (64, 48)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.mov"])
def test_an_ordinary_file_has_no_margins(clip: Clip, name: str) -> None:
    assert margins_of(clip(name), place=0, width=64, height=48) == NO_MARGINS


@pytest.mark.slow
def test_no_damage_to_the_head_of_a_file_is_an_error(clip: Clip) -> None:
    cropped = with_pixel_crop(clip("clip.mkv", **LOSSLESS), top=10)
    aperture = with_clean_aperture(
        clip("clip.mov", codec="png", pix_fmt="rgb24"), width=40, height=30, x=0, y=0, kind=b"png "
    )
    assert margins_of(cropped, place=0, width=64, height=48) == Margins(top=10)
    assert margins_of(aperture, place=0, width=64, height=48) == Margins(9, 9, 12, 12)
    for path in (cropped, aperture):
        data = path.read_bytes()
        at = max(0, data.find(b"moov") - 8)
        for place in range(at, min(at + 900, len(data))):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
            assert margins_of(path, place=0, width=64, height=48).fit(64, 48)
