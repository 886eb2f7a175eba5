"""One stream of sound of a file, decoded, in another voice, and encoded again: in place to the sample.

Whatever goes wrong in between, what was not changed does not leave: the stream ends there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from math import inf
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

# Returns what was heard of a live source before a time, each piece once: when it begins, and `(2, N)` samples, 48,000 a
# second.
Heard = Callable[[float], Iterable[tuple[float, Samples]]]

# What AAC has that a voice needs; others become the last. Opus knows one rate.
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
BITS = 80_000  # a second, of each channel
TOLERANCE = 0.01  # seconds by which what is heard next may seem early or late: Matroska rounds to the millisecond
LONGEST_PIECE = 1.0  # seconds of silence that are made at once
PATIENCE_SECONDS = 0.5  # for what is live and did not come yet: a muxer holds pictures back until there is sound


class PlacedSound:
    """A stream of sound of `output`, in another voice: samples are put in their places, what lies between is silent.

    Args:
        output: Where it goes.
        voice: See there.
        rate: Samples a second, at best; some codecs know others only.
        layout: "mono" or "stereo".

    Attributes:
        target: The stream of `output`.
        rate, channels: Of the samples that it takes.
        failure: Why it ended early, in a line; "" if it did not.
    """

    def __init__(self, output: OutputContainer, voice: Voice, *, rate: int, layout: str) -> None:
        is_webm = output.format.name == "webm"
        self.rate = rate if rate in RATES and not is_webm else RATES[-1]
        self.target = output.add_stream("libopus" if is_webm else "aac", rate=self.rate, layout=layout)
        self.channels = len(self.target.codec_context.layout.channels)
        self.target.codec_context.bit_rate = BITS * self.channels
        self.failure = ""
        self._layout, self._voice = layout, voice
        self._changer: VoiceChanger | None = None
        self._end = self._written = 0  # samples since the start: what is heard next, and what is written next

    def put(self, samples: Samples, place: int | None) -> Iterator[Packet[Any]]:
        """Take `(channels, N)` samples of a place, or those that follow; yield the packets that are ready."""
        yield from self.guarded(self._placed(samples, self._end if place is None else place))

    def begin(self, place: int) -> None:
        """Begin at a place, before anything is put: what comes before is left out."""
        self._end = self._written = place
        self._changer = VoiceChanger(
            self._voice, rate=self.rate, channels=self.channels, start_seconds=place / self.rate
        )

    def reach(self, place: int) -> Iterator[Packet[Any]]:
        """Let there be silence up to a place where nothing came."""
        yield from self.guarded(self._silent(place))

    def flush(self) -> Iterator[Packet[Any]]:
        """Yield what is left, at the end."""
        yield from self.guarded(self._last())

    def guarded(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Yield packets until one of them cannot be made; then no more come."""
        try:
            if not self.failure:
                yield from packets
        except Exception as error:  # whatever it is: sound as it came must not take its place
            self.failure = f"{one_line_of(error)}, at {self._end / self.rate:.1f} s"
            log.error("sound is left out from there on: the voice cannot be changed: %s", self.failure)

    def _placed(self, samples: Samples, place: int) -> Iterator[Packet[Any]]:
        """Take sound at its place: a gap is silent, what overlaps or comes before the start is left out."""
        if self._changer and abs(place - self._end) <= TOLERANCE * self.rate:
            place = self._end
        samples = np.nan_to_num(samples)[:, max(0, self._end - place) :]
        place = max(place, self._end)
        if not samples.shape[1]:
            return
        if self._changer is None:
            self.begin(place)
        yield from self._silent(place)
        yield from self._changed(samples)

    def _silent(self, place: int) -> Iterator[Packet[Any]]:
        if self._changer is None:
            self.begin(self._end)
        while self._end < place:
            length = min(place - self._end, round(LONGEST_PIECE * self.rate))
            yield from self._changed(np.zeros((self.channels, length)))

    def _changed(self, samples: Samples) -> Iterator[Packet[Any]]:
        assert self._changer is not None
        self._end += samples.shape[1]
        yield from self._encoded(self._changer.change(np.clip(samples, -1, 1)))

    def _encoded(self, samples: Samples) -> Iterator[Packet[Any]]:
        if not samples.shape[1]:
            return
        planar = np.ascontiguousarray(samples, np.float32)
        frame = AudioFrame.from_ndarray(planar, "fltp", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self._written, Fraction(1, self.rate)
        self._written += samples.shape[1]
        yield from self.target.encode(frame)

    def _last(self) -> Iterator[Packet[Any]]:
        if self._changer:
            yield from self._encoded(self._changer.flush())
        yield from self.target.encode(None)


class ChangedSound:
    """The sound of one stream in another voice, for a stream of `output`.

    Args:
        source: What is read.
        output: Where it goes; of more than two channels, two are made.
        voice: See there.

    Attributes:
        target: The stream of `output`.
    """

    def __init__(self, source: AudioStream, output: OutputContainer, voice: Voice) -> None:
        self._layout = "mono" if source.codec_context.channels == 1 else "stereo"
        self._placed = PlacedSound(output, voice, rate=source.codec_context.sample_rate, layout=self._layout)
        self.target = self._placed.target
        self._source = source
        self._resampler = self._new_resampler()

    @property
    def failure(self) -> str:
        """Why it ended early, in a line; "" if it did not."""
        return self._placed.failure

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Take a packet whose times count from the start of the output; yield those that are ready."""
        yield from self._placed.guarded(self._heard(packet))

    def flush(self) -> Iterator[Packet[Any]]:
        """Yield what is left, at the end."""
        yield from self._placed.guarded(self._put(self._resampler.resample(None)))
        yield from self._placed.flush()

    def _heard(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        try:
            frames = self._source.codec_context.decode(packet)
        except av.FFmpegError as error:
            log.warning("a packet of sound is lost: %s", error.strerror)
            return
        for frame in frames:
            yield from self._put(self._resampled(frame))

    def _put(self, frames: Iterable[AudioFrame]) -> Iterator[Packet[Any]]:
        for frame in frames:
            place = None
            if frame.pts is not None and frame.time_base is not None:
                place = round(frame.pts * frame.time_base * self._placed.rate)
            yield from self._placed.put(frame.to_ndarray().astype(np.float64), place)

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout=self._layout, rate=self._placed.rate)

    def _resampled(self, frame: AudioFrame) -> list[AudioFrame]:
        try:
            return self._resampler.resample(frame)
        except ValueError:  # a broadcast that changes from stereo to mono
            rest = self._resampler.resample(None)
            self._resampler = self._new_resampler()
            return [*rest, *self._resampler.resample(frame)]


class LiveSound:
    """The sound of a live source in another voice, for a stream of `output`, no further than its video has come.

    Args:
        output: Where it goes.
        voice: See there.
        heard: See there.
    """

    def __init__(self, output: OutputContainer, voice: Voice, heard: Heard) -> None:
        self._placed = PlacedSound(output, voice, rate=RATES[-1], layout="stereo")
        self._heard, self._last = heard, 0.0
        self._has_begun = False

    @property
    def failures(self) -> list[str]:
        """Why it ended early, if it did."""
        return [self._placed.failure] if self._placed.failure else []

    def until(self, seconds: float) -> Iterator[Packet[Any]]:
        """Yield the packets up to a time of the video, `inf` at its end; silence where nothing came for a while."""
        is_end = seconds == inf
        if not self._has_begun and not is_end:  # also where others have heard for long: a server is called anew
            self._placed.begin(round(seconds * RATES[-1]))
            self._has_begun = True
        self._last = self._last if is_end else seconds
        for at, samples in self._heard(self._last):
            yield from self._placed.put(samples, round(at * RATES[-1]))
        if is_end:
            yield from self._placed.flush()
        else:
            yield from self._placed.reach(round((seconds - PATIENCE_SECONDS) * RATES[-1]))
