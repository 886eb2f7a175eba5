"""One WebRTC connection with a peer, from its offer to its end, over several networks if it must."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender

from streamer.serve.ice_restart import IceRestart, add_candidates, transport_of
from streamer.serve.sdp.answer import answer_to
from streamer.serve.sdp.fragments import Fragment, credentials
from streamer.serve.sdp.offer_check import MAX_CANDIDATES
from streamer.sinks.webrtc import SafeTrack, ends_in_time

CONNECT_SECONDS = 15.0  # from the offer to a connection; aiortc would wait for ever
RESTART_SECONDS = 2.0  # from one beginning of ICE to the next: each opens sockets, and asks at addresses that it names

Direction = Literal["sendrecv", "recvonly", "sendonly"]


class BusyError(Exception):
    """What is asked for cannot be done now, but soon."""


class PeerConnection:
    """A connection.

    Attributes:
        id: Lets whoever knows it change and end it.
        etag: Of its ICE session, as HTTP has it (RFC 9725, section 4.3).
        track: The safe video that it is sent, if any.
        is_heard: Whether its sound is taken.
    """

    def __init__(self, configuration: RTCConfiguration) -> None:
        self.id, self.etag = secrets.token_urlsafe(24), _new_etag()
        self.connection = RTCPeerConnection(configuration)
        self.began = time.monotonic()
        self.track: SafeTrack | None = None
        self.is_heard = False
        self._configuration = configuration
        self._ufrag = ""
        self._candidates = 0
        self._restarted = float("-inf")
        self._is_restarting = False
        self._restart: tuple[IceRestart, asyncio.Task[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_over(self) -> bool:
        """Whether it is lost, or has not come about in time."""
        state = self.connection.connectionState
        is_late = time.monotonic() - self.began > CONNECT_SECONDS
        return state in ("failed", "closed") or (state != "connected" and is_late)

    def add_video(self, track: MediaStreamTrack | None, direction: Direction) -> None:
        """Take part in video, before the offer is answered."""
        transceiver = self.connection.addTransceiver(track or "video", direction=direction)
        known = RTCRtpSender.getCapabilities("video").codecs
        # VP8 first: browsers' H.264 at 720p fell to 13 frames a second.
        transceiver.setCodecPreferences(sorted(known, key=lambda codec: codec.mimeType != "video/VP8"))

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something as long as the connection lasts."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def answer(self, offer: str) -> str:
        """Return the answer to a checked offer.

        Raises:
            OfferError: If it cannot be answered.
        """
        self._ufrag = credentials(offer)
        return await answer_to(self.connection, offer)

    def is_restart(self, fragment: Fragment) -> bool:
        """Return whether a fragment begins ICE anew, instead of adding addresses to what there is."""
        return bool(fragment.ufrag) and fragment.ufrag != self._ufrag

    async def trickle(self, fragment: Fragment) -> None:
        """Take further addresses of the peer; those above `MAX_CANDIDATES` are left out."""
        room = MAX_CANDIDATES - self._candidates
        new = fragment.candidates[:room]
        self._candidates += len(new)
        if self._restart and not self._restart[1].done():
            self.run(self._restart[0].add(new))
        else:
            self.run(add_candidates(transport_of(self.connection)._connection, new))

    async def restart(self, fragment: Fragment) -> str:
        """Begin ICE anew and return what is said to the peer; the connection goes on as it is until a way is found.

        Raises:
            BusyError: If it is not connected yet, has only just begun anew, or is still about to.
        """
        now = time.monotonic()
        is_early = self._is_restarting or now - self._restarted < RESTART_SECONDS
        if self.connection.connectionState != "connected" or is_early:
            raise BusyError
        self._restarted, self._is_restarting = now, True
        try:
            await self._give_up()
            attempt = IceRestart(self.connection, self._configuration)
            self._candidates = 0
            ours = await attempt.offer(Fragment(fragment.ufrag, fragment.password, ()))
            self._restart = attempt, self.run(attempt.connect())
        finally:
            self._is_restarting = False
        self._ufrag, self.etag = fragment.ufrag, _new_etag()
        await self.trickle(fragment)
        return ours.text(str(self.connection.getTransceivers()[0].mid))

    async def _give_up(self) -> None:
        """End an attempt to reach the peer anew, if there is one."""
        attempt, self._restart = self._restart, None
        if attempt:
            attempt[1].cancel()
            await asyncio.gather(attempt[1], return_exceptions=True)
            await attempt[0].give_up()

    async def close(self) -> None:
        """End it, also one that aiortc understood only half of."""
        await ends_in_time(self._end_tasks())
        if not await ends_in_time(self.connection.close()):
            await ends_in_time(self._leave_network())

    async def _leave_network(self) -> None:
        await transport_of(self.connection).stop()  # aiortc may not have got as far as to have one

    async def _end_tasks(self) -> None:
        await self._give_up()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _new_etag() -> str:
    return f'"{secrets.token_hex(8)}"'
