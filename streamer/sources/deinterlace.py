"""Makes whole pictures of interlaced ones: combs would hide faces from the detector, and stay in what is written."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

# One picture out for each in, so that rate and times stay; pictures that are not interlaced pass as they are.
FILTER, OPTIONS = "bwdif", "mode=send_frame:deint=interlaced"


def deinterlaced(frames: Iterator[VideoFrame], name: str) -> Iterator[VideoFrame]:
    """Yield every frame once, in order and at its time; those that are interlaced, or follow one, a frame late.

    Args:
        frames: As they are decoded.
        name: Of their source, for the warning that something is changed.

    Raises:
        av.FFmpegError: If a frame cannot be filtered.
    """
    weaver, is_said = None, False
    for frame in frames:
        if weaver is None and not frame.interlaced_frame:
            yield frame
            continue
        if weaver is not None and not weaver.takes(frame):
            yield from weaver.flush()
            weaver = None
        if not is_said:
            log.warning("%s is interlaced: deinterlaced", name)
        weaver, is_said = weaver or Deinterlacer(frame), True
        yield from weaver.push(frame)
    if weaver is not None:
        yield from weaver.flush()


class Deinterlacer:
    """FFmpeg's filter for frames that are like the first: the same size and format."""

    def __init__(self, first: VideoFrame) -> None:
        self._graph = Graph()
        self._graph.threads = 1  # detection wants the other cores
        self._kind = _kind_of(first)
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=first.time_base or Fraction(1, 1000)
        )
        self._graph.link_nodes(source, self._graph.add(FILTER, OPTIONS), self._graph.add("buffersink")).configure()
        self._times: deque[tuple[int | None, Fraction | None, int]] = deque()  # the filter counts in halves of a tick

    def takes(self, frame: VideoFrame) -> bool:
        """Return whether `frame` is like the first."""
        return _kind_of(frame) == self._kind

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Take a frame; yield those that are ready."""
        self._times.append((frame.pts, frame.time_base, frame.duration))
        self._graph.vpush(frame)
        yield from self._ready()

    def flush(self) -> Iterator[VideoFrame]:
        """Yield the rest; the last call."""
        self._graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Iterator[VideoFrame]:
        while True:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):  # PyAV's for "not yet" and "no more"
                return
            frame.pts, frame.time_base, frame.duration = self._times.popleft()
            yield frame


def _kind_of(frame: VideoFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.width, frame.height
