"""What happens now, as a source: cameras, screens and streams of the network, which come, stall, go and come back.

Knows no face. While the source is gone its frames are blank, so that whatever takes them goes on.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from types import TracebackType
from typing import Self, cast
from weakref import WeakSet

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.backoff import Backoff
from streamer.errors import SourceError
from streamer.sources.address import Address
from streamer.sources.clock import LiveClock
from streamer.sources.decoding import (
    Converter,
    Damage,
    blank,
    describe,
    frames_of,
    is_of_shape,
    letterbox,
    video_stream,
)
from streamer.sources.deinterlace import deinterlaced
from streamer.sources.pacing import SOUND_RATE, SoundTap
from streamer.types import Frame, Image, VideoInfo

log = logging.getLogger(__name__)

OPEN_SECONDS = 5.0  # to connect
STALL_SECONDS = 3.0  # without a frame; then it is left and called again
QUIET_SECONDS = 1.0  # without a frame; then blank ones take its place
KEY_FRAME_SECONDS = 60.0  # that a stream may send before its first key frame: some have one in 40 s
GIVE_UP_SECONDS = 600.0  # without a frame; then it is not called again
MAX_FAILURES = 300  # packets in a row that cannot be decoded, after a picture; then the connection is of no use
TIME_BASE = Fraction(1, 90_000)
MEASURED_FRAMES = 12  # for the rate: what cameras say of it is often wrong
MEASURED_SECONDS = 1.5  # at most
RATES = (1.0, 240.0)  # a rate outside is not believed


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture of a live stream.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        seconds: By the clock of the stream; None where it has none.
        arrived: When, by `time.monotonic`.
        missed: How many came before it that nobody took.
    """

    image: Image
    seconds: float | None
    arrived: float
    missed: int


class Connection:
    """One call: a thread that connects, decodes, and leaves the newest picture for whoever takes it.

    Args:
        address: Whom to call.
        container: What is there, if it was opened already.

    Attributes:
        info: What is known of the stream; None before the first picture.
        reason: Why it ended, or "".
        audio_streams, corrupt_packets: As in `VideoSource`.
        heard: The sound of the first stream of it, by the stream's clock; None for nobody listens.
        thread: The one that receives.
    """

    def __init__(self, address: Address, container: InputContainer | None = None) -> None:
        self.info: VideoInfo | None = None
        self.reason = ""
        self.audio_streams = self.corrupt_packets = 0
        self.heard: SoundTap | None = None
        self._address = address
        self._began = self._heard = time.monotonic()
        self._changed = threading.Condition()
        self._newest: Arrival | None = None
        self._missed = 0
        self._left, self._damage = threading.Event(), Damage()
        self.thread = threading.Thread(None, self._work, f"receive {address.label}", (container,), daemon=True)
        self.thread.start()
        _connections.add(self)

    @property
    def has_ended(self) -> bool:
        """Whether no more will come."""
        return bool(self.reason)

    def is_late(self, now: float) -> bool:
        """Return whether it has been silent for too long, or has sent for too long without a key frame."""
        if self.info is not None:
            return now - self._heard > STALL_SECONDS
        return now - self._heard > 2 * OPEN_SECONDS + STALL_SECONDS or now - self._began > KEY_FRAME_SECONDS

    def take(self, timeout: float) -> Arrival | None:
        """Return the newest picture that nobody took, waiting for it at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.has_ended, timeout)
            arrival, self._newest = self._newest, None
            self._missed = 0
            return arrival

    def leave(self) -> None:
        """End it soon. Its thread closes what it opened, once FFmpeg returns: closing it here would crash."""
        self._left.set()

    def _work(self, container: InputContainer | None) -> None:
        try:
            with container or self._opened() as opened:
                self._receive(opened)
                reason = "it ended"  # also of a server that died: FFmpeg cannot tell
        except av.FFmpegError as error:  # never its message, which carries the address with its password
            reason = error.strerror or type(error).__name__
        except SourceError as error:
            reason = str(error)
        except Exception as error:  # whatever it was, whoever waits must know
            reason = type(error).__name__
        with self._changed:
            self.reason = reason
            self._changed.notify_all()

    def _opened(self) -> InputContainer:
        *others, last = self._address.attempts
        for options in others:
            try:
                return self._open(options)
            except av.FFmpegError:  # a camera without MJPEG, say
                continue
        return self._open(last)

    def _open(self, options: Mapping[str, str]) -> InputContainer:
        timeout = (OPEN_SECONDS, STALL_SECONDS)
        return av.open(self._address.url, format=self._address.format, options=dict(options), timeout=timeout)

    def _receive(self, container: InputContainer) -> None:
        stream = video_stream(container, self._address.label)
        stream.thread_type = "NONE"  # threads by frame would each hold one back, those by slice hide what is damaged
        self.audio_streams = len(container.streams.audio)
        converter = Converter(aspect=stream.sample_aspect_ratio)
        is_recording, start = container.duration is not None and self._address.format is None, 0.0
        for frame in deinterlaced(self._whole(container, stream), self._address.label):
            seconds = None if frame.pts is None or not frame.time_base else float(frame.pts * frame.time_base)
            if self.info is None:
                self.info, start = describe(frame, stream), time.monotonic() - (seconds or 0.0)
            if is_recording and seconds is not None:  # it comes as fast as the network lets it
                self._left.wait(start + seconds - time.monotonic())
            self._put(converter.rgb(frame), seconds)

    def _whole(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield whole frames; what is damaged, or lacks what came before it, is left out: it may show half a face."""
        for frame, is_damaged in self._damage.told(self._decoded(container, stream)):
            if not is_damaged:
                yield frame
            self._heard, self.corrupt_packets = time.monotonic(), self.corrupt_packets + frame.is_corrupt

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        failures = 0
        resampler = AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
        for packet in container.demux(stream, *container.streams.audio[:1]):
            if self._left.is_set():
                return
            if packet.stream is not stream:
                self._hear(cast("Packet[AudioStream]", packet), resampler)
                continue
            if not packet.size:  # a picture that is repeated, or the end: what is left in the decoder is late
                continue
            if self.info is None:
                self._heard = time.monotonic()
            try:
                frames = frames_of(stream.codec_context, cast("Packet[VideoStream]", packet))
            except av.FFmpegError as error:
                if self.info is None:  # it was joined between two key frames
                    continue
                failures, self.corrupt_packets = failures + 1, self.corrupt_packets + 1
                self._damage.lost(packet)
                if failures > MAX_FAILURES:
                    raise SourceError(f"{failures} packets in a row could not be decoded") from error
                continue
            failures = 0
            yield from frames

    def _hear(self, packet: Packet[AudioStream], resampler: AudioResampler) -> None:
        tap = self.heard
        if tap is None:
            return
        try:
            for frame in (part for whole in packet.decode() for part in resampler.resample(whole)):
                if frame.pts is not None and frame.time_base:
                    tap.put(float(frame.pts * frame.time_base), np.asarray(frame.to_ndarray(), np.float64))
        except (av.FFmpegError, ValueError):  # ValueError: of another form than before; it is silent then
            self.corrupt_packets += 1

    def _put(self, image: Image, seconds: float | None) -> None:
        with self._changed:
            self._missed += self._newest is not None
            self._heard = time.monotonic()
            self._newest = Arrival(image, seconds, self._heard, self._missed)
            self._changed.notify_all()


