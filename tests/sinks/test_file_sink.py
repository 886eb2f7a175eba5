from __future__ import annotations

import logging
import threading
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
from streamer.types import Codec, SafeFrame, VideoInfo
from tests.clips import RED, SHARED_CLIPS, encode_clip, packets_of, picture, safe, seconds_of, start_of
from tests.sinks.written import INFO, Clip, copy, frame_at, left_in, write_all

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb of ITU-T H.273


VIDEO_CODEC = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx-vp9"}


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
    monkeypatch.setitem(video_codec.ENCODERS, "hevc", video_codec.CodecSetup("no_such_encoder", {}))
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
