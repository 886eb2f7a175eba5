"""What goes out to peers: safe frames and slates in order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from av.video.frame import VideoFrame

from streamer.errors import SinkError
from streamer.sinks import webrtc
from streamer.sinks.webrtc import Broadcast, Packer
from streamer.sinks.whip import WhipPublisher
from streamer.sources.live import TIME_BASE
from streamer.types import Frame, SafeFrame
from tests.end_to_end.patience import PATIENCE_SECONDS


def test_times_increase_through_slates_and_frames() -> None:
    async def test() -> None:
        broadcast = Broadcast()
        track = broadcast.track()
        times = []
        for n in (0, 3000, None, 6000, 9000):
            if n is not None:
                frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
                frame.pts, frame.time_base = n + 1, TIME_BASE
                broadcast.put(frame)
            else:
                await asyncio.sleep(1.2)  # slates, which go ahead of what comes then
            received = await asyncio.wait_for(track.recv(), PATIENCE_SECONDS)
            times.append(received.pts)
            assert (received.width, received.height) == (64, 48)
        assert all(np.diff(times) > 0)
        await broadcast.close()

    asyncio.run(test())


def test_only_a_safe_frame_is_packed() -> None:
    with pytest.raises(TypeError, match="only a SafeFrame"):
        Packer().pack(Frame(np.zeros((4, 4, 3), np.uint8), 0, 0, TIME_BASE))  # type: ignore[arg-type]


def test_four_pixels_are_packed_into_the_mean_of_their_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    packed = Packer().pack(SafeFrame(image, 0, 0, TIME_BASE)).to_ndarray()[48:].reshape(2, 24, 32)
    red, green, blue = image.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601-7, in 16 to 240
    expected = np.stack([(blue - luma) / 1.772, (red - luma) / 1.402]) * 224 / 255 + 128
    assert np.abs(packed - expected).max() < 1


def test_a_sink_ends_though_its_connection_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    close = RTCPeerConnection.close

    async def close_and_wait(connection: RTCPeerConnection) -> None:
        await close(connection)
        await asyncio.Event().wait()

    monkeypatch.setattr(webrtc, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(RTCPeerConnection, "close", close_and_wait)
    with pytest.raises(SinkError, match="took no frame"), WhipPublisher("whip:http://127.0.0.1:1/whip/door"):
        pass
