"""Sound and subtitles are copied, or left out in words; what tells of the maker never is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamer.errors import SinkError
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source
from tests.clips import packets_of, safe, seconds_of
from tests.sinks.written import INFO, Clip, copy, left_in


def metadata_of(path: Path) -> str:
    """Return all that the file says of itself and of its streams."""
    with av.open(str(path)) as container:
        return str([dict(place.metadata) for place in (container, *container.streams)])


def test_audio_that_starts_before_zero_does_not_delay_the_video_in_mkv(clip: Clip, tmp_path: Path) -> None:
    source = clip(audio=["aac"])
    assert packets_of(source, "audio")[0][0][0] < 0
    assert seconds_of(copy(source, tmp_path / "out.mkv", keep_audio=True)) == seconds_of(source)


def test_audio_of_a_transport_stream_fits_into_mp4(clip: Clip, tmp_path: Path) -> None:
    source = clip("clip.ts", audio=["aac"])
    target = copy(source, tmp_path / "out.mp4", keep_audio=True)
    with av.open(str(source)) as a, av.open(str(target)) as b:
        sounds = [[frame.to_ndarray() for frame in container.decode(audio=0)] for container in (a, b)]
    assert len(sounds[0]) == len(sounds[1]) > 50
    assert all((x == y).all() for x, y in zip(*sounds, strict=True))


@pytest.mark.parametrize(("keep_audio", "count"), [(True, 2), (False, 0)])
def test_the_packets_of_sound_that_were_copied_are_counted(
    clip: Clip, tmp_path: Path, keep_audio: bool, count: int
) -> None:
    path = clip(audio=["aac", "aac"], subtitle="mov_text")
    with (
        open_source(path) as source,
        open_sink(tmp_path / "out.mp4", source.info, source_path=path, keep_audio=keep_audio) as sink,
    ):
        for frame in source:
            sink.write(safe(frame))
    copied = packets_of(tmp_path / "out.mp4", "audio")
    assert len(copied) == count
    assert sink.audio_packets == sum(map(len, copied))


def test_audio_is_dropped_unless_asked_for(clip: Clip, tmp_path: Path) -> None:
    with av.open(str(copy(clip(audio=["aac"]), tmp_path / "out.mp4"))) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(
    ("codec", "target"), [("aac", "out.webm"), ("flac", "out.mov"), ("libopus", "out.mov"), ("pcm_s16le", "out.mp4")]
)
def test_audio_the_container_cannot_hold_is_refused_at_open(
    clip: Clip, tmp_path: Path, codec: str, target: str
) -> None:
    source = clip("clip.mkv", audio=[codec])
    with open_source(source) as opened, pytest.raises(SinkError, match=r"cannot hold .*write \.mkv"):
        open_sink(tmp_path / target, opened.info, source_path=source, keep_audio=True)
    assert left_in(tmp_path) == ["clip.mkv"]


def test_audio_without_a_place_to_read_it_from_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source_path"):
        open_sink(tmp_path / "out.mp4", INFO, keep_audio=True)


def test_pictures_hold_no_audio(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="hold no audio"):
        open_sink(tmp_path / "frames", INFO, source_path=clip(), keep_audio=True)


def test_packets_shorter_than_the_tick_of_the_container_keep_their_times(clip: Clip, tmp_path: Path) -> None:
    source = clip("clip.mkv", audio=["pcm_s16le"], audio_seconds=0.02, samples=20)  # 0.42 ms in ticks of 1 ms
    times = [seconds for seconds, _ in packets_of(source, "audio")[0]]
    assert len(times) > len(set(times))
    target = copy(source, tmp_path / "out.mkv", keep_audio=True)
    assert packets_of(target, "audio") == packets_of(source, "audio")
    strict = copy(source, tmp_path / "out.mov", keep_audio=True)  # refuses equal times
    with av.open(str(strict)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 960


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_audio_whose_clock_starts_again_is_moved_not_lost(clip: Clip, tmp_path: Path, suffix: str) -> None:
    parts = [clip(f"{name}.ts", pts=range(30), audio=["ac3"], audio_seconds=3).read_bytes() for name in "ab"]
    joined = clip("joined.ts")
    joined.write_bytes(parts[0] + parts[1])
    target = copy(joined, tmp_path / f"out.{suffix}", keep_audio=True)
    (before,), (after,) = packets_of(joined, "audio"), packets_of(target, "audio")
    assert [data for _, data in after] == [data for _, data in before]
    assert float(after[-1][0] - after[0][0]) == pytest.approx(6, abs=0.2)
    assert len(seconds_of(target)) == 60


@pytest.mark.parametrize(("codec", "suffix"), [("mov_text", "mp4"), ("subrip", "mkv")])
def test_text_subtitles_are_always_copied(clip: Clip, tmp_path: Path, codec: str, suffix: str) -> None:
    source = clip(f"clip.{suffix}", subtitle=codec, audio=["aac"])
    target = copy(source, tmp_path / f"out.{suffix}")
    (copied,) = packets_of(target, "subtitle")
    assert next(seconds for seconds, text in copied if b"hello" in text) == Fraction(2, 10)
    assert not packets_of(target, "audio")


def test_subtitles_the_container_cannot_hold_are_left_out_with_a_warning(
    clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = copy(clip("clip.mkv", subtitle="subrip"), tmp_path / "out.mp4")
    assert not packets_of(target, "subtitle")
    assert "subtitles are left out" in caplog.text


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_title_author_place_and_device_are_not_carried_over(clip: Clip, tmp_path: Path, suffix: str) -> None:
    telling = {
        "title": "HerBirthday",
        "artist": "JaneDoe",
        "comment": "AtHome",
        "location": "+52.5163+013.3777/",
        "make": "CameraMaker",
        "model": "CameraModel",
        "handler_name": "PhoneOfJane",  # of each stream
    }
    absent = {"CameraMaker", "CameraModel"} if suffix == "mp4" else set()  # FFmpeg does not write them there
    source = clip(f"clip.{suffix}", metadata=telling, audio=["aac"], cover=suffix == "mkv")
    before = metadata_of(source)
    assert {value for value in telling.values() if value[:8] not in before} == absent
    target = copy(source, tmp_path / f"out.{suffix}", keep_audio=True)
    after, data = metadata_of(target), target.read_bytes()
    assert not [value for value in telling.values() if value[:8] in after or value.encode() in data]
    with av.open(str(target)) as container:
        assert sorted(stream.type for stream in container.streams) == ["audio", "video"]
        assert not container.chapters()
