"""What a decoder needs of the header of a copied codec (FFmpeg's extradata), without what else such headers may hold.

Titles, comments, cover art, fonts, pictures and paths are kept there by Vorbis and by ASS subtitles, among others.
"""

from __future__ import annotations

import re
import struct

MOST_BYTES = 80  # of a header that is taken whole: those of sound have 2 to 80 (Speex), and no room for a picture
MOST_STYLES, LONGEST_LINE = 64, 300  # of an ASS header; characters
SCRIPT_INFO = frozenset({  # what ASS draws by
    "scripttype", "playresx", "playresy", "layoutresx", "layoutresy", "wrapstyle", "scaledborderandshadow",
    "collisions", "timer", "ycbcr matrix", "kerning",
})  # fmt: skip
SCRIPT_VALUE = re.compile(r"[\w.+ -]{0,16}")
# Name and font, then numbers and colours.
STYLE = re.compile(r"[^,]{0,40},[^,]{0,40}(,[ \t]*((&H|&h|0x)?[-+\dA-Fa-f.]{1,12}&?[ \t]*)?)*")
FIELDS = re.compile(r"[A-Za-z \t]{0,16}(,[A-Za-z \t]{0,16}){0,31}")
STYLES = frozenset({"[v4 styles]", "[v4+ styles]", "[v4++ styles]"})
# 3GPP TS 26.245, 5.16: white, 18 points, centred at the bottom, in one font of the player's choice.
TX3G = struct.pack(">Ibb4x8xHHHBBI", 0, 1, -1, 0, 0, 1, 0, 18, 0xFFFFFFFF)
TX3G += struct.pack(">I4sHHB5s", 18, b"ftab", 1, 1, 5, b"Serif")


class HeaderError(ValueError):
    """A header that may hold more than a decoder needs."""


def bare_header(codec: str, header: bytes) -> bytes:
    """Return the `header` of `codec`, as far as a decoder needs it.

    Args:
        codec: FFmpeg's name.
        header: Its extradata; may be empty.

    Raises:
        HeaderError: If it cannot be told what in it is needed.
    """
    if codec in {"subrip", "text", "webvtt"}:
        return b""
    if codec == "mov_text":
        return TX3G
    if codec == "ass":
        return _ass(header)
    if codec == "vorbis":
        return _vorbis(header)
    if len(header) > MOST_BYTES:
        raise HeaderError(f"the header of {codec} is longer than sound needs, and may hold titles or pictures")
    return header


def _ass(header: bytes) -> bytes:
    """Return the header of ASS subtitles with sizes, styles and the order of fields alone, as far as they read so."""
    kept, section, styles, said = list[str](), "", 0, set[str]()
    for line in header.decode("utf-8", "replace").replace("\0", "").splitlines():
        line = line.strip("\ufeff \t")
        key = line.partition(":")[0].strip().lower()
        if line.startswith("["):
            section = line.lower()
            if section in STYLES | {"[script info]", "[events]"}:
                kept += ["", line]
            continue
        if len(line) > LONGEST_LINE:
            continue
        value = line.partition(":")[2].strip()
        is_drawn_by = section == "[script info]" and key in SCRIPT_INFO - said and SCRIPT_VALUE.fullmatch(value)
        is_style = section in STYLES and key == "style" and STYLE.fullmatch(value) and styles < MOST_STYLES
        is_first = section in STYLES | {"[events]"} and kept[-1].lower() == section
        is_order = is_first and key == "format" and FIELDS.fullmatch(value)
        if is_drawn_by or is_style or is_order:
            kept.append(line)
            styles, said = styles + bool(is_style), said | {key}
    return "\n".join([*kept[1:], ""]).encode()


def _vorbis(header: bytes) -> bytes:
    """Return the three headers of Vorbis, the second, which is for comments, empty (Vorbis I specification, 5)."""
    first, _, setup = _laced(header)
    if not (first.startswith(b"\x01vorbis") and len(first) == 30 and setup.startswith(b"\x05vorbis")):
        raise HeaderError("the headers of vorbis are not its own")
    comments = b"\x03vorbis" + bytes(8) + b"\x01"
    return b"\x02" + bytes([len(first), len(comments)]) + first + comments + setup


def _laced(header: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the three packets of a Xiph header, which FFmpeg has either laced or each after its length."""
    if header[:2] == b"\x00\x1e":  # the first has 30 bytes
        first, rest = _after(header[2:], 30)
        second, rest = _after(rest[2:], int.from_bytes(rest[:2], "big"))
        return first, second, rest[2:]
    sizes, rest = list[int](), header[1:]
    for _ in range(2 if header[:1] == b"\x02" else 0):
        full = len(rest) - len(rest.lstrip(b"\xff"))
        sizes.append(255 * full + sum(rest[full : full + 1]))
        rest = rest[full + 1 :]
    first, rest = _after(rest, sum(sizes[:1]))
    second, rest = _after(rest, sum(sizes[1:]))
    return first, second, rest


def _after(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]
