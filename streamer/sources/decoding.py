"""What every decoder of video needs: which stream, which way up, which colours. Knows neither files nor networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av.container.input import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData, SideDataContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from streamer.errors import SourceError
from streamer.sources.margins import NO_MARGINS, Margins
from streamer.types import Image, VideoInfo

log = logging.getLogger(__name__)

SWS_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})  # FFmpeg's colorspaces that swscale converts; it refuses the rest
UNSPECIFIED = 2
MAX_RATE = 240  # frames per second; more is the frequency of the clock, as of raw DV, and a codec knows better
BLANK_GREY = 24
STRETCHED, MOST_STRETCHED = Fraction(3, 2), 16  # pixels so oblong hide faces from detectors; more is a mistake
MOST_WAITING = 17  # frames: more B frames in a row no encoder makes
MOST_DAMAGED = 300  # frames without a key frame after a damaged one: streams that have none have refreshed by then
FOLLOWING = (PictureType.P, PictureType.B, PictureType.S, PictureType.SP)  # frames that follow from others
NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


def frames_of(context: VideoCodecContext, packet: Packet[Any] | None) -> list[VideoFrame]:
    """Return the frames of a packet, or what is left at the end; `opaque` of each is the aspect that it says it has.

    Raises:
        av.FFmpegError: If it cannot be decoded.
    """
    frames = context.decode(packet)
    for frame in frames:
        frame.opaque = context.sample_aspect_ratio  # PyAV hands it on in no other way
    return frames


class Damage:
    """Tells which frames of `frames_of` may show what is damaged.

    What was lost a decoder guesses, from what is beside it and was before it: half of a face, say, where the rest is
    of another frame. Such a frame says so, if it is of H.264 or MPEG and decoded by no threads by slice; those that
    follow from it, up to the next key frame, do not. Nor does video that begins between two key frames, of MPEG-4 or
    H.263 say: its first frames are drawn on grey, where they change it.
    """

    def __init__(self) -> None:
        self._left, self._begins = 0, True  # frames that may follow from what is damaged; whether none came so far
        self._since: int | None = None  # when a packet was lost: an older key frame may be shown later

    def lost(self, packet: Packet[Any] | None = None) -> None:
        """Say that a packet could not be decoded."""
        self._left, self._since = MOST_DAMAGED, packet.pts if packet else None

    def told(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, bool]]:
        """Yield frames in the order in which they are shown, and whether each is damaged, or follows from what is.

        Some follow from the one after them as well (B frames), and wait for that.
        """
        waiting: list[VideoFrame] = []
        for frame in frames:
            waiting.append(frame)
            if frame.pict_type != PictureType.B or len(waiting) == MOST_WAITING:
                yield from self._told(waiting)
                waiting = []
        yield from self._told(waiting)

    def _told(self, frames: Sequence[VideoFrame]) -> Iterator[tuple[VideoFrame, bool]]:
        """Yield frames that may follow from the last of them; that is the only one that may be a key frame."""
        is_torn = any(frame.is_corrupt for frame in frames)
        if frames and self._begins:
            self._begins = False
            if frames[-1].pict_type in FOLLOWING and not frames[-1].key_frame:
                self._left = MOST_DAMAGED
        is_damaged = is_torn or self._left > 0
        for frame in frames[:-1]:
            yield frame, is_damaged
        for frame in frames[-1:]:
            is_new = frame.key_frame and (self._since is None or frame.pts is None or frame.pts > self._since)
            self._left = MOST_DAMAGED if is_torn else 0 if is_new else max(0, self._left - len(frames))
            yield frame, self._left > 0


class Converter:
    """Frames of `frames_of` in, upright RGB with pixels of one aspect out; for one thread.

    Alpha is dropped, not composited: what was transparent shows, so a face under it is found. 10-bit and HDR are
    converted without tone mapping. The margins are cut off, where a frame is as large as they were said for. Pixels
    that are far from square are made square, and where their aspect changes they are made as they were: faces are found
    as they are seen.

    Args:
        margins, size: What is cut off frames of this size.
        aspect: Width of a pixel over its height, of the first frame.
    """

    def __init__(
        self, margins: Margins = NO_MARGINS, *, size: tuple[int, int] = (0, 0), aspect: Fraction | None = None
    ) -> None:
        self._margins, self._size, self._aspect = margins, size, aspect or Fraction(1)
        self._shown = Fraction(1) if is_stretched(self._aspect) else self._aspect
        self._first: Fraction | None = None  # the same by its codec: the container may know better
        self._now = self._aspect
        self._reformatter = VideoReformatter()
        self._orientation = EXIF[0]

    def rgb(self, frame: VideoFrame) -> Image:
        """Return the picture as `(H, W, 3)` uint8 RGB.

        Raises:
            av.FFmpegError: If it cannot be converted.
        """
        said = orientation_of(frame)
        if said or frame.key_frame:  # a codec says it with a key frame, for those that follow
            self._orientation = said or EXIF[0]
        if frame.colorspace not in SWS_MATRICES:
            frame.colorspace = UNSPECIFIED
        # One thread: more cost more CPU than they save, and detection wants the other core.
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        stored = np.asarray(rgb.to_ndarray(), np.uint8)
        if (frame.width, frame.height) == self._size:
            stored = self._margins.cut(stored)
        stretch = self._aspect_of(frame) / self._shown
        if stretch != 1 and is_shape(stretch):
            size = squared(stored.shape[1], stored.shape[0], stretch)
            stored = np.asarray(cv2.resize(stored, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        # Rows are padded where the width is no multiple of 32.
        return self._orientation.apply(np.ascontiguousarray(stored))

    def _aspect_of(self, frame: VideoFrame) -> Fraction:
        """Return the aspect of the pixels of a frame: that of the first, until its codec says something else.

        That counts from a key frame on: decoders say it some frames early.
        """
        said = frame.opaque
        if isinstance(said, Fraction) and is_shape(said) and is_shape(self._aspect):
            self._first = self._first or said
            if frame.key_frame:
                self._now = self._aspect if said == self._first else said
        return self._now


def is_shape(aspect: Fraction) -> bool:
    """Return whether pixels can be of this width over height."""
    return aspect > 0 and max(aspect, 1 / aspect) <= MOST_STRETCHED


def is_stretched(aspect: Fraction) -> bool:
    """Return whether pixels of this width over height are made square."""
    return is_shape(aspect) and max(aspect, 1 / aspect) > STRETCHED


def squared(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Return width and height of a picture in square pixels, even; nothing of it is lost."""
    one = Fraction(1)
    return max(2, 2 * round(width * max(aspect, one) / 2)), max(2, 2 * round(height * max(1 / aspect, one) / 2))


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture is made upright: first transposed, then mirrored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: Image) -> Image:
        """Return the `(H, W, 3)` picture upright."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)  # four times as fast as numpy's
        if self.flip_x or self.flip_y:
            image = np.asarray(cv2.flip(image, -1 if self.flip_x and self.flip_y else int(self.flip_x)), np.uint8)
        return image


# By EXIF orientation, 1 to 8 (CIPA DC-008, 4.6.4 A).
EXIF = [Orientation(*map(bool, flags)) for flags in (
    (0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1),
)]  # fmt: skip
_BY_ROTATION = {90: EXIF[7], -90: EXIF[5], 180: EXIF[2], -180: EXIF[2]}  # degrees, counter-clockwise


def orientation_of(frame: VideoFrame) -> Orientation | None:
    """Return how to make `frame` upright, from its display matrix; None if it has none.

    The matrix `a b . c d .` sends a pixel to `x' = a x + c y, y' = b x + d y`; only its eight right angles are kept.
    """
    try:
        # `frame.side_data` would keep the frame alive.
        data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # its stub lacks it
    except ValueError:  # PyAV 18.1 fails on side data newer than it is, as EXIF; the angle it can still tell
        return _BY_ROTATION.get(frame.rotation)
    if not isinstance(data, SideData):
        return None
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    transpose = abs(b) > abs(a)
    return Orientation(transpose, (c if transpose else a) < 0, (b if transpose else d) < 0)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the video stream that a player would show, set to be decoded by several threads.

    Raises:
        SourceError: If there is none, or no decoder for it; says `name`.
    """
    streams = container.streams
    videos = [stream for stream in streams.video if not stream.disposition & NOT_A_VIDEO]
    if not videos:
        raise SourceError(f"cannot open {name}: no video stream among {len(streams)}; is it audio only?")
    readable = [stream for stream in videos if stream.codec_context is not None]
    if not readable:
        raise SourceError(f"cannot open {name}: no decoder for its video; convert it to H.264 first")
    moving = [stream for stream in readable if stream.frames != 1] or readable  # a thumbnail may be marked as default
    best = streams.best("video")
    stream = best if best in moving else max(moving, key=lambda stream: stream.width * stream.height)
    assert isinstance(stream, VideoStream)
    if len(videos) > 1:
        log.warning("%s has %d video streams: only %d is read", name, len(videos), videos.index(stream) + 1)
    stream.thread_type = "AUTO"
    return stream


