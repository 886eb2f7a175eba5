"""Clips that the tests encode themselves, each a few dozen tiny frames, and the pictures in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container.output import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from streamer.types import Frame, Image, SafeFrame

RED = (200, 30, 60)
AUDIO_RATE = 48000
SOUND = {"strict": "experimental"}  # an encoder of Vorbis that is always there
SHARED_CLIPS = Path(__file__).parents[2] / "shared" / "clips"


def picture(index: int, size: tuple[int, int] = (64, 48)) -> Image:
    """Return a grey `(width, height)` picture, brighter with `index`, whose top left quarter is red."""
    width, height = size
    image = np.full((height, width, 3), 30 + 8 * (index % 24), np.uint8)
    image[: height // 2, : width // 2] = RED
    return image


def safe(frame: Frame) -> SafeFrame:
    """Return `frame` as if it had been made anonymous."""
    return SafeFrame(frame.image, frame.index, frame.pts, frame.time_base)


def encode_clip(
    path: Path,
    *,
    pts: Sequence[int] = range(12),
    time_base: Fraction = Fraction(1, 10),
    size: tuple[int, int] = (64, 48),
    pictures: Iterable[Image] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: tuple[float, bool] | None = None,
    context: dict[str, Any] | None = None,
    audio: Sequence[str] = (),
    audio_seconds: float = 1.2,
    samples: int = 960,
    telephone: bool = False,
    subtitle: str | None = None,
    metadata: dict[str, str] | None = None,
    cover: bool = False,
) -> Path:
    """Encode a clip of `picture`s.

    Args:
        context: Attributes of the video encoder.
        audio: A codec for each audio stream; the second is French, and the default.
        samples: Length of an audio packet, where the codec leaves that open.
        telephone: Mono of 8 kHz; what a telephone codec takes.
        metadata: Of the file, and of each of its streams.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=10, options=options or {}, width=size[0], height=size[1])
        video.pix_fmt, video.codec_context.time_base = pix_fmt, time_base
        for name, value in (context or {}).items():
            setattr(video.codec_context, name, value)
        if rotation is not None:
            video.set_display_rotation(rotation[0], hflip=rotation[1])
        rate, layout, bits = (8000, "mono", 32_000) if telephone else (AUDIO_RATE, "stereo", 128_000)
        sounds = [container.add_stream(name, options=SOUND, rate=rate, layout=layout, bit_rate=bits) for name in audio]
        for sound, language in zip(sounds, ("eng", "fra"), strict=False):
            sound.metadata["language"] = language
            sound.disposition = Disposition.default if language == "fra" else Disposition(0)
        text = container.add_mux_stream(subtitle, time_base=Fraction(1, 1000)) if subtitle else None
        for place in (container, video, *sounds):
            place.metadata.update(metadata or {})
        if cover:
            container.add_attachment("cover.jpg", "image/jpeg", cv2.imencode(".jpg", picture(3))[1].tobytes())
        for at, image in zip(pts, pictures or (picture(index, size) for index in range(len(pts))), strict=False):
            container.mux(video.encode(_frame(image, at, time_base, pix_fmt=pix_fmt)))
        container.mux(video.encode(None))
        for stream in sounds:
            _add_sound(container, stream, audio_seconds, samples=samples)
        if text is not None:
            _add_subtitle(container, text, is_mov=subtitle == "mov_text")
    return path


def _frame(image: Image, pts: int, time_base: Fraction, *, pix_fmt: str) -> VideoFrame:
    frame = VideoFrame.from_ndarray(image, "rgba" if image.shape[2] == 4 else "rgb24")
    frame = frame.reformat(format=pix_fmt)
    frame.pts, frame.time_base = pts, time_base
    return frame


def _add_sound(container: OutputContainer, stream: AudioStream, seconds: float, *, samples: int) -> None:
    planar = stream.codec_context.format.is_planar
    rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
    for start in range(0, round(seconds * rate), samples):
        tone = np.sin(np.arange(start, start + samples) * 0.05) * 0.3
        both = np.stack([tone] * layout.nb_channels)
        shaped = both if planar else both.T.reshape(1, -1)
        is_float = stream.codec_context.format.name.startswith("flt")
        data = shaped.astype(np.float32) if is_float else (shaped * 30000).astype(np.int16)
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(data), format=stream.codec_context.format.name, layout=layout.name
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_subtitle(container: OutputContainer, stream: Stream, *, is_mov: bool) -> None:
    text = b"hello"
    packet = Packet(len(text).to_bytes(2, "big") + text if is_mov else text)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 200
    packet.duration = 500
    container.mux(packet)


def seconds_of(path: Path, limit: int = 10**6) -> list[Fraction]:
    """Return the exact time of every frame of `path`, or of the first `limit`."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [frame.pts * frame.time_base for frame, _ in zip(frames, range(limit), strict=False)]


def start_of(path: Path) -> Fraction:
    """Return when picture or sound of `path` begins, whichever is first."""
    with av.open(str(path)) as container:
        heard = [packet for packet in container.demux() if packet.pts is not None and not packet.is_discard]
        return min(packet.pts * packet.time_base for packet in heard if packet.stream.type in ("audio", "video"))


def packets_of(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Return time and bytes of every packet of every stream of `kind` in `path`."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.pts is not None:
                found[packet.stream_index].append((packet.pts * packet.time_base, bytes(packet)))
        return list(found.values())


def damaged_clip(path: Path, *, at: int, key_frames: int, frames: int, b_frames: int = 0, whole: bool = False) -> Path:
    """Encode H.264 in slices, of noise; a part of the packet `at` is lost, or the `whole` of it."""
    noise = np.random.default_rng(0).integers(0, 255, (frames, 240, 320, 3), np.uint8)
    options = {"g": str(key_frames), "bf": str(b_frames), "x264-params": "slices=4:scenecut=0:b-adapt=0"}
    encode_clip(path, pts=range(frames), size=(320, 240), pictures=list(noise), options=options)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        payload = [bytes(packet) for packet in container.demux(video=0)][at]
    start, size = data.index(payload), len(payload)
    first, length = (start, size) if whole else (start + size // 2, 400)
    data[first : first + length] = bytes(length)
    path.write_bytes(data)
    return path
