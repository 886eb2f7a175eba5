"""Makes the answer to an offer, whoever made it: the page, WHIP or WHEP."""

from __future__ import annotations

import asyncio
import re

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import OperationError

from streamer.serve.sdp.offer_check import CodecError, OfferError, codecs_of
from streamer.sinks.webrtc import use_own_encoders

ANSWER_SECONDS = 10.0
START_KBPS = 2500  # that browsers send from the start; left to themselves they begin with a tenth, and small pictures


async def answer_to(connection: RTCPeerConnection, offer: str) -> str:
    """Return the answer to a checked offer, by a connection that takes part in what it shall.

    Raises:
        OfferError: If it cannot be answered.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _answered(connection, offer)
    except OperationError as error:  # what it says when no codec is left
        raise CodecError(codecs_of(offer)) from error
    except Exception as error:  # aiortc raises anything; its messages quote the offer
        raise OfferError(f"the offer cannot be answered ({type(error).__name__})") from error


async def _answered(connection: RTCPeerConnection, offer: str) -> str:
    await connection.setRemoteDescription(RTCSessionDescription(answerable(offer), "offer"))
    for transceiver in connection.getTransceivers()[1:]:  # sound that nobody takes would pile up in memory
        if transceiver.sender.track is None:
            transceiver.direction = "inactive"
    await connection.setLocalDescription(await connection.createAnswer())
    use_own_encoders(connection)
    return str(connection.localDescription.sdp)


def answerable(sdp: str) -> str:
    """Return a checked offer as aiortc answers it best.

    - Who may begin DTLS or wait for it (`actpass`) begins, so the answer says `passive`: where we begin, we take only
      certificates of ECDSA, and GStreamer's are RSA; where they begin, ours is the one that counts.
    - Nobody's candidates are at their end: of those that cannot be resolved yet (`.local`, of Firefox before it may use
      the camera) or used (TCP) none is left, and then aioice would gather none of ours, by which we are found.
    """
    return sdp.replace("a=setup:actpass\r\n", "a=setup:active\r\n").replace("a=end-of-candidates\r\n", "")


def with_start_bitrate(sdp: str) -> str:
    """Return an answer that asks Chromium to send as much as a good picture needs from the start."""
    asked = f"x-google-start-bitrate={START_KBPS}"
    sdp = re.sub(r"(a=rtpmap:(\d+) VP8/90000\r\n)", rf"\1a=fmtp:\2 {asked}\r\n", sdp)
    return re.sub(r"(a=fmtp:\d+ .*profile-level-id=\w+)", rf"\1;{asked}", sdp)
