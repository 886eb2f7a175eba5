"""When sound and picture of a peer were captured, on one clock, so that whoever gets them again shows them together.

A peer's sender reports put its sound and its video on one clock (RFC 3550, section 6.4.1). The reports of what goes out
again say the same: aiortc's own would tell when a frame left, which is later for a picture than for sound.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

Kind = Literal["audio", "video"]

RATES: dict[Kind, int] = {"audio": 48_000, "video": 90_000}  # ticks a second of frames as aiortc decodes them
ARRIVALS: dict[Kind, int] = {"audio": 100, "video": 60}  # two seconds of each, whose median counts
REPORTS = 9  # of each, the same: those of sound tell when a packet left the peer, give or take 10 ms
# Seconds by which aiortc hands on sound later than the picture of the same moment, until the peer's reports tell:
# it waits for four more packets of sound, and for one more picture of 30 a second.
AHEAD = 0.08 - 0.033
MOST_OFF = 0.25  # seconds from that, at most: a machine that stood still for a moment would hold sound back for long
NTP = 2**32  # units of a second
WRAP = 2**32  # after which the timestamps of RTP begin anew


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a frame that goes out was captured.

    Attributes:
        time: Of the frame as it goes out, in seconds: `pts * time_base`.
        captured: Seconds by `time.monotonic`, but for a constant that sound and picture of a peer have in common.
    """

    time: float
    captured: float


@dataclass(slots=True)
class _Times:
    """Of one kind; seconds at which its clock was at 0."""

    by_arrival: deque[float]
    by_report: deque[float] = field(default_factory=lambda: deque(maxlen=REPORTS))


class CaptureTimes:
    """When what one sender sends was captured: by its reports, once both kinds have one, else by when it came."""

    def __init__(self) -> None:
        self._times = {kind: _Times(deque(maxlen=count)) for kind, count in ARRIVALS.items()}
        self._last: dict[Kind, int] = {"audio": 0, "video": 0}
        self._shift: float | None = None  # from the peer's clock to `time.monotonic`

    @property
    def ahead(self) -> float:
        """Seconds by which sound comes later than the picture of the same moment."""
        if self._shift is None or not all(times.by_arrival for times in self._times.values()):
            return AHEAD
        ahead = self._lag("audio") - self._lag("video")
        return min(max(ahead, AHEAD - MOST_OFF), AHEAD + MOST_OFF)

    def arrived(self, kind: Kind, pts: int, at: float) -> None:
        """Learn when a frame came, by `time.monotonic`."""
        self._last[kind] = pts
        self._times[kind].by_arrival.append(at - pts / RATES[kind])

    def captured(self, kind: Kind, pts: int) -> float:
        """Return when a frame was captured, as of `Stamp`; one of the kind must have come."""
        if self._shift is not None:
            return pts / RATES[kind] + median(self._times[kind].by_report) + self._shift
        arrival = pts / RATES[kind] + median(self._times[kind].by_arrival)
        return arrival - AHEAD if kind == "audio" else arrival

    def reported(self, kind: Kind, pts: int, seconds: float) -> None:
        """Learn of a report: what has these `pts`, of any turn of RTP's clock, was captured then by the peer's."""
        last = self._last[kind]
        pts = last + (pts - last + WRAP // 2) % WRAP - WRAP // 2
        self._times[kind].by_report.append(seconds - pts / RATES[kind])
        video = self._times["video"]
        if self._shift is None and video.by_arrival and all(times.by_report for times in self._times.values()):
            self._shift = median(video.by_arrival) - median(video.by_report)

    def listen(self, receiver: RTCRtpReceiver, kind: Kind) -> None:
        """Hear the reports on what a receiver receives."""
        handle = receiver._handle_rtcp_packet

        async def heard(packet: AnyRtcpPacket) -> None:
            origin = receiver._RTCRtpReceiver__timestamp_mapper._origin  # type: ignore[attr-defined]
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp and origin is not None:
                info = packet.sender_info
                self.reported(kind, info.rtp_timestamp - origin, info.ntp_timestamp / NTP)
            await handle(packet)

        receiver._handle_rtcp_packet = heard  # type: ignore[method-assign]

    def _lag(self, kind: Kind) -> float:
        times = self._times[kind]
        return median(times.by_arrival) - median(times.by_report)


class CaptureReports:
    """Lets the reports of a sender tell when its frames were captured.

    Args:
        sender: Its encoder takes the times of frames as they are.
        stamp: Returns that of any frame it was given lately; None where it is not known: reports then stay as they are.
    """

    def __init__(self, sender: RTCRtpSender, stamp: Callable[[], Stamp | None]) -> None:
        self._sender, self._stamp = sender, stamp
        self._encoded, self._send = sender._next_encoded_frame, sender._send_rtcp
        self._ticks, self._rate = 0, 1  # of what left last
        sender._next_encoded_frame = self._next  # type: ignore[method-assign]
        sender._send_rtcp = self._told  # type: ignore[method-assign]

    async def _next(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame = await self._encoded(codec)
        if frame:
            self._ticks, self._rate = frame.timestamp, codec.clockRate
        return frame

    async def _told(self, packets: list[AnyRtcpPacket]) -> None:
        stamp = self._stamp()
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.packet_count and stamp:
                packet.sender_info.ntp_timestamp = self._captured(stamp)
                # By which aiortc knows the report again that an answer is about.
                self._sender._RTCRtpSender__lsr = packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF  # type: ignore[attr-defined]
        await self._send(packets)

    def _captured(self, stamp: Stamp) -> int:
        """Return when what left last was captured, as NTP has it."""
        captured = stamp.captured + self._ticks / self._rate - stamp.time
        return int(current_ntp_time()) - round(NTP * (time.monotonic() - captured))
