from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.sources.file_source import open_source
from tests.clips import RED, encode_clip, picture, seconds_of, start_of
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.sources.reading import JPEG_EXIF, read, red_corner

Clip = Callable[..., Path]
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb of ITU-T H.273


def test_a_video_gives_every_frame_in_display_order(clip: Clip) -> None:
    frames = read(clip(options={"bf": "3"}))
    assert [frame.index for frame in frames] == list(range(12))
    assert (np.diff([int(frame.image[40, 50, 0]) for frame in frames]) > 4).all()


def test_a_frame_has_the_pixels_that_were_encoded(clip: Clip) -> None:
    frame = read(clip(options={"crf": "1"}))[5]
    inside = [(12, 16), (12, 48), (36, 16), (36, 48)]  # away from the edge, where chroma is shared
    assert all(np.abs(frame.image[at].astype(int) - picture(5)[at]).max() <= 4 for at in inside)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_variable_times_are_kept_exactly(clip: Clip, name: str) -> None:
    pts = [900, 901, 933, 934, 1900, 90901]  # the start in whole milliseconds, as the test's own muxer keeps it
    frames = read(clip(name, pts=pts, time_base=Fraction(1, 90000)))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(at - 900, 90000) for at in pts]


def test_a_gif_keeps_its_hundredths(clip: Clip) -> None:
    path = clip("clip.gif", codec="gif", pix_fmt="rgb8", pts=[0, 7, 20, 21], time_base=Fraction(1, 100))
    assert [(frame.pts, frame.time_base) for frame in read(path)] == [(at, Fraction(1, 100)) for at in (0, 7, 20, 21)]


@pytest.mark.parametrize(
    ("degrees", "mirrored", "corner"),
    [
        (0, False, "top left"),
        (90, False, "bottom left"),  # counter-clockwise
        (180, False, "bottom right"),
        (-90, False, "top right"),
        (0, True, "top right"),
        (90, True, "bottom right"),
        (180, True, "bottom left"),
        (-90, True, "top left"),
    ],
)
def test_a_rotated_video_is_upright(clip: Clip, degrees: float, mirrored: bool, corner: str) -> None:
    with open_source(clip(rotation=(degrees, mirrored))) as source:
        frame = next(iter(source))
        assert red_corner(frame) == corner
        assert frame.image.shape == (source.info.height, source.info.width, 3)
        assert (source.info.width < source.info.height) == (abs(degrees) == 90)
        assert frame.image.flags.c_contiguous


def test_the_orientation_in_the_exif_of_a_motion_jpeg_is_applied(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", picture(0)[..., ::-1])[1].tobytes()
    (tmp_path / "clip.mjpeg").write_bytes((data[:2] + JPEG_EXIF % 6 + data[2:]) * 3)
    frames = read(tmp_path / "clip.mjpeg")
    assert [red_corner(frame) for frame in frames] == ["top right"] * 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("colorspace", LUMA)
def test_colours_follow_the_matrix_and_range_of_the_clip(tmp_path: Path, colorspace: int, full: bool) -> None:
    kr, kb = LUMA[colorspace]
    r, g, b = (channel / 255 for channel in RED)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    stored = (y * 255, u * 255 + 128, v * 255 + 128) if full else (y * 219 + 16, u * 224 + 128, v * 224 + 128)
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(frame.planes, stored, strict=True):
        plane.update(bytes([round(value)]) * plane.buffer_size)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=48, options={"qp": "0"})
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_source(tmp_path / "clip.mp4") as source:
        assert (source.info.colorspace, source.info.color_range) == (colorspace, 2 if full else 1)
        assert np.abs(next(iter(source)).image.astype(int) - RED).max() <= 3  # 8-bit chroma steps are 2 wide


