"""What a peer has sent and was not decoded yet: of bounded length, and decoded to whole frames alone."""

from __future__ import annotations

import queue
import threading
from typing import Any

import av
from aiortc import RTCRtpReceiver, codecs
from aiortc.codecs.h264 import H264Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame
from av.video.frame import VideoFrame

from streamer.sources.decoding import Damage

MAX_FRAMES = 30  # a second of video; what waits longer is of no use live
START_CODE = b"\0\0\1"  # before each NAL unit of H.264
IDR, PARAMETERS = 5, 7  # types of NAL units with which decoding can begin

Waiting = tuple[RTCRtpCodecParameters, JitterFrame]


class WholeDecoder(H264Decoder):
    """Leaves out frames that are damaged, or follow from such; aiortc then asks for one that needs no other."""

    def __init__(self) -> None:
        super().__init__()
        self.codec.thread_type = "NONE"  # by slice, damage is not told
        self._damage = Damage()

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """Return the whole frames.

        Raises:
            av.FFmpegError: If a frame is damaged.
        """
        try:
            frames = [frame for frame in super().decode(encoded_frame) if isinstance(frame, VideoFrame)]
        except av.FFmpegError:
            self._damage.lost()
            raise
        whole: list[Frame] = [frame for frame, is_damaged in self._damage.told(frames) if not is_damaged]
        if any(frame.is_corrupt for frame in frames):
            raise av.InvalidDataError(av.error.tag_to_code(b"INDA"), "a part of the frame was lost")
        return whole


setattr(codecs, H264Decoder.__name__, WholeDecoder)  # aiortc offers no other way


def bound_backlog(receiver: RTCRtpReceiver) -> None:
    """Let a receiver that has not begun keep `MAX_FRAMES` for its decoder; aiortc would keep any number."""
    inside: Any = receiver  # aiortc offers no other way
    inside._RTCRtpReceiver__decoder_queue = Backlog(inside._RTCRtpReceiver__decoder_error)


class Backlog(queue.Queue["Waiting | None"]):
    """Frames for a decoder. If they become too many, all are dropped, and those that follow until one needs no other.

    Args:
        is_missing: Set when frames were dropped: aiortc then asks the peer for a frame that needs no other.
    """

    def __init__(self, is_missing: threading.Event) -> None:
        super().__init__()
        self._is_missing = is_missing
        self._is_broken = False

    def put(self, item: Waiting | None, block: bool = True, timeout: float | None = None) -> None:
        """Add a frame, or None for the end."""
        if item is not None and not self._takes(*item):
            self._is_missing.set()
            return
        super().put(item, block, timeout)

    def _takes(self, codec: RTCRtpCodecParameters, frame: JitterFrame) -> bool:
        if self.qsize() >= MAX_FRAMES:
            self._is_broken = True
            self._drop_all()
        self._is_broken = self._is_broken and not begins_anew(codec, frame.data)
        return not self._is_broken

    def _drop_all(self) -> None:
        while True:
            try:
                self.get_nowait()
            except queue.Empty:
                return


def begins_anew(codec: RTCRtpCodecParameters, data: bytes) -> bool:
    """Return whether an encoded frame can be decoded without those before it."""
    match codec.name:
        case "VP8":
            return bool(data) and not data[0] & 1  # RFC 6386, section 9.1
        case "H264":
            return any(unit[0] & 0x1F in (IDR, PARAMETERS) for unit in data.split(START_CODE)[1:] if unit)
        case _:
            return True  # sound
