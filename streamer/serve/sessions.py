"""Who is connected: peers that send video and those who watch it. For the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)  # fmt: skip
from aiortc.codecs import h264, vpx
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError

from streamer.errors import StreamerError
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.ice import IceServers
from streamer.serve.offers import OfferError, answerable
from streamer.serve.peer_filter import FaceFilter, Meter
from streamer.serve.prometheus import Metrics
from streamer.sinks.webrtc import Broadcast, DelayedAudio, Packer, Voice
from streamer.types import Mode, SafeFrame

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0  # from the offer to a connection; aiortc would wait for ever
IDLE_SECONDS = 20.0  # without a frame of somebody who sends
ANSWER_SECONDS = 10.0
CHECK_SECONDS = 1.0
START_KBPS = 2500  # that browsers send from the start; left to themselves they begin with a tenth, and small pictures
START_BITRATE, MAX_BITRATE = 2_000_000, 5_000_000  # that we send; aiortc's own are for small pictures

Direction = Literal["sendrecv", "recvonly"]


class FullError(StreamerError):
    """There is no room for one more; later there may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server bears.

    Attributes:
        peers: Who send at the same time.
        viewers: Of each of them.
        minutes: That one may stay; 0 for any time.
    """

    peers: int = 4
    viewers: int = 8
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Sound:
    """What becomes of it: "dropped", "kept", or changed by a factor of `streamer.sinks.webrtc.Voice`."""

    kind: Literal["dropped", "kept"] = "dropped"
    voice: float | None = None


class Viewer:
    """One connection that only watches."""

    def __init__(self, configuration: RTCConfiguration) -> None:
        self.id = secrets.token_urlsafe(24)
        self.connection = RTCPeerConnection(configuration)
        self.began = time.monotonic()


class Peer:
    """One connection that sends video, and gets it back safe.

    Attributes:
        id: Lets whoever knows it control and end it.
        viewer_id: Lets whoever knows it watch.
        anonymizer: Of this peer alone.
        stream: By what name strangers are drawn (`Anonymizer.frames`).
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        configuration: RTCConfiguration,
        *,
        metrics: Metrics,
        sound: Sound,
        stream: str | None,
    ) -> None:
        self.id, self.viewer_id = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.connection = RTCPeerConnection(configuration)
        self.anonymizer, self.stream = anonymizer, stream
        self.meter, self.broadcast = Meter(), Broadcast()
        self.viewers: dict[str, Viewer] = {}
        self.audio: DelayedAudio | None = None
        self.relay = MediaRelay()
        self.began = self.last_frame = time.monotonic()
        self._metrics, self._sound, self._packer = metrics, sound, Packer()
        self._loop = asyncio.get_running_loop()
        self._filter: FaceFilter | None = None  # made for the first frame: offers are many, and some are nobody's
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, sdp: str, direction: Direction) -> str:
        """Return the answer to an offer.

        Raises:
            Exception: Whatever aiortc says of an offer that it does not understand.
        """
        back = self.broadcast.track() if direction == "sendrecv" else None
        _add_video(self.connection, back, direction)
        self.connection.on("track", self._take)
        return with_start_bitrate(await _answered(self.connection, sdp))

    def control(self, *, beta: float | None, mode: Mode | None) -> None:
        """Change what is done, from the next frame on.

        Raises:
            ValueError: If it is out of range, or there is no model to draw with.
        """
        if mode == "generate" and self.anonymizer.model is None:
            raise ValueError("this server only covers")
        settings = self.anonymizer.settings
        self.anonymizer.settings = replace(
            settings, beta=settings.beta if beta is None else beta, mode=mode or settings.mode
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the page shows."""
        settings = self.anonymizer.settings
        modes = ["cover"] if self.anonymizer.model is None else ["generate", "cover"]
        return self.meter.as_dict() | {
            "beta": settings.beta, "mode": settings.mode, "modes": modes, "viewers": len(self.viewers)
        }  # fmt: skip

    async def close(self) -> None:
        """End everything that belongs to it, and wait for that."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for viewer in self.viewers.values():
            await hang_up(viewer.connection)
        await hang_up(self.connection)
        await self.broadcast.close()
        if self._filter:
            await asyncio.to_thread(self._filter.close)

    def _take(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            task = asyncio.create_task(self._receive(track))
            self._tasks.add(task)
        elif self._sound.kind == "kept" and self.audio is None:
            voice = Voice(self._sound.voice) if self._sound.voice else None
            self.audio = DelayedAudio(track, lambda: self.meter.latency, voice)
            self.connection.addTrack(self.relay.subscribe(self.audio, buffered=False))

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Take every frame at once: those that wait in aiortc would make the delay grow."""
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            self.last_frame = time.monotonic()
            self._filter = self._filter or FaceFilter(self.anonymizer, self._publish, stream=self.stream)
            self._filter.source.put(frame)

    def _publish(self, frame: SafeFrame, dropped: int, latency: float) -> None:
        """Pass on a safe frame: called in the filter's thread."""
        packed = self._packer.pack(frame)
        self.meter.add(frame, dropped, latency)
        self._metrics.count(frame, dropped=dropped, latency=latency)
        self._loop.call_soon_threadsafe(self.broadcast.put, packed)


class Peers:
    """All peers of one server.

    Args:
        anonymizer: Loaded once; each peer gets one of its own with the same weights.
        limits, sound, ice: See there.
    """

    def __init__(
        self, anonymizer: Anonymizer, *, limits: Limits, sound: Sound, ice: IceServers, metrics: Metrics
    ) -> None:
        self._anonymizer, self._limits, self._sound, self._ice = anonymizer, limits, sound, ice
        self.metrics = metrics
        self.is_draining = False
        self.by_id: dict[str, Peer] = {}
        self._by_viewer_id: dict[str, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._watch())
        vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = START_BITRATE
        vpx.MAX_BITRATE = h264.MAX_BITRATE = MAX_BITRATE

    async def open(self, sdp: str, direction: Direction, *, name: str | None = None) -> tuple[Peer, str]:
        """Return a new peer and the answer to its offer.

        Args:
            sdp: Checked (`streamer.serve.offers`).
            direction: Whether it gets its video back.
            name: By which it can be watched, instead of one that nobody can guess; it names the stream, too.

        Raises:
            FullError: If there is no room, or the name is taken.
            OfferError: If the offer cannot be answered.
        """
        if self.is_draining or len(self.by_id) >= self._limits.peers or name in self._by_viewer_id:
            raise FullError("the server is full, or about to stop, or the name is taken")
        base = self._anonymizer
        own = base.with_settings(base.settings)
        peer = Peer(own, self._ice.configuration(), metrics=self.metrics, sound=self._sound, stream=name)
        peer.viewer_id = name or peer.viewer_id
        self.by_id[peer.id] = self._by_viewer_id[peer.viewer_id] = peer
        self._count()
        answer = await self._or_close(peer.answer(sdp, direction), lambda: self.close(peer))
        peer.connection.on("connectionstatechange", lambda: self._note(peer))
        return peer, answer

    async def view(self, viewer_id: str, sdp: str) -> tuple[Viewer, str]:
        """Return a new viewer of a peer and the answer to its offer.

        Raises:
            KeyError: If there is no such peer.
            FullError, OfferError: As of `open`.
        """
        peer = self._by_viewer_id[viewer_id]
        if self.is_draining or len(peer.viewers) >= self._limits.viewers:
            raise FullError("this video has as many viewers as it may")
        viewer = Viewer(self._ice.configuration())
        peer.viewers[viewer.id] = viewer
        self._count()
        track = peer.broadcast.track()
        _add_video(viewer.connection, track, "sendonly")
        if peer.audio:
            viewer.connection.addTrack(peer.relay.subscribe(peer.audio, buffered=False))
        answer = await self._or_close(_answered(viewer.connection, sdp), lambda: self.leave(peer, viewer.id))
        return viewer, answer

    def peer_of_viewer(self, viewer_id: str) -> Peer | None:
        """Return whom a viewer watches, by the viewer's own id."""
        return next((peer for peer in self.by_id.values() if viewer_id in peer.viewers), None)

    async def leave(self, peer: Peer, viewer_id: str) -> None:
        """End one viewer."""
        if viewer := peer.viewers.pop(viewer_id, None):
            for sender in viewer.connection.getSenders():
                peer.broadcast.tracks.discard(sender.track)
            await hang_up(viewer.connection)
            self._count()

    async def close(self, peer: Peer) -> None:
        """End one peer and whoever watches it."""
        if self.by_id.pop(peer.id, None):
            self._by_viewer_id.pop(peer.viewer_id, None)
            self._count()
            task = asyncio.create_task(peer.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            await asyncio.shield(task)
            await asyncio.to_thread(give_back_memory)
            gc.collect()  # aiortc's objects hold each other: let be, those of many offers would hold all up at once

    async def close_all(self) -> None:
        """End everybody."""
        self._task.cancel()
        await asyncio.gather(*map(self.close, list(self.by_id.values())), return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _or_close(self, answer: Awaitable[str], close: Callable[[], Awaitable[None]]) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except Exception as error:  # aiortc raises anything; its messages quote the offer
            await close()
            raise OfferError(f"the offer cannot be answered ({type(error).__name__})") from error
        except BaseException:
            await close()
            raise

    def _count(self) -> None:
        self.metrics.peers.set(len(self.by_id))
        self.metrics.viewers.set(sum(len(peer.viewers) for peer in self.by_id.values()))

    async def _note(self, peer: Peer) -> None:
        if peer.connection.connectionState in ("failed", "closed"):
            await self.close(peer)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for peer in list(self.by_id.values()):
                if self._is_over(peer, now):
                    await self.close(peer)
                for viewer in list(peer.viewers.values()):
                    if _is_gone(viewer.connection, now - viewer.began):
                        await self.leave(peer, viewer.id)

    def _is_over(self, peer: Peer, now: float) -> bool:
        age, idle = now - peer.began, now - peer.last_frame
        is_late = bool(self._limits.minutes) and age > 60 * self._limits.minutes
        return is_late or idle > IDLE_SECONDS or _is_gone(peer.connection, age)


def give_back_memory() -> None:
    """Let the system have what was freed: glibc keeps it, for each thread that there ever was."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


async def hang_up(connection: RTCPeerConnection) -> None:
    """Close a connection, also one that aiortc understood only half of."""
    try:
        await connection.close()
    except Exception as error:  # whatever it was, nobody can do anything about it
        log.warning("a connection did not close: %s", type(error).__name__)


def _is_gone(connection: RTCPeerConnection, age: float) -> bool:
    state = connection.connectionState
    return state in ("failed", "closed") or (state != "connected" and age > CONNECT_SECONDS)


def _add_video(connection: RTCPeerConnection, track: MediaStreamTrack | None, direction: str) -> None:
    transceiver = connection.addTransceiver(track or "video", direction=direction)
    known = RTCRtpSender.getCapabilities("video").codecs
    # VP8 first: browsers' H.264 at 720p fell to 13 frames a second.
    transceiver.setCodecPreferences(sorted(known, key=lambda codec: codec.mimeType != "video/VP8"))


async def _answered(connection: RTCPeerConnection, sdp: str) -> str:
    await connection.setRemoteDescription(RTCSessionDescription(answerable(sdp), "offer"))
    for transceiver in connection.getTransceivers()[1:]:  # sound that nobody takes would pile up in memory
        if transceiver.sender.track is None:
            transceiver.direction = "inactive"
    await connection.setLocalDescription(await connection.createAnswer())
    return connection.localDescription.sdp


def with_start_bitrate(sdp: str) -> str:
    """Return an answer that asks Chromium to send as much as a good picture needs from the start."""
    asked = f"x-google-start-bitrate={START_KBPS}"
    sdp = re.sub(r"(a=rtpmap:(\d+) VP8/90000\r\n)", rf"\1a=fmtp:\2 {asked}\r\n", sdp)
    return re.sub(r"(a=fmtp:\d+ .*profile-level-id=\w+)", rf"\1;{asked}", sdp)
