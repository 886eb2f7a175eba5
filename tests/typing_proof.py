"""What the type checker must refuse: a frame that did not go through the pipeline, on its way to a sink.

Nothing here runs. A `type: ignore` that is not needed is an error to mypy, so each line proves that it is refused.
"""

from collections.abc import Iterator

from streamer import Anonymizer, protect
from streamer.pipeline.stream import FaceAnonymizer
from streamer.types import Frame, SafeFrame, Sink, Source, TrackedFrame


def a_sink_takes_no_frame_of_a_source(source: Source, sink: Sink) -> None:
    for frame in source:
        sink.write(frame)  # type: ignore[arg-type]


def nor_one_that_was_only_searched(seen: TrackedFrame, sink: Sink) -> None:
    sink.write(seen)  # type: ignore[arg-type]
    sink.write(seen.frame)  # type: ignore[arg-type]


def what_comes_out_of_threads_is_safe(source: Source, anonymizer: Anonymizer) -> Iterator[SafeFrame]:
    yield from protect(source, anonymizer)
    for frame in protect(source, anonymizer):
        searched: Frame = frame  # type: ignore[assignment]
        assert searched


def and_what_comes_out_of_a_stream(stream: FaceAnonymizer, frame: Frame, sink: Sink) -> None:
    sink.write(stream(frame))
    sink.write(stream.detect(frame))  # type: ignore[arg-type]
