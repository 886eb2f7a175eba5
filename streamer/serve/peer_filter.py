"""What happens to the video of one peer: frames of WebRTC in, safe frames out, in threads of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from av.video.frame import VideoFrame

from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.pipeline.tiers import LACK_OF_TIME
from streamer.serve.relief import SIDES, Relief
from streamer.sources.clock import LiveClock
from streamer.sources.decoding import Converter
from streamer.sources.live import TIME_BASE
from streamer.sources.pacing import KeepsNewest, Mailbox
from streamer.tally import Tally
from streamer.types import Frame, Image, SafeFrame, VideoInfo

log = logging.getLogger(__name__)

TICKS = 1 << 32  # after which the timestamps of RTP begin anew
RESTART_SECONDS = 1.0  # until a filter that broke is tried again
METER_SECONDS = 2.0  # over which rates are told
SLOWER = 0.5  # frames left out for each that was not: above this it is seen


@dataclass(frozen=True, slots=True)
class ArrivalTimes:
    """When a frame came.

    Attributes:
        index: It was the how many-th.
        at: By `time.monotonic`.
        captured: As of `streamer.sound.capture.Stamp`.
        sender: The how many-th sent it.
    """

    index: int
    at: float
    captured: float
    sender: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame as it came, and when."""

    frame: VideoFrame
    arrival: ArrivalTimes


class Received(KeepsNewest):
    """What a peer sends, as a live source: the newest frame, whenever somebody takes one."""

    info = VideoInfo(0, 0, None, TIME_BASE, None, is_live=True)
    corrupt_packets = audio_streams = 0

    def __init__(self) -> None:
        self.max_side = SIDES[0]  # pixels; a larger picture is made smaller
        self.side = 0  # of what came last
        self.sender = 0  # the how many-th sends now
        self._mailbox = Mailbox[Arrived]()
        self._count = 0
        self._ticks, self._clock = _Unwrapped(), LiveClock(TIME_BASE)
        self._taken: deque[ArrivalTimes] = deque(maxlen=1000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, frame: VideoFrame, at: float, captured: float) -> None:
        """Leave a frame, with the times of its `ArrivalTimes`; one that nobody took is dropped."""
        self._mailbox.put(Arrived(frame, ArrivalTimes(self._count, at, captured, self.sender)))
        self._count += 1

    def begin(self) -> None:
        """Say that what comes from now on is somebody else's."""
        self.sender += 1

    def close(self) -> None:
        """Say that no more come."""
        self._mailbox.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come, in RGB, until it is closed."""
        converter, sender = Converter(), 0
        for arrived in self._mailbox:
            self.side = max(arrived.frame.width, arrived.frame.height)
            image = limited(converter.rgb(arrived.frame), self.max_side)
            self._taken.append(arrived.arrival)
            is_first, sender = arrived.arrival.sender != sender, arrived.arrival.sender
            if is_first:
                self._ticks.last = None
                self._clock.restart()
            pts = self._clock.tick(self._ticks(arrived.frame.pts), arrived.arrival.at)
            yield Frame(image, arrived.arrival.index, pts, TIME_BASE, is_first=is_first, is_own=True)

    def arrival(self, index: int) -> ArrivalTimes:
        """Return when the frame came that had this index; asked in order."""
        while self._taken and self._taken[0].index < index:
            self._taken.popleft()
        return self._taken[0]


class _Unwrapped:
    """Makes seconds of RTP's ticks, which begin anew after `TICKS`.

    Attributes:
        last: Ticks of the last frame; None before one.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        self._ticks = 0

    def __call__(self, pts: int | None) -> float | None:
        """Return the time of a frame by its sender's clock; None of one that has none."""
        if pts is not None:
            step = 0 if self.last is None else (pts - self.last) % TICKS
            self._ticks += step if step < TICKS // 2 else step - TICKS
            self.last = pts
        return None if pts is None else float(self._ticks * TIME_BASE)


