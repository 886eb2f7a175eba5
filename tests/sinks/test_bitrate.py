"""Video is sent at the rates that 720p needs, by each connection's own encoder."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.codecs import h264, vpx
from av.video.frame import VideoFrame

from streamer.sinks.webrtc import ENCODERS, MAX_BITRATE, START_BITRATE, SafeTrack, use_own_encoders

CODECS = ("video/vp8", "video/h264")


async def agreed(codec: str) -> RTCPeerConnection:
    """A connection that is about to send video, whose receiver takes this codec alone."""
    ours, theirs = RTCPeerConnection(RTCConfiguration([])), RTCPeerConnection(RTCConfiguration([]))
    ours.addTransceiver(SafeTrack(), direction="sendonly")
    taken = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType.lower() == codec]
    theirs.addTransceiver("video", direction="recvonly").setCodecPreferences(taken)
    await ours.setLocalDescription(await ours.createOffer())
    await theirs.setRemoteDescription(ours.localDescription)
    await theirs.setLocalDescription(await theirs.createAnswer())
    await ours.setRemoteDescription(theirs.localDescription)
    await theirs.close()
    return ours


@pytest.mark.parametrize("codec", CODECS)
def test_a_connection_sends_by_an_encoder_of_its_own_for_the_codec_agreed(codec: str) -> None:
    async def test() -> None:
        connection = await agreed(codec)
        use_own_encoders(connection)
        assert isinstance(connection.getSenders()[0]._RTCRtpSender__encoder, ENCODERS[codec])
        await connection.close()

    asyncio.run(test())


@pytest.mark.parametrize("codec", CODECS)
def test_the_rate_begins_high_and_follows_the_receiver_as_far_as_720p_needs(codec: str) -> None:
    encoder = ENCODERS[codec]()
    frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
    for pts, (asked, sent) in enumerate(((None, START_BITRATE), (4_000_000, 4_000_000), (10**9, MAX_BITRATE))):
        if asked:
            encoder.target_bitrate = asked
        frame.pts, frame.time_base = pts, Fraction(1, 30)
        encoder.encode(frame)
        assert encoder.codec.bit_rate == sent
        assert int(encoder.codec.options.get("bufsize", sent)) == sent


def test_aiortc_is_left_as_it_is_for_whoever_else_uses_it() -> None:
    assert (vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE) == (500_000, 1_500_000)
    assert (h264.DEFAULT_BITRATE, h264.MAX_BITRATE) == (1_000_000, 3_000_000)
