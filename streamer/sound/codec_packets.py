"""What is text or sound of a copied packet, without what else may lie in, behind or beside it.

Such as tags, cover art, drawings, comments.
"""

from __future__ import annotations

import re
import struct

from streamer.sound.codec_headers import MOST_BYTES

LONGEST_TEXT = 4000  # bytes of what is read at a time
# Of ASS: what follows are lines of a drawing, such as of a face; or text is cut out along them, not in a rectangle.
DRAWN = re.compile(r"\\\s*(p[\s(+]*0*[1-9]|i?clip(?!\s*\((\s*[-+\d.]+\s*,){3}\s*[-+\d.]+\s*\)))")
ASS_FIELDS = 9  # number, layer, style, name, three margins, effect, text
ASS_EFFECT = re.compile(r"(Banner|Scroll up|Scroll down)(;\d{1,5}){1,4}")
ASS_BRACES = re.compile(r"\{[^}]*\}")  # what is done to the text, after backslashes, or a comment
WEBVTT_SETTINGS = re.compile(rb"((vertical|line|position|size|align):[a-z\d.,%-]{1,24}[ \t]{0,2}){1,5}")
BESIDE = frozenset({"skip_samples", "encryption_info", "mpegts_stream_id"})  # side data of a few bytes that are numbers
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
TEXT = frozenset({"subrip", "ass", "webvtt", "text"})
# ISO/IEC 11172-3, 2.4.2.3, and 13818-3: kbit/s by index, of MPEG-1 by layer, then of MPEG-2; Hz of MPEG-1.
_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = (44100, 48000, 32000)


def bare_packet(codec: str, packet: bytes) -> bytes:
    """Return a packet of `codec`, as far as it is read or heard; b"" if nothing of it is.

    Of other codecs than text and MPEG audio all is returned.

    Args:
        codec: FFmpeg's name.
        packet: As it is stored.
    """
    if codec == "mov_text":
        return _tx3g(packet)
    if codec in TEXT:
        text = packet if _is_text(packet) else b""
        return _ass(text.decode()) if codec == "ass" else text
    if codec in {"mp1", "mp2", "mp3"}:
        return _frames(packet)
    return packet


def may_lie_beside(kind: str, data: bytes) -> bool:
    """Return whether side data of a packet are such as hold nothing but how it is to be played; `kind` as PyAV's."""
    if kind == "new_extradata":
        return len(data) <= MOST_BYTES
    return kind in BESIDE or (kind == "webvtt_settings" and bool(WEBVTT_SETTINGS.fullmatch(data)))


def _is_text(packet: bytes) -> bool:
    """Return whether a packet is text alone."""
    try:
        text = packet.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return False
    return len(packet) <= LONGEST_TEXT and not CONTROL.search(text)


def _ass(line: str) -> bytes:
    """Return a line of ASS without what is not shown of it: who speaks, unknown effects, comments; b"" if it draws."""
    *fields, text = line.split(",", ASS_FIELDS - 1)
    shown, end, rest = text.rpartition("}")
    text = ASS_BRACES.sub(lambda found: found[0] if "\\" in found[0] else "", shown + end) + rest
    if len(fields) == ASS_FIELDS - 1:
        fields[3] = ""
        fields[7] = fields[7] if ASS_EFFECT.fullmatch(fields[7]) else ""
    bare = ",".join([*fields, text])
    return b"" if DRAWN.search(bare) else bare.encode()


def _tx3g(packet: bytes) -> bytes:
    """Return the text of a sample of 3GPP timed text without the boxes behind it (TS 26.245, 5.17)."""
    if len(packet) < 2:
        return b""
    end = 2 + struct.unpack_from(">H", packet)[0]
    return packet[:end] if end <= len(packet) and _is_text(packet[2:end]) else b""


def _frames(packet: bytes) -> bytes:
    """Return the whole frames of MPEG audio in a packet: a tag may lie before them, as where files were joined."""
    kept, place, end = [], 0, 0  # where the last frame ended
    while 0 <= place < len(packet):
        behind = place + _frame_length(packet[place : place + 4])
        is_next = place == end or behind == len(packet) or _frame_length(packet[behind : behind + 4]) > 0
        if place < behind <= len(packet) and is_next:
            kept.append(packet[place:behind])
            place = end = behind
        else:
            place = packet.find(b"\xff", place + 1)
    return b"".join(kept)


def _frame_length(header: bytes) -> int:
    """Return the bytes of a frame of MPEG audio by its header; 0 if it is none, or does not say."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, hertz, is_padded = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or hertz == 3:
        return 0
    is_first = version == 3
    bits = 1000 * _KBITS[is_first, layer][rate - 1]
    speed = _HERTZ[hertz] >> (0 if is_first else 1 if version == 2 else 2)
    if layer == 1:
        return (12 * bits // speed + is_padded) * 4
    return (144 if is_first or layer == 2 else 72) * bits // speed + is_padded
