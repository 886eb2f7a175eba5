"""What goes out to peers: safe frames and slates in order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from av.video.frame import VideoFrame

from streamer.sinks.webrtc import Broadcast, Packer
from streamer.sources.live import TIME_BASE
from streamer.types import Frame
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
