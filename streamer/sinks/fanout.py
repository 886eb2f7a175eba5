"""Several sinks as one, each in a thread of its own: one that is slow or fails is left behind, the others go on."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from streamer.errors import SinkError
from streamer.sinks.delivery import Delivery, RemoteSink
from streamer.types import SafeFrame, Sink

log = logging.getLogger(__name__)


class LostOutputError(SinkError):
    """An output is lost, and the others are whole: the run came to its end."""


LIVE_QUEUE = 8  # frames that wait for a sink of a live stream; then the oldest is left out
FILE_QUEUE = 4  # frames of a recording, of which none is left out


class Fanout:
    """Writes each frame to all of `sinks`.

    Of a live stream a sink that does not keep up misses frames; of a recording it holds the others up.

    Args:
        sinks: By name, as shown; names hold no password.
        windows: Sinks that are written to by whoever writes to this: windowing systems want the main thread.
        is_live: Which of the two.
    """

    def __init__(self, sinks: Sequence[tuple[str, Sink]], *, windows: Sequence[Sink] = (), is_live: bool) -> None:
        room = LIVE_QUEUE if is_live else FILE_QUEUE
        self._branches = [_Branch(name, sink, room=room, may_drop=is_live) for name, sink in sinks]
        self._entered: list[_Branch] = []
        self._windows, self._opened = windows, ExitStack()

    @property
    def audio_packets(self) -> int:
        """Packets of sound copied so far, into the first sink."""
        return self._branches[0].sink.audio_packets if self._branches else 0

    @property
    def audio_failures(self) -> tuple[str, ...]:
        """Why sound ended before its end, in any of the sinks."""
        return tuple(dict.fromkeys(reason for branch in self._branches for reason in branch.sink.audio_failures))

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What became of each sink; final once this was left."""
        return tuple(branch.delivery for branch in self._branches)

    def __enter__(self) -> Self:
        try:
            for window in self._windows:
                self._opened.enter_context(window)
            for branch in self._branches:
                branch.sink.__enter__()
                self._entered.append(branch)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        for branch in self._branches:
            branch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as ends:  # each of them, whatever becomes of the others
            for branch in reversed(self._entered):
                ends.callback(branch.finish, kind, error, trace)
            self._opened.close()
        failed = [branch for branch in self._entered if branch.error is not None]
        for branch in self._entered:
            if branch.dropped:
                log.warning("%s was too slow: %d frames are missing from it", branch.name, branch.dropped)
        if failed and kind is None:
            raise LostOutputError(_reasons(failed)) from failed[0].error

    def write(self, frame: SafeFrame) -> None:
        """Leave a frame for every sink that still works.

        Raises:
            SinkError: If none does.
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be written, got {type(frame).__name__}")
        for window in self._windows:
            window.write(frame)
        for branch in self._branches:
            branch.put(frame)
        if self._branches and all(branch.error is not None for branch in self._branches):
            raise SinkError(f"no output is left: {_reasons(self._branches)}")


class _Branch:
    """A sink, its thread, and the frames that wait for it."""

    def __init__(self, name: str, sink: Sink, *, room: int, may_drop: bool) -> None:
        self.name, self.sink = name, sink
        self.error: Exception | None = None
        self.dropped = 0
        self._room, self._may_drop = room, may_drop
        self._waiting: deque[SafeFrame] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._written = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"write {name}")

    @property
    def delivery(self) -> Delivery:
        """What became of the sink so far."""
        is_remote = isinstance(self.sink, RemoteSink)
        frames = self.sink.frames_taken if isinstance(self.sink, RemoteSink) else self._written
        trouble = self.sink.trouble if isinstance(self.sink, RemoteSink) else ""
        if self.error is not None:
            return Delivery(self.name, "failed", frames if is_remote else 0, str(self.error))
        if self.dropped:
            trouble = f"{self.dropped} frames came too fast" + (f"; {trouble}" if trouble else "")
        return Delivery(self.name, "interrupted" if trouble else "done", frames, trouble)

    def start(self) -> None:
        self._thread.start()

    def put(self, frame: SafeFrame) -> None:
        with self._changed:
            if not self._may_drop:
                self._changed.wait_for(lambda: len(self._waiting) < self._room or self.error is not None)
            elif len(self._waiting) == self._room:
                self._waiting.popleft()
                self.dropped += 1
            if self.error is None:
                self._waiting.append(frame)
                self._changed.notify_all()

    def finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, unless there was an error, and close the sink."""
        with self._changed:
            self._ends = True
            if kind is not None:
                self._waiting.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        if self.error is not None:
            return
        try:
            self.sink.__exit__(kind, error, trace)
        except Exception as failure:  # whatever it was, it is this sink's alone
            self.error = self._reason(failure)

    def _work(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self.sink.write(frame)
                self._written += 1
        except Exception as error:  # whatever it was, it is this sink's alone
            reason = self._reason(error)
            log.warning("an output is lost: %s", reason)
            with self._changed:
                self.error = reason
                self._waiting.clear()
                self._changed.notify_all()

    def _reason(self, error: Exception) -> SinkError:
        # Of other errors only the type: their message may quote the data.
        return error if isinstance(error, SinkError) else SinkError(f"{self.name}: {type(error).__name__}")

    def _next(self) -> SafeFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ends)
            frame = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return frame


def _reasons(branches: Sequence[_Branch]) -> str:
    return "; ".join(str(branch.error) for branch in branches)
