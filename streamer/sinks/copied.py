"""Sound and text subtitles of the source beside the new video: copied packet by packet, or in another voice.

What an edit list cuts away is not copied: nobody was to hear it.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from math import inf
from typing import TypeGuard

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container.input import InputContainer
from av.container.output import OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from streamer.errors import SinkError
from streamer.sound.changed import ChangedSound
from streamer.sound.codec_headers import HeaderError, bare_header
from streamer.sound.codec_packets import bare_packet, may_lie_beside
from streamer.sound.voice import Voice
from streamer.sources.clock import LEAP_SECONDS, Activity, Clock, common_start, is_timed
from streamer.types import Span

log = logging.getLogger(__name__)

TEXT_SUBTITLES = frozenset({"mov_text", "subrip", "ass", "webvtt", "text"})  # others are pictures: unchecked
UNFIT = {"mp4": ("pcm_",), "mov": ("flac", "opus")}  # FFmpeg takes them, then fails; PCM only after the last frame
# Matroska holds these by their number in WAV files, which PyAV does not know of.
BY_NUMBER = frozenset({
    "pcm_mulaw", "pcm_alaw", "pcm_s64le", "adpcm_ms", "adpcm_ima_wav", "adpcm_yamaha", "adpcm_swf", "gsm_ms",
    "adpcm_g722", "adpcm_g726", "g723_1", "speex", "wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice",
})  # fmt: skip
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")  # RFC 5646; what is longer is something else
INTERLEAVED_SECONDS = 10.0  # by which one stream of a file may lie behind another
MAX_FAILURES = 300  # reads of audio and subtitles; what follows is left out
# Sound that is decoded but not heard, for the delay of the codec (HE-AAC: 118 ms); more was cut away by somebody.
LONGEST_DELAY = Fraction(15, 100)


class CopiedStreams:
    """Text subtitles and audio of the source, read again beside the video and only as far as it has come.

    Args:
        keep_audio: Copy every audio stream, bit for bit.
        voice: Instead, change them into it.
        span: The part of the source that is copied; None for all of it.
    """

    def __init__(
        self, source: InputContainer, output: OutputContainer, *, keep_audio: bool, voice: Voice | None = None,
        span: Span | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._copies: dict[int, _Copy] = {}
        self._told = set[int]()  # streams of which it was said that something was left out
        self._activity = Activity()
        self._is_part, span = span is not None, span or Span()
        start = common_start(source) + Fraction(span.start)
        self._start, self._end = float(start), inf if span.end is None else float(start) + span.end - span.start
        for stream in source.streams:
            changed = ChangedSound(stream, output, voice) if voice and _is_sound(stream) else None
            target = changed.target if changed else _add_copy(output, stream, keep_audio=keep_audio)
            if target is not None:
                if stream.language and LANGUAGE.fullmatch(stream.language):
                    target.metadata["language"] = stream.language
                target.disposition = stream.disposition
                # Matroska allows equal times.
                tick = 0 if output.format.name in ("matroska", "webm") else 1
                self._copies[stream.index] = _Copy(target, start, self._activity, tick=tick, changed=changed)
            elif not ((keep_audio or voice) and is_timed(stream)):
                stream.discard = Discard.all
        self._packets = self._read()
        self._next = next(self._packets, None)

    @property
    def failures(self) -> list[str]:
        """Why sound ended before its end, of each stream that did."""
        return [reason for copy in self._copies.values() if (reason := copy.failure)]

    def until(self, seconds: float) -> Iterator[Packet[Stream]]:
        """Yield the packets up to a time of the video, each once."""
        while self._next is not None and seconds_of(self._next) <= seconds:
            yield self._next
            self._next = next(self._packets, None)

    def _read(self) -> Iterator[Packet[Stream]]:
        failures = 0
        while self._copies and failures < MAX_FAILURES:
            try:
                for packet in self._source.demux():
                    if packet.dts is not None and seconds_of(packet) > self._end + INTERLEAVED_SECONDS:
                        break
                    yield from self._copied(packet)
                break
            except av.FFmpegError as error:
                failures += 1
                log.warning("a packet of audio or subtitles is lost: %s", error.strerror)
        for copy in self._copies.values():
            yield from copy.finish()

    def _copied(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        if not packet.size or packet.dts is None:
            return
        if self._is_part and not self._start <= seconds_of(packet) < self._end:
            return
        if packet.stream_index in self._copies:
            copy = self._copies[packet.stream_index]
            if (bare := packet if copy.is_changed else self._bare(packet)) is not None:
                yield from copy.push(bare)
        elif packet.stream.type == "video":
            self._activity.add(seconds_of(packet))

    def _bare(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        """Return a packet with nothing but text or sound, or None if it has neither."""
        content, context = bytes(packet), packet.stream.codec_context
        bare = bare_packet(context.codec.canonical_name if context else "", content)
        beside = list(packet.iter_sidedata())
        fit = [each for each in beside if may_lie_beside(each.data_type, bytes(each))]
        if bare == content and len(fit) == len(beside):
            return packet
        if packet.stream_index not in self._told:
            self._told.add(packet.stream_index)
            kind = "sound" if packet.stream.type == "audio" else "text"
            log.warning("%s is left out that is none: a tag, a picture or a drawing among it", kind)
        if not bare or packet.is_discard:
            return None
        copy: Packet[Stream] = Packet(bare)
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
        for each in fit:
            copy.set_sidedata(each)
        return copy


class _Copy:
    """The packets of one stream, for its output stream and on one clock; `changed` into another voice, if at all."""

    def __init__(
        self, target: Stream, start: Fraction, activity: Activity, *, tick: int, changed: ChangedSound | None
    ) -> None:
        self._target, self._start, self._activity, self._tick = target, start, activity, tick
        self._changed = changed
        self._is_sound = target.type == "audio"
        self._clock: Clock | None = None
        self._delay: list[Packet[Stream]] | None = []  # None once something is heard, or was cut away
        self._held: Packet[Stream] | None = None  # the clock wants to know what follows

    @property
    def is_changed(self) -> bool:
        """Whether its packets are decoded, so that only sound is left of them."""
        return self._changed is not None

    @property
    def failure(self) -> str:
        """Why it ended before its end; "" if it did not."""
        return self._changed.failure if self._changed else ""

    def push(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        """Take a packet of the source; yield those that are ready."""
        if packet.has_sidedata("encryption_info"):
            raise SinkError(f"cannot keep the {self._target.type}: it is encrypted; leave it out")
        if packet.is_discard:
            self._keep_delay(packet)
            return
        heard, self._delay = [*(self._delay or ()), packet], None
        for each in heard:
            if not self._is_sound:  # the next text may be minutes away
                yield self._moved(each, None)
                continue
            yield from self.flush(each.dts)
            self._held = each

    def flush(self, following: int | None = None) -> Iterator[Packet[Stream]]:
        """Yield what is held, given the dts that follows."""
        held, self._held = self._held, None
        if held is None:
            return
        moved = self._moved(held, following)
        if self._changed:
            yield from self._changed.push(moved)
        else:
            yield moved

    def finish(self) -> Iterator[Packet[Stream]]:
        """Yield what is left, at the end."""
        yield from self.flush()
        if self._changed:
            yield from self._changed.flush()

    def _keep_delay(self, packet: Packet[Stream]) -> None:
        """Keep what is decoded before the first sound that is heard, unless it is too long to be for the codec."""
        if self._delay is None or not self._is_sound:
            return
        self._delay.append(packet)
        if sum((each.duration or 0) * each.time_base for each in self._delay) > LONGEST_DELAY:
            self._delay = None

    def _moved(self, packet: Packet[Stream], following: int | None) -> Packet[Stream]:
        if self._clock is None:
            self._clock = Clock(
                packet.time_base,
                step=Fraction(packet.duration or 1),
                start=self._start,
                activity=self._activity,
                tick=self._tick,
                longest_wait=LEAP_SECONDS if self._is_sound else inf,
            )
        dts = packet.dts or 0
        delay = 0 if packet.pts is None else max(0, packet.pts - dts)
        packet.dts = self._clock.time(dts, following, duration=packet.duration or 0)
        packet.pts = packet.dts + delay
        packet.stream = self._target
        return packet


def _add_copy(output: OutputContainer, stream: Stream, *, keep_audio: bool) -> Stream | None:
    """Return the output stream that takes the packets of `stream`, or None to leave them out."""
    # Of the codec, not of its decoder: that of adpcm_g726 is called g726.
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    is_audio = stream.type == "audio" and keep_audio
    if not is_audio and stream.type != "subtitle":
        return None
    container = output.format.name
    try:
        if (not is_audio and codec not in TEXT_SUBTITLES) or codec.startswith(UNFIT.get(container, ())):
            raise ValueError(f"{codec} cannot be copied")
        header = (stream.codec_context and stream.codec_context.extradata) or b""
        bare = bare_header(codec, header)
        if container == "matroska" and codec in BY_NUMBER:
            return _add_by_number(output, stream)
        target = output.add_stream_from_template(stream)
        if bare != header:
            target.codec_context.extradata = bare
    except ValueError as error:
        if not is_audio:
            log.warning("subtitles are left out: %s", error)
            return None
        hint = "leave the audio out" if container == "matroska" else "write .mkv, or leave the audio out"
        reason = (
            f"{error}; leave it out" if isinstance(error, HeaderError) else f"{container} cannot hold {codec}; {hint}"
        )
        raise SinkError(f"cannot keep the audio: {reason}") from error
    return target


def _is_sound(stream: Stream) -> TypeGuard[AudioStream]:
    """Return whether a stream is sound that can be decoded."""
    return isinstance(stream, AudioStream) and stream.codec_context is not None


def _add_by_number(output: OutputContainer, stream: Stream) -> Stream:
    """Return an output stream for sound that PyAV believes Matroska cannot hold.

    A filter that does nothing hands on the parameters of a stream whatever the container: first to one of NUT, which
    takes the tag of the source's container from them, then to ours, whatever it was made for.
    """
    with av.open(io.BytesIO(), "w", format="nut") as scratch:
        template = scratch.add_stream_from_template(stream)
        target = output.add_mux_stream("pcm_s16le", time_base=stream.time_base)
        BitStreamFilterContext("null", template, target)
    return target


def seconds_of(packet: Packet[Stream] | Packet[VideoStream]) -> float:
    """Return when a packet is to be decoded."""
    return float((packet.dts or 0) * packet.time_base)
