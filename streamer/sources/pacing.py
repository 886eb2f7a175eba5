"""Live streams: frames come at their own pace, and only the newest counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from streamer.types import Frame, Source, VideoInfo

SOUND_RATE = 48_000  # samples a second
MAX_HEARD = 1000  # pieces of about 20 ms

Sound = npt.NDArray[np.float64]
Item = TypeVar("Item")
Wrapped = TypeVar("Wrapped", bound=Source)


class Wrapper(Generic[Wrapped]):
    """A source that opens, closes and counts as the one it is made of."""

    def __init__(self, source: Wrapped) -> None:
        self._source = source

    @property
    def corrupt_packets(self) -> int:
        """As of the source that it is made of."""
        return self._source.corrupt_packets

    @property
    def audio_streams(self) -> int:
        """As of the source that it is made of."""
        return self._source.audio_streams

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)


class Paced(Wrapper[Source]):
    """A recording that is played at its own pace, as if it were live."""

    @property
    def info(self) -> VideoInfo:
        """As the recording's, but live."""
        return replace(self._source.info, is_live=True)

    def __iter__(self) -> Iterator[Frame]:
        """Yield each frame once its time has come."""
        start: float | None = None
        for frame in self._source:
            now = time.monotonic()
            start = now - frame.seconds if start is None else start
            time.sleep(max(0.0, start + frame.seconds - now))
            yield frame


class Mailbox(Generic[Item]):
    """One slot between the thread that receives frames and the one that works on them: a newer frame replaces it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Item | None = None
        self._error: BaseException | None = None
        self._is_closed = False

    def put(self, frame: Item) -> None:
        """Leave a frame; one that nobody took is dropped.

        So is one after the end: a consumer slower than the source would always find one more, and never end.
        """
        with self._changed:
            self._frame = self._frame if self._is_closed else frame
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more come, and why if that is an error."""
        with self._changed:
            self._is_closed, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """Yield the newest frame whenever there is one, until the end; then raise what ended it."""
        while (frame := self._take()) is not None:
            yield frame
        if self._error is not None:
            raise self._error

    def _take(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._is_closed)
            frame, self._frame = self._frame, None
            return frame


class SoundTap:
    """What was heard of a live source and not taken yet: pieces of `(2, N)` samples; for two threads."""

    def __init__(self) -> None:
        self._heard: deque[tuple[float, Sound]] = deque(maxlen=MAX_HEARD)

    def put(self, seconds: float, samples: Sound) -> None:
        """Leave a piece, with when it begins; of more than `MAX_HEARD` the first ones are lost."""
        self._heard.append((seconds, samples))

    def until(self, seconds: float) -> Iterator[tuple[float, Sound]]:
        """Yield the pieces that begin before a time, each once."""
        while self._heard and self._heard[0][0] < seconds:
            yield self._heard.popleft()


class KeepsNewest:
    """What a source derives from that itself drops the frames nobody took in time."""


def newest(source: Source, stop: threading.Event) -> Iterator[Frame]:
    """Yield the newest frame of `source` each time; a thread of its own receives them all, until `stop`."""
    if isinstance(source, KeepsNewest):
        return iter(source)
    mailbox = Mailbox[Frame]()

    def receive() -> None:
        try:
            for frame in source:
                if stop.is_set():
                    break
                mailbox.put(frame)
        except BaseException as error:  # handed to the consumer, which raises it
            mailbox.close(error)
        else:
            mailbox.close()

    threading.Thread(target=receive, daemon=True).start()
    return iter(mailbox)
