"""A real server on loopback and real WebRTC peers that talk to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import aiohttp
import numpy as np
from aioice import ice as aioice_module
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av.video.frame import VideoFrame

from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.access import Access
from streamer.serve.app import Server, started
from streamer.serve.ice import IceServers
from streamer.serve.prometheus import Metrics
from streamer.serve.room import Room, Sound
from streamer.serve.sessions import Limits, Peers
from streamer.sinks.webrtc import ends_in_time
from streamer.sources.decoding import BLANK_GREY
from streamer.types import Image
from tests.end_to_end.patience import PATIENCE_SECONDS

SDP = {"Content-Type": "application/sdp"}
ALONE = RTCConfiguration(iceServers=[])


@dataclass
class Serving:
    """A server that runs, and a client's session with it."""

    url: str
    peers: Peers
    client: aiohttp.ClientSession

    async def only_room(self) -> Room:
        """Return the one room once its sender is there: a page that a slow machine lost is calling again."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(rooms := list(self.peers.by_id.values())) != 1 or rooms[0].link is None:
                await asyncio.sleep(0.05)
        return rooms[0]


@asynccontextmanager
async def serving(
    anonymizer: Anonymizer | None = None,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    sound: Sound | None = None,
    ice: IceServers | None = None,
) -> AsyncIterator[Serving]:
    ice = ice or IceServers()
    anonymizer = anonymizer or Anonymizer.load(mode="cover", delay_seconds=0.0)
    peers = Peers(anonymizer, limits=limits or Limits(), sound=sound or Sound(), ice=ice, metrics=Metrics())
    vars(aioice_module._mdns).clear()  # a lock of the loop of the test before: a server has one loop
    access = access or Access(port=0)
    runner = await started(access, Server(access, peers, ice))
    try:
        async with aiohttp.ClientSession() as client:
            yield Serving(f"http://127.0.0.1:{runner.addresses[0][1]}", peers, client)
    finally:
        await peers.close_all()
        await runner.cleanup()


class Playing(MediaStreamTrack):
    """Pictures again and again, at a rate; those for which there is no time are left out, as by a camera."""

    kind = "video"

    def __init__(self, images: Sequence[Image], rate: int = 30) -> None:
        super().__init__()
        self.images, self._rate, self._count = images, rate, 0
        self._start = time.monotonic()

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._start + self._count / self._rate - time.monotonic()))
        self._count = max(self._count, int((time.monotonic() - self._start) * self._rate))
        frame = VideoFrame.from_ndarray(self.images[self._count % len(self.images)], "rgb24")
        frame.pts, frame.time_base = self._count, Fraction(1, self._rate)
        self._count += 1
        return frame


class Received:
    """The pictures that came to a peer."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self.images: list[Image] = []
        self.kinds: list[str] = []
        self._connection = connection
        self._tasks: list[asyncio.Task[None]] = []
        connection.on("track", self._take)

    def _take(self, track: MediaStreamTrack) -> None:
        self.kinds.append(track.kind)
        self._tasks.append(asyncio.create_task(self._receive(track)))

    async def _receive(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.images.append(frame.to_ndarray(format="rgb24"))

    async def until(self, enough: Callable[[list[Image]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not enough(self.images):
                is_over = self._connection.connectionState in ("failed", "closed")
                if is_over and (not self.images or all(task.done() for task in self._tasks)):
                    raise ConnectionError("the connection is over: no more pictures come")
                await asyncio.sleep(0.05)


async def offer_of(connection: RTCPeerConnection) -> str:
    await connection.setLocalDescription(await connection.createOffer())
    return connection.localDescription.sdp


@asynccontextmanager
async def peer(
    server: Serving,
    *tracks: MediaStreamTrack,
    path: str = "/offer",
    sdp: Callable[[str], str] = str,
    prepare: Callable[[RTCPeerConnection], None] = lambda _: None,
) -> AsyncIterator[tuple[RTCPeerConnection, Received, dict[str, str]]]:
    """Yield a peer that sends `tracks`, what it receives, and what the server said: session and viewer."""
    connection = RTCPeerConnection(ALONE)
    received = Received(connection)
    for track in tracks:
        connection.addTrack(track)
    if not tracks:
        connection.addTransceiver("video", direction="recvonly")
    prepare(connection)
    try:
        body = sdp(await offer_of(connection))
        async with server.client.post(server.url + path, data=body, headers=SDP) as response:
            assert response.status == 201, await response.text()
            if path.startswith("/offer"):
                said = await response.json()
            else:
                said = {"sdp": await response.text(), "session": response.headers["Location"]}
            said["etag"] = response.headers["ETag"]
        await connection.setRemoteDescription(RTCSessionDescription(said["sdp"], "answer"))
        yield connection, received, said
    finally:
        await ends_in_time(connection.close())


def is_slate(image: Image) -> bool:
    """Whether a picture, in whatever size it is sent, is what the server sends where none came in time."""
    return bool(np.abs(image[: image.shape[0] // 5].astype(int) - BLANK_GREY).mean() < 6)


def noise(height: int = 240, width: int = 320, seed: int = 0) -> Image:
    """A picture without faces that survives an encoder: coarse blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    return np.kron(blocks, np.ones((40, 40, 1), np.uint8))
