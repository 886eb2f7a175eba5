"""Files whose container says something else than what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.packet import Packet

from streamer.errors import SinkError, SourceError
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source
from tests.clips import AUDIO_RATE, packets_of, picture, safe, seconds_of
from tests.sources.reading import read, red_corner

Clip = Callable[..., Path]
SECRET = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "ab" * 16, "encryption_kid": "cd" * 16}


def remux(path: Path, target: Path, change: Callable[[Packet], Iterable[Packet]], **options: str) -> Path:
    """Write the packets of `path` anew, each as `change` makes it."""
    with av.open(str(path)) as source, av.open(str(target), "w", container_options=options) as output:
        streams = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                for each in change(packet):
                    each.stream = streams[packet.stream_index]
                    output.mux(each)
    return target


def moved(packet: Packet, seconds: float) -> Packet:
    packet.pts += round(seconds / packet.time_base)
    packet.dts += round(seconds / packet.time_base)
    return packet


def like(packet: Packet, data: bytes) -> Packet:
    """Return a packet with the times of another."""
    new = Packet(data)
    new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
    return new


def copy(source_path: Path, target: Path) -> list[float]:
    """Copy as the tool does, with sound; return the times of the frames."""
    with (
        open_source(source_path) as source,
        open_sink(target, source.info, source_path=source_path, keep_audio=True) as sink,
    ):
        times = []
        for frame in source:
            times.append(frame.seconds)
            sink.write(safe(frame))
    return times


def heard(path: Path) -> np.ndarray:
    """Return the left channel of the sound of `path` as a player decodes it."""
    with av.open(str(path)) as container:
        planes = [frame.to_ndarray() for frame in container.decode(audio=0)]
        packed = not container.streams.audio[0].codec_context.format.is_planar
    return np.concatenate([plane.reshape(-1, 2)[:, 0] if packed else plane[0] for plane in planes])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_clock_that_counts_from_elsewhere_starts_at_nothing_for_all_streams(
    clip: Clip, tmp_path: Path, suffix: str
) -> None:
    path = clip("a.ts", audio=["ac3"])
    late = remux(path, tmp_path / "late.ts", lambda packet: [moved(packet, 50_000)], output_ts_offset="0")
    target = tmp_path / f"out.{suffix}"
    times = copy(late, target)
    sound = float(packets_of(late, "audio")[0][0][0])
    first = float(seconds_of(late)[0])
    assert first > 50_000
    assert min(times) == pytest.approx(max(0, first - sound), abs=1e-4)
    assert float(packets_of(target, "audio")[0][0][0]) == pytest.approx(max(0, sound - first), abs=2e-3)
    assert len(times) == 12


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_jump_of_the_clock_is_taken_out_of_picture_and_sound(clip: Clip, tmp_path: Path, suffix: str) -> None:
    path = clip("a.mkv", pts=range(30), audio=["ac3"], audio_seconds=3, options={"bf": "0"})
    jumped = remux(
        path, tmp_path / "b.mkv", lambda packet: [moved(packet, 5000 if packet.pts * packet.time_base > 1.5 else 0)]
    )
    assert max(seconds_of(jumped)) > 5000
    times = copy(jumped, tmp_path / f"out.{suffix}")
    assert np.diff(times) == pytest.approx([0.1] * 29, abs=2e-3)
    (sound,) = packets_of(tmp_path / f"out.{suffix}", "audio")
    assert np.diff([float(seconds) for seconds, _ in sound]) == pytest.approx([0.032] * (len(sound) - 1), abs=3e-3)


def test_a_pause_of_the_picture_alone_is_kept(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", pts=[0, 1, 2, 300, 301], audio=["ac3"], audio_seconds=31)
    assert copy(path, tmp_path / "out.mkv") == pytest.approx([0, 0.1, 0.2, 30, 30.1])


def test_a_picture_alone_may_stay_until_it_changes(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", pts=[0, 1, 2, 9000, 9001])
    with open_source(path) as source:
        assert [frame.seconds for frame in source] == pytest.approx([0, 0.1, 0.2, 900, 900.1])


def test_a_jump_of_a_broadcast_is_taken_out(clip: Clip) -> None:
    path = clip("a.ts", pts=[0, 1, 2, 9000, 9001], options={"bf": "0"})
    with open_source(path) as source:
        assert np.diff([frame.seconds for frame in source]) == pytest.approx([0.1] * 4)


def test_a_pause_of_the_sound_alone_is_kept(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", pts=range(310), audio=["ac3"], audio_seconds=31, options={"bf": "0"})
    quiet = remux(
        path,
        tmp_path / "b.mkv",
        lambda packet: [] if packet.stream.type == "audio" and 1 < packet.pts * packet.time_base < 30 else [packet],
    )
    copy(quiet, tmp_path / "out.mkv")
    assert packets_of(tmp_path / "out.mkv", "audio") == packets_of(quiet, "audio")


def test_one_wrong_time_moves_neither_picture_nor_sound(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.flv", codec="flv", pts=range(30), audio=["aac"], audio_seconds=3)
    data, at, seen = bytearray(path.read_bytes()), 13, Counter[int]()
    while at < len(data):  # tags: a byte of kind, three of size, four of time of which the last is the highest
        seen[data[at]] += 1
        if seen[data[at]] == 9:
            data[at + 7] = 1
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    wrong = tmp_path / "b.flv"
    wrong.write_bytes(data)
    assert max(seconds_of(wrong)) > 16_000
    copy(path, tmp_path / "right.mkv")
    copy(wrong, tmp_path / "out.mkv")
    assert seconds_of(tmp_path / "out.mkv") == seconds_of(tmp_path / "right.mkv")
    (before,), (after,) = packets_of(tmp_path / "right.mkv", "audio"), packets_of(tmp_path / "out.mkv", "audio")
    assert [float(at) for at, _ in after] == pytest.approx([float(at) for at, _ in before], abs=3e-3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_the_last_frame_of_a_time_lapse_lasts_as_long_as_the_others(clip: Clip, tmp_path: Path, suffix: str) -> None:
    path = clip("a.mp4", pts=range(0, 50, 10), time_base=Fraction(1))  # the encoder says ten a second
    with open_source(path) as source, open_sink(tmp_path / f"out.{suffix}", source.info) as sink:
        for frame in source:
            sink.write(safe(frame))
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        assert container.duration == 50_000_000


def test_the_rate_of_raw_dv_is_not_that_of_its_clock(clip: Clip) -> None:
    path = clip(
        "clip.dv", codec="dvvideo", size=(720, 576), pts=range(3),
        time_base=Fraction(1, 25), context={"framerate": Fraction(25)},
    )  # fmt: skip
    with open_source(path) as source:
        assert source.info.rate == 25
        assert [frame.seconds for frame in source] == [0, 0.04, 0.08]


def test_an_empty_packet_in_the_middle_is_not_the_end(clip: Clip, tmp_path: Path) -> None:
    count = iter(range(99))

    def emptied(packet: Packet) -> list[Packet]:
        return [packet] if next(count) % 2 == 0 else [like(packet, b"")]

    path = remux(clip("a.nut", codec="mjpeg", pix_fmt="yuvj420p"), tmp_path / "b.nut", emptied)
    with av.open(str(path)) as container:
        assert sum(not packet.size for packet in container.demux(video=0)) == 6 + 1
    with open_source(path) as source:
        assert [frame.seconds for frame in source] == pytest.approx([index / 5 for index in range(6)])


@pytest.mark.parametrize("name", ["clip.mov", "clip.mkv"])
def test_a_thumbnail_before_the_video_is_not_the_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        thumbnail = container.add_stream("mjpeg", rate=10, width=32, height=24)
        thumbnail.pix_fmt, thumbnail.disposition = "yuvj420p", av.stream.Disposition(0)
        video = container.add_stream("libx264", rate=10, width=64, height=48)
        for index in range(12):
            for stream, size in ((thumbnail, (32, 24)), (video, (64, 48)))[bool(index) :]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index, size), "rgb24")))
        for stream in (thumbnail, video):
            container.mux(stream.encode(None))
    with open_source(path) as source:
        assert (source.info.width, source.info.height) == (64, 48)
        assert len(list(source)) == 12


def test_alpha_beside_the_video_is_warned_of(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    with open_source(clip("clip.webm", codec="libvpx-vp9", metadata={"alpha_mode": "1"})):
        assert "partly transparent" in caplog.text


@pytest.mark.parametrize("is_clear", [True, False])
def test_a_palette_that_is_partly_transparent_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_clear: bool
) -> None:
    palette = np.full((256, 4), 255, np.uint8)
    palette[7] = (0 if is_clear else 255, 200, 30, 60)  # alpha first
    frame = av.VideoFrame.from_ndarray((np.full((48, 64), 7, np.uint8), palette), "pal8")
    with av.open(str(tmp_path / "clip.mov"), "w") as container:
        stream = container.add_stream("png", rate=10, width=64, height=48)
        stream.pix_fmt = "pal8"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_source(tmp_path / "clip.mov") as source:
        assert len(list(source)) == 1
    assert ("partly transparent" in caplog.text) == is_clear


def test_an_encrypted_video_is_refused_by_name(clip: Clip, tmp_path: Path) -> None:
    path = remux(clip("a.mp4", audio=["aac"]), tmp_path / "b.mp4", lambda packet: [packet], **SECRET)
    with pytest.raises(SourceError, match=r"its video is encrypted \(cenc\); decrypt it first"):
        open_source(path)


def test_encrypted_sound_is_not_copied(clip: Clip, tmp_path: Path) -> None:
    clear = clip("a.mp4")
    path = remux(clip("b.mp4", audio=["aac"]), tmp_path / "c.mp4", lambda packet: [packet], **SECRET)
    with open_source(clear) as source, pytest.raises(SinkError, match="the audio: it is encrypted"):
        open_sink(tmp_path / "out.mp4", source.info, source_path=path, keep_audio=True)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("good", [3, 9])
def test_a_video_of_which_most_cannot_be_decoded_is_an_error(clip: Clip, tmp_path: Path, good: int) -> None:
    count = iter(range(99))

    def destroyed(packet: Packet) -> list[Packet]:
        return [packet] if next(count) < good else [like(packet, bytes(packet.size))]

    path = remux(clip("a.nut", codec="mjpeg", pix_fmt="yuvj420p"), tmp_path / "b.nut", destroyed)
    with open_source(path) as source:
        if good == 9:
            assert len(list(source)) == 9
            assert source.corrupt_packets == 3
            return
        with pytest.raises(SourceError, match="only 3 frames of 12 packets could be decoded"):
            list(source)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_an_edit_list_cuts_away_is_not_copied(clip: Clip, tmp_path: Path, suffix: str) -> None:
    # Libavformat hides what comes before 0 by an edit list.
    path = remux(
        clip("a.mp4", pts=range(30), audio=["aac"], audio_seconds=3, options={"g": "1", "bf": "0"}),
        tmp_path / "b.mp4",
        lambda packet: [moved(packet, -1.0)],
        avoid_negative_ts="disabled",
    )
    target = tmp_path / f"out.{suffix}"
    with av.open(str(path)) as container:
        hidden = [packet.is_discard for packet in container.demux(audio=0) if packet.size]
    assert sum(hidden) > 40
    times = copy(path, target)
    (kept,) = packets_of(target, "audio")
    assert len(kept) == len(hidden) - sum(hidden)
    assert -1024 / AUDIO_RATE < kept[0][0] <= 0
    assert times == pytest.approx([index / 10 for index in range(20)], abs=1e-3)


def test_the_delay_of_a_codec_is_copied_with_its_sound(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", audio=["aac"])
    with av.open(str(path)) as container:
        assert next(container.demux(audio=0)).is_discard
    copy(path, tmp_path / "out.mp4")
    assert packets_of(tmp_path / "out.mp4", "audio") == packets_of(path, "audio")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mov", "pcm_mulaw"),
        ("clip.avi", "pcm_alaw"),
        ("clip.avi", "adpcm_ms"),
        ("clip.avi", "adpcm_ima_wav"),
        ("clip.avi", "wmav2"),
    ],
)
def test_sound_that_matroska_holds_by_number_is_copied(clip: Clip, tmp_path: Path, name: str, codec: str) -> None:
    path = clip(name, codec="mpeg4", audio=[codec], samples=1024)
    copy(path, tmp_path / "out.mkv")
    is_copied(path, tmp_path / "out.mkv", codec)
    assert len(heard(tmp_path / "out.mkv")) > AUDIO_RATE


@pytest.mark.parametrize("codec", ["g722", "g726"])
def test_sound_of_telephones_is_copied_too(clip: Clip, tmp_path: Path, codec: str) -> None:
    path = clip("clip.avi", codec="mpeg4", audio=[codec], samples=240, telephone=True)
    copy(path, tmp_path / "out.mkv")
    is_copied(path, tmp_path / "out.mkv", codec)


def is_copied(path: Path, made: Path, codec: str) -> None:
    """Check that a Matroska has the one stream of sound of `path`, packet by packet, and that it sounds the same."""
    with av.open(str(made)) as container:
        assert container.streams.audio[0].codec_context.name == codec
    packets, of_source = (packets_of(each, "audio")[0] for each in (made, path))
    assert [data for _, data in packets] == [data for _, data in of_source]
    assert (heard(made) == heard(path)).all()


# What changes midway


def joined(target: Path, *parts: Path) -> Path:
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


@pytest.mark.parametrize(
    ("aspects", "rows", "columns"),
    [((1, 4), 12, 64), ((4, 1), 48, 64), ((1, Fraction(1, 3)), 48, 22), ((Fraction(64, 45), Fraction(16, 11)), 47, 64)],
)
def test_pixels_that_change_their_shape_midway_are_shown_as_they_are_meant(
    clip: Clip, tmp_path: Path, aspects: tuple[int, int], rows: int, columns: int
) -> None:
    made = {"options": {"bf": "3", "x264-params": "b-adapt=0"}}
    parts = [clip(f"{n}.h264", context={"sample_aspect_ratio": aspect}, **made) for n, aspect in enumerate(aspects)]
    frames = read(joined(tmp_path / "both.h264", *parts))
    assert len({frame.image.shape for frame in frames}) == 1
    first, second = frames[:12], frames[12:]
    assert all((a.image == b.image).all() for a, b in zip(first, read(parts[0]), strict=True))
    for frame in second:
        lit = frame.image.max(axis=2) > 24
        assert abs(lit.any(axis=1).sum() - rows) <= 2
        assert abs(lit.any(axis=0).sum() - columns) <= 2


@pytest.mark.parametrize(
    ("change", "corner"),
    [("flip=vertical", "bottom left"), ("flip=horizontal", "top right"), ("rotate=180", "bottom right")],
)
def test_a_picture_that_is_turned_over_midway_is_upright(clip: Clip, tmp_path: Path, change: str, corner: str) -> None:
    """Where the codec says so with a key frame, that holds for those that follow."""
    plain, other = clip("plain.h264"), tmp_path / "other.h264"
    with av.open(str(plain)) as before, av.open(str(other), "w") as after:
        insert = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:{change}", before.streams.video[0])
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux():
            for each in insert.filter(packet if packet.size else None):
                each.stream = stream
                after.mux(each)
    frames = read(joined(tmp_path / "all.h264", plain, other, plain))
    assert [red_corner(frame) for frame in frames] == ["top left"] * 12 + [corner] * 12 + ["top left"] * 12
