from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from streamer.errors import SinkError
from streamer.sinks import encoding as video_codec
from streamer.sinks.encoding import HELD
from streamer.sinks.file_sink import FolderSink, PictureSink, VideoSink, open_sink
from streamer.sources.file_source import open_source
from streamer.types import Codec, Frame, SafeFrame, VideoInfo
from tests.clips import RED, SHARED_CLIPS, encode_clip, packets_of, picture, safe, seconds_of, start_of

Clip = Callable[..., Path]
INFO = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), None)
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb of ITU-T H.273


VIDEO_CODEC = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx-vp9"}


def frame_at(index: int, *, info: VideoInfo = INFO, pts: int | None = None) -> SafeFrame:
    image = picture(index, (info.width, info.height))
    return SafeFrame(image, index, index if pts is None else pts, info.time_base)


def copy(source_path: Path, target: Path, *, keep_audio: bool = False, limit: int = 10**6) -> Path:
    """Write up to `limit` frames of `source_path` to `target`, as the tool does."""
    with (
        open_source(source_path) as source,
        open_sink(target, source.info, source_path=source_path, keep_audio=keep_audio) as sink,
    ):
        for frame, _ in zip(source, range(limit), strict=False):
            sink.write(safe(frame))
    return target


def write_all(target: Path, count: int = 5, info: VideoInfo = INFO) -> Path:
    with open_sink(target, info) as sink:
        for index in range(count):
            sink.write(frame_at(index, info=info))
    return target


def write_noise(target: Path) -> None:
    """Write two seconds of what no codec can compress."""
    info = VideoInfo(256, 256, Fraction(10), Fraction(1, 10), None)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    with open_sink(target, info, overwrite=True) as sink:
        for index in range(20):
            sink.write(SafeFrame(np.roll(noise, index * 7, 1), index, index, Fraction(1, 10)))


def metadata_of(path: Path) -> str:
    """Return all that the file says of itself and of its streams."""
    with av.open(str(path)) as container:
        return str([dict(place.metadata) for place in (container, *container.streams)])


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("start", [0, 7, 126000])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_every_time_survives_exactly(tmp_path: Path, suffix: str, start: int) -> None:
    info = VideoInfo(64, 48, Fraction(30), Fraction(1, 90000), None)
    pts = [start + at for at in (0, 1, 3003, 3004, 90000, 90007, 180001)]
    with open_sink(tmp_path / f"out.{suffix}", info) as sink:
        for index, at in enumerate(pts):
            sink.write(frame_at(index, info=info, pts=at))
    assert seconds_of(tmp_path / f"out.{suffix}") == [Fraction(at, 90000) for at in pts]


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 100), Fraction(1001, 30000), Fraction(1, 11988), Fraction(1, 1200000)]
)
def test_any_time_base_survives_exactly(tmp_path: Path, time_base: Fraction) -> None:
    info = VideoInfo(64, 48, None, time_base, None)
    write_all(tmp_path / "out.mp4", 6, info)
    assert seconds_of(tmp_path / "out.mp4") == [index * time_base for index in range(6)]


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_times_survive_to_the_millisecond_where_the_container_has_no_more(tmp_path: Path, suffix: str) -> None:
    info = VideoInfo(64, 48, Fraction(30), Fraction(1, 90000), None)
    pts = [3003, 6006, 6200, 90000, 90307]
    with open_sink(tmp_path / f"out.{suffix}", info) as sink:
        for index, at in enumerate(pts):
            sink.write(frame_at(index, info=info, pts=at))
    seconds = seconds_of(tmp_path / f"out.{suffix}")
    assert [float(at) for at in seconds] == pytest.approx([at / 90000 for at in pts], abs=0.0005001)


def test_a_gif_becomes_an_mp4_with_its_times(clip: Clip, tmp_path: Path) -> None:
    gif = clip("clip.gif", codec="gif", pix_fmt="rgb8", pts=[0, 7, 20, 21], time_base=Fraction(1, 100))
    assert seconds_of(copy(gif, tmp_path / "out.mp4")) == [Fraction(at, 100) for at in (0, 7, 20, 21)]


def test_the_last_frame_lasts_as_long_as_the_others(tmp_path: Path) -> None:
    info = VideoInfo(64, 48, Fraction(30), Fraction(1, 90000), None)
    with open_sink(tmp_path / "out.mp4", info) as sink:
        for index in range(5):
            sink.write(frame_at(index, info=info, pts=3000 * index))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(5, 30)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm"])
