"""Files as sources: a video, an animated GIF, a picture or a folder of pictures, upright and in 8-bit RGB.

Knows no face. A frame is never dropped silently: what cannot be decoded is counted and logged.
"""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container.input import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from streamer.errors import SourceError
from streamer.types import Frame, Image, VideoInfo

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
MAX_FAILURES = 300  # packets in a row; ten seconds at 30 frames per second
JUMP_SECONDS = 1.0  # a clock set back further than this was restarted: two recordings joined
SWS_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})  # FFmpeg's colorspaces that swscale converts; it refuses the rest
UNSPECIFIED = 2
PICTURE_SECONDS = Fraction(1)  # far enough apart that nothing follows a face from one picture into the next


def open_source(path: str | Path) -> VideoSource | PictureSource:
    """Return the source that reads `path`: a video file, an animated GIF, a picture, or a folder of pictures.

    Raises:
        SourceError: If it is missing, not allowed, not a video or picture, or not one frame can be decoded.
    """
    if re.match(r"\w\w+:/", str(path)):
        raise SourceError(f"cannot open {mask_password(str(path))}: only files and folders; is it a live stream?")
    path = Path(path).absolute()
    try:
        if path.is_dir():
            return PictureSource(path, _pictures_in(path))
        path.open("rb").close()
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check the path and its permissions") from error
    return PictureSource(path, [path]) if path.suffix.lower() in PICTURE_SUFFIXES else VideoSource(path)


def mask_password(text: str) -> str:
    """Return `text` with the user and password of every URL in it replaced by `***`."""
    return re.sub(r"(\w\w+:/{1,2})[^/\s]*@", r"\1***@", text)


