"""Another voice: which one follows from a key, and changes slowly all the time. Knows only samples.

Pitch and formants are moved apart from each other: peaks of the spectrum are shifted whole, each with one phase
(Laroche and Dolson 1999, New phase-vocoder techniques for pitch-shifting), under a spectral envelope that is warped
by itself (a "true envelope", Röbel and Rodet 2005). A voice is disguised by that, not made anonymous: rhythm, accent
and words stay, and whoever finds the mean factors undoes most of it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]
Bins = npt.NDArray[np.int64]

PURPOSE = b"veil voice:"
PITCH = (3.0, 5.0)  # semitones, up or down; a man's and a woman's voices are 12 apart, their formants 3
FORMANT = (2.0, 3.4)  # semitones, the same way; each knot its own
KNOTS = np.array([300.0, 900.0, 1800.0, 3200.0])  # Hz, where formants lie
WOBBLE = 0.9  # semitones, at most, by which each factor changes
PERIODS = (2.3, 11.0)  # seconds, of what changes it

HOP_SECONDS = 0.0125
OVERLAP = 4  # hops a frame, which is long enough (50 ms) to tell the harmonics of 80 Hz apart
PADDING = 2  # FFT over so many frames' length: a shift is rounded to half a bin
PERIOD = (0.0025, 0.0125)  # seconds, of a voice: 400 to 80 Hz
ENVELOPE = 0.5  # periods; what of the cepstrum is envelope (Röbel and Rodet 2005, section 3)
ROUNDS = 4  # of the true envelope
ONSET = 8.0  # times the power of the frame before; phases then begin anew, so that a click stays one
QUIET = 1e-12  # power of a bin below which there is nothing to shift
LOUDER = 4.0  # times, at most, by which a frame is made as loud as it was
LIFT = 2.5  # of the natural logarithm, at most, by which a formant lifts or lowers (22 dB)


@dataclass(frozen=True)
class Voice:
    """What a voice becomes: factors of pitch and formants, as functions of time.

    Attributes:
        semitones: `(5,)` means: of pitch, and of the formants about each of `KNOTS`.
        phases: `(5, 3)` radians, of what changes each of them.
        periods: `(5, 3)` seconds.
    """

    semitones: Samples
    phases: Samples
    periods: Samples

    @classmethod
    def of(cls, key: bytes | None, name: str = "") -> Self:
        """Return the voice that follows from a key and the name of what is heard; without a key, one of its own."""
        count = 1 + len(KNOTS)
        draws = _uniform(key or secrets.token_bytes(32), name, 1 + 7 * count)
        sign, draws = (1.0 if draws[0] < 0.5 else -1.0), draws[1:].reshape(count, 7)
        low, high = np.array([PITCH, *[FORMANT] * len(KNOTS)]).T
        semitones = sign * (low + (high - low) * draws[:, 0])
        periods = PERIODS[0] + (PERIODS[1] - PERIODS[0]) * draws[:, 4:7]
        return cls(semitones, 2 * np.pi * draws[:, 1:4], periods)

    def factors(self, seconds: float) -> tuple[float, Samples]:
        """Return the factor of pitch, and those of formants about `KNOTS`, at a time."""
        wobble = WOBBLE * np.sin(2 * np.pi * seconds / self.periods + self.phases).mean(axis=1)
        factors = 2 ** ((self.semitones + wobble) / 12)
        return float(factors[0]), factors[1:]


def _uniform(key: bytes, name: str, count: int) -> Samples:
    """Return `(count,)` numbers of [0, 1) that nobody can tell without the key."""
    blocks = (hmac.digest(key, PURPOSE + bytes([n]) + name.encode(), hashlib.sha512) for n in range(1 + count // 16))
    return np.frombuffer(b"".join(blocks), ">u4")[:count].astype(np.float64) / 2**32


class VoiceChanger:
    """Changes one stream of sound, of any number of channels alike: as many samples come out as went in, and in time.

    Args:
        voice: See there.
        rate: Samples a second.
        channels: How many.
        start_seconds: When the first sample is heard.

    Attributes:
        latency: Samples that it holds back at most.
    """

    def __init__(self, voice: Voice, *, rate: int, channels: int, start_seconds: float = 0.0) -> None:
        self._voice, self._rate = voice, rate
        self._hop = max(1, round(rate * HOP_SECONDS))
        self.latency = OVERLAP * self._hop
        self._fft = PADDING * self.latency
        self._window = np.hanning(self.latency + 1)[:-1]
        self._frequencies = np.fft.rfftfreq(self._fft, 1 / rate)
        self._quefrencies = np.abs(np.fft.fftfreq(self._fft, rate / self._fft))
        self._periods = np.flatnonzero((self._quefrencies >= PERIOD[0]) & (self._quefrencies <= PERIOD[1]))
        self._input = np.zeros((channels, self.latency - self._hop))
        self._output = np.zeros((channels, self.latency))
        self._at = round(start_seconds * rate) - (self.latency - self._hop)  # first sample of the next frame
        self._before = self.latency - self._hop  # samples to come out that are before the first
        self._held = 0
        self._turns = np.zeros(len(self._frequencies))  # radians by which each bin was turned in the last frame
        self._power = 0.0

    def change(self, samples: Samples) -> Samples:
        """Return what is ready, `(channels, M)`, after `(channels, N)` more; of 1 at most."""
        self._input = np.concatenate([self._input, samples], axis=1)
        self._held += samples.shape[1]
        pieces = list(self._hops())
        made: Samples = np.concatenate([np.zeros((len(samples), 0)), *pieces], axis=1)
        early = min(self._before, made.shape[1])
        self._before -= early
        self._held -= made.shape[1] - early
        return made[:, early:]

    def flush(self) -> Samples:
        """Return what is left, at the end."""
        held = self._held
        return self.change(np.zeros((len(self._input), self.latency + self._hop)))[:, :held]

    def _hops(self) -> Iterator[Samples]:
        while self._input.shape[1] >= self.latency:
            frame, self._input = self._input[:, : self.latency], self._input[:, self._hop :]
            self._output += self._changed(frame)
            yield np.clip(self._output[:, : self._hop], -1, 1)
            self._output = np.pad(self._output[:, self._hop :], ((0, 0), (0, self._hop)))
            self._at += self._hop

    def _changed(self, frame: Samples) -> Samples:
        """Return `(channels, latency)` to be added to the output, of as many samples of the input."""
        half = self.latency // 2
        centred = np.zeros((len(frame), self._fft))  # time 0 in the middle: a turn of a peak is one there
        centred[:, :half], centred[:, -half:] = (frame * self._window)[:, half:], (frame * self._window)[:, :half]
        spectrum = np.fft.rfft(centred)
        power = np.square(np.abs(spectrum)).mean(axis=0)
        if power.max() < QUIET:
            self._power = 0.0
            return np.zeros_like(frame)
        pitch, formants = self._voice.factors((self._at + half) / self._rate)
        made = self._shifted(spectrum, power, pitch, self._envelope(power), formants)
        loudness = np.sqrt(power.sum() / max(np.square(np.abs(made)).mean(axis=0).sum(), QUIET))
        back = np.fft.irfft(made * min(loudness, LOUDER), self._fft)
        joined: Samples = np.concatenate([back[:, -half:], back[:, :half]], axis=1)
        return joined * self._window * (2 / (0.75 * OVERLAP))

    def _envelope(self, power: Samples) -> Samples:
        """Return the natural logarithm of the spectral envelope's magnitude, `(bins,)`."""
        spectrum: Samples = 0.5 * np.log(power + QUIET)
        envelope = spectrum
        for n in range(ROUNDS):
            cepstrum = np.fft.irfft(np.maximum(spectrum, envelope), self._fft)
            if not n:
                period = self._quefrencies[self._periods[cepstrum[self._periods].argmax()]]
            envelope = np.fft.rfft(cepstrum * (self._quefrencies < ENVELOPE * period)).real
        return envelope

    def _shifted(
        self, spectrum: Spectrum, power: Samples, pitch: float, envelope: Samples, formants: Samples
    ) -> Spectrum:
        """Return the spectrum with every peak at `pitch` times its frequency, under the warped envelope."""
        peaks, places = _peaks(power)
        owner = np.searchsorted((peaks[1:] + peaks[:-1]) / 2, np.arange(len(power)))
        shift = places * (pitch - 1)
        is_onset = power.sum() > ONSET * self._power
        self._power = power.sum()
        before = np.zeros(len(peaks)) if is_onset else self._turns[peaks]
        turns = before + 2 * np.pi * shift * self._hop / self._fft
        self._turns = turns[owner] % (2 * np.pi)
        target = np.arange(len(power)) + np.rint(shift).astype(np.int64)[owner]
        is_in = (target >= 0) & (target < len(power))
        target, frequencies = target[is_in], self._frequencies
        warped = np.interp(frequencies / np.interp(frequencies, KNOTS, formants), frequencies, envelope)
        gain = np.exp(np.clip(warped[target] - envelope[is_in], -LIFT, LIFT) + 1j * self._turns[is_in])
        made = np.zeros_like(spectrum)
        for channel, source in zip(made, spectrum[:, is_in] * gain, strict=True):
            np.add.at(channel, target, source)
        return made


def _peaks(power: Samples) -> tuple[Bins, Samples]:
    """Return the bins of all peaks of a spectrum, and where between bins they are."""
    inner = power[2:-2]
    is_peak = (inner > power[1:-3]) & (inner >= power[3:-1]) & (inner > power[:-4]) & (inner >= power[4:])
    peaks = np.flatnonzero(is_peak) + 2
    if not len(peaks):
        peaks = np.array([int(np.clip(power.argmax(), 1, len(power) - 2))])
    left, middle, right = (np.log(power[peaks + n] + QUIET) for n in (-1, 0, 1))
    curve = np.minimum(left - 2 * middle + right, -QUIET)
    return peaks, peaks + np.clip(0.5 * (left - right) / curve, -0.5, 0.5)
