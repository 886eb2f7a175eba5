"""The sound of what is live: in another voice, at the time of its picture, in a recording and where it is published."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import ffmpeg_listening, needs_ffmpeg, needs_rtsp_server, rtsp_server
from tests.sources.test_live import part_in, veil_run, wait_for

RATE, FPS, SECONDS, SIZE = 48_000, 30, 60, (160, 120)
BURST = 0.4  # seconds, at the start of each second
HEARD_BYTES = 120_000  # six seconds of sound


@pytest.fixture(scope="module")
def blinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each second the picture is bright and a voice is heard, both at the same moment."""
    path = tmp_path_factory.mktemp("blinking") / "heard.mkv"
    time = np.arange(SECONDS * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    samples = np.where(time % 1 < BURST, 0.3 * 32767 * voice, 0).astype(np.int16)[None]
    with av.open(str(path), "w") as container:
        options = {"g": "15", "bf": "0", "preset": "ultrafast"}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for n in range(SECONDS * FPS):
            image = np.full((SIZE[1], SIZE[0], 3), 220 if n % FPS < BURST * FPS else 20, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            sound = AudioFrame.from_ndarray(samples[:, n * RATE // FPS : (n + 1) * RATE // FPS], "s16", "mono")
            sound.sample_rate = RATE
            container.mux(audio.encode(sound))
        container.mux([*video.encode(), *audio.encode()])
    return path


def moments(path: Path) -> tuple[list[tuple[float, float]], list[float], np.ndarray]:
    """Between which frames a picture becomes bright, when a voice begins, and all of the sound, of one channel."""
    with av.open(str(path)) as container:
        bright = [(frame.time, frame.to_ndarray(format="gray").mean() > 120) for frame in container.decode(video=0)]
    flashes = [(before, at) for (at, is_now), (before, was) in zip(bright[1:], bright, strict=False) if is_now > was]
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames])
    times = np.concatenate([frame.time + np.arange(frame.samples) / RATE for frame in frames])
    loud = times[np.abs(sound) > 0.05]
    begins = [float(at) for at, before in zip(loud[1:], loud, strict=False) if at - before > 0.3]
    return flashes, begins, sound


def later(flashes: list[tuple[float, float]], begins: list[float]) -> list[float]:
    """By how much the sound is later than the picture of the same moment, in seconds; 0 where frames do not tell."""
    nearest = [min(begins, key=lambda at: abs(at - flash[1])) for flash in flashes if begins]
    pairs = [(at, flash) for at, flash in zip(nearest, flashes, strict=True) if abs(at - flash[1]) < 0.45]
    return [max(0.0, at - after) - max(0.0, before - at) for at, (before, after) in pairs]


@pytest.mark.slow
@needs_rtsp_server
@needs_ffmpeg
def test_sound_of_a_camera_is_kept_in_another_voice_at_the_time_of_its_picture(blinking: Path, tmp_path: Path) -> None:
    hub, kept = tmp_path / "hub.mkv", tmp_path / "kept.mp4"
    with rtsp_server(str(blinking)) as server, ffmpeg_listening(hub) as url:
        run = veil_run(server.url, url, "--also", kept, "--voice")
        try:
            wait_for(lambda: part_in(tmp_path).exists() and part_in(tmp_path).stat().st_size >= HEARD_BYTES, run)
        finally:
            run.send_signal(signal.SIGTERM)
            printed, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, said
    assert json.loads(printed)["audio_packets"] > 50
    for path in (kept, hub):
        flashes, begins, sound = moments(path)
        offsets = later(flashes, begins)
        assert offsets, (flashes, begins)
        # Where the machine stands still, pictures are left out and the server's own times are wrong for a moment.
        assert np.abs(offsets).min() < 0.04, offsets
        spectrum = np.abs(np.fft.rfft(sound))
        low = spectrum[: round(400 * len(sound) / RATE)]
        pitch = np.argmax(low) * RATE / len(sound)
        assert abs(12 * np.log2(pitch / 150)) > 2  # semitones


@pytest.mark.slow
@needs_rtsp_server
def test_a_camera_without_sound_says_so_at_once(tmp_path: Path) -> None:
    with rtsp_server("ball") as server:
        run = veil_run(server.url, tmp_path / "kept.mp4", "--voice")
        _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 2
    assert "gives no sound" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@needs_rtsp_server
def test_an_output_without_sound_says_so_at_once(blinking: Path) -> None:
    with rtsp_server(str(blinking)) as server:
        run = veil_run(server.url, "preview:", "--voice")
        _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 2
    assert "no sound" in said
