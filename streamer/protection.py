"""Runs the stages of the pipeline over a source, each in a thread of its own, a few frames apart."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from streamer.live import newest
from streamer.pipeline import Anonymizer, FaceAnonymizer
from streamer.types import Frame, SafeFrame, Seen, Source

QUEUE_LENGTH = 4  # frames between two threads: enough to overlap
USUAL_FRAME_SECONDS = 1 / 30  # of a live source that does not say


def protect(source: Source, anonymizer: Anonymizer) -> Iterator[SafeFrame]:
    """Yield the safe frames of `source`, in order; reading, finding faces and hiding them each have a thread.

    Of a live source only the newest frame is taken, whenever there is time for one: the index of frames says what was
    dropped.

    Raises:
        SourceError, AnonymizerError: Whatever ended either; frames before it have been yielded.
    """
    stop = threading.Event()
    try:
        if source.info.names:  # pictures of a folder
            yield from ahead(map(anonymizer.picture, ahead(source, stop)), stop)
        elif source.info.is_live:
            yield from _live(source, anonymizer, stop)
        else:
            stream = FaceAnonymizer(anonymizer)
            yield from ahead(map(stream.hide, ahead(_seen(stream, ahead(source, stop)), stop)), stop)
    finally:
        stop.set()


def _live(source: Source, anonymizer: Anonymizer, stop: threading.Event) -> Iterator[SafeFrame]:
    rate = source.info.rate
    stream = FaceAnonymizer(anonymizer, frame_seconds=float(1 / rate) if rate else USUAL_FRAME_SECONDS)
    stream.warm_up()  # before the first frame, which would wait
    seen = ahead(_seen(stream, newest(source, stop)), stop, length=1)
    yield from ahead(map(stream.hide, seen), stop, length=1)


def _seen(stream: FaceAnonymizer, frames: Iterable[Frame]) -> Iterator[Seen]:
    try:
        yield from stream.ahead(frames)
    finally:
        stream.close()  # in the thread that uses the detector


def ahead(items: Iterable[Any], stop: threading.Event, length: int = QUEUE_LENGTH) -> Iterator[Any]:
    """Yield `items`, taken by a thread of their own that runs at most `length` ahead and ends at `stop`."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(length)
    end = object()

    def put(item: object, error: BaseException | None = None) -> bool:
        while not stop.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(end)
        except BaseException as error:  # handed to the consumer, which raises it
            put(end, error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not stop.is_set():
        try:
            item, error = ready.get(timeout=0.1)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        if item is end:
            return
        yield item
