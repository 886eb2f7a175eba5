"""Opens sources: a video, an animated GIF, pictures, or what happens now; upright and in 8-bit RGB.

Knows no face. A frame of a file is never dropped silently: what cannot be decoded is counted and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.codec.context import Flags
from av.container.input import InputContainer
from av.video.frame import VideoFrame

from streamer.address import live_address
from streamer.decoding import Converter, describe, letterbox, video_stream
from streamer.errors import SourceError
from streamer.live_source import LiveSource
from streamer.pictures import PICTURE_SUFFIXES, PictureSource, pictures_in
from streamer.types import Frame, VideoInfo

log = logging.getLogger(__name__)

MAX_FAILURES = 300  # packets in a row; ten seconds at 30 frames per second
JUMP_SECONDS = 1.0  # a clock set back further than this was restarted: two recordings joined


def open_source(path: str | Path) -> VideoSource | PictureSource | LiveSource:
    """Return the source that reads `path`: a video file, an animated GIF, a picture, a folder of pictures, or what
    `streamer.address` knows as live; one thread at a time may read it.

    Raises:
        SourceError: If it is missing, not allowed, not a video or picture, or not one frame can be decoded.
    """
    address = live_address(str(path)) if isinstance(path, str) else None
    return LiveSource(address) if address else open_file(Path(path))


def open_file(path: Path) -> VideoSource | PictureSource:
    """Return the source that reads a file or a folder; raises as `open_source`."""
    path = path.absolute()
    try:
        if path.is_dir():
            return PictureSource(path, pictures_in(path))
        path.open("rb").close()
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check the path and its permissions") from error
    return PictureSource(path, [path]) if path.suffix.lower() in PICTURE_SUFFIXES else VideoSource(path)


class VideoSource:
    """Every frame of a video file once, in order; iterating again goes on where the last iteration stopped.

    May be iterated in one thread and closed in another. Frames are upright (display matrix applied), 8-bit (10-bit and
    HDR are converted without tone mapping), of one size (a frame of another is letterboxed), and their pts strictly
    increase. Alpha is dropped, not composited: what was transparent shows, so a face under it is found.

    Attributes:
        info: Known at once, because the first frame is decoded on opening.
        corrupt_packets: Packets that could not be read or decoded so far.
        audio_streams: How many it has; what becomes of them is the sink's affair.
    """

    def __init__(self, path: Path) -> None:
        self.corrupt_packets = 0
        self._path = path
        self._lock, self._closed = Lock(), False  # closing under a running read would crash the process
        self._converter = Converter()
        self._container = _open_container(path)
        self.audio_streams = len(self._container.streams.audio)
        try:
            self._stream = video_stream(self._container, path.as_posix())
            self._stream.codec_context.flags |= Flags.output_corrupt  # a damaged frame is still a frame
            decoded = self._decode()
            first = next(decoded, None)
            if first is None:
                raise SourceError(f"cannot read {path}: no frame of its {self._stream.name} video can be decoded")
            self.info = describe(first, self._stream)
        except BaseException:
            self._close()
            raise
        _warn_of_losses(first, path)
        self._frames = self._convert(chain([first], decoded))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._container.close()
        if self.corrupt_packets:
            log.warning("%s: %d packets could not be decoded", self._path, self.corrupt_packets)

    def _decode(self) -> Iterator[VideoFrame]:
        failures = 0
        packets = self._container.demux(self._stream)
        while True:
            packet = None
            try:
                with self._lock:
                    packet = None if self._closed else next(packets, None)
                    if packet is None:
                        return
                    frames = packet.decode()
            except av.FFmpegError as error:
                failures += 1
                self._count_failure(error, failures)
                if packet is not None and not packet.size:  # the decoder was being emptied: nothing follows
                    return
                packets = self._container.demux(self._stream)  # a generator that raised is over
                continue
            failures = 0
            yield from frames

    def _count_failure(self, error: av.FFmpegError, failures: int) -> None:
        self.corrupt_packets += 1
        log.debug("%s: corrupt packet %d: %s", self._path, self.corrupt_packets, error.strerror)
        if failures > MAX_FAILURES:
            reason = f"{failures} packets in a row failed ({error.strerror})"
            raise SourceError(f"cannot read {self._path} further: {reason}; is it damaged?") from error

    def _convert(self, decoded: Iterator[VideoFrame]) -> Iterator[Frame]:
        clock, level = _Clock(self.info), logging.WARNING
        for index, frame in enumerate(decoded):
            try:
                image = self._converter.rgb(frame)
            except av.FFmpegError as error:
                raise SourceError(f"cannot convert frame {index} of {self._path}: {error.strerror}") from error
            if image.shape[:2] != (self.info.height, self.info.width):
                log.log(level, "frame %d is %dx%d: letterboxed", index, image.shape[1], image.shape[0])
                level = logging.DEBUG
                image = letterbox(image, self.info.width, self.info.height)
            yield Frame(image, index, clock.tick(frame.pts), self.info.time_base)

class _Clock:
    """Makes pts that are present and strictly increase; those that already do are kept exactly."""

    def __init__(self, info: VideoInfo) -> None:
        self._step = 1 / (info.time_base * (info.rate or 25))
        self._jump = JUMP_SECONDS / info.time_base
        self._last: int | None = None
        self._counted = Fraction(0)  # the last pts before rounding, so that a step of 33.3 ticks does not drift
        self._offset = 0

    def tick(self, pts: int | None) -> int:
        """Return the pts of the next frame, given what the decoder says."""
        if pts is None:
            self._counted += self._step if self._last is not None else 0
            pts = round(self._counted)
        else:
            pts += self._offset
            if self._last is not None and pts < self._last - self._jump:
                shift = self._last + round(self._step) - pts
                log.warning("the clock goes back by %d ticks: the frames after it are moved", self._last - pts)
                self._offset, pts = self._offset + shift, pts + shift
        if self._last is not None and pts <= self._last:
            pts = self._last + 1
        if pts != round(self._counted):
            self._counted = Fraction(pts)
        self._last = pts
        return pts


def _open_container(path: Path) -> InputContainer:
    try:
        return av.open(str(path), "r", metadata_errors="replace")  # metadata that is not UTF-8 must not stop us
    except av.FFmpegError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; is it a video?") from error


def _warn_of_losses(frame: VideoFrame, path: Path) -> None:
    components = frame.format.components
    if any(component.bits > 8 for component in components):
        log.warning("%s has %d bits per channel: converted to 8", path, components[0].bits)
    if any(component.is_alpha for component in components):
        alpha = np.asarray(frame.to_ndarray(format="rgba"), np.uint8)[..., 3]
        if alpha.min() < 255:
            log.warning("%s is partly transparent: alpha is dropped", path)
