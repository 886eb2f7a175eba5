"""The sound of a file in another voice: at its time, and never as it came."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from math import inf
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from streamer.sinks.file_sink import open_sink
from streamer.sound.changed import PATIENCE_SECONDS, LiveSound
from streamer.sound.voice import Samples, Voice
from streamer.sources.file_source import open_source
from tests.clips import encode_clip, safe

VOICE = Voice.of(bytes(32))
TONE = 400.0


class FailingVoice(Voice):
    """Breaks after a second."""

    def factors(self, seconds: float) -> tuple[float, Samples]:
        if seconds > 1:
            raise RuntimeError("broken")
        return super().factors(seconds)


def spoken(
    path: Path,
    codec: str,
    *,
    rate: int,
    layout: str = "mono",
    sounding: tuple[float, float] = (1.0, 2.0),
    parts: tuple[tuple[float, float], ...] = ((0, 2),),
) -> Path:
    """Encode two seconds of video beside a tone, of which only `parts` are in the file."""
    silent = encode_clip(
        path.with_stem("silent"), pts=range(20), codec="libvpx" if path.suffix == ".webm" else "libx264"
    )
    with av.open(str(silent)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream(codec, rate=rate, layout=layout)
        kind = sound.codec_context.format.name
        for start, end in parts:
            time = np.arange(round(start * rate), round(end * rate)) / rate
            wave = 0.4 * np.sin(2 * np.pi * TONE * time) * ((time >= sounding[0]) & (time < sounding[1]))
            frame = AudioFrame.from_ndarray(wave.astype(np.float32)[None], "flt", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate), Fraction(1, rate)
            resampler = av.AudioResampler(format=kind, layout=layout, rate=rate)
            for part in resampler.resample(frame):
                output.mux(sound.encode(part))
        output.mux(sound.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                output.mux(packet)
    return path


def with_voice(source: Path, target: Path, voice: Voice = VOICE, **span: float) -> tuple[str, ...]:
    """Write `target` with the sound of `source` in another voice, and return what failed."""
    with (
        open_source(source, **span) as opened,  # type: ignore[arg-type]
        open_sink(target, opened.info, source_path=source, voice=voice) as sink,
    ):
        for frame in opened:
            sink.write(safe(frame))
    assert sink.audio_packets > 5
    return sink.audio_failures


def heard(path: Path) -> tuple[Samples, int]:
    """The first channel from time 0 on, and its rate."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        wave = np.zeros(4 * rate)
        for frame in container.decode(audio=0):
            samples = av.AudioResampler(format="fltp", layout=frame.layout).resample(frame)[0].to_ndarray()[0]
            assert frame.pts is not None
            start = round(frame.pts * frame.time_base * rate)
            wave[max(start, 0) :][: len(samples)] = samples[max(0, -start) :][: len(wave)]
        return wave, rate


def begins(wave: Samples, rate: int) -> float:
    return int(np.argmax(np.abs(wave) > 0.05)) / rate


def pitch(wave: Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.argmax(spectrum) * rate / len(wave))


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout", "target"),
    [
        ("a.mp4", "aac", 44100, "stereo", "out.mp4"),
        ("a.mp4", "aac", 48000, "mono", "out.mkv"),
        ("a.mkv", "pcm_s16le", 8000, "mono", "out.mov"),
        ("a.mkv", "flac", 96000, "mono", "out.mp4"),
        ("a.mkv", "ac3", 48000, "5.1", "out.mp4"),
        ("a.webm", "libopus", 48000, "stereo", "out.webm"),
    ],
)
def test_sound_comes_at_its_time_in_another_voice(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str, target: str
) -> None:
    source = spoken(tmp_path / name, codec, rate=rate, layout=layout)
    assert with_voice(source, tmp_path / target) == ()
    wave, made_rate = heard(tmp_path / target)
    assert begins(wave, made_rate) == pytest.approx(1.0, abs=0.02)
    tone = wave[round(1.1 * made_rate) : round(1.8 * made_rate)]
    assert abs(12 * np.log2(pitch(tone, made_rate) / TONE)) > 2
    with av.open(str(tmp_path / target)) as container:
        assert container.streams.audio[0].codec_context.channels == (1 if layout == "mono" else 2)


