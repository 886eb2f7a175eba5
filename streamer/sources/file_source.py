"""Opens sources: a video, an animated GIF, pictures, or what happens now; upright and in 8-bit RGB.

Knows no face. A frame of a file is never dropped silently: what cannot be decoded is counted and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import av
from av.codec.context import Flags
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.errors import SourceError
from streamer.sources.address import Transport, live_address
from streamer.sources.clock import Activity, Clock, common_start, is_timed, longest_wait
from streamer.sources.decoding import (
    Converter,
    Damage,
    describe,
    frames_of,
    is_of_shape,
    letterbox,
    video_stream,
    warn_of_losses,
)
from streamer.sources.deinterlace import deinterlaced
from streamer.sources.excerpts import Excerpts
from streamer.sources.live import LiveSource
from streamer.sources.margins import NO_MARGINS, Margins, margins_of
from streamer.sources.picture_file import is_picture
from streamer.sources.pictures import PictureSource, pictures_in
from streamer.sources.recordings import Recording, is_web, opened
from streamer.sources.special_files import special_kind
from streamer.types import Frame, Span, VideoInfo

log = logging.getLogger(__name__)

MAX_FAILURES = 300  # packets in a row; ten seconds at 30 frames per second
MAX_PACKETS_A_FRAME = 4  # two fields, or a frame that only others refer to; with more of them most is lost
MAX_AGAIN = 600  # packets that are decoded a second time, for the few frames that damage among them costs
DEFAULT_RATE = 25  # FFmpeg's
LEAST_SKIP = 5.0  # seconds that are read and left out rather than searched for a place to begin


def open_source(
    path: str | Path,
    transport: Transport = "auto",
    *,
    recursive: bool = False,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
) -> VideoSource | PictureSource | LiveSource | Excerpts:
    """Return the source that reads `path`: a video file, an animated GIF, a picture, a folder of pictures, or what
    `streamer.sources.address` knows as live; one thread at a time may read it.

    Args:
        path: What to read.
        transport: How rtsp:// comes; "auto": over TCP, and over UDP where the server refuses that.
        recursive: Of a folder, take the pictures in its folders too.
        start_seconds, end_seconds: Of a video file, take only what lies between; None for its end.

    Raises:
        SourceError: If it is missing, not allowed, not a video or picture, or not one frame can be decoded; of a part,
            if it is no video file.
        ValueError: If it would end before it begins.
    """
    source = _open_whole(path, transport, recursive=recursive)
    if start_seconds == 0 and end_seconds is None:
        return source
    return parts_of(source, [Span(start_seconds, end_seconds)])


def parts_of(source: VideoSource | PictureSource | LiveSource | Excerpts, spans: Sequence[Span]) -> Excerpts:
    """Return the source of some parts of a video; it is closed with that.

    Raises:
        SourceError: If it is not one video file.
    """
    if isinstance(source, VideoSource):
        return Excerpts(source, spans)
    with source:
        raise SourceError("only a part of a video file can be taken; what is live, or a picture, comes whole")


def _open_whole(path: str | Path, transport: Transport, *, recursive: bool) -> VideoSource | PictureSource | LiveSource:
    address = live_address(path, transport) if isinstance(path, str) else None
    if address is None:
        return open_file(Path(path), recursive=recursive)
    if not is_web(address):
        return LiveSource(address)
    container = opened(address)
    has_end = container.duration is not None
    return VideoSource(Recording(address), container) if has_end else LiveSource(address, container)


def open_file(path: Path, *, recursive: bool = False) -> VideoSource | PictureSource:
    """Return the source that reads a file or a folder; raises as `open_source`."""
    if str(path) == "-":
        raise SourceError("cannot read standard input: name a file")
    path = path.absolute()
    if kind := special_kind(path):
        raise SourceError(f"cannot open {path}: it is {kind}; write it to a file first")
    try:
        if path.is_dir():
            return PictureSource(path, pictures_in(path, recursive=recursive))
        holds_picture = is_picture(path)
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check the path and its permissions") from error
    return PictureSource(path, [path]) if holds_picture else VideoSource(path)


class VideoSource:
    """Every frame of a video file once, in order; iterating again goes on where the last iteration stopped.

    The file is here or on a web server. May be iterated in one thread and closed in another. Frames are upright
    (display matrix applied), 8-bit (10-bit and HDR are converted without tone mapping), of one size (a frame of another
    is letterboxed), and their pts strictly increase from the start of the file. Interlaced frames are deinterlaced, and
    what the container cuts off the picture is cut off. Alpha is dropped, not composited: what was transparent shows, so
    a face under it is found.

    Args:
        path: What to read.
        container: The same, if it was opened already.

    Attributes:
        info: Known at once, because the first frame is decoded on opening.
        corrupt_packets: Packets that could not be read or decoded so far.
        damaged_frames: Frames that are damaged so far, or follow from one that is.
        interlaced_frames: Frames that were deinterlaced so far.
        start: Seconds that were subtracted from every time.
        audio_streams: How many it has; what becomes of them is the sink's affair.
    """

    def __init__(self, path: Path | Recording, container: InputContainer | None = None) -> None:
        self.corrupt_packets = self.damaged_frames = self.interlaced_frames = self._sent = self._decoded = 0
        self._activity, self._damage, self._has_threads = Activity(), Damage(), True
        self._from_seconds, self._begins_within = 0.0, False
        self._path = path
        self._lock, self._closed = Lock(), False  # closing under a running read would crash the process
        self._container = container or _open_container(path)
        self.audio_streams = len(self._container.streams.audio)
        try:
            self._stream = video_stream(self._container, str(path))
            self._stream.codec_context.flags |= Flags.output_corrupt  # a damaged frame is still a frame
            decoded = self._whole()
            first = next(decoded, None)
            if first is None:
                raise SourceError(f"cannot read {path}: no frame of its {self._stream.name} video can be decoded")
            size = first.width, first.height
            margins = self._margins(size)
            info = describe(first, self._stream, margins)
            self.start = common_start(self._container)
            self.info = replace(info, notes=(*info.notes, *self._notes(info, is_cut=margins != NO_MARGINS)))
        except BaseException:
            self._close()
            raise
        warn_of_losses(first, self._stream, str(path))
        self._converter = Converter(margins, size=size, aspect=self._stream.sample_aspect_ratio)
        self._frames = self._convert(chain([first], decoded))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def length_seconds(self) -> float | None:
        """How long it is, where the file says so."""
        duration = self._container.duration
        return None if duration is None else duration / av.time_base

    def skip_to(self, seconds: float) -> None:
        """Let the next frame be the first at or after a time since the start.

        Where the file has an index, what lies before it is not read.

        Raises:
            SourceError: If the file cannot be opened again.
        """
        self._from_seconds = seconds
        if seconds > LEAST_SKIP and self._seek(seconds):
            return
        with self._lock:
            if not self._closed:
                self._reopen()
                self._stream.thread_type = "AUTO" if self._has_threads else "NONE"
        self._sent, self._decoded, self._damage = 0, 0, Damage()
        self._frames = self._convert(self._whole())

    def _seek(self, seconds: float) -> bool:
        """Go on at a key frame at or before a time; return whether the file allows that."""
        if not self._has_index:
            return False
        try:
            with self._lock:
                if self._closed:
                    return False
                self._container.seek(int((seconds + self.start) * av.time_base))
        except av.FFmpegError:
            return False
        self._begins_within, self._sent, self._decoded, self._damage = True, 0, 0, Damage()
        whole = self._whole()
        first = next(whole, None)
        if first is None or first.time is None or first.time - self.start > seconds:
            return False
        self._frames = self._convert(chain([first], whole))
        return True

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._container.close()
        if self.corrupt_packets:
            log.warning("%s: %d packets could not be decoded", self._path, self.corrupt_packets)
        if self.damaged_frames:
            log.warning("%s: %d frames are damaged, and covered whole", self._path, self.damaged_frames)

    def _notes(self, info: VideoInfo, *, is_cut: bool) -> Iterator[str]:
        if self.interlaced_frames:
            yield "deinterlaced"
        if is_cut:
            yield f"cut to {info.width}x{info.height}, as the file says"

    @property
    def _has_index(self) -> bool:
        """Whether it is of a kind that holds an index, exact times, and margins."""
        return any(name in self._container.format.name for name in ("matroska", "mov"))

    def _margins(self, size: tuple[int, int]) -> Margins:
        if not self._has_index:
            return NO_MARGINS
        videos = [stream for stream in self._container.streams.video if is_timed(stream)]
        try:
            return margins_of(self._path, place=videos.index(self._stream), width=size[0], height=size[1])
        except OSError as error:
            log.warning("%s: what it cuts off the picture shows: %s", self._path, error.strerror or error)
            return NO_MARGINS

    def _whole(self) -> Iterator[VideoFrame]:
        try:
            yield from deinterlaced(self._decode(), str(self._path))
        except av.FFmpegError as error:
            raise SourceError(f"cannot deinterlace {self._path}: {error.strerror}") from error

    def _decode(self) -> Iterator[VideoFrame]:
        failures, known, packet = 0, 0, None
        packets, is_over = self._packets(), False
        while not is_over:
            try:
                with self._lock:
                    if self._closed:
                        return
                    packet = next(packets, None)
                    is_over = packet is None
                    frames = frames_of(self._stream.codec_context, packet)
            except av.FFmpegError as error:
                self._check_server(error)
                if self._may_begin_again:
                    known, packets, is_over = self._begin_again(), self._packets(), False
                    continue
                failures += 1
                self._count_failure(error, failures)
                self._damage.lost(packet)
                packets = self._packets()  # a generator that raised is over
                continue
            failures = 0
            for frame in frames[known:]:
                yield self._counted(frame)
            known = max(0, known - len(frames))
            if is_over and self._sent > self._decoded and self._may_begin_again:
                known, packets, is_over = self._begin_again(), self._packets(), False
        self._check_share()

    @property
    def _may_begin_again(self) -> bool:
        return self._has_threads and self._sent <= MAX_AGAIN and not self._begins_within

    def _begin_again(self) -> int:
        """Read the file anew, and decode it by one thread; return how many frames of it are known.

        A decoder of several threads is some frames behind, and can lose those that come after a damaged one: some
        without an error, when it is emptied.
        """
        with self._lock:
            if not self._closed:
                self._reopen()
                self._stream.thread_type, self._stream.thread_count = "NONE", 1
        self._has_threads, self._sent = False, 0
        return self._decoded

    def _reopen(self) -> None:
        index = self._stream.index
        self._container.close()
        self._container = _open_container(self._path)
        stream = self._container.streams[index]
        assert isinstance(stream, VideoStream)
        self._stream = stream
        stream.codec_context.flags |= Flags.output_corrupt

    def _packets(self) -> Iterator[Packet[Stream]]:
        """Yield the packets of the video; one that is empty says that the frame before it stays."""
        streams = [stream for stream in self._container.streams if is_timed(stream)]
        for packet in self._container.demux(streams):
            if not packet.size:
                continue
            if packet.stream_index != self._stream.index:
                if packet.dts is not None:
                    self._activity.add(float(packet.dts * packet.time_base))
                continue
            if packet.has_sidedata("encryption_info"):
                raise SourceError(f"cannot read {self._path}: its video is encrypted (cenc); decrypt it first")
            self._sent += not packet.is_discard
            yield packet

    def _check_server(self, error: av.FFmpegError) -> None:
        """Raise the SourceError that a server deserves which is gone: to ask it again takes seconds each time."""
        if isinstance(self._path, Recording) and not isinstance(error, av.InvalidDataError):
            reason = "it is silent" if isinstance(error, av.error.ExitError) else error.strerror
            raise SourceError(f"cannot read {self._path} further: {reason}") from error

    def _count_failure(self, error: av.FFmpegError, failures: int) -> None:
        self.corrupt_packets += 1
        log.debug("%s: corrupt packet %d: %s", self._path, self.corrupt_packets, error.strerror)
        if failures > MAX_FAILURES:
            reason = f"{failures} packets in a row failed ({error.strerror})"
            raise SourceError(f"cannot read {self._path} further: {reason}; is it damaged?") from error
        if self.corrupt_packets > MAX_FAILURES:
            self._check_share()

    def _check_share(self) -> None:
        """Raise the SourceError that a file deserves of which most is lost: what is left is not that video."""
        if not self._decoded:
            return  # said on opening
        if self.corrupt_packets > self._decoded or self._sent > MAX_PACKETS_A_FRAME * self._decoded:
            share = f"only {self._decoded} frames of {self._sent} packets could be decoded"
            raise SourceError(f"cannot read {self._path}: {share}; is it damaged, or encrypted?")

    def _counted(self, frame: VideoFrame) -> VideoFrame:
        self.interlaced_frames += frame.interlaced_frame
        self._decoded += 1
        frame.time_base = self._stream.time_base
        return frame

    def _convert(self, decoded: Iterator[VideoFrame]) -> Iterator[Frame]:
        info, level = self.info, logging.WARNING
        step = 1 / (info.time_base * (info.rate or DEFAULT_RATE))
        clock = Clock(
            info.time_base,
            step=step,
            start=self.start,
            activity=self._activity,
            longest_wait=longest_wait(self._container),
        )
        for index, (now, after) in enumerate(pairwise(chain(self._damage.told(decoded), (None,)))):
            assert now is not None  # that is after the last
            frame, is_damaged = now
            pts = clock.time(frame.pts, after[0].pts if after else None, duration=frame.duration)
            if pts * info.time_base < self._from_seconds:
                continue
            try:
                image = self._converter.rgb(frame)
            except av.FFmpegError as error:
                raise SourceError(f"cannot convert frame {index} of {self._path}: {error.strerror}") from error
            is_letterboxed = not is_of_shape(image, info.width, info.height)
            if image.shape[:2] != (info.height, info.width):
                log.log(level, "frame %d is %dx%d: letterboxed", index, image.shape[1], image.shape[0])
                level = logging.DEBUG
                image = letterbox(image, info.width, info.height)
            self.damaged_frames += is_damaged
            yield Frame(
                image, index, pts, info.time_base, is_letterboxed=is_letterboxed, is_damaged=is_damaged, is_own=True
            )


def _open_container(path: Path | Recording) -> InputContainer:
    if isinstance(path, Recording):
        return opened(path.address)
    try:
        return av.open(str(path), "r", metadata_errors="replace")  # metadata that is not UTF-8 must not stop us
    except av.FFmpegError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; is it a video?") from error