def test_pixels_survive_within_the_loss_of_the_codec(tmp_path: Path, suffix: str) -> None:
    with open_source(write_all(tmp_path / f"out.{suffix}")) as source:
        frames = list(source)
    assert len(frames) == 5
    for index, frame in enumerate(frames):
        assert np.abs(frame.image[8:40, 8:24].astype(int) - picture(index)[8:40, 8:24]).mean() < 6


@pytest.mark.parametrize(("suffix", "codec"), [(suffix[1:], codec) for suffix in HELD for codec in HELD[suffix]])
def test_a_codec_that_can_be_chosen_keeps_pixels_times_and_colours(tmp_path: Path, suffix: str, codec: Codec) -> None:
    info = VideoInfo(64, 48, Fraction(1000), Fraction(1, 1000), None, 9, 16, 9, 1)
    with open_sink(tmp_path / f"out.{suffix}", info, codec=codec, crf=10) as sink:
        for index in range(8):
            sink.write(frame_at(index, info=info, pts=7 + index * index * 33))
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        assert container.streams.video[0].codec_context.name in (codec, f"lib{codec}", "libdav1d")
        frames = list(container.decode(video=0))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(7 + i * i * 33, 1000) for i in range(8)]
    for index, frame in enumerate(frames):
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (9, 16, 9, 1)
        image = frame.to_ndarray(format="rgb24")
        assert np.abs(image[8:40, 8:24].astype(int) - picture(index)[8:40, 8:24]).mean() < 8


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_a_video_of_a_frame_or_two_is_written(tmp_path: Path, codec: Codec, count: int) -> None:
    """x265 made up the decoding times of these, and every other file failed."""
    for attempt in range(6):
        target = tmp_path / f"{attempt}.mp4"
        with open_sink(target, INFO, codec=codec) as sink:
            for index in range(count):
                sink.write(frame_at(index))
        with av.open(str(target)) as container:
            assert [frame.pts * frame.time_base for frame in container.decode(video=0)] == [
                Fraction(index, 10) for index in range(count)
            ]


def test_hevc_in_mp4_is_tagged_as_apple_wants_it(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.mp4", INFO, codec="hevc") as sink:
        sink.write(frame_at(0))
    assert b"hvc1" in (tmp_path / "out.mp4").read_bytes()


@pytest.mark.parametrize(
    ("name", "codec"), [("out.webm", "h264"), ("out.webm", "hevc"), ("out.mov", "vp9"), ("out.mov", "av1")]
)
def test_a_codec_that_the_container_cannot_hold_is_refused(tmp_path: Path, name: str, codec: Codec) -> None:
    with pytest.raises(SinkError, match=rf"\{Path(name).suffix} cannot hold {codec}, only .*; or use \.mkv"):
        open_sink(tmp_path / name, INFO, codec=codec)


def test_a_codec_that_this_ffmpeg_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(video_codec.ENCODERS, "hevc", video_codec.Encoder("no_such_encoder", {}))
    with pytest.raises(SinkError, match="this FFmpeg has no no_such_encoder; choose another codec"):
        open_sink(tmp_path / "out.mkv", INFO, codec="hevc")


def test_an_unknown_codec_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="codec must be 'auto' or one of h264, hevc, vp9, av1, got 'mpeg2'"):
        open_sink(tmp_path / "out.mp4", INFO, codec="mpeg2")


@pytest.mark.parametrize("name", ["out", "out.png"])
def test_pictures_have_no_codec(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="pictures have no codec"):
        open_sink(tmp_path / name, INFO, codec="h264")


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("colorspace", LUMA)
def test_colours_are_stored_by_the_matrix_and_range_of_the_source(
    tmp_path: Path, colorspace: int, color_range: int
) -> None:
    kr, kb = LUMA[colorspace]
    r, g, b = (channel / 255 for channel in RED)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    scaled = (
        (y * 255, u * 255 + 128, v * 255 + 128) if color_range == 2 else (y * 219 + 16, u * 224 + 128, v * 224 + 128)
    )
    info = VideoInfo(64, 48, None, Fraction(1, 10), None, 9, 16, colorspace, color_range)
    path = tmp_path / "out.mp4"
    with open_sink(path, info, crf=1) as sink:
        sink.write(SafeFrame(np.full((48, 64, 3), RED, np.uint8), 0, 0, Fraction(1, 10)))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (
        9,
        16,
        colorspace,
        color_range,
    )
    stored = [np.frombuffer(plane, np.uint8)[5] for plane in frame.planes]
    assert np.abs(np.array(stored, float) - scaled).max() <= 2


def test_pictures_become_bt709_video(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), picture(0)[..., ::-1])
    with av.open(str(copy(tmp_path, tmp_path.parent / f"{tmp_path.name}.mp4"))) as container:
        frames = list(container.decode(video=0))
    assert [(frame.colorspace, frame.color_range) for frame in frames] == [(1, 1), (1, 1)]


