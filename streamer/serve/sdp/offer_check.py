"""Looks at what a client offers before aiortc does, which takes minutes over some of it."""

from __future__ import annotations

import re
from collections import Counter

from streamer.errors import StreamerError

MAX_BYTES = 64 << 10
MAX_LINES, MAX_LINE = 1500, 2048
MAX_MEDIA = 4
MAX_CANDIDATES = 100
MAX_FORMATS = 100  # of one medium
LINE = re.compile(r"[a-z]=[^\x00-\x08\x0b-\x1f\x7f]*")
FINGERPRINT = re.compile(r"a=fingerprint:(sha-256|sha-384|sha-512) [0-9A-F]{2}(:[0-9A-F]{2})+", re.IGNORECASE)
CODEC = re.compile(r"a=rtpmap:\d{1,3} ([A-Za-z0-9-]{1,20})/90000")
TAKEN = ("VP8", "H264")
NO_CODECS = frozenset({"RTX", "RED", "ULPFEC", "FLEXFEC-03"})  # what repairs others
MEDIUM = re.compile(r"m=(audio|video|application) \d{1,5}(/\d)? [A-Z/]+ \S+( \S+)*")


class OfferError(StreamerError):
    """An offer that is none, or too much; says why in words without what the client sent."""


class CodecError(OfferError):
    """An offer without a codec that is spoken here.

    Args:
        offered: Their names.
    """

    def __init__(self, offered: list[str]) -> None:
        said = ", ".join(offered) or "none"
        super().__init__(f"no codec in common: VP8 or H264 (constrained baseline) is needed, offered is {said}")


def checked_offer(body: bytes) -> str:
    """Return the SDP (RFC 8866) in `body`, if it is an offer of a size and shape that browsers make.

    Raises:
        OfferError: If it is not.
        CodecError: If it is, but of no codec that is spoken here.
    """
    if len(body) > MAX_BYTES:
        raise OfferError(f"an offer has at most {MAX_BYTES} bytes")
    try:
        sdp = body.decode("utf-8")
    except UnicodeDecodeError:
        raise OfferError("an offer is text in UTF-8") from None
    lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0] != "v=0":
        raise OfferError("an offer begins with v=0")
    if len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE:
        raise OfferError(f"an offer has at most {MAX_LINES} lines of at most {MAX_LINE} characters")
    if not all(map(LINE.fullmatch, lines)):
        raise OfferError("a line of the offer is none of SDP")
    _check_counts(lines)
    _check_media([line for line in lines if line.startswith("m=")])
    sdp = "\r\n".join(lines) + "\r\n"
    if not set(codecs_of(sdp)) & set(TAKEN):
        raise CodecError(codecs_of(sdp))
    return sdp


def codecs_of(sdp: str) -> list[str]:
    """Return the names of the video codecs in an offer, each once."""
    names = (found[1].upper() for line in sdp.split("\r\n") if (found := CODEC.fullmatch(line)))
    return sorted(set(names) - NO_CODECS)


def _check_counts(lines: list[str]) -> None:
    counts = Counter(line.partition(":")[0] for line in lines)
    if counts["a=candidate"] > MAX_CANDIDATES:
        raise OfferError(f"an offer has at most {MAX_CANDIDATES} candidates")
    if not counts["a=ice-ufrag"] or not counts["a=ice-pwd"]:
        raise OfferError("the offer lacks ICE credentials")
    if not any(map(FINGERPRINT.fullmatch, lines)):
        raise OfferError("the offer lacks the fingerprint of a certificate")


def _check_media(media: list[str]) -> None:
    if not 1 <= len(media) <= MAX_MEDIA:
        raise OfferError(f"an offer has 1 to {MAX_MEDIA} media")
    if not all(map(MEDIUM.fullmatch, media)) or max(len(line.split(" ")) for line in media) > MAX_FORMATS + 3:
        raise OfferError("a medium of the offer is malformed")
    if not any(line.startswith("m=video ") for line in media):
        raise OfferError("the offer has no video")