def describe(frame: VideoFrame, stream: VideoStream, margins: Margins = NO_MARGINS) -> VideoInfo:
    """Return what is known of a video, given its first frame and what is cut off it."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not is_shape(aspect):  # faces are looked for in square pixels then, and so nobody else is told of oblong ones
        aspect = Fraction(1)
    width, height = frame.width - margins.left - margins.right, frame.height - margins.top - margins.bottom
    notes: tuple[str, ...] = ()
    if is_stretched(aspect):
        (width, height), aspect, notes = squared(width, height, aspect), Fraction(1), ("pixels made square",)
    if (orientation_of(frame) or EXIF[0]).transpose:
        width, height, aspect = height, width, 1 / aspect
    return VideoInfo(
        width,
        height,
        rate=_rate(frame, stream),
        time_base=stream.time_base or Fraction(1, 1000),
        frame_count=stream.frames or None,
        color_primaries=frame.color_primaries,
        color_trc=frame.color_trc,
        colorspace=0 if frame.format.is_rgb else frame.colorspace,
        color_range=frame.color_range,
        sample_aspect_ratio=aspect,
        notes=notes,
    )


def _rate(frame: VideoFrame, stream: VideoStream) -> Fraction | None:
    # Without pts the average is FFmpeg's default; the guess comes from the codec itself.
    is_average = frame.pts is not None and 0 < (stream.average_rate or 0) <= MAX_RATE
    return (stream.average_rate if is_average else stream.guessed_rate) or None


def letterbox(image: Image, width: int, height: int) -> Image:
    """Return `image` scaled to fit `width` x `height`, centred on black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas


