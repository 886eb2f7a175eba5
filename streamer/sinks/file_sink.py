"""Files as sinks: a video, a picture or a folder of pictures, under its final name only when it is whole.

Knows no face and takes only safe frames. Nothing of the source is carried over but its times, colour tags, text
subtitles and, if asked for, its audio, as it is or in another voice: no title, author, place, device, chapter,
attachment or thumbnail.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import inf, lcm
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamer.errors import SinkError
from streamer.masking import mask_secrets
from streamer.sinks.copied import CopiedStreams, seconds_of
from streamer.sinks.encoding import HELD, CodecSetup, VideoEncoder, choose_encoder
from streamer.sinks.marks.mark import add_tags, append_xmp
from streamer.sinks.part_sink import PartSink, check_place, final_place
from streamer.sinks.picture_sinks import PICTURE_SUFFIXES, FolderSink, PictureSink
from streamer.sound.changed import Heard, LiveSound
from streamer.sound.voice import Voice
from streamer.types import Codec, SafeFrame, VideoInfo

if TYPE_CHECKING:
    from streamer.sinks.marks.credentials import Credentials

VIDEO_SUFFIXES = tuple(HELD)
NO_FILE = re.compile(r"[a-z]{2,}://|(preview|virtual-camera|whip):", re.IGNORECASE)
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
    voice: Voice | None = None,
    heard: Heard | None = None,
    codec: Codec = "auto",
    crf: int = 21,
    overwrite: bool = False,
    mark: bool = True,
    credentials: Credentials | None = None,
) -> VideoSink | PictureSink | FolderSink:
    """Return the sink that writes `path`: a video or a picture by its suffix, a folder of pictures without one.

    One thread at a time may write to it.

    Args:
        info: Of the source whose frames will be written.
        source_path: Where that source was read from, for its subtitles and audio, and so as never to overwrite it.
        keep_audio: Copy every audio stream, bit for bit. A voice identifies a person too.
        voice: Instead, change every voice into this one (`streamer.sound.voice`); where that fails, sound ends.
        heard: Of a live source, whose sound is not read again: as of `streamer.sound.changed.LiveSound`.
        codec: Of a video; "auto" is VP9 in webm and H.264 elsewhere.
        crf: Quality on the scale of x264: 18 is visually lossless, 28 is poor.
        overwrite: Replace an existing file. In an existing folder, replace files of the same name only.
        mark: Say in the file that faces in it were generated (`streamer.sinks.marks.mark`): in a picture where one was
            drawn, in a video always. Leave it out of a video in which faces are only covered.
        credentials: Sign what is written with a C2PA manifest.

    Raises:
        SinkError: If `path` exists, is the input, or cannot hold what it should; on entering the sink, which makes
            its file, if that cannot be written.
        ValueError: If `keep_audio` and `voice`, either without `source_path` or of several parts of a video, or an
            unknown codec.
    """
    if keep_audio and voice:
        raise ValueError("keep_audio and voice: sound is copied, or changed")
    if (keep_audio or voice) and len(info.spans) > 1:
        raise ValueError("keep_audio and voice take one part of a video")
    if (keep_audio or (voice and not heard)) and source_path is None:
        raise ValueError("keep_audio and voice need source_path: the audio is read from there")
    if NO_FILE.match(str(path)):
        raise SinkError(f"{mask_secrets(str(path))} is no file; the command `veil run` sends and shows what is live")
    path = final_place(path)
    source_path = Path(source_path).absolute() if source_path is not None else None
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or not suffix
    if not is_folder and suffix not in VIDEO_SUFFIXES and suffix not in PICTURE_SUFFIXES:
        known = " ".join([*VIDEO_SUFFIXES, *PICTURE_SUFFIXES])
        raise SinkError(f"cannot write {path}: unknown kind {suffix}; expected {known}, or a folder")
    if (keep_audio or voice) and suffix not in VIDEO_SUFFIXES:
        raise SinkError(f"cannot write {path}: pictures hold no audio; write a video, or leave the audio out")
    if codec != "auto" and suffix not in VIDEO_SUFFIXES:
        raise SinkError(f"cannot write {path}: pictures have no codec; write a video, or leave the codec out")
    check_place(path, source_path, overwrite=overwrite)
    if credentials:
        credentials.check(path)
    if is_folder:
        if path.is_file():
            raise SinkError(f"cannot write {path}: it is a file; name a folder, or a file with an ending")
        return FolderSink(path, info, overwrite=overwrite, mark=mark, credentials=credentials)
    if suffix in PICTURE_SUFFIXES:
        return PictureSink(path, info, overwrite=overwrite, mark=mark, credentials=credentials)
    encoder = choose_encoder(path, codec)
    return VideoSink(
        path, info,
        source_path=source_path, keep_audio=keep_audio, voice=voice, heard=heard, encoder=encoder, crf=crf,
        overwrite=overwrite, mark=mark, credentials=credentials,
    )  # fmt: skip


class VideoSink(PartSink):
    """A video; times as in the source, to the millisecond in mkv and webm.

    A size that is odd, which 4:2:0 cannot hold, is made even by repeating the last column or row. Colours are converted
    by the source's own matrix and range and carry its tags; RGB sources become BT.709.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        *,
        source_path: Path | None,
        keep_audio: bool,
        voice: Voice | None,
        heard: Heard | None,
        encoder: CodecSetup,
        crf: int,
        overwrite: bool,
        mark: bool,
        credentials: Credentials | None,
    ) -> None:
        super().__init__(path, info, overwrite=overwrite, mark=mark, credentials=credentials)
        self._last_pts = -inf
        self._copies: CopiedStreams | LiveSound | None = None
        with self._discarding_on_failure():
            self._container = self._opened.enter_context(av.open(str(self._part), "w"))
            self._video = VideoEncoder(self._container, info, encoder=encoder, crf=crf)
            if voice and heard:
                self._copies = LiveSound(self._container, voice, heard)
            elif source_path is not None and not info.names and len(info.spans) <= 1:
                source = self._opened.enter_context(av.open(str(source_path), metadata_errors="replace"))
                span = info.spans[0] if info.spans else None
                self._copies = CopiedStreams(source, self._container, keep_audio=keep_audio, voice=voice, span=span)
            self._container.container_options.update(_timing_options(self._container, info))
            if mark:
                add_tags(self._container)

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

    def _complete(self) -> None:
        self._mux(self._video.flush())
        self._mux_copies(inf)
        self.audio_failures = tuple(self._copies.failures) if self._copies else ()
        self._opened.close()
        if self._mark:
            append_xmp(self._part)


def _timing_options(container: OutputContainer, info: VideoInfo) -> dict[str, str]:
    """Return the options with which the container keeps every pts as it is, and a live one survives a kill."""
    return pts_options(container, info.time_base) | (RECORDING.get(container.format.name, {}) if info.is_live else {})


def pts_options(container: OutputContainer, time_base: Fraction) -> dict[str, str]:
    """Return the options with which a container keeps every pts, in units of `time_base`, as it is."""
    if container.format.name not in ("mp4", "mov"):
        return {"avoid_negative_ts": "disabled"}  # else audio that starts before 0 delays the video
    # The start of each stream is stored in this unit, by default the millisecond.
    copied = [stream.time_base.denominator for stream in container.streams if stream.time_base]
    scale = lcm(time_base.denominator, *copied)
    return {"movie_timescale": str(scale)} if scale < 2**31 else {}
