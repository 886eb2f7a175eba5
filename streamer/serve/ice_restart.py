"""Begins ICE anew below a connection that goes on: aiortc cannot, so what it keeps of ICE is exchanged here.

DTLS and everything above it reads from and writes to an `aioice.Connection`. A second one is gathered beside it and,
once it has found a way, put into its place; until then, and if it finds none, the first one carries on. What either
receives goes into one queue, so that nothing is lost and nobody above notices.

This knows attributes of aiortc and aioice that are not public; constraints.txt names the versions it is tested with.
"""

from __future__ import annotations

import asyncio
import logging

from aioice import Connection
from aiortc import RTCConfiguration, RTCIceCandidate, RTCIceGatherer, RTCIceTransport, RTCPeerConnection
from aiortc.rtcicetransport import candidate_to_aioice

from streamer.serve.sdp.fragments import Fragment

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0  # after which the attempt is given up


class IceRestart:
    """One attempt to reach a peer anew.

    Args:
        connection: Connected.
        configuration: That it was made with.
    """

    def __init__(self, connection: RTCPeerConnection, configuration: RTCConfiguration) -> None:
        self._transport = transport_of(connection)
        self._gatherer = RTCIceGatherer(configuration.iceServers)
        self._new: Connection = self._gatherer._connection

    async def offer(self, remote: Fragment) -> Fragment:
        """Take the peer's new credentials and return ours, with all our addresses."""
        old = self._transport._connection
        await self._gatherer.gather()
        self._new.ice_controlling = old.ice_controlling
        self._new.remote_username, self._new.remote_password = remote.ufrag, remote.password
        self._new._queue = old._queue
        ours = self._gatherer.getLocalParameters()
        await self.add(remote.candidates)
        ufrag, password = str(ours.usernameFragment), str(ours.password)
        return Fragment(ufrag, password, tuple(self._gatherer.getLocalCandidates()))

    async def add(self, candidates: tuple[RTCIceCandidate, ...]) -> None:
        """Take further addresses of the peer."""
        await add_candidates(self._new, candidates)

    async def connect(self) -> None:
        """Find a way, and go over to it; give up after `CONNECT_SECONDS`, and change nothing."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._new.connect()
        except (ConnectionError, TimeoutError):
            log.warning("a peer that began ICE anew was not reached: it stays where it was")
        else:
            if self._transport.state == "completed":  # otherwise it was lost meanwhile, and all above it has ended
                await self._go_over()
        await self.give_up()

    async def give_up(self) -> None:
        """Free what this has taken, unless the peer was reached by it; also when it was cancelled."""
        if self._transport._connection is not self._new:
            await self._discard(self._new)

    async def _go_over(self) -> None:
        transport, old = self._transport, self._transport._connection
        self._new._event_waiter, old._event_waiter = old._event_waiter, None  # who waits for the end waits for ours
        transport._connection, transport._recv, transport._send = self._new, self._new.recv, self._new.send
        await self._discard(old)

    @staticmethod
    async def _discard(one: Connection) -> None:
        one._queue = asyncio.Queue()  # closing it says "the end" to whoever reads there
        await one.close()


def transport_of(connection: RTCPeerConnection) -> RTCIceTransport:
    """Return what carries everything: media are bundled, and the first one's transport is that of all."""
    return connection.getTransceivers()[0].receiver.transport.transport


async def add_candidates(ice: Connection, candidates: tuple[RTCIceCandidate, ...]) -> None:
    """Take further addresses of a peer; one that makes no sense is left out."""
    for candidate in candidates:
        try:
            await ice.add_remote_candidate(candidate_to_aioice(candidate))
        except ValueError:
            log.debug("a candidate was left out")