_connections: WeakSet[Connection] = WeakSet()


@atexit.register
def _let_go() -> None:
    """Wait for FFmpeg: while it waits for a server it asks Python for the time, and crashes once Python is gone."""
    last = list(_connections)
    for connection in last:
        connection.leave()
    for connection in last:
        connection.thread.join(OPEN_SECONDS + STALL_SECONDS)


class LiveSource:
    """The newest frames of a live source, blank ones while it is gone; for one thread.

    A stream that ends, or is silent for `STALL_SECONDS`, is called again, with growing pauses. Frames are upright, of
    the first frame's size (another is letterboxed); their times are the stream's own, moved onto one clock.

    Args:
        address: What to open.
        container: What is there, if it was opened already; this closes it.
        give_up_seconds: How long it may be gone.

    Attributes:
        info: Known at once, because the first frame is awaited; the rate is measured.
        audio_streams: How many it has.

    Raises:
        SourceError: If it cannot be opened, or gives no frame in time.
    """

    def __init__(
        self, address: Address, container: InputContainer | None = None, *, give_up_seconds: float = GIVE_UP_SECONDS
    ) -> None:
        self._corrupt_before = 0
        self._address, self._give_up = address, give_up_seconds
        self._closed = threading.Event()
        self._connection: Connection | None = Connection(address, container)
        self.info = self._described(self._connection)
        self.audio_streams = self._connection.audio_streams
        self._blank_image = blank(self.info.width, self.info.height)
        self._clock, self._index = LiveClock(TIME_BASE), -1
        self._last_frame = time.monotonic()
        self._is_gone, self._backoff, self._call_at = False, Backoff(), 0.0
        self._taps: list[SoundTap] = []

    def listen(self) -> SoundTap:
        """Return what is heard from now on, for one who takes it; before the first frame is taken."""
        self._taps.append(SoundTap())
        self._hear_connection()
        return self._taps[-1]

    @property
    def corrupt_packets(self) -> int:
        """Packets that could not be decoded so far."""
        return self._corrupt_before + (self._connection.corrupt_packets if self._connection else 0)

    @property
    def _frame_seconds(self) -> float:
        return float(1 / (self.info.rate or 25))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._connection:
            self._connection.leave()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until it is closed, also where there should be one and is none.

        Raises:
            SourceError: If it was gone for too long.
        """
        while not self._closed.is_set():
            arrival = self._take()
            self._mind(arrival is not None, time.monotonic())
            if arrival is not None:
                self._index += 1 + arrival.missed
                frame = self._fitted(arrival)
                self._pass_sound_on()
                yield frame
            elif not self._closed.is_set():
                self._index += 1
                yield Frame(self._blank_image, self._index, self._clock.now(), TIME_BASE, is_own=True)

    def _described(self, connection: Connection) -> VideoInfo:
        """Return what the first pictures say: size, colours, and how many come in a second."""
        first = None
        while first is None and not connection.has_ended and not connection.is_late(time.monotonic()):
            first = connection.take(QUIET_SECONDS)
        if first is None or connection.info is None:
            connection.leave()
            reason = connection.reason or "no picture came"
            raise SourceError(f"cannot open {self._address.label}: {reason}; is it on, are address and password right?")
        rate = connection.info.rate
        if self._address.format is not None or not rate or not RATES[0] <= rate <= RATES[1]:
            rate = _measured_rate(connection, first)
        return replace(connection.info, rate=rate, time_base=TIME_BASE, frame_count=None, is_live=True)

    def _take(self) -> Arrival | None:
        patience = self._frame_seconds if self._is_gone else max(QUIET_SECONDS, 5 * self._frame_seconds)
        if self._connection:
            arrival = self._connection.take(patience)
            if arrival is not None or not self._connection.has_ended:
                return arrival
        self._closed.wait(self._frame_seconds)
        return None

    def _mind(self, has_come: bool, now: float) -> None:
        """Keep the connection: leave it when it is of no use, call again when it is time to."""
        if has_come:
            if self._is_gone:
                log.warning("%s is back after %.1f s", self._address.label, now - self._last_frame)
            self._last_frame = now
            self._is_gone = False
            self._backoff.reset()
            return
        self._is_gone = True
        if now - self._last_frame > self._give_up:
            raise SourceError(f"{self._address.label} has been gone for {self._give_up:.0f} s")
        if self._connection is None:
            if now >= self._call_at:
                self._call()
        elif self._connection.has_ended or self._connection.is_late(now):
            self._hang_up(now)

    def _call(self) -> None:
        self._connection = Connection(self._address)
        self._hear_connection()
        self._clock.restart()

    def _hear_connection(self) -> None:
        if self._connection and self._taps:
            self._connection.heard = self._connection.heard or SoundTap()

    def _pass_sound_on(self) -> None:
        """Leave what was heard for whoever listens, once a picture has told where it belongs."""
        if self._connection and self._connection.heard and self._clock.offset is not None:
            for seconds, samples in self._connection.heard.until(inf):
                for tap in self._taps:
                    tap.put(seconds + self._clock.offset, samples)

    def _hang_up(self, now: float) -> None:
        assert self._connection is not None
        if self._connection.info is not None:  # said once, not for each call in vain
            log.warning("%s is gone: %s", self._address.label, self._connection.reason or "it is silent")
        self._corrupt_before += self._connection.corrupt_packets
        self._connection.leave()
        self._connection = None
        self._call_at = now + self._backoff.next_wait()

    def _fitted(self, arrival: Arrival) -> Frame:
        image, width, height = arrival.image, self.info.width, self.info.height
        is_letterboxed = not is_of_shape(image, width, height)
        if image.shape[:2] != (height, width):
            image = letterbox(image, width, height)
        pts = self._clock.tick(arrival.seconds, arrival.arrived)
        return Frame(image, self._index, pts, TIME_BASE, is_letterboxed=is_letterboxed, is_own=True)


def _measured_rate(connection: Connection, first: Arrival) -> Fraction | None:
    """Return how many pictures arrive in a second; None if hardly any do."""
    last, count = first, 0
    while count < MEASURED_FRAMES and last.arrived - first.arrived < MEASURED_SECONDS:
        arrival = connection.take(MEASURED_SECONDS)
        if arrival is None:
            break
        count, last = count + 1 + arrival.missed, arrival
    seconds = last.arrived - first.arrived
    return Fraction(count / seconds).limit_denominator(100) if count and seconds > 0 else None
