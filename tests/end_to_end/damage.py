"""Small clips of many kinds, damaged in many ways, and a process that runs the tool on them."""

from __future__ import annotations

import faulthandler
import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamer.cli.demo import free_portrait
from streamer.errors import StreamerError
from streamer.faces.detect import Scanned
from streamer.pipeline import stream as stream_module
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.sinks.file_sink import open_sink
from streamer.sources.decoding import video_stream
from streamer.sources.file_source import open_source
from streamer.types import Face, Image
from tests.clips import encode_clip, picture
from tests.end_to_end.patience import PATIENCE_SECONDS

FRAMES = 10
PORTRAIT_FACE, CLIP_FACE = np.s_[151:348, 169:358], np.s_[10:39, 19:45]  # where it is, and where `OneFace` finds it
STUCK_SECONDS = PATIENCE_SECONDS / 2  # in one file: what each thread does is then written to stderr
CLIPS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"audio": ["aac"], "subtitle": "mov_text", "options": {"g": "5", "bf": "2"}},
    "turned.mov": {"audio": ["pcm_mulaw"], "rotation": (90, False)},
    "h264.mkv": {"audio": ["libopus"], "subtitle": "subrip", "options": {"g": "4"}},
    "interlaced.ts": {"audio": ["ac3"], "options": {"x264-params": "tff=1", "g": "5"}},
    "raw.h264": {"options": {"g": "3"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=4"}},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": ["libopus"], "options": {"deadline": "realtime", "g": "4"}},
    "vp8.ogv": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4", "audio": ["pcm_alaw"], "options": {"g": "4"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "audio": ["mp2"], "time_base": Fraction(1, 25), "context": {"framerate": 25}},
    "mjpeg.nut": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "wmv2.asf": {"codec": "wmv2", "audio": ["wmav2"]},
    "flash.flv": {"codec": "flv", "audio": ["aac"]},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p10le", "audio": ["flac"]},
    "animated.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 10)},
    "animated.apng": {"codec": "apng", "pix_fmt": "rgba"},
}


def make_clips(folder: Path) -> list[Path]:
    """Encode every kind of clip."""
    pictures = [_with_face(picture(index)) for index in range(FRAMES)]
    return [
        encode_clip(folder / name, pts=range(FRAMES), pictures=pictures, audio_seconds=0.9, **properties)
        for name, properties in CLIPS.items()
    ]


def _with_face(image: Image) -> Image:
    """Return a picture with a real face in it: a second network agrees at first sight, and is not asked again."""
    shown = image.copy()
    height, width = shown[CLIP_FACE].shape[:2]
    shown[CLIP_FACE] = cv2.resize(free_portrait()[PORTRAIT_FACE], (width, height), interpolation=cv2.INTER_AREA)
    return shown


def _flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _flip_bits_of_the_head(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 16))):
        data[chance.randrange(min(len(data), 600))] ^= 1 << chance.randrange(8)


def _flip_bits_of_the_end(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 16))):
        data[-1 - chance.randrange(min(len(data), 1500))] ^= 1 << chance.randrange(8)


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _swap(data: bytearray, chance: random.Random) -> None:
    a, b, c = sorted(chance.randrange(len(data)) for _ in range(3))
    data[a:c] = data[b:c] + data[a:b]


def _swap_boxes(data: bytearray, chance: random.Random) -> None:
    """Swap what names the boxes of mp4, or the packets of a transport stream."""
    names = [at for name in (b"trak", b"mdia", b"stts", b"stsz", b"stco", b"edts", b"mdat") for at in _all(data, name)]
    if len(names) < 2:
        names, step = list(range(0, len(data) - 188, 188)), 188
    else:
        step = 4
    if len(names) > 1:
        a, b = chance.sample(names, 2)
        data[a : a + step], data[b : b + step] = data[b : b + step], data[a : a + step]


def _all(data: bytearray, name: bytes) -> Iterator[int]:
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


def _blank(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    size = min(len(data) - start, chance.choice((4, 60, 900)))
    data[start : start + size] = bytes([chance.choice((0, 255))]) * size


def _cut_out(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 16, 400))]


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start:start] = data[start : start + chance.choice((1, 40, 700))]


HARMS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits, _flip_bits_of_the_head, _flip_bits_of_the_end, _truncate, _swap, _swap_boxes, _blank, _cut_out, _repeat,
)  # fmt: skip


def damaged(whole: Path, target: Path, number: int) -> Path:
    """Write a damaged copy of `whole`: always the same one for the same number."""
    data, chance = bytearray(whole.read_bytes()), random.Random(f"{whole.name} {number}")
    HARMS[number % len(HARMS)](data, chance)
    target.write_bytes(data)
    return target


class OneFace:
    """A detector that always finds the same face, at no cost: it is the files that are tested."""

    def __init__(self, _: object = None) -> None:
        """Take what lends networks, and borrow none."""

    def __call__(self, image: Image, scanned: Scanned | None = None) -> list[Face]:
        height, width = image.shape[:2]
        at = np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.43, 0.6], [0.57, 0.6]], np.float32)
        box = np.array([0.3, 0.2, 0.7, 0.8], np.float32) * np.array([width, height] * 2, np.float32)
        return [Face(box, at * np.array([width, height], np.float32), None, 0.99)]

    def scan(self, _: Image, some: object = None) -> Scanned:
        return {}

    def close(self) -> None:
        pass


def work(orders: Connection) -> None:
    """Run the tool on every pair of files that is sent, and say what came of it."""
    stream_module.FaceDetector = OneFace  # type: ignore[assignment, misc]
    anonymizer = Anonymizer.load(mode="cover", device="cpu")
    with closing(anonymizer.begin_stream()):  # as long as there is one, networks stay loaded
        while (order := orders.recv()) is not None:
            faulthandler.dump_traceback_later(STUCK_SECONDS)  # says where, before it is killed
            orders.send(outcome(anonymizer, *order))
            faulthandler.cancel_dump_traceback_later()


def outcome(anonymizer: Anonymizer, source_path: Path, target: Path) -> tuple[str, int, int]:
    """Return how a run ended, how many frames it wrote and how many could have been decoded, at least."""
    try:
        with open_source(source_path) as source:
            sink = open_sink(target, source.info, source_path=source_path, keep_audio=target.suffix == ".mkv")
            with sink:
                for frame in protect(source, anonymizer):
                    sink.write(frame)
    except StreamerError as error:
        is_clear = str(error) and "\n" not in str(error) and not target.exists()
        return ("error" if is_clear else f"unclear: {error!r}"), 0, 0
    except Exception as error:  # the finding itself
        return f"unexpected {error!r}", 0, 0
    return "done", decodable(target), decodable(source_path)


def decodable(path: Path) -> int:
    """Return how many frames of a video one thread decodes, packet by packet."""
    count = 0
    with av.open(str(path), metadata_errors="replace") as container:
        stream = video_stream(container, path.name)
        stream.thread_type, stream.thread_count = "NONE", 1
        packets = container.demux(stream)
        for _ in range(3000):  # reads: a damaged file must end
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                if packet.size:
                    count += len(stream.codec_context.decode(packet))
            except av.FFmpegError:
                packets = container.demux(stream)
        with suppress(av.FFmpegError):
            count += len(stream.codec_context.decode(None))
    return count
