"""Pictures as soon as they are whole: aiortc hands one on only when the next begins, 33 ms later at 30 a second."""

from __future__ import annotations

from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

CAPACITY = 512  # packets, as of aiortc


class PromptJitterBuffer(JitterBuffer):
    """Hands on a picture with its last packet, which has the marker bit (RFC 7741, 4.1; RFC 6184, 5.1)."""

    def __init__(self) -> None:
        super().__init__(capacity=CAPACITY, is_video=True)

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        for count in range(self.capacity):
            packet = self._packets[((self._origin or 0) + count) % self.capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                break
            packets.append(packet)
            if packet.marker:
                self.remove(len(packets))
                data = b"".join(each._data for each in packets)  # type: ignore[attr-defined]
                return JitterFrame(data=data, timestamp=packets[0].timestamp)
        return super()._remove_frame(sequence_number)


def use_prompt_frames(connection: RTCPeerConnection) -> None:
    """Let the video of a connection come so: once it is described, before its first packet."""
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.receiver._RTCRtpReceiver__jitter_buffer = PromptJitterBuffer()  # type: ignore[attr-defined]
