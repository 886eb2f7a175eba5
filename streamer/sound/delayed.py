"""The sound of a peer, as late as its video, and in another voice if that is wanted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from streamer.sound.capture import RATES, CaptureTimes, Stamp
from streamer.sound.voice import Samples, Voice, VoiceChanger

log = logging.getLogger(__name__)

RATE, SAMPLES = RATES["audio"], 960  # 20 ms
TIME_BASE = Fraction(1, RATE)
LEEWAY = 0.02  # seconds by which sound may be early or late before it is corrected


class DelayedAudio(MediaStreamTrack):
    """The sound of a peer, as late as its video; silence where there is none in time, or the voice cannot be changed.

    Args:
        source: What the peer sends.
        times: When it was captured.
        delay: Returns by how many seconds the video is late.
        voice: What it becomes; None to leave it as it is.

    Attributes:
        stamp: When what was given last was captured, if that is known.
    """

    kind = "audio"

    def __init__(
        self, source: MediaStreamTrack, times: CaptureTimes, *, delay: Callable[[], float], voice: Voice | None
    ) -> None:
        super().__init__()
        self.stamp: Stamp | None = None
        self._source, self._times, self._delay = source, times, delay
        self._resampler: AudioResampler | None = None
        self._place: int | None = None  # by the peer's clock, of the sample that is received next
        self._changer = VoiceChanger(voice, rate=RATE, channels=1) if voice else None
        self._least = (SAMPLES + (self._changer.latency if self._changer else 0)) / RATE  # seconds; not sooner
        self._is_broken = False
        self._followed = asyncio.Event()
        self._held = np.zeros((1, 0))
        self._received = self._passed = self._pts = 0  # samples
        self._is_filling = True

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms."""
        self._receive(await self._next())
        out = _framed(self._due())
        out.pts, out.sample_rate, out.time_base = self._pts, RATE, TIME_BASE
        self._pts += SAMPLES
        return out

    def follow(self, source: MediaStreamTrack, times: CaptureTimes) -> None:
        """Take what another one sends from now on: its sender has come back."""
        self._source, self._times = source, times
        self._followed.set()

    def stop(self) -> None:
        """End it, also for who waits."""
        super().stop()
        self._followed.set()

    async def _next(self) -> AudioFrame:
        while self.readyState == "live":
            self._followed.clear()
            try:
                frame = await self._source.recv()
                if isinstance(frame, AudioFrame):
                    return frame
            except MediaStreamError:
                await self._followed.wait()
        raise MediaStreamError

    def _receive(self, frame: AudioFrame) -> None:
        """Take sound in at 48 kHz, which G.711 is not."""
        if frame.sample_rate == RATE:
            self._place = frame.pts
            if frame.pts is not None:
                self._times.arrived("audio", frame.pts, time.monotonic())
            self._hold(frame)
            return
        self._place = None
        self._resampler = self._resampler or AudioResampler(format="s16", layout=frame.layout, rate=RATE)
        for part in self._resampler.resample(frame):
            self._hold(part)

    def _hold(self, frame: AudioFrame) -> None:
        """Hold sound, changed; as one channel where it is changed."""
        self._received += frame.samples
        if self._place is not None:
            self._place += frame.samples
        samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).T.astype(np.float64) / 2**15
        if self._changer:
            samples = self._changed(self._changer, samples.mean(axis=0, keepdims=True))
        elif len(samples) > len(self._held):
            self._held = np.repeat(self._held, len(samples), axis=0)
        self._held = np.concatenate([self._held, samples], axis=1)

    def _changed(self, changer: VoiceChanger, samples: Samples) -> Samples:
        try:
            if not self._is_broken:
                return changer.change(samples)
        except Exception as error:  # sound as it came must not take its place
            self._is_broken = True
            log.error("sound is silent: the voice cannot be changed (%s)", type(error).__name__)
        return np.zeros_like(samples)

    def _due(self) -> Samples | None:
        """Return the 20 ms that are heard now, or None for silence."""
        late = (self._received - self._passed) / RATE - max(self._least, self._delay() - self._times.ahead)
        if late > LEEWAY:  # the video has become faster
            self._take()
        if late < (-LEEWAY / 2 if self._is_filling else -LEEWAY):
            self._is_filling = True
            return None
        self._is_filling = False
        return self._take()

    def _take(self) -> Samples | None:
        if self._held.shape[1] < SAMPLES:
            return None
        if self._place is not None:
            captured = self._times.captured("audio", self._place - (self._received - self._passed))
            self.stamp = Stamp(self._pts / RATE, captured)
        taken, self._held = self._held[:, :SAMPLES], self._held[:, SAMPLES:]
        self._passed += SAMPLES
        return taken


def _framed(samples: Samples | None) -> AudioFrame:
    """Return `(channels, SAMPLES)` of 1 at most as aiortc encodes them."""
    both = np.zeros((2, SAMPLES)) if samples is None else np.resize(samples, (2, SAMPLES))
    return AudioFrame.from_ndarray(np.round(both.T * 32767).astype(np.int16).reshape(1, -1), "s16", "stereo")