class PictureSource:
    """One frame per picture, in the order of their names; sizes may differ.

    `info.names[frame.index]` is the file of a frame. A picture's own orientation (EXIF) is applied. Alpha is dropped,
    not composited: what was transparent shows, so a face under it is found. Of several pages only the first is read.

    Attributes:
        info: Size of the first picture; `pts` counts seconds, one a picture.
        corrupt_packets: Pictures that could not be read so far; each is logged, and its index skipped.
        audio_streams: 0.
    """

    def __init__(self, path: Path, pictures: Sequence[Path]) -> None:
        self.corrupt_packets = self.audio_streams = 0
        self._pictures = pictures
        frames = self._read()
        first = next(frames, None)
        if first is None:
            raise SourceError(f"cannot open {path}: none of its {len(pictures)} pictures can be decoded")
        height, width = first.image.shape[:2]
        names = tuple(picture.name for picture in pictures)
        rate = 1 / PICTURE_SECONDS
        self.info = VideoInfo(width, height, rate, PICTURE_SECONDS, len(pictures), colorspace=0, names=names)
        self._frames = chain([first], frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames = chain(())

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _read(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._pictures):
            try:
                image = _load_picture(picture)
            except SourceError as error:
                if len(self._pictures) == 1:
                    raise
                self.corrupt_packets += 1
                log.warning("picture %d left out: %s", index, error)
                continue
            yield Frame(image, index, index, PICTURE_SECONDS)


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
        self._reformatter = VideoReformatter()
        self._orientations: dict[int, _Orientation] = {}
        self._container = _open_container(path)
        self.audio_streams = len(self._container.streams.audio)
        try:
            self._stream = _video_stream(self._container, path)
            decoded = self._decode()
            first = next(decoded, None)
            if first is None:
                raise SourceError(f"cannot read {path}: no frame of its {self._stream.name} video can be decoded")
            self.info = _describe(first, self._stream)
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
                image = self._to_rgb(frame)
            except av.FFmpegError as error:
                raise SourceError(f"cannot convert frame {index} of {self._path}: {error.strerror}") from error
            if image.shape[:2] != (self.info.height, self.info.width):
                log.log(level, "frame %d is %dx%d: letterboxed", index, image.shape[1], image.shape[0])
                level = logging.DEBUG
                image = _letterbox(image, self.info.width, self.info.height)
            yield Frame(image, index, clock.tick(frame.pts), self.info.time_base)

    def _to_rgb(self, frame: VideoFrame) -> Image:
        if frame.rotation not in self._orientations:  # PyAV's side data keep their frame alive: ask once per angle
            self._orientations[frame.rotation] = _orientation(frame)
        if frame.colorspace not in SWS_MATRICES:
            frame.colorspace = UNSPECIFIED
        # One thread: more cost more CPU than they save, and detection wants the other core.
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        # Rows are padded where the width is no multiple of 32.
        return self._orientations[frame.rotation].apply(np.ascontiguousarray(rgb.to_ndarray(), np.uint8))


@dataclass(frozen=True, slots=True)
class _Orientation:
    """How a stored picture is made upright: first transposed, then mirrored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: Image) -> Image:
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)  # four times as fast as numpy's
        if self.flip_x or self.flip_y:
            image = np.asarray(cv2.flip(image, -1 if self.flip_x and self.flip_y else int(self.flip_x)), np.uint8)
        return image


# By EXIF orientation, 1 to 8 (CIPA DC-008, 4.6.4 A).
_EXIF = [_Orientation(*map(bool, flags)) for flags in (
    (0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1),
)]  # fmt: skip
_BY_ROTATION = {90: _EXIF[7], -90: _EXIF[5], 180: _EXIF[2], -180: _EXIF[2]}  # degrees, counter-clockwise


def _orientation(frame: VideoFrame) -> _Orientation:
    """Return how to make `frame` upright, from its display matrix.

    The matrix `a b . c d .` sends a pixel to `x' = a x + c y, y' = b x + d y`; only its eight right angles are kept.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18.1 fails on side data newer than it is, as EXIF; the angle it can still tell
        return _BY_ROTATION.get(frame.rotation, _EXIF[0])
    if not isinstance(data, SideData):
        return _EXIF[0]
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    transpose = abs(b) > abs(a)
    return _Orientation(transpose, (c if transpose else a) < 0, (b if transpose else d) < 0)


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


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    streams = container.streams
    videos = [stream for stream in streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise SourceError(f"cannot open {path}: no video stream among {len(streams)}; is it audio only?")
    stream = videos[0]
    if stream.codec_context is None:
        raise SourceError(f"cannot open {path}: no decoder for its video; convert it to H.264 first")
    if len(videos) > 1:
        log.warning("%s has %d video streams: only the first is read", path, len(videos))
    stream.thread_type = "AUTO"
    stream.codec_context.flags |= Flags.output_corrupt  # a damaged frame is still a frame
    return stream


def _describe(frame: VideoFrame, stream: VideoStream) -> VideoInfo:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = frame.width, frame.height
    if _orientation(frame).transpose:
        width, height, aspect = height, width, 1 / aspect
    return VideoInfo(
        width,
        height,
        # Without pts the average is FFmpeg's default; the guess comes from the codec itself.
        rate=(stream.average_rate if frame.pts is not None else stream.guessed_rate) or None,
        time_base=stream.time_base or Fraction(1, 1000),
        frame_count=stream.frames or None,
        color_primaries=frame.color_primaries,
        color_trc=frame.color_trc,
        colorspace=0 if frame.format.is_rgb else frame.colorspace,
        color_range=frame.color_range,
        sample_aspect_ratio=aspect,
    )


def _warn_of_losses(frame: VideoFrame, path: Path) -> None:
    components = frame.format.components
    if any(component.bits > 8 for component in components):
        log.warning("%s has %d bits per channel: converted to 8", path, components[0].bits)
    if any(component.is_alpha for component in components):
        alpha = np.asarray(frame.to_ndarray(format="rgba"), np.uint8)[..., 3]
        if alpha.min() < 255:
            log.warning("%s is partly transparent: alpha is dropped", path)


def _letterbox(image: Image, width: int, height: int) -> Image:
    """Return `image` scaled to fit `width` x `height`, centred on black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas


def _pictures_in(folder: Path) -> list[Path]:
    # Names with a leading dot are the shadow files of macOS, not pictures.
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise SourceError(f"cannot open {folder}: no picture among its {len(files)} files; expected {kinds}")
    if len(pictures) < len(files):
        log.warning("%s: %d files that are not pictures are left out", folder, len(files) - len(pictures))
    return pictures


def _load_picture(path: Path) -> Image:
    try:
        data = path.read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check its permissions") from error
    except cv2.error as error:  # more pixels than OpenCV takes
        raise SourceError(f"cannot decode {path}: {error.err}") from error
    if image is None:
        raise SourceError(f"cannot decode {path}: not a picture, or damaged")
    if (pages := cv2.imcount(str(path))) > 1:
        log.warning("%s has %d pages: only the first is read", path, pages)
    if _has_alpha(data):
        log.warning("%s has an alpha channel: it is dropped", path)
    return _EXIF[_webp_orientation(data) - 1].apply(np.asarray(image, np.uint8))


def _has_alpha(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return data[25] in (4, 6)  # color types with alpha
    if data[8:16] == b"WEBPVP8X":
        return bool(data[20] & 0x10)
    return data[8:16] == b"WEBPVP8L" and bool(data[24] & 0x10)


def _webp_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a WebP file, 1 to 8; 1 for other files, to which OpenCV applies it itself."""
    at = 12
    while data[8:12] == b"WEBP" and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0")
            # Orientation is tag 0x112, a short, one value: twelve bytes with the value in the ninth and tenth.
            order = "<" if exif.startswith(b"II") else ">"
            _, _, after = exif.partition(struct.pack(order + "HHI", 0x112, 3, 1))
            value = int(struct.unpack(order + "H", after[:2])[0]) if len(after) >= 2 else 1
            return value if 1 <= value <= 8 else 1
        at += 8 + size + size % 2
    return 1
