"""Of copied packets only text and sound are copied: no tag, no picture, no drawing behind or instead of them."""

from pathlib import Path

import av
import pytest
from av.packet import Packet
from av.stream import Stream

from streamer.sound.codec_packets import bare_packet, may_lie_beside
from tests.clips import encode_clip, packets_of
from tests.sinks.written import copy

PICTURE = b"\xff\xd8\xff\xe0" + b"AnnExample" * 40
TAG = b"ID3\x03\x00\x00\x00\x00\x10\x00APIC" + PICTURE


def with_tags(source: Path, target: Path, kind: str) -> Path:
    """Copy a file with a tag behind each packet of its streams of one kind."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        streams: dict[int, Stream] = {s.index: after.add_stream_from_template(s) for s in before.streams}
        for packet in before.demux():
            if packet.dts is None:
                continue
            contents = [bytes(packet)]
            if packet.stream.type == kind:
                contents = [bytes(packet), TAG]
            for content in contents:
                new: Packet[Stream] = Packet(content)
                new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
                new.time_base, new.is_keyframe = packet.time_base, packet.is_keyframe
                new.stream = streams[packet.stream_index]
                after.mux(new)
    assert PICTURE in target.read_bytes()
    return target


@pytest.mark.parametrize("codec", ["mp3", "mp2"])
@pytest.mark.parametrize("rate", [48000, 44100, 22050])
def test_frames_of_mpeg_audio_are_whole_and_what_is_behind_them_is_left(tmp_path: Path, codec: str, rate: int):
    path = tmp_path / f"sound.{codec}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        frame = av.AudioFrame(format="s16", layout="stereo", samples=rate)
        frame.planes[0].update(bytes(range(256)) * (rate * 4 // 256) + bytes(rate * 4 % 256))
        frame.sample_rate, frame.pts = rate, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    assert len(packets) > 10
    for packet in packets:
        assert bare_packet(codec, packet) == packet
        assert bare_packet(codec, 2 * packet + PICTURE) == 2 * packet
        assert bare_packet(codec, TAG + packet) == packet
        assert bare_packet(codec, packet[:-1]) == b""
    assert bare_packet(codec, TAG) == bare_packet(codec, b"TAG" + bytes(125)) == bare_packet(codec, b"") == b""


@pytest.mark.parametrize("codec", ["subrip", "ass", "webvtt", "text"])
def test_of_subtitles_only_what_is_text_stays(codec: str):
    text = "0,0,Default,,0,0,0,,{\\pos(10,20)}Grüße, 世界\n".encode()
    assert bare_packet(codec, text) == text
    for other in (text + PICTURE, PICTURE, text + b"\x01", b"x" * 100_000):
        assert bare_packet(codec, other) == b""


@pytest.mark.parametrize(
    "drawn",
    [
        "{\\p1}m 0 0 l 9 9",
        "{\\an7\\p 4}m 0 0",
        "{\\t(0,1,\\p2)}",
        "{\\p01}m",
        "{\\p+1}m",
        "{\\p(1)}m",
        "{\\clip(m 0 0 l 9 9)}",
        "{\\iclip(2,m 0 0 l 9 9)}",
        "{\\clipm 0 0 l 9 9}",
        "{\\ p1}m",
        "{\\clip(1,2,3)}",
    ],
)
def test_what_ass_draws_is_left_out(drawn: str):
    assert bare_packet("ass", drawn.encode()) == b""
    plain = b"{\\pos(1,2)\\pbo3\\p0\\clip(0, 0,100.5,20)}text"
    assert bare_packet("ass", plain) == plain
    for drawn_if_braces_went in (b"{\\p{x}1}m 0 0", b"{\\cl{x}ip(1,m)}"):
        assert bare_packet("ass", drawn_if_braces_went) == drawn_if_braces_went


@pytest.mark.parametrize(("effect", "kept"), [("Banner;20;0;50", "Banner;20;0;50"), ("AnnExample", "")])
def test_of_a_line_of_ass_only_what_is_shown_is_kept(effect: str, kept: str):
    line = f"7,0,Default,AnnExample,0,0,0,{effect},{{AnnExample, Ann}}so, {{\\i1{{x}}he{{\\i0}} said}}"
    assert bare_packet("ass", line.encode()).decode() == f"7,0,Default,,0,0,0,{kept},so, {{\\i1{{x}}he{{\\i0}} said}}"


def test_timed_text_of_3gpp_ends_where_its_text_does():
    assert bare_packet("mov_text", b"\x00\x05hello" + PICTURE) == b"\x00\x05hello"
    assert bare_packet("mov_text", b"\x00\x00") == b"\x00\x00"  # nothing is said
    for wrong in (b"", b"\x00", b"\x00\x09hello", b"\x00\x04" + PICTURE[:4]):
        assert bare_packet("mov_text", wrong) == b""


@pytest.mark.parametrize("subtitle", ["subrip", "ass"])
def test_subtitles_with_a_picture_in_them_are_left_out_and_said_to_be(
    tmp_path: Path, subtitle: str, caplog: pytest.LogCaptureFixture
):
    source = with_tags(encode_clip(tmp_path / "a.mkv", subtitle=subtitle), tmp_path / "b.mkv", "subtitle")
    target = copy(source, tmp_path / "out.mkv")
    assert b"AnnExample" not in target.read_bytes()
    assert caplog.text.count("text is left out") == 1


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_tags_among_the_packets_of_kept_sound_stay_behind_and_the_sound_is_whole(tmp_path: Path, suffix: str):
    plain = encode_clip(tmp_path / "a.mkv", audio=["mp2"])
    source = with_tags(plain, tmp_path / "b.mkv", "audio")
    target = copy(source, tmp_path / f"out.{suffix}", keep_audio=True)
    assert b"AnnExample" not in target.read_bytes()
    ((*before,),) = packets_of(plain, "audio")
    ((*after,),) = packets_of(target, "audio")
    assert [data for _, data in after] == [data for _, data in before]


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_what_lies_beside_a_text_stays_behind_and_its_place_does_not(tmp_path: Path, suffix: str):
    """An identifier of WebVTT may be anything; in Matroska it is data beside the block, as which it may be more."""
    times = ("00:00.100 --> 00:00.400", "00:00.500 --> 00:00.900")
    cues = [f"{PICTURE[4:].decode()}\n{time} line:0 align:start\nheard {time[:9]}\n" for time in times]
    (tmp_path / "a.vtt").write_text("\n".join(["WEBVTT\n", *cues]))
    video, source = encode_clip(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    with av.open(str(video)) as pictures, av.open(str(tmp_path / "a.vtt")) as texts, av.open(str(source), "w") as after:
        streams = {kept: after.add_stream_from_template(kept.streams[0]) for kept in (pictures, texts)}
        for kept, stream in streams.items():
            for packet in (each for each in kept.demux() if each.size):
                packet.stream = stream
                after.mux(packet)
    assert PICTURE[4:] in source.read_bytes()
    target = copy(source, tmp_path / f"out.{suffix}")
    assert b"AnnExample" not in target.read_bytes()
    assert target.read_bytes().count(b"heard 00:00.") == 2
    with av.open(str(target)) as written:
        beside = [bytes(side) for packet in written.demux(subtitles=0) for side in packet.iter_sidedata()]
    assert beside == [b"line:0 align:start"] * 2


@pytest.mark.parametrize(
    ("kind", "data", "may"),
    [
        ("skip_samples", bytes(10), True),
        ("webvtt_settings", b"position:10%,line-left line:0 align:start", True),
        ("webvtt_settings", b"line:0 AnnExample", False),
        ("webvtt_identifier", b"1", False),
        ("matroska_block_additional", b"\x00" * 8 + PICTURE, False),
        ("new_extradata", PICTURE, False),
        ("new_extradata", b"\x12\x10", True),
    ],
)
def test_only_how_a_packet_is_played_may_lie_beside_it(kind: str, data: bytes, may: bool):
    assert may_lie_beside(kind, data) is may
