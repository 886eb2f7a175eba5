"""One video: who sends it now, what is done to it, and who watches. It outlives its sender. For the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiortc import MediaStreamTrack
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError

from streamer.pipeline.anonymizer import Anonymizer
from streamer.region import Region, misfit, regions_of
from streamer.serve.backlog import bound_backlog
from streamer.serve.peer_connection import Direction, PeerConnection
from streamer.serve.peer_filter import FaceFilter, Meter
from streamer.serve.prometheus import Metrics
from streamer.serve.sdp.answer import with_start_bitrate
from streamer.sinks.webrtc import Broadcast, Packer
from streamer.sound.capture import CaptureReports, CaptureTimes
from streamer.sound.delayed import DelayedAudio
from streamer.sound.voice import Voice
from streamer.tally import Tally
from streamer.types import Mode, SafeFrame

MAX_REGIONS = 8  # that a sender may ask for
QUIET_SECONDS = 1.0  # without a frame of the sender, who is then said to have stopped


@dataclass(frozen=True, slots=True)
class Sound:
    """What becomes of it."""

    kind: Literal["dropped", "kept", "another voice"] = "dropped"


Regions = dict[str, Region]


def asked_regions(values: Sequence[str]) -> Regions:
    """Return regions of any picture, in percent, by how they are written.

    Raises:
        ValueError: If one of them is none or lies outside the picture, or they are too many.
    """
    regions = regions_of(values)
    is_fit = all(region.is_share for region in regions) and not misfit(regions, 1, 1, first=(1, 1))
    if len(regions) > MAX_REGIONS or not is_fit:
        raise ValueError(f"always must be up to {MAX_REGIONS} regions of the picture in percent: 25%,0%,50%,30%")
    return dict(zip(values, regions, strict=True))


class Room:
    """One video.

    Attributes:
        name: By which it is found, if it has one; only `owner` may send to it.
        viewer_id: Lets whoever knows it watch.
        link: Who sends; None while nobody does.
        asked: Regions that whoever sends wants covered always, as they were written.
        offers: That are being answered, of those who want to.
        stream: By what name strangers are drawn (`Anonymizer.frames`).
        left_at: When the last sender left, by `time.monotonic`.
    """

    def __init__(
        self, anonymizer: Anonymizer, *, metrics: Metrics, sound: Sound, stream: str | None, name: str | None,
        viewer_id: str, owner: str | None,
    ) -> None:  # fmt: skip
        self.anonymizer, self.stream = anonymizer, stream
        self.asked, self._first_settings = Regions(), anonymizer.settings
        self.name, self.viewer_id, self.owner = name, viewer_id, owner
        self.meter, self.broadcast = Meter(), Broadcast()
        self.link: PeerConnection | None = None
        self.offers = 0
        self.viewers: dict[str, PeerConnection] = {}
        self.audio: DelayedAudio | None = None
        self.relay = MediaRelay()
        self.last_frame = self.left_at = time.monotonic()
        self._metrics, self._sound, self._packer = metrics, sound, Packer()
        self._loop = asyncio.get_running_loop()
        self._filter: FaceFilter | None = None  # made for the first frame: offers are many, and some are nobody's

    @property
    def is_quiet(self) -> bool:
        """Whether nothing comes of the sender."""
        return self.link is None or time.monotonic() - self.last_frame > QUIET_SECONDS

    async def answer(self, link: PeerConnection, sdp: str, direction: Direction) -> str:
        """Return the answer to the offer of one who wants to send.

        Raises:
            OfferError: If it cannot be answered.
        """
        link.track = self.broadcast.track() if direction == "sendrecv" else None
        link.add_video(link.track, direction)
        times = CaptureTimes()
        link.connection.on("track", lambda track: self._receive(link, track, times))
        answer = with_start_bitrate(await link.answer(sdp))
        self._stamp_reports(link)
        return answer

    def take(self, link: PeerConnection | None) -> PeerConnection | None:
        """Let `link` be the one that sends from now on, or nobody, and return who was, to be ended.

        What one before allowed is allowed no more; what they covered stays covered until it is changed.
        """
        old, self.link = self.link, link
        self.last_frame = self.left_at = time.monotonic()
        if link:
            self.anonymizer.settings = self.anonymizer.settings.stricter(self._first_settings)
            if self._filter:
                self._filter.source.begin()
        return old

    async def end(self, link: PeerConnection) -> None:
        """End a connection, of one who sent or watches."""
        self.viewers.pop(link.id, None)
        self.broadcast.drop(link.track)
        await link.close()

    async def show(self, viewer: PeerConnection, sdp: str) -> str:
        """Return the answer to the offer of one who watches.

        Raises:
            OfferError: If it cannot be answered.
        """
        viewer.track = self.broadcast.track()
        viewer.add_video(viewer.track, "sendonly")
        if self.audio:
            viewer.connection.addTrack(self.relay.subscribe(self.audio))
        answer = await viewer.answer(sdp)
        self._stamp_reports(viewer)
        return answer

    def _stamp_reports(self, link: PeerConnection) -> None:
        """Let what is sent say when it was captured, so that sound and picture of one moment are shown together."""
        for sender in link.connection.getSenders():
            if sender.kind == "video":
                CaptureReports(sender, lambda: self.broadcast.stamp)
            else:
                CaptureReports(sender, lambda: self.audio.stamp if self.audio else None)

    def control(self, *, beta: float | None, mode: Mode | None) -> None:
        """Change what is done, from the next frame on; None leaves it as it is.

        Raises:
            ValueError: If it is out of range, or there is no model to draw with.
        """
        if mode == "generate" and self.anonymizer.model is None:
            raise ValueError("this server only covers")
        settings = self.anonymizer.settings
        self.anonymizer.settings = replace(
            settings, beta=settings.beta if beta is None else beta, mode=mode or settings.mode
        )

    def cover_always(self, regions: Regions) -> None:
        """Cover these regions from the next frame on, besides those of the server."""
        self.asked = regions
        always = (*self._first_settings.always, *regions.values())
        self.anonymizer.settings = replace(self.anonymizer.settings, always=always)

    def as_dict(self) -> dict[str, Any]:
        """Return what the page shows."""
        settings = self.anonymizer.settings
        modes = ["cover"] if self.anonymizer.model is None else ["generate", "cover"]
        figures = self.meter.as_dict()
        if self._filter and self._filter.is_smaller and figures["eased"] != "covered":
            figures["eased"] = "smaller"
        return figures | {
            "beta": settings.beta, "mode": settings.mode, "modes": modes, "viewers": len(self.viewers),
            "sound": self._sound.kind, "always": list(self.asked),
        }  # fmt: skip

    async def close(self) -> None:
        """End everything that belongs to it, and wait for that."""
        for viewer in list(self.viewers.values()):
            await self.end(viewer)
        if sender := self.take(None):
            await self.end(sender)
        if self.audio:
            self.audio.stop()
        await self.broadcast.close()
        if self._filter:
            await asyncio.to_thread(self._filter.close)

    def _receive(self, link: PeerConnection, track: MediaStreamTrack, times: CaptureTimes) -> None:
        receiver = next(one for one in link.connection.getReceivers() if one.track is track)
        bound_backlog(receiver)
        if track.kind == "video":
            times.listen(receiver, "video")
            link.run(self._take_frames(link, track, times))
        elif self._sound.kind != "dropped" and not link.is_heard:
            link.is_heard = True
            times.listen(receiver, "audio")
            link.connection.addTrack(self.relay.subscribe(self._heard(track, times)))

    def _heard(self, track: MediaStreamTrack, times: CaptureTimes) -> DelayedAudio:
        if self.audio is None:
            is_changed = self._sound.kind == "another voice"
            key = self.anonymizer.settings.key if self.stream else None  # without a name, a voice of its own
            voice = Voice.of(key, self.stream or "") if is_changed else None
            self.audio = DelayedAudio(track, times, delay=lambda: self.meter.latency, voice=voice)
        else:
            self.audio.follow(track, times)
        return self.audio

    async def _take_frames(self, link: PeerConnection, track: MediaStreamTrack, times: CaptureTimes) -> None:
        """Take every frame at once: those that wait in aiortc would make the delay grow."""
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            if link is not self.link:
                continue  # no more, or not yet: what is asked now is not asked of these
            self.last_frame = time.monotonic()
            times.arrived("video", frame.pts, self.last_frame)
            self._filter = self._filter or FaceFilter(self.anonymizer, self._publish, stream=self.stream)
            self._filter.source.put(frame, self.last_frame, times.captured("video", frame.pts))

    def _publish(self, frame: SafeFrame, dropped: int, latency: float, captured: float) -> None:
        """Pass on a safe frame: called in the filter's thread."""
        packed = self._packer.pack(frame)
        tally = Tally.of(frame, dropped=dropped)
        self.meter.add(tally, latency)
        self._metrics.count(tally, latency)
        self._loop.call_soon_threadsafe(self.broadcast.put, packed, captured)
