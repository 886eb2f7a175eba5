"""A track of aiortc that passes on another one without faces: connection.addTrack(SafeTrack(track, anonymizer))."""

import asyncio

import numpy as np
from aiortc import MediaStreamTrack
from av import VideoFrame

from streamer import Anonymizer


class SafeTrack(MediaStreamTrack):
    """The video of `track`, each frame without faces; the network runs in a thread, so that the loop goes on."""

    kind = "video"

    def __init__(self, track: MediaStreamTrack, anonymizer: Anonymizer) -> None:
        super().__init__()
        self._track, self._stream = track, anonymizer.stream()

    async def recv(self) -> VideoFrame:
        """Return the next frame."""
        frame = await self._track.recv()
        assert isinstance(frame, VideoFrame)
        picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        safe = await asyncio.to_thread(self._stream, picture, seconds=frame.time)
        passed = VideoFrame.from_ndarray(safe, "rgb24")
        passed.pts, passed.time_base = frame.pts, frame.time_base
        return passed

    def stop(self) -> None:
        """End both tracks, and free the detectors."""
        super().stop()
        self._track.stop()
        self._stream.close()
