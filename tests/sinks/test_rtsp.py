"""What is published leaves as it comes."""

import io
from fractions import Fraction

import av

from streamer.sinks.encoding import VideoEncoder
from streamer.sinks.rtsp import LIVE_H264
from streamer.types import SafeFrame, VideoInfo
from tests.clips import picture


def test_no_frame_that_is_published_waits_for_a_later_one():
    info = VideoInfo(640, 480, Fraction(30), Fraction(1, 30), None)
    with av.open(io.BytesIO(), "w", format="nut") as container:
        encoder = VideoEncoder(container, info, encoder=LIVE_H264, crf=21)
        for index in range(3):
            frame = SafeFrame(picture(index, (640, 480)), index, index, info.time_base)
            assert [packet.pts for packet in encoder.encode(frame)] == [index]
