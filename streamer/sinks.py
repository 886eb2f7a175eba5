"""Files as sinks: a video, a picture or a folder of pictures, under its final name only when it is whole.

Knows no face and takes only safe frames. Nothing of the source is carried over but its times, colour tags, text
subtitles and, if asked for, its audio: no title, author, place, device, chapter, attachment or thumbnail.
"""

from __future__ import annotations

import errno
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import inf, lcm
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamer.copied import CopiedStreams, seconds_of
from streamer.errors import SinkError
from streamer.types import Codec, Image, SafeFrame, VideoInfo
from streamer.video_codec import HELD, Encoder, VideoEncoder, choose_encoder

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = tuple(HELD)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
PICTURE_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_WEBP_QUALITY, 95]  # of 100: visually lossless
# What is written is whole up to about a second before the end, however that comes.
FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}
CLUSTERS = {"cluster_time_limit": "1000", "flush_packets": "1"}
RECORDING = {"mp4": FRAGMENTS, "mov": FRAGMENTS, "matroska": CLUSTERS, "webm": CLUSTERS}


def open_sink(
    path: str | Path,
    info: VideoInfo,
    *,
    source_path: str | Path | None = None,
    keep_audio: bool = False,
    codec: Codec = "auto",
    crf: int = 21,
    overwrite: bool = False,
) -> VideoSink | PictureSink | FolderSink:
    """Return the sink that writes `path`: a video or a picture by its suffix, a folder of pictures without one.

    One thread at a time may write to it.

    Args:
        info: Of the source whose frames will be written.
        source_path: Where that source was read from, for its subtitles and audio, and so as never to overwrite it.
        keep_audio: Copy every audio stream, bit for bit. A voice identifies a person too.
        codec: Of a video; "auto" is VP9 in webm and H.264 elsewhere.
        crf: Quality on the scale of x264: 18 is visually lossless, 28 is poor.
        overwrite: Replace an existing file. In an existing folder, replace files of the same name only.

    Raises:
        SinkError: If `path` exists, is the input, or cannot hold what it should; on entering the sink, which makes
            its file, if that cannot be written.
        ValueError: If `keep_audio` without `source_path`, or of an unknown codec.
    """
    if keep_audio and source_path is None:
        raise ValueError("keep_audio needs source_path: the audio is read from there")
    path = Path(path).absolute()
    source_path = Path(source_path).absolute() if source_path is not None else None
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or not suffix
    if not is_folder and suffix not in VIDEO_SUFFIXES and suffix not in PICTURE_SUFFIXES:
        known = " ".join([*VIDEO_SUFFIXES, *PICTURE_SUFFIXES])
        raise SinkError(f"cannot write {path}: unknown kind {suffix}; expected {known}, or a folder")
    if keep_audio and suffix not in VIDEO_SUFFIXES:
        raise SinkError(f"cannot write {path}: pictures hold no audio; write a video, or leave the audio out")
    if codec != "auto" and suffix not in VIDEO_SUFFIXES:
        raise SinkError(f"cannot write {path}: pictures have no codec; write a video, or leave the codec out")
    _check_place(path, source_path, overwrite=overwrite)
    if is_folder:
        return FolderSink(path, info)
    if suffix in PICTURE_SUFFIXES:
        return PictureSink(path, info)
    encoder = choose_encoder(path, codec)
    return VideoSink(path, info, source_path=source_path, keep_audio=keep_audio, encoder=encoder, crf=crf)


def _check_place(path: Path, source_path: Path | None, *, overwrite: bool) -> None:
    """Raise the SinkError that would otherwise come after hours of work."""
    if not path.parent.is_dir():
        raise SinkError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    for target in (path, _part_of(path)):
        if source_path is not None and _overlap(target, source_path):
            raise SinkError(f"cannot write {path}: it would overwrite the input {source_path}; choose another name")
        is_empty_folder = target.is_dir() and not any(target.iterdir())
        if target.exists() and not is_empty_folder and not overwrite:
            raise SinkError(f"cannot write {path}: {target.name} exists; remove it, or allow overwriting")


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _overlap(target: Path, source: Path) -> bool:
    """Return whether one is the other, or lies in it."""
    a, b = target.resolve(), source.resolve()
    return a == b or a in b.parents or b in a.parents or (a.exists() and b.exists() and a.samefile(b))


