"""Parts of a recording as a source: each with the moment around it, which tells where faces come from and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from streamer.errors import SourceError
from streamer.settings import COAST_SECONDS
from streamer.sources.pacing import Wrapper
from streamer.types import Frame, Span, VideoInfo

if TYPE_CHECKING:
    from streamer.sources.file_source import VideoSource

CONTEXT_SECONDS = COAST_SECONDS  # after it: so early a new face is covered
LEAD_SECONDS = 2.0  # before it: what is known there of a face counts on, however badly that is seen later
PLACES = 3  # of a preview
PAUSE_SECONDS = LEAD_SECONDS + CONTEXT_SECONDS  # from one part to the next: what is around them does not overlap


class Excerpts(Wrapper["VideoSource"]):
    """The frames of some parts of a video, one part after the other, from time 0 on.

    Attributes:
        info: As of the video, with `spans`.
    """

    def __init__(self, source: VideoSource, spans: Sequence[Span]) -> None:
        super().__init__(source)
        self._next = 0
        info = source.info
        count = _count(info, spans, source.length_seconds)
        self.info = replace(info, spans=tuple(spans), pause=PAUSE_SECONDS, frame_count=count)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames of each part and of the moment around it; those around it are context.

        Raises:
            SourceError: If the video ends before a part begins.
        """
        begins = 0.0
        for span in self.info.spans:
            shown = 0
            for frame in self._around(span, begins):
                shown += not frame.is_context
                yield frame
            if not shown:
                raise SourceError(f"there is no picture from {span.start:g} s on: the recording ends before")
            begins += (span.end or 0.0) - span.start + PAUSE_SECONDS

    def _around(self, span: Span, begins: float) -> Iterator[Frame]:
        """Yield the frames in and around a part that begins at a time of the excerpts."""
        base = self.info.time_base
        least = 1.5 / float(self.info.rate or 25)  # at least one frame
        lead, context = max(LEAD_SECONDS, least), max(CONTEXT_SECONDS, least)
        if self.info.spans != (span,) or span.start > 0:
            self._source.skip_to(max(0.0, span.start - lead))
        shift = round(begins / base) - round(span.start / base)
        end = inf if span.end is None else span.end
        for frame in self._source:
            if frame.seconds >= end + context:
                return
            is_context = not span.start <= frame.seconds < end
            index = self._next - is_context
            self._next += not is_context
            yield replace(frame, pts=frame.pts + shift, index=index, is_context=is_context, is_own=True)


def spread(seconds: float, *, within: Span) -> tuple[Span, ...]:
    """Return parts of so many seconds from early, the middle and late; one where they are as long as all there is."""
    assert within.end is not None
    length = within.end - within.start
    if length <= PLACES * seconds:
        return (within,)
    starts = [within.start + (2 * n + 1) / (2 * PLACES) * length - seconds / 2 for n in range(PLACES)]
    return tuple(Span(start, start + seconds) for start in starts)


def _count(info: VideoInfo, spans: Sequence[Span], length: float | None) -> int | None:
    """Return about how many frames there are, where the video says how long it is and how fast."""
    if not length or not info.rate:
        return None
    seconds = sum(max(0.0, min(length, length if span.end is None else span.end) - span.start) for span in spans)
    return round(seconds * info.rate)
