"""One stream of sound of a file, decoded, in another voice, and encoded again: in place to the sample.

Whatever goes wrong in between, what was not changed does not leave: the stream ends there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container.output import OutputContainer
from av.packet import Packet

from streamer.errors import one_line_of
from streamer.sound.voice import Samples, Voice, VoiceChanger

log = logging.getLogger(__name__)

# What AAC has that a voice needs; others become the last. Opus knows one rate.
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
BITS = 80_000  # a second, of each channel
TOLERANCE = 0.01  # seconds by which what is heard next may seem early or late: Matroska rounds to the millisecond
LONGEST_PIECE = 1.0  # seconds of silence that are made at once


class ChangedSound:
    """The sound of one stream in another voice, for a stream of `output`.

    Args:
        source: What is read.
        output: Where it goes; of more than two channels, two are made.
        voice: See there.

    Attributes:
        target: The stream of `output`.
        failure: Why it ended early, in a line; "" if it did not.
    """

    def __init__(self, source: AudioStream, output: OutputContainer, voice: Voice) -> None:
        is_webm = output.format.name == "webm"
        rate = source.codec_context.sample_rate
        self._rate = rate if rate in RATES and not is_webm else RATES[-1]
        self._layout = "mono" if source.codec_context.channels == 1 else "stereo"
        self.target = output.add_stream("libopus" if is_webm else "aac", rate=self._rate, layout=self._layout)
        self._channels = len(self.target.codec_context.layout.channels)
        self.target.codec_context.bit_rate = BITS * self._channels
        self.failure = ""
        self._source, self._voice = source, voice
        self._changer: VoiceChanger | None = None
        self._resampler = self._new_resampler()
        self._end = self._written = 0  # samples since the start: what is heard next, and what is written next

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Take a packet whose times count from the start of the output; yield those that are ready."""
        yield from self._guarded(self._heard(packet))

    def flush(self) -> Iterator[Packet[Any]]:
        """Yield what is left, at the end."""
        yield from self._guarded(self._last())

    def _guarded(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        try:
            if not self.failure:
                yield from packets
        except Exception as error:  # whatever it is: sound as it came must not take its place
            self.failure = f"{one_line_of(error)}, at {self._end / self._rate:.1f} s"
            log.error("sound is left out from there on: the voice cannot be changed: %s", self.failure)

    def _heard(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        try:
            frames = self._source.codec_context.decode(packet)
        except av.FFmpegError as error:
            log.warning("a packet of sound is lost: %s", error.strerror)
            return
        for frame in frames:
            for part in self._resampled(frame):
                yield from self._placed(part)

    def _last(self) -> Iterator[Packet[Any]]:
        for part in self._resampler.resample(None) if self._changer else ():
            yield from self._placed(part)
        if self._changer:
            yield from self._encoded(self._changer.flush())
        yield from self._packets(None)

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout=self._layout, rate=self._rate)

    def _resampled(self, frame: AudioFrame) -> list[AudioFrame]:
        try:
            return self._resampler.resample(frame)
        except ValueError:  # a broadcast that changes from stereo to mono
            rest = self._resampler.resample(None)
            self._resampler = self._new_resampler()
            return [*rest, *self._resampler.resample(frame)]

    def _placed(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        """Take sound at its time: a gap is silent, what overlaps or comes before the start is left out."""
        samples = np.nan_to_num(frame.to_ndarray().astype(np.float64))
        if frame.pts is None or frame.time_base is None:
            place = self._end
        else:
            place = round(frame.pts * frame.time_base * self._rate)
        if self._changer and abs(place - self._end) <= TOLERANCE * self._rate:
            place = self._end
        samples = samples[:, max(0, self._end - place) :]
        place = max(place, self._end)
        if not samples.shape[1]:
            return
        if self._changer is None:
            self._end = self._written = place
            seconds = place / self._rate
            self._changer = VoiceChanger(self._voice, rate=self._rate, channels=self._channels, start_seconds=seconds)
        while self._end < place:
            length = min(place - self._end, round(LONGEST_PIECE * self._rate))
            yield from self._changed(np.zeros((self._channels, length)))
        yield from self._changed(samples)

    def _changed(self, samples: Samples) -> Iterator[Packet[Any]]:
        assert self._changer is not None
        self._end += samples.shape[1]
        yield from self._encoded(self._changer.change(np.clip(samples, -1, 1)))

    def _encoded(self, samples: Samples) -> Iterator[Packet[Any]]:
        if not samples.shape[1]:
            return
        planar = np.ascontiguousarray(samples, np.float32)
        frame = AudioFrame.from_ndarray(planar, "fltp", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
        self._written += samples.shape[1]
        yield from self._packets(frame)

    def _packets(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        yield from self.target.encode(frame)
