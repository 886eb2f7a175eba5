"""Reads a few key frames of a part of a video, to see who is in it: cheap, as nothing else is decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.errors import SourceError
from streamer.sources.clock import common_start
from streamer.sources.decoding import Converter, frames_of, video_stream
from streamer.types import Frame

log = logging.getLogger(__name__)

GLANCE_SECONDS = 2  # from one frame to the next, in the mean: one in sixty at 30 frames a second
AHEAD_SECONDS = 8  # by which frames may come early: where scenes change there are key frames, and new people
MAX_FAILURES = 300  # reads in a row; then the rest of the part is left out


def key_frames(path: Path, *, start: Fraction, end: Fraction | None) -> Iterator[Frame]:
    """Yield key frames of a video from `start` to `end`, in order; what is damaged is left out.

    Args:
        path: A video with an index (`streamer.batch.splitting`).
        start: Seconds since the start of the file.
        end: The same; None for its end.
    """
    try:
        with av.open(str(path), "r", metadata_errors="replace") as container:
            stream = video_stream(container, path.name)
            stream.thread_type = "NONE"  # no frame waits for those that would follow it
            stream.codec_context.skip_frame = "NONKEY"
            converter = Converter(aspect=stream.sample_aspect_ratio)
            for index, decoded in enumerate(_decoded(container, stream, start, end)):
                assert decoded.pts is not None
                assert stream.time_base is not None
                yield Frame(converter.rgb(decoded), index, decoded.pts, stream.time_base, is_own=True)
    except (av.FFmpegError, SourceError) as error:  # what is wrong is said when the part is done
        log.debug("%s: no more key frames are read: %s", path, type(error).__name__)


def _decoded(
    container: InputContainer, stream: VideoStream, start: Fraction, end: Fraction | None
) -> Iterator[VideoFrame]:
    for packet in chain(_few(container, stream, start, end), (None,)):
        try:
            frames = frames_of(stream.codec_context, packet)
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if frame.pts is not None and not frame.is_corrupt)


def _few(
    container: InputContainer, stream: VideoStream, start: Fraction, end: Fraction | None
) -> Iterator[Packet[VideoStream]]:
    """Yield packets of key frames, in the mean `GLANCE_SECONDS` apart or more."""
    origin = common_start(container)
    container.seek(int((start + origin) * av.time_base))
    due = start
    for packet in _packets(container, stream):
        if not packet.is_keyframe or packet.pts is None:
            continue
        seconds = packet.pts * packet.time_base - origin
        if end is not None and seconds >= end:
            return
        if seconds >= due - AHEAD_SECONDS:
            due = max(seconds, due) + GLANCE_SECONDS
            yield packet


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets that can be read."""
    failures = 0
    packets = container.demux(stream)
    while failures <= MAX_FAILURES:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            failures += 1
            packets = container.demux(stream)  # a generator that raised is over
            continue
        if packet is None:
            return
        failures = 0
        yield packet