def blank(width: int, height: int) -> Image:
    """Return the `(height, width, 3)` uint8 picture that stands for a source that is gone."""
    image: Image = np.full((height, width, 3), BLANK_GREY, np.uint8)
    scale = height / 480
    (wide, high), _ = cv2.getTextSize("no signal", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = ((width - wide) // 2, (height + high) // 2)
    cv2.putText(image, "no signal", place, cv2.FONT_HERSHEY_SIMPLEX, scale, (150, 150, 150), 1, cv2.LINE_AA)
    return image


def is_of_shape(image: Image, width: int, height: int) -> bool:
    """Return whether `image` fills `width` x `height` without bars, but for a pixel that rounding costs."""
    return abs(image.shape[1] * height - image.shape[0] * width) <= max(width, height)


def warn_of_losses(frame: VideoFrame, stream: VideoStream, name: str) -> None:
    """Log what of a picture is not kept: more than 8 bits, and transparency."""
    components = frame.format.components
    if any(component.bits > 8 for component in components):
        log.warning("%s has %d bits per channel: converted to 8", name, components[0].bits)
    tags = {tag.lower(): value for tag, value in stream.metadata.items()}
    is_beside = tags.get("alpha_mode") == "1"  # of VP8 and VP9: a second picture that FFmpeg leaves out
    may_show = frame.format.has_palette or any(component.is_alpha for component in components)
    if is_beside or (may_show and _shows_through(frame)):
        log.warning("%s is partly transparent: alpha is dropped", name)


def _shows_through(frame: VideoFrame) -> bool:
    return int(np.asarray(frame.to_ndarray(format="rgba"), np.uint8)[..., 3].min()) < 255
