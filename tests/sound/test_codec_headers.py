"""Of the headers of copied codecs only what a decoder needs is copied: no title, no picture, no path."""

import base64
import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.stream import Stream

from streamer.errors import SinkError
from streamer.sound.codec_headers import MOST_BYTES, MOST_STYLES, HeaderError, bare_header
from tests.clips import encode_clip, packets_of
from tests.sinks.test_copied import copy

SECRET = b"AnnExample"
PICTURE = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8)
ASS = b"""[Script Info]
; made by AnnExample
Title: AnnExample
ScriptType: v4.00+
PlayResX: 640

[Aegisub Project Garbage]
Video File: /home/AnnExample/birthday.mp4

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16
; AnnExample

[Graphics]
filename: AnnExample.jpg
!M6]L]&AnnExample

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,AnnExample
"""


def vorbis_header(source: bytes) -> bytes:
    """Return a header of Vorbis with tags and cover art in it."""
    sizes, at = [], 1
    for _ in range(2):
        size = 0
        while source[at] == 255:
            size, at = size + 255, at + 1
        sizes.append(size + source[at])
        at += 1
    first, setup = source[at : at + sizes[0]], source[at + sum(sizes) :]
    tags = [b"TITLE=" + SECRET, b"METADATA_BLOCK_PICTURE=" + PICTURE]
    comments = b"\x03vorbis" + struct.pack("<I1sI", 1, b"x", len(tags))
    comments += b"".join(struct.pack("<I", len(tag)) + tag for tag in tags) + b"\x01"
    laced = b"\xff" * (len(comments) // 255) + bytes([len(comments) % 255])
    return b"\x02\x1e" + laced + first + comments + setup


def rewritten(source: Path, target: Path, kind: str, header: Callable[[bytes], bytes]) -> Path:
    """Copy a file with another header for its streams of one kind."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        streams: dict[int, Stream] = {}
        for stream in before.streams:
            streams[stream.index] = after.add_stream_from_template(stream)
            if stream.type == kind:
                context = streams[stream.index].codec_context
                context.extradata = header(stream.codec_context.extradata or b"")
        for packet in before.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                after.mux(packet)
    assert SECRET in target.read_bytes()
    return target


def test_of_an_ass_header_sizes_styles_and_fields_are_kept():
    kept = bare_header("ass", ASS)
    assert SECRET not in kept
    assert kept.decode().splitlines() == [
        "[Script Info]", "ScriptType: v4.00+", "PlayResX: 640", "",
        "[V4+ Styles]", "Format: Name, Fontname, Fontsize", "Style: Default,Arial,16", "",
        "[Events]", "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text",
    ]  # fmt: skip
    assert bare_header("ass", kept) == kept
    assert bare_header("ass", b"[Script Info]\nPlayResX: " + b"9" * 1000) == b"[Script Info]\n"


def test_of_styles_only_what_reads_as_one_is_kept():
    style = "Style: Default,Arial,16,&H00FFFFFF,&H000000FF&,0,-1,100,2.5,,1"
    free = [
        "Style: Default,Arial,AnnExample",
        "Timer: AnnExample of 9 July",
        f"Style: {'x' * 50},Arial,16",
        f"Style: a,b{',   ' * 60}!",
    ]
    order = "Format: Name, Fontname, Fontsize"
    lines = ["[Script Info]", free[1], "Timer: 100.0000", "[V4+ Styles]", order, order, style, *free, *[style] * 200]
    kept = bare_header("ass", "\n".join(lines).encode()).decode().splitlines()
    assert kept == ["[Script Info]", "Timer: 100.0000", "", "[V4+ Styles]", order, *[style] * MOST_STYLES]


@pytest.mark.parametrize("codec", ["subrip", "text", "webvtt"])
def test_text_without_styles_has_no_header(codec: str):
    assert bare_header(codec, b"NOTE " + SECRET) == b""


def test_a_tx3g_header_names_no_font_of_the_source():
    header = bare_header("mov_text", SECRET * 20)
    assert SECRET not in header
    assert struct.unpack(">I4s", header[30:38]) == (len(header) - 30, b"ftab")


def test_a_long_header_of_sound_is_refused_and_a_short_one_is_kept():
    assert bare_header("aac", b"\x12\x10") == b"\x12\x10"
    with pytest.raises(HeaderError, match="the header of aac is longer than sound needs"):
        bare_header("aac", bytes(MOST_BYTES + 1))


@pytest.mark.parametrize(
    "header", [b"", b"\x02", b"\x02\x1e\xff", b"\x00\x1e\x01vorbis", bytes(200), b"\x02\x1e\x10" + bytes(99)]
)
def test_what_is_no_vorbis_header_is_refused(header: bytes):
    with pytest.raises(HeaderError, match="the headers of vorbis are not its own"):
        bare_header("vorbis", header)


def test_a_picture_in_a_copied_ass_header_stays_behind(tmp_path: Path):
    source = rewritten(encode_clip(tmp_path / "a.mkv", subtitle="ass"), tmp_path / "b.mkv", "subtitle", lambda _: ASS)
    target = copy(source, tmp_path / "out.mkv")
    assert SECRET not in target.read_bytes()
    (copied,) = packets_of(target, "subtitle")
    assert len(copied) == 1
    with av.open(str(target)) as container:
        assert b"Style: Default,Arial,16" in (container.streams.subtitles[0].codec_context.extradata or b"")


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4"])
def test_cover_art_of_copied_vorbis_stays_behind_and_the_sound_is_whole(tmp_path: Path, suffix: str):
    plain = encode_clip(tmp_path / "a.mkv", audio=["vorbis"])
    source = rewritten(plain, tmp_path / "b.mkv", "audio", vorbis_header)
    target = copy(source, tmp_path / f"out.{suffix}", keep_audio=True)
    written = target.read_bytes()
    assert SECRET not in written
    assert PICTURE[100:200] not in written
    assert heard(target)[:-1] == pytest.approx(heard(plain)[:-1], abs=1e-6)  # MP4 says where within it sound ends


def heard(path: Path) -> list[float]:
    """Return the loudness of each decoded frame of sound."""
    with av.open(str(path)) as container:
        return [float(abs(frame.to_ndarray()).mean()) for frame in container.decode(audio=0)]


def test_sound_whose_header_is_too_long_is_an_error_in_words(tmp_path: Path):
    plain = encode_clip(tmp_path / "a.mkv", audio=["aac"])
    source = rewritten(plain, tmp_path / "b.mkv", "audio", lambda header: header + bytes(MOST_BYTES) + SECRET)
    with pytest.raises(SinkError, match=r"cannot keep the audio: the header of aac is longer .*; leave it out"):
        copy(source, tmp_path / "out.mkv", keep_audio=True)


@pytest.mark.parametrize(("language", "kept"), [("eng", True), ("pt-BR", True), ("AnnExample, 1 Main Street", False)])
def test_a_language_is_kept_and_a_sentence_in_its_place_is_not(tmp_path: Path, language: str, *, kept: bool):
    source = tmp_path / "a.mkv"
    with av.open(str(encode_clip(tmp_path / "b.mkv", audio=["aac"]))) as before, av.open(str(source), "w") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for stream in streams.values():
            stream.metadata["language"] = language
        for packet in before.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                after.mux(packet)
    written = copy(source, tmp_path / "out.mkv", keep_audio=True)
    assert (language.encode() in written.read_bytes()) == kept
