"""Runs the stages of the pipeline over a source, each in a thread of its own, a few frames apart."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.kept_detections import KeptDetections
from streamer.pipeline.stream import FaceAnonymizer
from streamer.sources.pacing import newest
from streamer.types import Frame, KnownPerson, SafeFrame, Source, TrackedFrame

QUEUE_LENGTH = 4  # frames between two threads: enough to overlap
LINGER_SECONDS = 2.0  # for a thread to leave what it does: one that is inside MediaPipe when Python ends aborts it
FRAME_SECONDS = 60.0  # the same for one that draws: it is done with its frame by then, on the busiest machine
USUAL_FRAME_SECONDS = 1 / 30  # of a live source that does not say

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Ready(Generic[Item]):
    """What a thread hands to the next: of one type, so that a checker sees that only safe frames come out."""

    item: Item


@dataclass(frozen=True, slots=True)
class _End:
    """After the last one, with what ended it."""

    error: BaseException | None = None


def protect(
    source: Source,
    anonymizer: Anonymizer,
    *,
    stream: str | None = None,
    kept: KeptDetections | None = None,
    known: Sequence[KnownPerson] = (),
) -> Generator[SafeFrame]:
    """Yield the safe frames of `source`, in order; reading, finding faces and hiding them each have a thread.

    Of a live source only the newest frame is taken, whenever there is time for one: the index of frames says what was
    dropped. Closed, or left by an exception, it waits until its threads have ended. What it returns is for one thread
    at a time; several streams may run at the same time, with one anonymizer, in threads of their own.

    Args:
        source: Opened.
        anonymizer: Weights and settings; of a video, weights may still load.
        stream: As of `Anonymizer.frames`; of pictures, each is a stream.
        kept: Of a video, where an earlier search is, or this one is to be.
        known: Of a video, as of `Anonymizer.begin_stream`.

    Raises:
        SourceError, AnonymizerError: Whatever ended either; frames before it have been yielded.
    """
    workers, begun = _Workers(), list[FaceAnonymizer]()
    try:
        if source.info.names:  # pictures of a folder
            yield from workers.ahead(map(partial(anonymizer.picture, stream=stream), workers.ahead(source)))
        elif source.info.is_live:
            rate = source.info.rate
            pause = float(1 / rate) if rate else USUAL_FRAME_SECONDS
            begun.append(anonymizer.begin_stream(stream, frame_seconds=pause))
            yield from _live(source, begun[0], workers)
        else:
            begun.append(anonymizer.begin_stream(stream, known=known))
            seen = workers.ahead(_seen(begun[0], workers.ahead(source), kept))
            yield from workers.ahead(_hidden(begun[0], seen), linger=FRAME_SECONDS)
    finally:
        workers.end()
        for one in begun:  # its threads may not even have begun
            one.stop_searching()


def _live(source: Source, one: FaceAnonymizer, workers: _Workers) -> Iterator[SafeFrame]:
    one.warm_up()  # before the first frame, which would wait
    seen = workers.ahead(_seen(one, newest(source, workers.stop)), length=1)
    yield from workers.ahead(_hidden(one, seen), length=1, linger=FRAME_SECONDS)


def _seen(
    stream: FaceAnonymizer, frames: Iterable[Frame], kept: KeptDetections | None = None
) -> Iterator[TrackedFrame]:
    try:
        yield from stream.ahead(frames, kept)
    finally:
        stream.stop_searching()  # and no more than that: others still draw


def _hidden(stream: FaceAnonymizer, seen: Iterable[TrackedFrame]) -> Iterator[SafeFrame]:
    try:
        yield from map(stream.render, seen)
    finally:
        stream.stop_drawing()


class _Workers:
    """The threads of one stream, which end together."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._threads: list[tuple[threading.Thread, float]] = []

    def ahead(
        self, items: Iterable[Item], length: int = QUEUE_LENGTH, *, linger: float = LINGER_SECONDS
    ) -> Iterator[Item]:
        """Yield `items`, taken by a thread of their own that runs at most `length` ahead.

        Args:
            items: Taken once.
            length: Of the queue.
            linger: Seconds that are left to the thread to end.
        """
        ready: queue.Queue[_Ready[Item] | _End] = queue.Queue(length)
        thread = threading.Thread(target=self._fill, args=(ready, items), daemon=True)
        self._threads.append((thread, linger))
        thread.start()
        while not self.stop.is_set():
            try:
                got = ready.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(got, _Ready):
                yield got.item
            elif got.error is not None:
                raise got.error
            else:
                return

    def end(self) -> None:
        """Stop the threads and wait until they have left what they do."""
        self.stop.set()
        for thread, linger in self._threads:
            thread.join(linger)

    def _fill(self, ready: queue.Queue[_Ready[Item] | _End], items: Iterable[Item]) -> None:
        """Put `items` into `ready`, and then the end or what brought it about; nothing more after a stop."""

        def put(one: _Ready[Item] | _End) -> bool:
            while not self.stop.is_set():
                try:
                    ready.put(one, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        try:
            for item in items:
                if not put(_Ready(item)):
                    return
            put(_End())
        except BaseException as error:  # handed to the consumer, which raises it
            put(_End(error))
