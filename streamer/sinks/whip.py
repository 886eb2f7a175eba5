"""Publishes to a WHIP server (RFC 9725): WebRTC from a thread of its own, which calls again when it is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamer.backoff import Backoff
from streamer.errors import SinkError
from streamer.masking import mask_secrets
from streamer.sinks.delivery import RemoteSink
from streamer.sinks.webrtc import Broadcast, Packer, ends_in_time, use_own_encoders
from streamer.types import SafeFrame

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "VEIL_WHIP_TOKEN"
ANSWER_SECONDS, CONNECT_SECONDS, CHECK_SECONDS = 10.0, 15.0, 0.5
MAX_ANSWER = 64 << 10  # bytes


class WhipPublisher(RemoteSink):
    """A sink that sends to a WHIP server; frames that come while it is away are left out.

    Args:
        target: "whip:https://host/path"; what it asks for as a bearer token is in `$VEIL_WHIP_TOKEN`.

    Raises:
        SinkError: If that is no address of HTTP; on leaving it without an exception, if no frame was taken.
    """

    audio_packets, audio_failures = 0, ()

    def __init__(self, target: str) -> None:
        self._url = target.removeprefix("whip:")
        if not self._url.startswith(("https://", "http://")):
            raise SinkError(f"cannot publish to {mask_secrets(target)}: expected whip:https://host/path")
        self._label = mask_secrets(self._url)
        self._packer, self._loop, self._ends = Packer(), asyncio.new_event_loop(), asyncio.Event()
        self._broadcast: Broadcast | None = None
        self._is_connected = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._work(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join()
        self._loop.close()
        if kind is None and not self.frames_taken:
            raise SinkError(f"{self._label} took no frame: {self.trouble or 'it did not answer'}")

    def write(self, frame: SafeFrame) -> None:
        """Send one frame, or leave it out while there is no server.

        Raises:
            TypeError: If it is anything but a `SafeFrame`.
        """
        packed = self._packer.pack(frame)
        assert self._broadcast is not None
        self._loop.call_soon_threadsafe(self._broadcast.put, packed)
        self.frames_taken += self._is_connected

    async def _work(self) -> None:
        self._broadcast = Broadcast()
        self._ready.set()
        backoff = Backoff()
        while not self._ends.is_set():
            try:
                await self._publish(self._broadcast)
                backoff.reset()
                reason = "the connection was lost"
            except Exception as error:  # never its message, which may carry the address with its password
                reason = str(error) if isinstance(error, SinkError) else type(error).__name__
            if not self._ends.is_set():
                self.trouble = reason
                log.warning("%s takes nothing: %s; calling again", self._label, reason)
                await self._pause(backoff.next_wait())
        await self._broadcast.close()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ends.wait(), seconds)
        except TimeoutError:
            return

    async def _publish(self, broadcast: Broadcast) -> None:
        """Send until the connection is lost or this ends."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        track = broadcast.track()

        @connection.on("connectionstatechange")
        def note() -> None:
            self._is_connected = connection.connectionState == "connected"

        connection.addTransceiver(track, direction="sendonly")
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)) as client:
                resource = await self._call(client, connection)
                try:
                    await self._mind(connection)
                finally:
                    if resource:
                        await client.delete(resource, headers=_bearer())
        finally:
            broadcast.tracks.discard(track)
            await ends_in_time(connection.close())

    async def _call(self, client: aiohttp.ClientSession, connection: RTCPeerConnection) -> str:
        """Offer, take the answer, and return where the session can be ended; "" if nowhere."""
        await connection.setLocalDescription(await connection.createOffer())
        headers = {"Content-Type": "application/sdp"} | _bearer()
        body = connection.localDescription.sdp
        async with client.post(self._url, data=body, headers=headers) as response:
            if response.status != 201:
                raise SinkError(f"it answers {response.status} {response.reason}")
            answer = (await response.content.read(MAX_ANSWER)).decode()
            location = response.headers.get("Location", "")
            resource = urljoin(str(response.url), location) if location else ""
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        use_own_encoders(connection)
        return resource

    async def _mind(self, connection: RTCPeerConnection) -> None:
        waited = 0.0
        while not self._ends.is_set() and connection.connectionState not in ("failed", "closed"):
            await self._pause(CHECK_SECONDS)
            waited += CHECK_SECONDS
            if connection.connectionState != "connected" and waited > CONNECT_SECONDS:
                return


def _bearer() -> dict[str, str]:
    token = os.environ.get(TOKEN_VARIABLE)
    return {"Authorization": f"Bearer {token}"} if token else {}