def test_an_odd_size_is_padded_with_its_own_edge(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = VideoInfo(63, 47, None, Fraction(1, 10), None)
    image = np.repeat(np.arange(63, dtype=np.uint8)[None, :, None] * 4, 47, 0).repeat(3, 2)
    with open_sink(tmp_path / "out.mp4", info, crf=1) as sink:
        sink.write(SafeFrame(image, 0, 0, Fraction(1, 10)))
    with open_source(tmp_path / "out.mp4") as source:
        frame = next(iter(source))
    assert frame.image.shape == (48, 64, 3)
    assert np.abs(frame.image[:47, :63].astype(int) - image).max() <= 6
    assert np.abs(frame.image[47, 63].astype(int) - image[46, 62]).max() <= 6
    assert "63x47 is odd: written as 64x48" in caplog.text


def test_the_shape_of_pixels_is_kept(clip: Clip, tmp_path: Path) -> None:
    wide = clip(context={"sample_aspect_ratio": Fraction(4, 3)})
    with open_source(copy(wide, tmp_path / "out.mp4")) as source:
        assert source.info.sample_aspect_ratio == Fraction(4, 3)


def test_a_rotated_clip_is_written_upright_without_rotation(clip: Clip, tmp_path: Path) -> None:
    with av.open(str(copy(clip(rotation=(90, False)), tmp_path / "out.mp4"))) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        *[("aac", suffix) for suffix in ("mp4", "mov", "mkv")],
        *[("ac3", suffix) for suffix in ("mp4", "mov", "mkv")],
        *[("libopus", suffix) for suffix in ("mp4", "mkv", "webm")],
        *[("pcm_s16le", suffix) for suffix in ("mov", "mkv")],
    ],
)
def test_audio_is_copied_bit_for_bit(clip: Clip, tmp_path: Path, suffix: str, codec: str) -> None:
    source = clip(f"clip.{suffix}", codec=VIDEO_CODEC[suffix], audio=[codec, codec], audio_seconds=3)
    target = copy(source, tmp_path / f"out.{suffix}", keep_audio=True)
    assert len(packets_of(source, "audio")) == 2
    assert packets_of(target, "audio") == packets_of(source, "audio")
    assert seconds_of(target) == seconds_of(source)
    with av.open(str(target)) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "fra"]
        assert [stream.disposition & Disposition.default for stream in container.streams.audio] == [0, 1]


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


def test_only_a_safe_frame_is_written(tmp_path: Path) -> None:
    raw = Frame(picture(0), 0, 0, Fraction(1, 10))
    for name in ("out.mp4", "out.png", "out"):
        with (
            pytest.raises(TypeError, match="only a SafeFrame may be written, got Frame"),
            open_sink(tmp_path / name, INFO) as sink,
        ):
            sink.write(raw)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.png", "out"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    def be_interrupted() -> None:
        with open_sink(tmp_path / name, INFO) as sink:
            sink.write(frame_at(0))
            raise error

    with pytest.raises(error):
        be_interrupted()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.png", "out"])
def test_the_final_name_appears_only_when_all_is_written(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name, INFO) as sink:
        sink.write(frame_at(0))
        assert name not in left_in(tmp_path)
    assert left_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_sink_that_is_not_entered_leaves_nothing_and_takes_nothing(tmp_path: Path, name: str) -> None:
    sink = open_sink(tmp_path / name, INFO)
    with pytest.raises(SinkError, match="it is closed"):
        sink.write(frame_at(0))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_signal_while_a_sink_opens_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(tmp_path / name, INFO)
    opened = type(sink)._open

    def interrupted(self: VideoSink) -> None:
        opened(self)
        assert left_in(tmp_path) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(type(sink), "_open", interrupted)
    with pytest.raises(KeyboardInterrupt), sink:
        pytest.fail("entered")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_no_frame_at_all_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no frame"), open_sink(tmp_path / name, INFO):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_an_existing_output_is_kept_unless_told_otherwise(tmp_path: Path, name: str) -> None:
    info = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), 1)
    write_all(tmp_path / name, 1, info)
    with pytest.raises(SinkError, match="exists; remove it, or pass overwrite=True"):
        open_sink(tmp_path / name, info)
    with open_sink(tmp_path / name, info, overwrite=True) as sink:
        sink.write(frame_at(0))
    assert left_in(tmp_path) == [name]


