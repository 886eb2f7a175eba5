"""When sound and picture were captured: by the peer's reports once there are some, and told again by ours."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import RtcpPacket, RtcpSrPacket, RtpPacket, is_rtcp
from av.audio.frame import AudioFrame

from streamer.sinks.webrtc import TimedOpusEncoder, use_own_encoders
from streamer.sound.capture import AHEAD, MOST_OFF, NTP, RATES, WRAP, CaptureReports, CaptureTimes, Kind, Stamp

BEGAN = 1000.0  # by `time.monotonic`, when the camera of a peer was at 0
PEERS_CLOCK = 3.9e9  # of a peer whose clock is right, at that time: seconds since 1900


def times_of(late: dict[Kind, float], *, reports: tuple[Kind, ...] = ("audio", "video")) -> CaptureTimes:
    """Of a peer whose frames come so late, and whose sound was at 0 three seconds after its video."""
    times = CaptureTimes()
    for kind, seconds in late.items():
        start = 3.0 if kind == "audio" else 0.0
        for n in range(100):
            at = 3 + n / 30
            times.arrived(kind, round((at - start) * RATES[kind]), BEGAN + at + seconds)
        if kind in reports:
            times.reported(kind, 5 * RATES[kind], PEERS_CLOCK + start + 5)
    return times


def test_what_was_captured_together_is_told_to_be_whenever_it_comes() -> None:
    times = times_of({"audio": 0.31, "video": 0.04})
    sound, picture = times.captured("audio", 4 * RATES["audio"]), times.captured("video", 7 * RATES["video"])
    assert sound == pytest.approx(picture, abs=1e-6)
    assert times.ahead == pytest.approx(0.27, abs=1e-3)


@pytest.mark.parametrize("reports", [(), ("audio",), ("video",)])
def test_until_both_are_told_of_sound_is_thought_to_come_later(reports: tuple[Kind, ...]) -> None:
    times = times_of({"audio": 0.04 + AHEAD, "video": 0.04}, reports=reports)
    assert times.captured("audio", 4 * RATES["audio"]) == pytest.approx(times.captured("video", 7 * RATES["video"]))
    assert times.ahead == AHEAD


def test_a_machine_that_stands_still_does_not_hold_sound_back_for_seconds() -> None:
    assert times_of({"audio": 0.1, "video": 4.0}).ahead == AHEAD - MOST_OFF
    assert times_of({"audio": 4.0, "video": 0.1}).ahead == AHEAD + MOST_OFF


def test_reports_change_nothing_about_pictures() -> None:
    before, after = times_of({"audio": 0.2, "video": 0.04}, reports=()), times_of({"audio": 0.2, "video": 0.04})
    assert after.captured("video", 12345) == pytest.approx(before.captured("video", 12345), abs=1e-6)


def test_one_report_that_errs_among_others_does_not_count() -> None:
    times = times_of({"audio": 0.2, "video": 0.04})
    right = times.captured("audio", 0)
    for second, error in ((6, 0.0), (7, 0.5), (8, 0.0)):
        times.reported("audio", second * RATES["audio"], PEERS_CLOCK + 3 + second + error)
    assert times.captured("audio", 0) == pytest.approx(right, abs=1e-6)


def test_a_clock_of_rtp_that_has_begun_anew_is_understood() -> None:
    times = times_of({"audio": 0.2, "video": 0.04})
    before = times.captured("video", 0)
    at = WRAP // RATES["video"] + 100
    times.arrived("video", at * RATES["video"], BEGAN + at)
    times.reported("video", at * RATES["video"] % WRAP, PEERS_CLOCK + at)
    assert times.captured("video", 0) == pytest.approx(before, abs=1e-3)


class Pieces(MediaStreamTrack):
    """Sound of 20 ms each; one in ten is left out."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)  # as long as a piece is: or it would soon be of now
        self.count += 1 + (self.count % 10 == 8)
        return piece(self.count)


def piece(n: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, n * 960, Fraction(1, 48_000)
    return frame


def test_sound_is_sent_with_its_own_times_where_a_piece_is_missing() -> None:
    encoder = TimedOpusEncoder()
    sent = [encoder.encode(piece(n)) for n in (0, 1, 2, 5, 6)]
    assert [at // 960 for _, at in sent] == [0, 1, 2, 5, 6]
    assert all(len(packets) == 1 for packets, _ in sent)


def wall_over_monotonic() -> float:
    """Return how far one clock is ahead of the other, seconds: read when nothing came between the two for long."""
    reads = [(time.monotonic(), current_ntp_time() / NTP, time.monotonic()) for _ in range(20)]
    before, wall, after = min(reads, key=lambda read: read[2] - read[0])
    return wall - (before + after) / 2


def test_reports_tell_when_what_left_last_was_captured() -> None:
    captured = time.monotonic() - 7.0  # of the piece at 0

    async def test() -> None:
        ours, theirs = RTCPeerConnection(), RTCPeerConnection()
        try:
            sender = ours.addTrack(Pieces())
            CaptureReports(sender, lambda: Stamp(0.0, captured))
            reports, origins = heard_of(sender)
            await ours.setLocalDescription(await ours.createOffer())
            await theirs.setRemoteDescription(ours.localDescription)
            await theirs.setLocalDescription(await theirs.createAnswer())
            await ours.setRemoteDescription(theirs.localDescription)
            use_own_encoders(ours)
            while len(reports) < 2:
                await asyncio.sleep(0.05)
        finally:
            await ours.close()
            await theirs.close()
        for told, at in reports:
            ticks = (told.sender_info.rtp_timestamp - origins[0]) % WRAP
            wall = wall_over_monotonic()
            expected = captured + ticks / RATES["audio"]
            assert told.sender_info.ntp_timestamp / NTP - wall == pytest.approx(expected, abs=0.002)
            assert told.sender_info.ntp_timestamp / NTP - wall < at - 1  # not when it left

    asyncio.run(test())


def heard_of(sender: RTCRtpSender) -> tuple[list[tuple[RtcpSrPacket, float]], list[int]]:
    """The reports that leave from now on and when, and where RTP's clock begins."""
    reports: list[tuple[RtcpSrPacket, float]] = []
    origins: list[int] = []
    last: list[int] = []
    send, encoded = sender.transport._send_rtp, sender._next_encoded_frame

    async def seen(data: bytes) -> None:
        if is_rtcp(data):
            told = [one for one in RtcpPacket.parse(data) if isinstance(one, RtcpSrPacket)]
            reports.extend((one, time.monotonic()) for one in told if one.sender_info.packet_count)
        else:
            origins.append((RtpPacket.parse(data).timestamp - last[-1]) % WRAP)
        await send(data)

    async def next_frame(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame = await encoded(codec)
        if frame:
            last.append(frame.timestamp)
        return frame

    sender.transport._send_rtp = seen  # type: ignore[method-assign]
    sender._next_encoded_frame = next_frame  # type: ignore[method-assign]
    return reports, origins