def test_ten_bits_become_eight_with_a_warning(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    frames = read(clip("clip.mkv", codec="ffv1", pix_fmt="yuv420p10le"))
    assert len(frames) == 12
    assert np.abs(frames[0].image[12, 16].astype(int) - RED).max() <= 4
    assert "10 bits per channel" in caplog.text


def test_what_was_transparent_is_shown_with_a_warning(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    hidden = np.dstack([picture(0), np.zeros((48, 64), np.uint8)])
    frames = read(clip("clip.mov", codec="png", pix_fmt="rgba", pictures=[hidden], pts=[0]))
    assert (frames[0].image == picture(0)).all()
    assert "transparent" in caplog.text


def test_an_odd_size_is_kept(clip: Clip) -> None:
    frames = read(clip("clip.mkv", size=(63, 47), codec="ffv1", pix_fmt="yuv444p"))
    assert frames[0].image.shape == (47, 63, 3)
    assert frames[0].image.flags.c_contiguous


def test_the_shape_of_pixels_is_told_and_turns_with_the_picture(clip: Clip) -> None:
    wide = {"sample_aspect_ratio": Fraction(4, 3)}
    with (
        open_source(clip("a.mp4", context=wide)) as a,
        open_source(clip("b.mp4", context=wide, rotation=(90, False))) as b,
    ):
        assert (a.info.sample_aspect_ratio, b.info.sample_aspect_ratio) == (Fraction(4, 3), Fraction(3, 4))


@pytest.mark.parametrize(("aspect", "width", "height"), [((3, 1), 192, 48), ((1, 2), 64, 96), ((64, 45), 64, 48)])
def test_pixels_far_from_square_are_made_square(clip: Clip, aspect: tuple[int, int], width: int, height: int) -> None:
    oblong = Fraction(*aspect)
    with open_source(clip(context={"sample_aspect_ratio": oblong})) as source:
        is_square = (width, height) != (64, 48)
        assert (source.info.width, source.info.height) == (width, height)
        assert source.info.sample_aspect_ratio == (1 if is_square else oblong)
        assert source.info.notes == (("pixels made square",) if is_square else ())
        assert {frame.image.shape for frame in source} == {(height, width, 3)}
    turned = clip("turned.mp4", context={"sample_aspect_ratio": oblong}, rotation=(90, False))
    with open_source(turned) as source:
        assert {frame.image.shape for frame in source} == {(width, height, 3)}
        assert (source.info.width, source.info.height) == (height, width)


def test_a_shape_of_pixels_that_cannot_be_is_left(clip: Clip) -> None:
    with open_source(clip(context={"sample_aspect_ratio": Fraction(400, 1)})) as source:
        assert (source.info.width, source.info.height, source.info.sample_aspect_ratio) == (64, 48, 1)


def test_info_tells_rate_and_count(clip: Clip) -> None:
    with open_source(clip()) as source:
        assert (source.info.rate, source.info.frame_count) == (10, 12)
    with open_source(clip("clip.mkv")) as source:
        assert source.info.frame_count is None  # mkv stores none


def test_cover_art_is_not_the_video(clip: Clip) -> None:
    assert len(read(clip("clip.mkv", cover=True))) == 12


def test_audio_only_is_refused_with_a_hint(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match=r"clip\.m4a: no video stream among 1; is it audio only\?"):
        open_source(tmp_path / "clip.m4a")


@pytest.mark.parametrize(
    ("name", "content"), [("a.mp4", b""), ("b.mp4", b"hello\n" * 99), ("c.txt", b"hello"), ("d", b"")]
)
def test_what_is_not_a_video_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"cannot open \S+{name}: .*is it a video\?$"):
        open_source(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4: No such file"):
        open_source(tmp_path / "none.mp4")


def test_a_file_that_may_not_be_read_is_refused(clip: Clip) -> None:
    path = clip()
    path.chmod(0)
    user = os.geteuid()
    if not user:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(SourceError, match=r"clip\.mp4: Permission denied"):
            open_source(path)
    finally:
        os.seteuid(user)


def test_a_codec_without_decoder_is_refused(clip: Clip) -> None:
    path = clip()
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(SourceError, match="no decoder"):
        open_source(path)


def test_a_video_without_one_good_frame_is_refused_at_open(clip: Clip) -> None:
    path = clip("clip.mkv", codec="libvpx-vp9")
    destroy(path, range(12))
    with pytest.raises(SourceError, match="no frame"):
        open_source(path)


def test_a_live_url_is_refused_without_its_password() -> None:
    with pytest.raises(SourceError, match=r"rtsp://\*\*\*@host/live") as caught:
        open_source("rtsp://me:hunter2@host/live")
    assert "hunter2" not in str(caught.value)


def test_a_playlist_cannot_reach_the_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
        with pytest.raises(SourceError):
            open_source(tmp_path / "list.m3u8")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("colorspace", [8, 10])  # YCgCo, BT.2020 constant luminance
def test_colours_that_cannot_be_converted_exactly_are_still_read(clip: Clip, colorspace: int) -> None:
    with open_source(clip(context={"colorspace": colorspace})) as source:
        assert len(list(source)) == 12
        assert source.info.colorspace == colorspace


def test_metadata_that_is_not_utf8_is_no_obstacle(clip: Clip) -> None:
    path = clip("clip.mkv", metadata={"title": "Zürich"})
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xfe"))
    assert len(read(path)) == 12


def destroy(path: Path, which: range) -> None:
    """Overwrite the payload of some video packets of `path` with a byte no decoder likes."""
    with av.open(str(path)) as container:
        spots = [(packet.pos, packet.size, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size, payload in (spots[index] for index in which):
        start = data.index(payload, position)
        data[start : start + size] = b"\x00" * size
    path.write_bytes(data)


def test_a_corrupt_packet_is_counted_and_the_video_goes_on(clip: Clip) -> None:
    path = clip("clip.mkv", codec="libvpx-vp9", options={"g": "4", "deadline": "realtime"}, pts=range(24))
    destroy(path, range(9, 10))
    with open_source(path) as source:
        frames = list(source)
        assert source.corrupt_packets == 1
    assert len(frames) == 23
    assert frames[-1].pts == 2300


def test_bytes_damaged_in_the_middle_cost_no_frame_of_h264(clip: Clip) -> None:
    path = clip("clip.mkv", pts=range(30), options={"g": "10"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        at = [(packet.pos, packet.size) for packet in container.demux(video=0)][15]
    data[at[0] + at[1] // 2] ^= 0xFF
    path.write_bytes(data)
    frames = read(path)
    assert [frame.pts for frame in frames] == list(range(0, 3000, 100))


def test_frames_without_their_keyframe_still_count(clip: Clip) -> None:
    path = clip("clip.mkv", options={"g": "10", "bf": "0"}, pts=range(30))
    destroy(path, range(1))
    assert len(read(path)) == 29


def test_too_many_corrupt_packets_in_a_row_are_an_error(clip: Clip) -> None:
    path = clip(
        "clip.mkv", codec="libvpx-vp9", options={"g": "999", "deadline": "realtime", "cpu-used": "8"}, pts=range(310)
    )
    destroy(path, range(2, 310))
    with pytest.raises(SourceError, match=r"301 packets in a row failed"):
        read(path)


def test_a_truncated_file_gives_what_is_left(clip: Clip) -> None:
    path = clip("clip.mkv", pts=range(40), options={"bf": "0", "g": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    frames = read(path)
    assert 15 < len(frames) < 35
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_frames_without_times_are_counted_at_the_rate(clip: Clip) -> None:
    frames = read(clip("clip.h264", options={"bf": "2"}))
    assert [frame.seconds for frame in frames] == pytest.approx([index / 10 for index in range(12)])


def test_counted_times_do_not_drift(clip: Clip) -> None:
    frames = read(clip("clip.h264", time_base=Fraction(1, 7), pts=range(300)))  # 171428.57 ticks a frame
    assert frames[-1].seconds == pytest.approx(299 / 7, abs=1e-6)


def test_a_clock_that_starts_again_goes_on_instead(clip: Clip) -> None:
    parts = [clip(f"{name}.ts", pts=range(30)).read_bytes() for name in "ab"]
    joined = clip("joined.ts", pts=[0])
    joined.write_bytes(parts[0] + parts[1])
    seconds = [frame.seconds for frame in read(joined)]
    assert len(seconds) == 60
    assert np.diff(seconds) == pytest.approx([0.1] * 59)


def test_repeated_times_are_moved_by_a_tick_and_lose_no_frame(clip: Clip) -> None:
    # In AVI a frame's time is its place in the file, so those of B-frames jump back and forth.
    frames = read(clip("clip.avi", options={"bf": "2"}))
    assert len(frames) == 12
    assert all(np.diff([frame.pts for frame in frames]) > 0)


def test_a_frame_of_another_size_is_letterboxed(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    first, second = clip("a.h264", options={"bf": "0"}), clip("b.h264", size=(64, 96), options={"bf": "0"})
    first.write_bytes(first.read_bytes() + second.read_bytes())
    frames = read(first)
    assert len(frames) == 24
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    image = frames[-1].image.astype(int)
    assert image[:, :15].max() == 0  # 64x96 becomes 32x48, with 16 black columns on each side
    assert image[:, 49:].max() == 0
    assert np.abs(image[12, 20] - RED).max() < 12
    assert caplog.text.count("letterboxed") == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_clip(clip: Clip) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path = clip(size=(640, 480), pts=range(120), options={"preset": "ultrafast"})
    gc.disable()  # so that a reference cycle shows
    try:
        with open_source(path) as source:
            sizes = [resident() for _ in source]
    finally:
        gc.enable()
    assert sizes[-1] - sizes[20] < 20 * 640 * 480 * 1.5


def test_iterating_again_goes_on_where_it_stopped(clip: Clip) -> None:
    with open_source(clip()) as source:
        first = [frame.index for frame, _ in zip(source, range(5), strict=False)]
        assert first + [frame.index for frame in source] == [0, 1, 2, 3, 4, *range(6, 12)]  # zip took one more


def test_closing_while_another_thread_reads_ends_its_iteration(clip: Clip) -> None:
    source = open_source(clip(pts=range(400)))
    started, seen = threading.Event(), []

    def consume() -> None:
        for frame in source:
            seen.append(frame.index)
            started.set()

    reader = threading.Thread(target=consume)
    with source:
        reader.start()
        assert started.wait(PATIENCE_SECONDS)
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    assert seen == list(range(len(seen)))


def test_an_ordinary_clip_logs_no_warning(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(clip())
    assert caplog.records == []


def test_a_source_and_ffmpeg_agree_on_the_times(clip: Clip) -> None:
    path = encode_clip(clip("clip.mkv"), pts=[3, 4, 9, 30], time_base=Fraction(1, 50), audio=["aac"])
    assert start_of(path) <= 0
    assert [frame.pts * frame.time_base for frame in read(path)] == seconds_of(path)
