"""Reads and writes what WHIP and WHEP exchange about ICE after the offer: fragments of SDP (RFC 8840, section 4.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from streamer.serve.sdp.offer_check import LINE, MAX_CANDIDATES, MAX_LINE, OfferError

TYPE = "application/trickle-ice-sdpfrag"
MAX_LINES = 400
UFRAG, PASSWORD = re.compile(r"[A-Za-z0-9+/]{4,256}"), re.compile(r"[A-Za-z0-9+/]{22,256}")  # RFC 8839, section 5.4
CANDIDATE = re.compile(
    r"a=candidate:[a-z0-9+/]{1,32} 1 udp \d{1,10} [0-9a-z:.-]{1,100} \d{1,5} typ [a-z]{4,5}( .*)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one side says of its ICE session.

    Attributes:
        ufrag, password: Of the session; "" where it says none.
        candidates: Addresses at which it may be found: those of UDP, which are all that can be used here.
    """

    ufrag: str
    password: str
    candidates: tuple[RTCIceCandidate, ...]

    def text(self, mid: str) -> str:
        """Return it as SDP, for the medium of that id."""
        lines = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.password}", "m=video 9 UDP/TLS/RTP/SAVPF 0"]
        lines += [f"a=mid:{mid}", *(f"a=candidate:{candidate_to_sdp(one)}" for one in self.candidates)]
        return "\r\n".join([*lines, "a=end-of-candidates", ""])


def parsed(body: bytes) -> Fragment:
    """Return what a fragment says. Candidates that cannot be used are left out, as RFC 9725 has it.

    Raises:
        OfferError: If it is none, or too much.
    """
    try:
        lines = body.decode("ascii").replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError:
        raise OfferError("a fragment is text in ASCII") from None
    if len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE or not all(map(LINE.fullmatch, lines)):
        raise OfferError("this is no fragment of SDP")
    ufrag, password = _value(lines, "ice-ufrag"), _value(lines, "ice-pwd")
    if bool(ufrag) != bool(password) or (ufrag and not (UFRAG.fullmatch(ufrag) and PASSWORD.fullmatch(password))):
        raise OfferError("a fragment has one ice-ufrag and its ice-pwd, or neither")
    said = [line for line in lines if line.startswith("a=candidate:")]
    if len(said) > MAX_CANDIDATES:
        raise OfferError(f"a fragment has at most {MAX_CANDIDATES} candidates")
    return Fragment(ufrag, password, tuple(_candidate(line) for line in said if CANDIDATE.fullmatch(line)))


def credentials(sdp: str) -> str:
    """Return the ice-ufrag of an offer: by another one a fragment is known to begin ICE anew."""
    return _value(sdp.split("\r\n"), "ice-ufrag")


def _value(lines: Sequence[str], name: str) -> str:
    return next((line.partition(":")[2] for line in lines if line.startswith(f"a={name}:")), "")


def _candidate(line: str) -> RTCIceCandidate:
    return candidate_from_sdp(line.removeprefix("a=candidate:"))
