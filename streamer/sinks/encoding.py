"""The video codecs that each container holds, and the encoder of each, set up for speed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.codec
import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import ThreadType
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from streamer.cores import as_scheduled
from streamer.errors import SinkError
from streamer.types import Codec, Image, SafeFrame, VideoInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodecSetup:
    """An encoder of FFmpeg and how it is driven.

    Attributes:
        name: FFmpeg's.
        options: Its own; all were measured at 640x480 and crf 21 on signing_640x480.mkv, see each.
        crf_shift: What its scale adds to that of x264 at about the same quality.
        max_rate: Frames per second above which it refuses to open; only its rate control looks at them.
    """

    name: str
    options: dict[str, str]
    crf_shift: int = 0
    max_rate: Fraction = Fraction(10**6)


# Milliseconds of CPU a frame, PSNR, kilobytes of 60 frames.
ENCODERS = {
    # 2.8 ms, 44.4 dB, 291 kB; veryfast takes half as long again and saves half of the bytes.
    "h264": CodecSetup("libx264", {"preset": "superfast"}),
    # 13.6 ms, 43.6 dB, 140 kB; it writes to stderr by itself unless told not to.
    "hevc": CodecSetup("libx265", {"preset": "superfast", "x265-params": "log-level=none"}),
    # 4.1 ms, 42.7 dB, 179 kB
    "vp9": CodecSetup("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}, crf_shift=12),
    # 6.1 ms, 41.5 dB, 131 kB; presets above 10 are no faster here.
    "av1": CodecSetup("libsvtav1", {"preset": "10"}, crf_shift=12, max_rate=Fraction(240)),
}
HELD: dict[str, tuple[Codec, ...]] = {  # by suffix; the first is the default
    ".mp4": ("h264", "hevc", "vp9", "av1"),
    ".mov": ("h264", "hevc"),
    ".mkv": ("h264", "hevc", "vp9", "av1"),
    ".webm": ("vp9", "av1"),
}
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # FFmpeg's colorspace -> swscale's; others are written as 601
# From RGB to a quarter of its colours: the mean of four pixels, within .6, in half of the time of FFmpeg's default.
MEAN_OF_FOUR = Interpolation.AREA | Interpolation.FULL_CHR_H_INP
X265_LOOKAHEAD = 2  # frames; of a video this short, x265 leaves the decoding times uninitialised
BT709 = LIMITED_RANGE = 1


def choose_encoder(path: Path, codec: Codec) -> CodecSetup:
    """Return the encoder for the video file `path`; "auto" is the usual one of its container.

    Raises:
        SinkError: If the container cannot hold the codec, or this FFmpeg cannot encode it.
        ValueError: If there is no such codec.
    """
    suffix = path.suffix.lower()
    if codec not in ("auto", *ENCODERS):
        raise ValueError(f"codec must be 'auto' or one of {', '.join(ENCODERS)}, got {codec!r}")
    if codec not in ("auto", *HELD[suffix]):
        raise SinkError(
            f"cannot write {path}: {suffix} cannot hold {codec}, only {', '.join(HELD[suffix])}; or use .mkv"
        )
    encoder = ENCODERS[HELD[suffix][0] if codec == "auto" else codec]
    try:
        av.codec.Codec(encoder.name, "w")
    except UnknownCodecError as error:
        raise SinkError(f"cannot write {path}: this FFmpeg has no {encoder.name}; choose another codec") from error
    return encoder


class VideoEncoder:
    """Safe frames in, packets of the new video stream of a container out."""

    def __init__(self, container: OutputContainer, info: VideoInfo, *, encoder: CodecSetup, crf: int) -> None:
        """Add the stream for pictures as in `info`, of even size; `crf` is quality on the scale of x264."""
        self._stream = _add_stream(container, info, encoder=encoder, crf=crf)
        self._reformatter = VideoReformatter()
        self._count = self._first_pts = self._last_pts = 0

    def encode(self, frame: SafeFrame) -> list[Packet[VideoStream]]:
        """Return the packets that are ready; those of `frame` come later."""
        context = self._stream.codec_context
        picture = VideoFrame.from_numpy_buffer(_even(frame.image), "rgb24")
        colors = {"dst_colorspace": MATRICES.get(context.colorspace), "dst_color_range": context.color_range}
        yuv = self._reformatter.reformat(
            picture, format=context.pix_fmt, threads=1, interpolation=MEAN_OF_FOUR, **colors
        )
        yuv.pts, yuv.time_base = frame.pts, frame.time_base
        self._first_pts, self._last_pts = self._first_pts if self._count else frame.pts, frame.pts
        self._count += 1
        return self._lasting(self._stream.encode(yuv))

    def flush(self) -> list[Packet[VideoStream]]:
        """Return the packets of the frames that were held back; the last call."""
        packets = self._lasting(self._stream.encode(None))
        if self._count <= X265_LOOKAHEAD:
            for packet in packets:
                packet.dts = packet.pts
        return packets

    def _lasting(self, packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
        """Return the packets as long as a frame is on average: so long the last one is shown."""
        for packet in packets if self._count > 1 else ():
            packet.duration = round((self._last_pts - self._first_pts) / (self._count - 1))
        return packets


def _add_stream(container: OutputContainer, info: VideoInfo, *, encoder: CodecSetup, crf: int) -> VideoStream:
    rate = min(info.rate or Fraction(25), encoder.max_rate)
    stream = container.add_stream(
        encoder.name, rate=rate, options=encoder.options | {"crf": str(crf + encoder.crf_shift)}
    )
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.thread_type = ThreadType.FRAME  # slices cost quality, and encode() would wait for each frame
    context.width, context.height = info.width + info.width % 2, info.height + info.height % 2
    context.pix_fmt, context.time_base = "yuv420p", info.time_base
    context.sample_aspect_ratio = info.sample_aspect_ratio
    if encoder.name == "libx265" and container.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players refuse FFmpeg's default, hev1
    tags = (info.color_primaries, info.color_trc, info.colorspace, info.color_range)
    tags = (BT709, BT709, BT709, LIMITED_RANGE) if info.colorspace == 0 else tags
    context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
    if (context.width, context.height) != (info.width, info.height):
        log.warning("%dx%d is odd: written as %dx%d", info.width, info.height, context.width, context.height)
    with as_scheduled():
        context.open()
    return stream


def _even(image: Image) -> Image:
    """Return a contiguous `image` of even size, its last row or column repeated where it was odd."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return np.ascontiguousarray(image)
