"""What goes out to peers: safe frames and slates in order, and sound as late as the video, in another voice."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from streamer.sinks.webrtc import RATE, SAMPLES, Broadcast, DelayedAudio, Packer, Voice
from streamer.sources.live import TIME_BASE
from streamer.types import Floats, Frame

TONE = 440.0


def sound(n: int) -> AudioFrame:
    """The n-th 20 ms of a tone."""
    time = (np.arange(SAMPLES) + n * SAMPLES) / RATE
    wave = np.round(8000 * np.sin(2 * np.pi * TONE * time)).astype(np.int16)
    frame = AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, n * SAMPLES, Fraction(1, RATE)
    return frame


class Tone(MediaStreamTrack):
    kind = "audio"
    count = -1

    async def recv(self) -> AudioFrame:
        self.count += 1
        return sound(self.count)


def samples(frames: list[AudioFrame]) -> Floats:
    return np.concatenate([frame.to_ndarray()[0, ::2] for frame in frames]).astype(np.float32)


def pitch(wave: Floats) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.argmax(spectrum) * RATE / len(wave))


def test_sound_is_as_late_as_the_video_and_follows_it() -> None:
    delay = 0.3

    async def test() -> None:
        nonlocal delay
        track = DelayedAudio(Tone(), lambda: delay, None)
        frames = [await track.recv() for _ in range(50)]
        loud = [bool(np.abs(frame.to_ndarray()).max()) for frame in frames]
        assert loud.index(True) * SAMPLES / RATE == pytest.approx(0.3, abs=0.04)
        assert all(loud[loud.index(True) :])
        assert [frame.pts for frame in frames] == [n * SAMPLES for n in range(50)]
        delay = 0.02  # the video has become faster
        for _ in range(50):
            await track.recv()
        late = len(track._held) * SAMPLES / RATE
        assert late < 0.2

    asyncio.run(test())


class Short(Tone):
    """Ends after three."""

    async def recv(self) -> AudioFrame:
        if self.count == 2:
            raise MediaStreamError
        return await super().recv()


def test_sound_waits_for_a_sender_that_comes_back_and_ends_when_it_is_told_to() -> None:
    async def test() -> None:
        track = DelayedAudio(Short(), lambda: 0.0, None)
        for _ in range(3):
            await track.recv()
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        track.follow(Tone())
        assert np.abs((await waiting).to_ndarray()).max() > 1000
        track.follow(Short())
        for _ in range(3):
            await track.recv()
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0.02)
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(test())


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_a_voice_changes_its_pitch_and_keeps_its_speed(factor: float) -> None:
    voice = Voice(factor)
    made = [frame for n in range(150) for frame in voice.change(sound(n))]
    assert {frame.samples for frame in made} == {SAMPLES}
    assert len(made) == pytest.approx(150, abs=10)
    assert pitch(samples(made[20:])) == pytest.approx(TONE * factor, rel=0.02)


def test_a_voice_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 2"):
        Voice(3.0)


def test_times_increase_through_slates_and_frames() -> None:
    async def test() -> None:
        broadcast = Broadcast()
        track = broadcast.track()
        times = []
        for n in (0, 3000, None, 6000, 9000):
            if n is not None:
                frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
                frame.pts, frame.time_base = n + 1, TIME_BASE
                broadcast.put(frame)
            else:
                await asyncio.sleep(1.2)  # slates, which go ahead of what comes then
            received = await asyncio.wait_for(track.recv(), 5)
            times.append(received.pts)
            assert (received.width, received.height) == (64, 48)
        assert all(np.diff(times) > 0)
        await broadcast.close()

    asyncio.run(test())


def test_only_a_safe_frame_is_packed() -> None:
    with pytest.raises(TypeError, match="only a SafeFrame"):
        Packer().pack(Frame(np.zeros((4, 4, 3), np.uint8), 0, 0, TIME_BASE))  # type: ignore[arg-type]
