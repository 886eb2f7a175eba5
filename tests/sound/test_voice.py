"""Another voice: pitch and formants are where they should be, in time, and nobody can tell which without the key."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.sound.voice import FORMANT, KNOTS, PITCH, WOBBLE, Samples, Voice, VoiceChanger


def steady(pitch: float, formant: float) -> Voice:
    """A voice that does not change over time."""
    semitones = 12 * np.log2(np.array([pitch, *[formant] * len(KNOTS)]))
    return Voice(semitones, np.zeros((len(semitones), 3)), np.full((len(semitones), 3), 1e12))


def changed(sound: Samples, voice: Voice, *, rate: int, step: int = 960) -> Samples:
    """All of `(channels, N)` samples, taken in by `step`."""
    changer = VoiceChanger(voice, rate=rate, channels=len(sound))
    pieces = [changer.change(sound[:, at : at + step]) for at in range(0, sound.shape[1], step)]
    return np.concatenate([*pieces, changer.flush()], axis=1)


def tone(frequency: float, *, rate: int = 16_000, seconds: float = 1.0) -> Samples:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)[None]


def vowel(resonance: float, *, rate: int = 16_000, pitch: int = 100) -> Samples:
    """A second of pulses, 100 a second, that ring at one frequency."""
    pulses = np.zeros(rate)
    pulses[:: rate // pitch] = 1
    time = np.arange(rate // 20) / rate
    return 0.2 * np.convolve(pulses, np.exp(-500 * time) * np.sin(2 * np.pi * resonance * time))[None, :rate]


def strongest(sound: Samples, *, rate: int = 16_000) -> float:
    """The strongest frequency of the middle, in Hz."""
    middle = sound[0, rate // 4 : -rate // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.argmax(spectrum) * rate / len(middle))


def period(sound: Samples, *, rate: int = 16_000) -> float:
    """The pitch of the middle by its autocorrelation, in Hz."""
    middle = sound[0, rate // 4 : -rate // 4]
    alike = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    return rate / (rate // 400 + int(np.argmax(alike[rate // 400 : rate // 50])))


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("factor", [0.75, 1.0, 1.3])
def test_pitch_is_multiplied_at_every_rate(rate: int, factor: float) -> None:
    made = changed(tone(400, rate=rate), steady(factor, 1.0), rate=rate)
    assert strongest(made, rate=rate) == pytest.approx(400 * factor, rel=0.01)


@pytest.mark.parametrize("factor", [0.82, 1.22])
def test_formants_move_and_pitch_stays(factor: float) -> None:
    made = changed(vowel(1000), steady(1.0, factor), rate=16_000)
    assert strongest(made) == pytest.approx(1000 * factor, abs=50)  # its harmonics are 100 apart
    assert period(made) == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_pitch_moves_and_formants_stay(factor: float) -> None:
    made = changed(vowel(1000), steady(factor, 1.0), rate=16_000)
    assert strongest(made) == pytest.approx(1000, abs=70)
    assert period(made) == pytest.approx(100 * factor, rel=0.03)


def test_nothing_changes_by_a_factor_of_one() -> None:
    assert changed(vowel(700), steady(1.0, 1.0), rate=16_000) == pytest.approx(vowel(700), abs=1e-6)


@pytest.mark.parametrize("step", [1, 160, 777, 16_000])
def test_what_comes_out_does_not_depend_on_how_it_came_in(step: int) -> None:
    sound = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 2000))
    voice = Voice.of(bytes(32))
    expected = changed(sound, voice, rate=8000, step=400)
    assert expected.shape == sound.shape
    assert changed(sound, voice, rate=8000, step=step) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_click_stays_where_it_is(rate: int) -> None:
    sound = np.zeros((1, rate))
    sound[0, rate // 2] = 0.9
    energy = changed(sound, steady(1.3, 1.2), rate=rate)[0] ** 2
    assert np.average(np.arange(rate), weights=energy) / rate == pytest.approx(0.5, abs=0.005)


def test_silence_stays_silence_and_a_channel_stays_by_itself() -> None:
    sound = np.concatenate([vowel(900), np.zeros((1, 16_000))])
    made = changed(sound, Voice.of(bytes(32)), rate=16_000)
    assert np.abs(made[0]).max() > 0.05
    assert not made[1].any()
    assert not changed(np.zeros((1, 9000)), Voice.of(bytes(32)), rate=16_000).any()


def test_what_is_held_back_is_bounded() -> None:
    changer = VoiceChanger(Voice.of(bytes(32)), rate=48_000, channels=1)
    ready = sum(changer.change(np.zeros((1, 960))).shape[1] for _ in range(50))
    assert 50 * 960 - ready <= changer.latency == 0.05 * 48_000


def test_a_voice_follows_from_key_and_name() -> None:
    key, other = bytes(32), b"k" * 32
    voices = [Voice.of(key, "a"), Voice.of(key, "b"), Voice.of(other, "a"), Voice.of(None), Voice.of(None)]
    assert len({tuple(voice.semitones) for voice in voices}) == 5
    assert np.array_equal(Voice.of(key, "a").semitones, voices[0].semitones)


def test_a_voice_changes_all_the_time_and_keeps_within_its_limits() -> None:
    for n in range(50):
        voice = Voice.of(bytes([n]) * 32)
        pitches, formants = zip(*(voice.factors(seconds) for seconds in np.arange(0, 60, 0.5)), strict=True)
        pitch, formant = 12 * np.log2(pitches), 12 * np.log2(formants)
        assert np.all(np.sign(formant) == np.sign(pitch[0]))
        for semitones, limits in ((np.abs(pitch), PITCH), (np.abs(formant), FORMANT)):
            assert semitones.min() >= limits[0] - WOBBLE
            assert semitones.max() <= limits[1] + WOBBLE
        assert np.ptp(pitch) > WOBBLE / 2
        assert np.ptp(formant, axis=0).min() > WOBBLE / 2