class _PartSink(ABC):
    """Writes under `NAME.part`; renamed when left without an exception, removed with one or when writing fails.

    Attributes:
        audio_packets: Packets of sound copied so far.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.audio_packets = 0
        self._path = path
        self._info = info
        self._part = _part_of(path)
        self._opened = ExitStack()
        self._count = 0
        self._is_open = False

    def __enter__(self) -> Self:
        try:
            with self._discarding_on_failure():
                self._open()
        except BaseException:  # a signal may come as `with` ends
            self._discard()
            raise
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_open or kind is not None:
            return self._discard()
        with self._discarding_on_failure():
            if not self._count:
                raise SinkError(f"cannot write {self._path}: there was no frame to write")
            self._finish()
        self._is_open = False

    def write(self, frame: SafeFrame) -> None:
        """Write one frame.

        Raises:
            SinkError: If it cannot be written; what was written so far is removed.
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be written, got {type(frame).__name__}")
        if not self._is_open:
            raise SinkError(f"cannot write {self._path}: it is closed")
        with self._discarding_on_failure():
            self._write(frame)
        self._count += 1

    @contextmanager
    def _discarding_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, cv2.error) as error:
            self._discard()
            raise SinkError(f"cannot write {self._path}: {_reason(error)}") from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        self._is_open = False
        with suppress(av.FFmpegError, OSError):  # a full disk fails here once more
            self._opened.close()
        with suppress(OSError):
            shutil.rmtree(self._part) if self._part.is_dir() else self._part.unlink()

    def _open(self) -> None:
        """Make the part; until then there is nothing that a signal could leave behind."""
        self._part.touch()

    @abstractmethod
    def _write(self, frame: SafeFrame) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class PictureSink(_PartSink):
    """One picture; a second frame is an error."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        if (info.frame_count or 1) > 1:
            raise SinkError(f"cannot write {path}: a picture holds one frame of {info.frame_count}; name a folder")

    def _write(self, frame: SafeFrame) -> None:
        if self._count:
            raise SinkError(f"cannot write {self._path}: a picture holds one frame; name a folder instead")
        self._part.write_bytes(_encode_picture(frame.image, self._path.suffix))

    def _finish(self) -> None:
        self._part.replace(self._path)


class FolderSink(_PartSink):
    """One picture per frame: named as in the source, or by its index where the source is a video.

    Into a folder that exists, the pictures are moved one by one when all are whole; its other files stay.
    """

    def _open(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)  # left by a run that was killed
        self._part.mkdir()

    def _write(self, frame: SafeFrame) -> None:
        names = self._info.names
        name = Path(names[frame.index] if names else f"{frame.index:06d}.png").name
        (self._part / name).write_bytes(_encode_picture(frame.image, Path(name).suffix))

    def _finish(self) -> None:
        if not self._path.exists():
            self._part.rename(self._path)
            return
        for picture in sorted(self._part.iterdir()):
            picture.replace(self._path / picture.name)
        self._part.rmdir()


class VideoSink(_PartSink):
    """A video; times as in the source, to the millisecond in mkv and webm.

    A size that is odd, which 4:2:0 cannot hold, is made even by repeating the last column or row. Colours are converted
    by the source's own matrix and range and carry its tags; RGB sources become BT.709.
    """

    def __init__(
        self, path: Path, info: VideoInfo, *, source_path: Path | None, keep_audio: bool, encoder: Encoder, crf: int
    ) -> None:
        super().__init__(path, info)
        self._last_pts = -inf
        self._copies: CopiedStreams | None = None
        with self._discarding_on_failure():
            self._container = self._opened.enter_context(av.open(str(self._part), "w"))
            self._video = VideoEncoder(self._container, info, encoder=encoder, crf=crf)
            if source_path is not None and not info.names:
                source = self._opened.enter_context(av.open(str(source_path), metadata_errors="replace"))
                self._copies = CopiedStreams(source, self._container, keep_audio=keep_audio)
            self._container.container_options.update(_timing_options(self._container, info))

    def _open(self) -> None:
        self._container.start_encoding()  # PyAV makes the file only here

    def _write(self, frame: SafeFrame) -> None:
        size, expected = frame.image.shape[1::-1], (self._info.width, self._info.height)
        if size != expected:
            raise SinkError(f"cannot write {self._path}: frame {frame.index} is {size}, not {expected}; name a folder")
        if frame.pts <= self._last_pts:
            raise SinkError(f"cannot write {self._path}: frame {frame.index} goes back in time")
        self._last_pts = frame.pts
        self._mux(self._video.encode(frame))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            self._mux_copies(seconds_of(packet))
            self._container.mux(packet)

    def _mux_copies(self, until: float) -> None:
        for packet in self._copies.until(until) if self._copies is not None else ():
            is_audio = packet.stream.type == "audio"
            self._container.mux(packet)
            self.audio_packets += is_audio

    def _finish(self) -> None:
        self._mux(self._video.flush())
        self._mux_copies(inf)
        self._opened.close()
        self._part.replace(self._path)


def _timing_options(container: OutputContainer, info: VideoInfo) -> dict[str, str]:
    """Return the options with which the container keeps every pts as it is, and a live one survives a kill."""
    return _pts_options(container, info) | (RECORDING.get(container.format.name, {}) if info.is_live else {})


def _pts_options(container: OutputContainer, info: VideoInfo) -> dict[str, str]:
    if container.format.name not in ("mp4", "mov"):
        return {"avoid_negative_ts": "disabled"}  # else audio that starts before 0 delays the video
    # The start of each stream is stored in this unit, by default the millisecond.
    copied = [stream.time_base.denominator for stream in container.streams if stream.time_base]
    scale = lcm(info.time_base.denominator, *copied)
    return {"movie_timescale": str(scale)} if scale < 2**31 else {}


def _encode_picture(image: Image, suffix: str) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PICTURE_OPTIONS)[1].tobytes()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; nothing of it was kept"
    return (getattr(error, "strerror", None) or str(error)).replace("\n", " ")