def limited(image: Image, side: int) -> Image:
    """Return `image`, smaller if one of its sides is longer than `side`."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


class FaceFilter:
    """Makes safe frames of what a peer sends, until it is closed; breaks never, but may pause.

    Args:
        anonymizer: Of this peer alone: its settings may be replaced at any time.
        publish: Called in the filter's thread with each safe frame, the frames dropped before it, its latency in
            seconds, and when it was captured.
        stream: As of `streamer.pipeline.runner.protect`.
    """

    def __init__(
        self, anonymizer: Anonymizer, publish: Callable[[SafeFrame, int, float, float], None], *, stream: str | None
    ) -> None:
        self.anonymizer, self.source = anonymizer, Received()
        self._publish, self._stream = publish, stream
        self._closed = threading.Event()
        self._last_index = -1
        self._relief = Relief()
        self._thread = threading.Thread(target=self._work, daemon=True, name="filter")
        self._thread.start()

    @property
    def is_smaller(self) -> bool:
        """Whether pictures are made smaller than they came, for lack of time."""
        return self._relief.side < self.source.side

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._closed.set()
        self.source.close()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                for frame in protect(self.source, self.anonymizer, stream=self._stream):
                    self._pass_on(frame)
            except Exception as error:  # only its type: a message may quote the data, and the data are faces
                log.error("a filter pauses: %s", type(error).__name__)
                self._closed.wait(RESTART_SECONDS)

    def _pass_on(self, frame: SafeFrame) -> None:
        dropped, self._last_index = frame.index - self._last_index - 1, frame.index
        now = time.monotonic()
        self._relief.add(frame.faces, dropped, side=max(frame.image.shape[:2]), now=now)
        self.source.max_side = self._relief.side
        arrival = self.source.arrival(frame.index)
        if arrival.sender != self.source.sender:
            return  # held back until somebody else sent: who watches now may not be meant to see it
        self._publish(frame, dropped, now - arrival.at, arrival.captured)


class Meter:
    """What is shown of one peer's last `METER_SECONDS`: for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, Tally, float]] = deque()
        self._total = Tally()

    @property
    def latency(self) -> float:
        """Seconds from a frame's arrival to its leaving, the median of the last ones; 0 before the first."""
        with self._lock:
            seconds = sorted(latency for _, _, latency in self._recent)
        return seconds[len(seconds) // 2] if seconds else 0.0

    def add(self, tally: Tally, latency: float) -> None:
        """Take in the tally of one frame, and how many seconds it took."""
        now = time.monotonic()
        with self._lock:
            self._total += tally
            self._recent.append((now, tally, latency))
            while self._recent[0][0] < now - METER_SECONDS:
                self._recent.popleft()

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        latency, now = self.latency, time.monotonic()
        with self._lock:
            recent = [tally for at, tally, _ in self._recent if at > now - METER_SECONDS]
            tiers = _tiers(recent[-1]) if recent else {}
            return {
                "fps": round(len(recent) / METER_SECONDS, 1),
                "latency_ms": round(1000 * latency),
                "faces": sum(tiers.values()),
                "tiers": tiers,
                "eased": _eased(recent),
                "guard": max((round(t.guard.highest, 2) for t in recent if t.guard.highest > -1), default=None),
                "escalated": self._total.guard.escalated,
                "frames": self._total.frames,
                "dropped": self._total.dropped,
            }


def _tiers(tally: Tally) -> dict[str, int]:
    """Return by what a face was replaced, or the frame whole."""
    return dict[str, int](tally.tiers.items()) | ({"frame": tally.whole} if tally.whole else {})


def _eased(recent: Sequence[Tally]) -> str | None:
    """Return what was done for lack of time: "covered" instead of drawn, "slower", or None."""
    if any(reason in LACK_OF_TIME for tally in recent for reason in tally.reasons):
        return "covered"
    return "slower" if sum(tally.dropped for tally in recent) > SLOWER * len(recent) else None