def test_the_input_is_never_overwritten(clip: Clip, tmp_path: Path) -> None:
    source = clip("a.mp4")
    before = source.read_bytes()
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "soft.mp4").symlink_to(source)
    for target in (source, tmp_path / "hard.mp4", tmp_path / "soft.mp4", tmp_path):
        with pytest.raises(SinkError, match="would overwrite the input"):
            open_sink(target, INFO, source_path=source, overwrite=True)
    assert source.read_bytes() == before


def test_an_output_inside_the_input_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="would overwrite the input"):
        open_sink(tmp_path / "out", INFO, source_path=tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        open_sink(tmp_path / "none" / "out.mp4", INFO)


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_first_frame(name: str) -> None:
    with (
        pytest.raises(SinkError, match=f"cannot write /proc/{name}: "),  # not even root may
        open_sink(Path("/proc") / name, INFO),
    ):
        pytest.fail("entered")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"unknown kind \.xyz; expected \.mp4"):
        open_sink(tmp_path / "out.xyz", INFO)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sinks.part_sink.token_hex", lambda _: "0")
    (tmp_path / f"out.0.part.{suffix}").symlink_to("/dev/full")  # the kernel's own full disk
    with pytest.raises(SinkError, match="the disk is full"):
        write_noise(tmp_path / f"out.{suffix}")
    assert left_in(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """Return a mounted file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("only a user who may mount can make a tiny disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out"])
def test_a_disk_that_fills_up_midway_ends_empty(tiny_disk: Path, name: str) -> None:
    with pytest.raises(SinkError, match="the disk is full"):
        write_noise(tiny_disk / name)
    assert left_in(tiny_disk) == []


def test_a_sink_that_failed_takes_no_more_and_publishes_nothing(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.mp4", INFO) as sink:
        sink.write(frame_at(3))
        with pytest.raises(SinkError, match="frame 2 goes back in time"):
            sink.write(frame_at(2))
        assert left_in(tmp_path) == []
        with pytest.raises(SinkError, match="it is closed"):
            sink.write(frame_at(4))
    assert left_in(tmp_path) == []


def test_a_frame_of_another_size_is_refused_in_a_video(tmp_path: Path) -> None:
    small = SafeFrame(picture(0, (32, 24)), 0, 0, Fraction(1, 10))
    with (
        pytest.raises(SinkError, match=r"frame 0 is \(32, 24\), not \(64, 48\)"),
        open_sink(tmp_path / "out.mp4", INFO) as sink,
    ):
        sink.write(small)
    assert left_in(tmp_path) == []


def test_a_folder_of_pictures_keeps_names_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sizes = {"a.png": (20, 10), "b.JPG": (30, 40), "c.bmp": (8, 8), "d.webp": (16, 12), "e.tiff": (9, 7)}
    for name, size in sizes.items():
        cv2.imwrite(str(tmp_path / "in" / name), picture(1, size)[..., ::-1])
    copy(tmp_path / "in", tmp_path / "out")
    assert left_in(tmp_path) == ["in", "out"]
    for name, (width, height) in sizes.items():
        image = cv2.imread(str(tmp_path / "out" / name))
        assert image.shape == (height, width, 3)
        assert np.abs(image[..., ::-1].astype(int) - picture(1, (width, height))).mean() < 15


def test_the_frames_of_a_video_are_numbered_pictures(clip: Clip, tmp_path: Path) -> None:
    copy(clip(), tmp_path / "out")
    assert left_in(tmp_path / "out") == [f"{index:06d}.png" for index in range(12)]


def test_a_broken_picture_of_a_folder_does_not_move_the_names_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / "in" / name), picture(0))
    (tmp_path / "in" / "b.png").write_bytes(b"nonsense")
    copy(tmp_path / "in", tmp_path / "out")
    assert left_in(tmp_path / "out") == ["a.png", "c.png"]


def test_overwriting_a_folder_spares_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    (tmp_path / "out" / "000000.png").write_bytes(b"old")
    with open_sink(tmp_path / "out", INFO, overwrite=True) as sink:
        sink.write(frame_at(0))
    assert left_in(tmp_path) == ["out"]
    assert left_in(tmp_path / "out") == ["000000.png", "diary.txt"]
    assert (cv2.imread(str(tmp_path / "out" / "000000.png"))[..., ::-1] == picture(0)).all()


def test_an_empty_folder_needs_no_permission(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_all(tmp_path / "out", 2)
    assert left_in(tmp_path / "out") == ["000000.png", "000001.png"]


def test_a_picture_larger_than_its_kind_holds_is_an_error_and_no_empty_file(tmp_path: Path) -> None:
    wide = SafeFrame(np.zeros((2, 17_000, 3), np.uint8), 0, 0, Fraction(1))
    with pytest.raises(SinkError, match="webp holds no picture of 17000x2"), open_sink(tmp_path / "a.webp", INFO) as s:
        s.write(wide)
    assert left_in(tmp_path) == []


def test_no_picture_takes_the_name_of_another(tmp_path: Path) -> None:
    names = ("a.heic", "a.heic.jpg", "a.jpg", "a.avif")
    with open_sink(tmp_path / "out", replace(INFO, names=names)) as sink:
        for index in range(len(names)):
            sink.write(frame_at(index))
    assert left_in(tmp_path / "out") == ["a.avif.jpg", "a.heic.jpg", "a.heic.jpg.jpg", "a.jpg"]


def test_a_file_is_not_taken_for_a_folder_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SinkError, match="it is a file"):
        open_sink(tmp_path / "out", INFO, overwrite=True)


def test_a_written_picture_carries_no_metadata(tmp_path: Path) -> None:
    exif = b"\xff\xe1\x00\x2aExif\0\0MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x07\0\0\0\x1a\0\0\0\0SECRET\0\0"
    data = cv2.imencode(".jpg", picture(0))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + exif + data[2:])
    assert b"SECRET" not in copy(tmp_path / "a.jpg", tmp_path / "b.jpg").read_bytes()


def test_a_picture_holds_one_frame(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="one frame; name a folder"):
        write_all(tmp_path / "out.png", 2)
    assert left_in(tmp_path) == []


def test_a_video_known_to_have_many_frames_is_no_picture(clip: Clip, tmp_path: Path) -> None:
    with open_source(clip()) as source, pytest.raises(SinkError, match="one frame of 12"):
        open_sink(tmp_path / "out.png", source.info)


def test_the_kind_of_sink_follows_the_name(tmp_path: Path) -> None:
    kinds = {"out.MP4": VideoSink, "out.webm": VideoSink, "out.JPEG": PictureSink, "out": FolderSink}
    for name, kind in kinds.items():
        with open_sink(tmp_path / name, INFO) as sink:
            assert type(sink) is kind
            sink.write(frame_at(0))
    assert left_in(tmp_path) == sorted(kinds)


def test_source_and_sink_work_in_two_threads(clip: Clip, tmp_path: Path) -> None:
    path = clip(pts=range(100), audio=["aac"])
    queue: SimpleQueue[SafeFrame | None] = SimpleQueue()

    def produce() -> None:
        for frame in source:
            queue.put(safe(frame))
        queue.put(None)

    with (
        open_source(path) as source,
        open_sink(tmp_path / "out.mp4", source.info, source_path=path, keep_audio=True) as sink,
    ):
        reader = threading.Thread(target=produce)
        reader.start()
        while (frame := queue.get()) is not None:
            sink.write(frame)
        reader.join()
    assert seconds_of(tmp_path / "out.mp4") == seconds_of(path)
    assert packets_of(tmp_path / "out.mp4", "audio") == packets_of(path, "audio")


def test_an_ordinary_copy_logs_no_warning(clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        copy(clip(audio=["aac"], subtitle="mov_text"), tmp_path / "out.mp4", keep_audio=True)
    assert caplog.records == []


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="needs ../shared/clips")
@pytest.mark.parametrize(
    "name",
    [
        "signing_640x480.mkv",
        "head_turns_480x270.gif",
        "stage_dark_640x360.mp4",
        "streamer_642x488.mp4",
        "two_people_720p.mp4",
    ],
)
def test_a_real_clip_keeps_its_frames_times_and_sound(tmp_path: Path, name: str) -> None:
    limit = 60
    source = SHARED_CLIPS / name
    target = copy(source, tmp_path / "out.mp4", keep_audio=True, limit=limit)
    start, times = max(Fraction(0), start_of(source)), seconds_of(source, limit)
    shift = times[0] - seconds_of(target)[0]
    assert float(shift) == pytest.approx(float(start), abs=1e-3)  # in whole ticks of the video
    assert seconds_of(target) == [seconds - shift for seconds in times]
    moved = [[(seconds - start, data) for seconds, data in packets] for packets in packets_of(source, "audio")]
    assert packets_of(target, "audio") == moved


def test_a_copy_of_a_copy_has_the_same_times(clip: Clip, tmp_path: Path) -> None:
    source = encode_clip(clip(), pts=[100, 107, 150, 151, 400], time_base=Fraction(1, 1000))
    twice = copy(copy(source, tmp_path / "one.mkv"), tmp_path / "two.mp4")
    assert seconds_of(twice) == [seconds - Fraction(1, 10) for seconds in seconds_of(source)]
