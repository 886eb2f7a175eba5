"""Who is connected: the rooms of one server, who sends to them and who watches. For the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from streamer.errors import StreamerError
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.ice import IceServers
from streamer.serve.peer_connection import Direction, PeerConnection
from streamer.serve.prometheus import Metrics
from streamer.serve.room import Room, Sound

IDLE_SECONDS = 20.0  # without a frame of somebody who sends
STAY_SECONDS = 120.0  # that those who watch are kept when the sender has left: it may come back
CHECK_SECONDS = 1.0
REPLACED = 200  # sessions that are remembered, so that who had one is told


class FullError(StreamerError):
    """There is no room for one more; later there may be."""


class TakenError(StreamerError):
    """The name belongs to somebody else, as long as they are there."""


class NobodyError(StreamerError):
    """Nobody sends this video; later somebody may."""


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


class Peers:
    """All peers of one server.

    Args:
        anonymizer: Loaded once; each room gets one of its own with the same weights.
        limits, sound, ice: See there.

    Attributes:
        replaced: Sessions whose room somebody else has taken over.
    """

    def __init__(
        self, anonymizer: Anonymizer, *, limits: Limits, sound: Sound, ice: IceServers, metrics: Metrics
    ) -> None:
        self._anonymizer, self._limits, self._sound, self._ice = anonymizer, limits, sound, ice
        self.metrics = metrics
        self.is_draining = False
        self.replaced: deque[str] = deque(maxlen=REPLACED)
        self._rooms: list[Room] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._watch())

    @property
    def by_id(self) -> dict[str, Room]:
        """The rooms that somebody sends to, by the id of the session that does."""
        return {room.link.id: room for room in self._rooms if room.link}

    def room_of(self, key: str) -> Room | None:
        """Return the room of this name or viewer id."""
        return next((room for room in self._rooms if key in (room.name, room.viewer_id)), None)

    def room_of_viewer(self, viewer_id: str) -> Room | None:
        """Return the room that a viewer watches, by the viewer's own id."""
        return next((room for room in self._rooms if viewer_id in room.viewers), None)

    async def open(
        self,
        sdp: str,
        direction: Direction,
        *,
        name: str | None = None,
        owner: str | None = None,
        viewer_id: str | None = None,
        stream: str | None = None,
    ) -> tuple[Room, PeerConnection, str]:
        """Return a room, who sends to it from now on, and the answer to its offer.

        Args:
            sdp: Checked (`streamer.serve.sdp.offer_check`).
            direction: Whether it gets its video back.
            name: Of the room: who sends to it already is replaced, who watches it stays. None for a new one.
            owner: Who may do so: a name belongs to whoever began it, as long as it lasts.
            viewer_id: By which it is watched, besides the name; None for one that nobody can guess.
            stream: By what name strangers are drawn, in a new room.

        Raises:
            FullError: If there is no place.
            TakenError: If the name is somebody else's.
            OfferError: If the offer cannot be answered.
        """
        room = self.room_of(name) if name else None
        if room and room.owner != owner:
            raise TakenError("this name is taken by somebody with another token")
        if self.is_draining or ((room is None or room.link is None) and self._senders() >= self._limits.peers):
            raise FullError("the server is full, or about to stop")
        if room is None:
            room = self._new_room(name, owner, viewer_id=viewer_id or secrets.token_urlsafe(24), stream=stream)
        link = PeerConnection(self._ice.configuration())
        room.offers += 1
        try:
            answer = await room.answer(link, sdp, direction)
            if room not in self._rooms:
                raise FullError("the server is about to stop")  # it was closed meanwhile
        except BaseException:
            room.offers -= 1
            await room.end(link)
            await self._close_if_empty(room)
            raise
        room.offers -= 1
        await self._let_send(room, link)
        return room, link, answer

    def _senders(self) -> int:
        return sum(bool(room.link) or room.offers for room in self._rooms)

    def _new_room(self, name: str | None, owner: str | None, *, viewer_id: str, stream: str | None) -> Room:
        base = self._anonymizer
        room = Room(
            base.with_settings(base.settings), metrics=self.metrics, sound=self._sound, stream=stream, name=name,
            owner=owner, viewer_id=viewer_id,
        )  # fmt: skip
        self._rooms.append(room)
        return room

    async def _let_send(self, room: Room, link: PeerConnection) -> None:
        old = room.take(link)
        self._count()
        link.connection.on("connectionstatechange", lambda: self._note(link))
        if old:
            self.replaced.append(old.id)
            await room.end(old)

    async def view(self, key: str, sdp: str) -> tuple[PeerConnection, str]:
        """Return a new viewer of a room and the answer to its offer.

        Args:
            key: The room's name or viewer id.
            sdp: Checked.

        Raises:
            NobodyError: If there is no such room.
            FullError, OfferError: As of `open`.
        """
        room = self.room_of(key)
        if room is None:
            raise NobodyError("nobody sends this video")
        if self.is_draining or len(room.viewers) >= self._limits.viewers:
            raise FullError("this video has as many viewers as it may")
        viewer = PeerConnection(self._ice.configuration())
        room.viewers[viewer.id] = viewer
        self._count()
        try:
            return viewer, await room.show(viewer, sdp)
        except BaseException:
            await self.leave(room, viewer)
            raise

    async def leave(self, room: Room, viewer: PeerConnection) -> None:
        """End one viewer."""
        await room.end(viewer)
        await self._close_if_empty(room)
        self._count()

    async def part(self, room: Room) -> None:
        """End who sends; who watches stays for a while, for it may come back."""
        if link := room.take(None):
            await room.end(link)
        await self._close_if_empty(room)
        self._count()

    async def close(self, room: Room) -> None:
        """End a room and everybody in it."""
        if room in self._rooms:
            self._rooms.remove(room)
            self._count()
            task = asyncio.create_task(room.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            await asyncio.shield(task)
            await asyncio.to_thread(give_back_memory)
            gc.collect()  # aiortc's objects hold each other: let be, those of many offers would hold all up at once

    async def close_all(self) -> None:
        """End everybody, and take nobody new: who was just ended calls again at once."""
        self.is_draining = True
        self._task.cancel()
        await asyncio.gather(*map(self.close, list(self._rooms)), return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _close_if_empty(self, room: Room) -> None:
        if room.link is None and not room.offers and (room.name is None or not room.viewers):
            await self.close(room)

    def _count(self) -> None:
        self.metrics.peers.set(len(self.by_id))
        self.metrics.viewers.set(sum(len(room.viewers) for room in self._rooms))

    async def _note(self, link: PeerConnection) -> None:
        room = self.by_id.get(link.id)
        if room and link.connection.connectionState in ("failed", "closed"):
            await self.part(room)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for room in list(self._rooms):
                if room.link and self._is_over(room, room.link, now):
                    await self.part(room)
                for viewer in list(room.viewers.values()):
                    if viewer.is_over:
                        await self.leave(room, viewer)
                if room.link is None and now - room.left_at > STAY_SECONDS:
                    await self.close(room)

    def _is_over(self, room: Room, link: PeerConnection, now: float) -> bool:
        is_late = bool(self._limits.minutes) and now - link.began > 60 * self._limits.minutes
        return is_late or now - room.last_frame > IDLE_SECONDS or link.is_over


def give_back_memory() -> None:
    """Let the system have what was freed: glibc keeps it, for each thread that there ever was."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
