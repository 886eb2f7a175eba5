"""The sound of a peer: as late as its video, in another voice if that is wanted, and silent rather than as it came."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame

from streamer.sound.capture import AHEAD, CaptureTimes
from streamer.sound.delayed import RATE, SAMPLES, DelayedAudio
from streamer.sound.voice import Samples, Voice

TONE = 400.0
EACH = SAMPLES / RATE


class Tone(MediaStreamTrack):
    """A tone that begins after `silent` pieces of 20 ms."""

    kind = "audio"

    def __init__(self, silent: int = 0) -> None:
        super().__init__()
        self.count, self.silent = 0, silent

    async def recv(self) -> AudioFrame:
        time = (np.arange(SAMPLES) + self.count * SAMPLES) / RATE
        wave = np.round(8000 * np.sin(2 * np.pi * TONE * time)) * (self.count >= self.silent)
        frame = AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), 2)[None], "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.count * SAMPLES, Fraction(1, RATE)
        self.count += 1
        return frame


async def heard(track: DelayedAudio, count: int) -> Samples:
    """The left channel of the next pieces."""
    return np.concatenate([(await track.recv()).to_ndarray()[0, ::2] for _ in range(count)]) / 2**15


def begins(wave: Samples) -> float:
    """When it is loud, in seconds."""
    return int(np.argmax(np.abs(wave) > 0.03)) / RATE


@pytest.mark.parametrize("voice", [None, Voice.of(bytes(32))])
@pytest.mark.parametrize("delay", [0.12, 0.31, 0.6])
def test_sound_is_as_late_as_the_video(voice: Voice | None, delay: float) -> None:
    async def test() -> None:
        wave = await heard(DelayedAudio(Tone(silent=40), CaptureTimes(), delay=lambda: delay, voice=voice), 100)
        # A piece is whole 20 ms after it began, and comes out at once if there is nothing to wait for.
        assert begins(wave) - 40 * EACH + EACH == pytest.approx(delay - AHEAD, abs=0.02)

    asyncio.run(test())


def test_sound_is_as_late_as_the_video_by_what_the_peer_reports() -> None:
    class Told(CaptureTimes):
        ahead = 0.2

    async def test() -> None:
        wave = await heard(DelayedAudio(Tone(silent=40), Told(), delay=lambda: 0.5, voice=None), 100)
        assert begins(wave) - 40 * EACH + EACH == pytest.approx(0.5 - 0.2, abs=0.02)

    asyncio.run(test())


def test_what_goes_out_is_stamped_with_when_it_was_captured() -> None:
    async def test() -> None:
        times = CaptureTimes()
        track = DelayedAudio(Tone(), times, delay=lambda: 0.3, voice=None)
        assert track.stamp is None
        for _ in range(60):
            out = await track.recv()
        assert track.stamp
        assert out.pts is not None
        assert track.stamp.time == out.pts / RATE
        # Of the tone, what is heard now was received 0.3 s - AHEAD ago.
        last = times.captured("audio", 60 * SAMPLES)
        assert last - track.stamp.captured == pytest.approx(0.3 - AHEAD, abs=0.021)

    asyncio.run(test())


def test_sound_of_another_rate_is_heard_at_its_own_pitch() -> None:
    class Telephone(Tone):
        """As G.711 comes."""

        async def recv(self) -> AudioFrame:
            wave = 8000 * np.sin(2 * np.pi * TONE * (np.arange(160) + 160 * self.count) / 8000)
            frame = AudioFrame.from_ndarray(np.round(wave).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 160 * self.count, Fraction(1, 8000)
            self.count += 1
            return frame

    async def test() -> None:
        wave = (await heard(DelayedAudio(Telephone(), CaptureTimes(), delay=lambda: 0.0, voice=None), 60))[RATE // 2 :]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert np.argmax(spectrum) * RATE / len(wave) == pytest.approx(TONE, abs=5)
        assert np.square(wave).reshape(-1, SAMPLES).mean(axis=1).min() > 0.01

    asyncio.run(test())


def test_sound_that_is_late_already_is_heard_at_once() -> None:
    async def test() -> None:
        wave = await heard(DelayedAudio(Tone(), CaptureTimes(), delay=lambda: 0.02, voice=Voice.of(bytes(32))), 30)
        assert begins(wave) < 0.09
        assert np.abs(wave[RATE // 10 :].reshape(-1, SAMPLES)).max(axis=1).min() > 0.02

    asyncio.run(test())


def test_sound_follows_a_video_that_becomes_faster_or_slower() -> None:
    delay = 0.6

    async def test() -> None:
        nonlocal delay
        track = DelayedAudio(Tone(), CaptureTimes(), delay=lambda: delay, voice=None)
        for delay in (0.6, 0.1, 0.4):
            await heard(track, 60)
            assert (track._received - track._passed) / RATE == pytest.approx(delay - AHEAD, abs=0.041)

    asyncio.run(test())


def test_a_voice_comes_out_changed_and_without_gaps() -> None:
    async def test() -> None:
        voice = Voice.of(bytes(32))
        wave = (await heard(DelayedAudio(Tone(), CaptureTimes(), delay=lambda: 0.15, voice=voice), 100))[RATE // 2 :]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        pitch = np.argmax(spectrum) * RATE / len(wave)
        assert abs(12 * np.log2(pitch / TONE)) > 2
        loudness = np.sqrt(np.square(wave).reshape(-1, SAMPLES).mean(axis=1))
        assert loudness.min() > 0.3 * loudness.mean()

    asyncio.run(test())


class FailingVoice(Voice):
    """Breaks after a second."""

    def factors(self, seconds: float) -> tuple[float, Samples]:
        if seconds > 1:
            raise RuntimeError("broken")
        return super().factors(seconds)


def test_a_voice_that_breaks_is_silent_for_good(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        wave = await heard(
            DelayedAudio(Tone(), CaptureTimes(), delay=lambda: 0.15, voice=FailingVoice.of(bytes(32))), 150
        )
        assert np.abs(wave[: RATE // 2]).max() > 0.05
        assert not wave[round(1.2 * RATE) :].any()

    asyncio.run(test())
    assert [record.message for record in caplog.records] == [
        "sound is silent: the voice cannot be changed (RuntimeError)"
    ]


class Short(Tone):
    """Ends after three."""

    async def recv(self) -> AudioFrame:
        if self.count == 3:
            raise MediaStreamError
        return await super().recv()


def test_sound_waits_for_a_sender_that_comes_back_and_ends_when_it_is_told_to() -> None:
    async def test() -> None:
        track = DelayedAudio(Short(), CaptureTimes(), delay=lambda: 0.0, voice=None)
        await heard(track, 3)
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        track.follow(Tone(), CaptureTimes())
        await waiting
        assert (await heard(track, 2)).max() > 0.1
        track.follow(Short(), CaptureTimes())
        await heard(track, 3)
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0.02)
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(test())