def test_a_part_of_a_recording_begins_with_its_own_sound(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mp4", "aac", rate=48000)
    with_voice(source, tmp_path / "out.mp4", start_seconds=0.5)
    assert begins(*heard(tmp_path / "out.mp4")) == pytest.approx(0.5, abs=0.02)


def test_a_gap_is_silent_and_what_follows_comes_at_its_time(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mkv", "pcm_s16le", rate=16000, sounding=(0, 2), parts=((0, 0.5), (1.25, 2)))
    with_voice(source, tmp_path / "out.mp4")
    wave, rate = heard(tmp_path / "out.mp4")
    assert np.abs(wave[round(0.1 * rate) : round(0.45 * rate)]).max() > 0.05
    assert np.abs(wave[round(0.6 * rate) : round(1.15 * rate)]).max() < 0.01
    assert 1.15 + begins(wave[round(1.15 * rate) :], rate) == pytest.approx(1.25, abs=0.02)


def test_where_the_voice_cannot_be_changed_sound_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = spoken(tmp_path / "a.mp4", "aac", rate=48000, sounding=(0, 2))
    (failure,) = with_voice(source, tmp_path / "out.mp4", FailingVoice.of(bytes(32)))
    assert "RuntimeError" in failure
    assert "sound is left out from there on" in caplog.text
    wave, rate = heard(tmp_path / "out.mp4")
    assert np.abs(wave[: round(0.8 * rate)]).max() > 0.05
    assert not wave[round(1.1 * rate) :].any()


def test_sound_is_copied_or_changed_and_not_both(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mp4", "aac", rate=48000)
    with open_source(source) as opened, pytest.raises(ValueError, match="copied, or changed"):
        open_sink(tmp_path / "out.mp4", opened.info, source_path=source, keep_audio=True, voice=VOICE)


def live(voice: Voice, heard: list[tuple[float, Samples]], until: Sequence[float]) -> tuple[list[float], list[str]]:
    """When each packet of what was heard live is to be played, and why it ended early."""
    waiting = list(heard)

    def taken(seconds: float) -> list[tuple[float, Samples]]:
        ready = [one for one in waiting if one[0] < seconds]
        waiting[:] = waiting[len(ready) :]
        return ready

    with av.open(io.BytesIO(), "w", format="nut") as output:
        sound = LiveSound(output, voice, taken)
        packets = [packet for at in until for packet in sound.until(at)]
    return [float(packet.pts * packet.time_base) for packet in packets], sound.failures


def test_what_is_heard_live_begins_with_the_picture_that_is_there_then() -> None:
    """Where a server is called anew after an hour, nothing of that hour is sent to it."""
    pieces = [(3590 + n / 50, np.zeros((2, 960))) for n in range(600)]
    times, failures = live(Voice.of(bytes(32)), pieces, [3600.0, 3601.0, inf])
    assert times[0] == pytest.approx(3600, abs=0.05)
    assert times[-1] == pytest.approx(3601, abs=0.1)
    assert not failures


def test_silence_takes_the_place_of_what_is_not_heard_any_more() -> None:
    pieces = [(n / 50, np.zeros((2, 960))) for n in range(50)]
    times, _ = live(Voice.of(bytes(32)), pieces, [0.0, 1.0, 4.0])
    assert times[-1] == pytest.approx(4.0 - PATIENCE_SECONDS, abs=0.15)
    assert np.diff(times) == pytest.approx(1024 / 48_000)


def test_live_sound_whose_voice_breaks_ends() -> None:
    pieces = [(n / 50, np.full((2, 960), 0.1) * (-1) ** np.arange(960)) for n in range(100)]
    times, failures = live(FailingVoice.of(bytes(32)), pieces, [0.0, 0.5, 1.5, 2.0, inf])
    assert times[-1] < 1.1
    assert len(failures) == 1
