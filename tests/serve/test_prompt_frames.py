"""A picture is handed on with its last packet, whole, in order, and once."""

from __future__ import annotations

import asyncio

from aiortc.rtp import RtpPacket

from streamer.serve.sdp.prompt_frames import PromptJitterBuffer
from tests.end_to_end.serving import Playing, noise, peer, serving
from tests.serve.test_serve import run


def packet(number: int, time: int, *, is_last: bool) -> RtpPacket:
    made = RtpPacket(sequence_number=number, timestamp=time, marker=int(is_last))
    made._data = bytes([number % 256])  # type: ignore[attr-defined]
    return made


def handed_on(*packets: RtpPacket) -> list[tuple[int, bytes] | None]:
    """What each packet brings about: the time and the data of a picture, or nothing."""
    buffer = PromptJitterBuffer()
    frames = [buffer.add(each)[1] for each in packets]
    return [(frame.timestamp, frame.data) if frame else None for frame in frames]


def test_a_picture_is_handed_on_with_its_last_packet() -> None:
    first = packet(1, 0, is_last=False), packet(2, 0, is_last=True)
    second = packet(3, 3000, is_last=True)
    assert handed_on(*first, second) == [None, (0, b"\1\2"), (3000, b"\3")]


def test_packets_that_come_in_another_order_make_the_same_picture() -> None:
    first, last = packet(1, 0, is_last=False), packet(3, 0, is_last=True)
    assert handed_on(first, last, packet(2, 0, is_last=False)) == [None, None, (0, b"\1\2\3")]


def test_a_picture_that_lacks_a_packet_is_not_handed_on_and_does_not_hold_up_its_successors_for_ever() -> None:
    lost = [packet(1, 0, is_last=False), packet(3, 0, is_last=True)]
    later = [packet(n, 3000 * n, is_last=True) for n in range(4, 520)]
    frames = [frame for frame in handed_on(*lost, *later) if frame]
    assert frames
    assert frames[0][0] > 0


def test_a_sender_that_marks_no_last_packet_is_understood_one_picture_later() -> None:
    sent = [packet(n, 3000 * n, is_last=False) for n in range(3)]
    assert handed_on(*sent) == [None, (0, b"\0"), (3000, b"\1")]


class Still(Playing):
    """One picture, and then none for ever."""

    async def recv(self):  # type: ignore[no-untyped-def]
        if self._count:
            await asyncio.Event().wait()
        return await super().recv()


def test_a_picture_that_none_follows_is_seen() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Still([noise()])):
            (room,) = server.peers.by_id.values()
            async with asyncio.timeout(20):
                while room.meter.as_dict()["frames"] != 1:
                    await asyncio.sleep(0.05)

    run(test())
