"""What is published leaves as it comes, and all of it."""

import io
import socket
import sys
from fractions import Fraction

import av
import pytest

from streamer.sinks import rtsp
from streamer.sinks.encoding import VideoEncoder
from streamer.sinks.rtsp import LIVE_H264, REMUX, Publisher
from streamer.types import SafeFrame, VideoInfo
from tests.clips import picture


def test_no_frame_that_is_published_waits_for_a_later_one():
    info = VideoInfo(640, 480, Fraction(30), Fraction(1, 30), None)
    with av.open(io.BytesIO(), "w", format="nut") as container:
        encoder = VideoEncoder(container, info, encoder=LIVE_H264, crf=21)
        for index in range(3):
            frame = SafeFrame(picture(index, (640, 480)), index, index, info.time_base)
            assert [packet.pts for packet in encoder.encode(frame)] == [index]


def test_a_short_video_is_published_whole_where_it_takes_long_to_connect(monkeypatch: pytest.MonkeyPatch):
    late = f"import runpy, time; time.sleep(2); runpy.run_path({REMUX[-1]!r}, run_name='__main__')"
    monkeypatch.setattr(rtsp, "REMUX", (sys.executable, "-c", late))
    info = VideoInfo(64, 48, Fraction(30), Fraction(1, 30), None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with Publisher(f"udp://127.0.0.1:{server.getsockname()[1]}", info, crf=21) as publisher:
            for index in range(3):
                publisher.write(SafeFrame(picture(index), index, index, info.time_base))
    assert publisher.frames_taken == 3
