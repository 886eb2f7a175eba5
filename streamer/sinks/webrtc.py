"""What goes out to peers: the safe video of one of them to any number of viewers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import MIN_BITRATE as MIN_H264
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import MIN_BITRATE as MIN_VP8
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import MediaStreamError
from av.frame import Frame
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from streamer.sinks.encoding import MEAN_OF_FOUR
from streamer.sound.capture import Stamp
from streamer.sources.decoding import blank
from streamer.sources.live import TIME_BASE
from streamer.types import Image, SafeFrame

SLATE_SECONDS = 0.6  # without a safe frame; then a slate takes its place
SLATE_STEP = 0.2  # from one slate to the next
FIRST_SIZE = (480, 640)  # height, width of a slate before the first frame
START_BITRATE, MAX_BITRATE = 2_000_000, 5_000_000  # of video that is sent; aiortc's own are for small pictures
CLOSE_SECONDS = 5.0  # for the end of a connection: aiortc may wait for ever

log = logging.getLogger(__name__)


async def ends_in_time(ending: Coroutine[Any, Any, None]) -> bool:
    """Wait for the end of something of aiortc's, for `CLOSE_SECONDS` at most, and return whether it came."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await ending
    except Exception as error:  # whatever it was, nobody can do anything about it
        log.warning("a connection did not close: %s", type(error).__name__)
        return False
    return True


class SafeTrack(MediaStreamTrack):
    """Video for one viewer: the newest frame whenever the sender is ready for one."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.is_read = False  # whether somebody is connected who takes it
        self._newest: VideoFrame | None = None
        self._fresh = asyncio.Event()

    def put(self, frame: VideoFrame) -> None:
        """Leave a frame; one that was not taken yet is replaced."""
        self._newest = frame
        self._fresh.set()

    async def recv(self) -> VideoFrame:
        """Return the next frame."""
        self.is_read = True
        await self._fresh.wait()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self._fresh.clear()
        return self._newest

    def stop(self) -> None:
        """End it, also for who waits."""
        super().stop()
        self._fresh.set()


class Broadcast:
    """The safe video of one peer: each frame to every track, and a slate where none comes. For the event loop.

    Attributes:
        stamp: When the last frame was captured, if that is known.
    """

    def __init__(self) -> None:
        self.tracks: set[SafeTrack] = set()
        self.stamp: Stamp | None = None
        self._last_pts, self._offset = 0, 0
        self._size, self._last_at = FIRST_SIZE, -SLATE_SECONDS
        self._task = asyncio.create_task(self._fill_gaps())

    def track(self) -> SafeTrack:
        """Return a track for one more viewer."""
        track = SafeTrack()
        self.tracks.add(track)
        return track

    def drop(self, track: SafeTrack | None) -> None:
        """Forget a track, if it is one."""
        if track:
            self.tracks.discard(track)
            track.stop()

    def put(self, frame: VideoFrame, captured: float | None = None) -> None:
        """Pass on one frame, whose times increase; with when it was captured, as of `streamer.sound.capture.Stamp`."""
        self._size, self._last_at = (frame.height, frame.width), time.monotonic()
        assert frame.pts is not None
        if frame.pts + self._offset <= self._last_pts:  # slates went ahead
            self._offset = self._last_pts + 1 - frame.pts
        pts = frame.pts + self._offset
        self.stamp = None if captured is None else Stamp(float(pts * TIME_BASE), captured)
        self._send(frame, pts)

    async def close(self) -> None:
        """End every track."""
        self._task.cancel()
        for track in self.tracks:
            track.stop()
        await asyncio.gather(self._task, return_exceptions=True)

    def _send(self, frame: VideoFrame, pts: int) -> None:
        frame.pts, frame.time_base = pts, TIME_BASE
        self._last_pts = pts
        for track in self.tracks:
            track.put(frame)

    async def _fill_gaps(self) -> None:
        while True:
            await asyncio.sleep(SLATE_STEP)
            is_quiet = time.monotonic() - self._last_at > SLATE_SECONDS
            if is_quiet and any(track.is_read for track in self.tracks):
                slate = VideoFrame.from_ndarray(_slate(self._size), "yuv420p")
                self._send(slate, self._last_pts + round(SLATE_STEP / TIME_BASE))


@lru_cache(maxsize=8)
def _slate(size: tuple[int, int]) -> Image:
    """Return `(H * 3 / 2, W)` uint8, what yuv420p holds of a picture that says there is none."""
    height, width = size
    return np.asarray(cv2.cvtColor(blank(width, height), cv2.COLOR_RGB2YUV_I420))


class Packer:
    """Makes frames for an encoder of safe ones; for one thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def pack(self, frame: SafeFrame) -> VideoFrame:
        """Return the frame in yuv420p, with an even size.

        Raises:
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be sent, got {type(frame).__name__}")
        height, width = (length - length % 2 for length in frame.image.shape[:2])
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame.image[:height, :width]), "rgb24")
        packed = self._reformatter.reformat(rgb, format="yuv420p", threads=1, interpolation=MEAN_OF_FOUR)
        packed.pts, packed.time_base = frame.pts, frame.time_base
        return packed


class WideVp8Encoder(Vp8Encoder):
    """VP8 that begins at `START_BITRATE` and follows its receiver up to `MAX_BITRATE`."""

    def __init__(self) -> None:
        super().__init__()
        self.target_bitrate = START_BITRATE

    @property
    def target_bitrate(self) -> int:
        """Bits per second."""
        return self._Vp8Encoder__target_bitrate  # aiortc reads it by this name, too

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._Vp8Encoder__target_bitrate = max(MIN_VP8, min(bitrate, MAX_BITRATE))


class WideH264Encoder(H264Encoder):
    """H.264 of the same rates."""

    def __init__(self) -> None:
        super().__init__()
        self.target_bitrate = START_BITRATE

    @property
    def target_bitrate(self) -> int:
        """Bits per second."""
        return self._bitrate

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._bitrate = max(MIN_H264, min(bitrate, MAX_BITRATE))


class TimedOpusEncoder(OpusEncoder):
    """Opus of pieces of 20 ms that are sent with their own times: aiortc's own counts on where one was left out."""

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Return the packet of a piece, and its time."""
        packets, _ = super().encode(frame, force_keyframe)
        assert frame.pts is not None
        return packets, frame.pts


ENCODERS: dict[str, type[Encoder]] = {
    "video/vp8": WideVp8Encoder,
    "video/h264": WideH264Encoder,
    "audio/opus": TimedOpusEncoder,
}


def use_own_encoders(connection: RTCPeerConnection) -> None:
    """Let what a connection sends be encoded by these: once its codecs are settled, before its first frame."""
    for transceiver in connection.getTransceivers():
        if transceiver.sender.track and transceiver._codecs:
            encoder = ENCODERS.get(transceiver._codecs[0].mimeType.lower())
            if encoder:  # aiortc makes one only where there is none
                transceiver.sender._RTCRtpSender__encoder = encoder()  # type: ignore[attr-defined]
