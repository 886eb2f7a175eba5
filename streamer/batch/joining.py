"""Joins the parts of one video, packet by packet: nothing is decoded, no time changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from math import inf
from pathlib import Path

import av
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamer.errors import SinkError
from streamer.sinks.copied import CopiedStreams, seconds_of
from streamer.sinks.file_sink import pts_options
from streamer.sinks.marks.mark import add_tags, append_xmp, is_marked
from streamer.sinks.part_sink import reason_of
from streamer.sound.voice import Voice

Part = tuple[Path, Fraction]


def join_parts(
    parts: Sequence[Part], target: Path, *, source: Path, keep_audio: bool, voice: Voice | None = None
) -> int:
    """Write `target` from parts that one encoder made, with subtitles, and sound if asked for, of `source`.

    It says that faces in it were generated if its first part does.

    Args:
        parts: In order: each begins at time 0, with the seconds at which it begins in the whole.
        target: What is there is replaced.
        source: What the parts were made from.
        keep_audio, voice: Of its sound, as of `streamer.sinks.file_sink.open_sink`.

    Returns:
        How many packets of sound were copied, or made.

    Raises:
        SinkError: If it cannot be written, or the parts do not fit together.
    """
    try:
        decode_times = _decode_times(parts)
        with ExitStack() as opened:
            first = opened.enter_context(av.open(str(parts[0][0])))
            original = opened.enter_context(av.open(str(source), metadata_errors="replace"))
            output = opened.enter_context(av.open(str(target), "w"))
            template = first.streams.video[0]
            stream = output.add_stream_from_template(template)
            assert template.time_base is not None
            stream.time_base = template.time_base
            copies = CopiedStreams(original, output, keep_audio=keep_audio, voice=voice)
            output.container_options.update(pts_options(output, template.time_base))
            if has_mark := is_marked(first):
                add_tags(output)
            count = 0
            for (packet, pts), dts in zip(_packets(parts), decode_times, strict=True):
                packet.pts, packet.dts, packet.stream = pts, dts, stream
                count += _copy_until(copies, output, seconds_of(packet))
                output.mux(packet)
            count += _copy_until(copies, output, inf)
        if has_mark:
            append_xmp(target)
        return count
    except (av.FFmpegError, OSError) as error:
        target.unlink(missing_ok=True)
        raise SinkError(f"cannot write {target}: {reason_of(error)}") from error


def _packets(parts: Sequence[Part]) -> Iterator[tuple[Packet[VideoStream], int]]:
    """Yield every packet of the video, in order, and when it is shown in the whole."""
    for path, start in parts:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.size and packet.pts is not None:
                    yield packet, packet.pts + round(start / packet.time_base)


def _copy_until(copies: CopiedStreams, output: OutputContainer, seconds: float) -> int:
    count = 0
    for packet in copies.until(seconds):
        is_audio = packet.stream.type == "audio"
        output.mux(packet)
        count += is_audio
    return count


def _decode_times(parts: Sequence[Part]) -> list[int]:
    """Return when each packet of the whole is to be decoded: in order, and none after it is shown.

    Every part begins a little before its first frame is shown, which is before the last of the part before it.
    """
    formats = set()
    for path, _ in parts:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            formats.add((stream.codec_context.name, stream.codec_context.extradata, stream.time_base))
    if len(formats) != 1:
        raise SinkError(f"cannot join {len(parts)} parts: they were encoded in {len(formats)} ways")
    shown = [pts for _, pts in _packets(parts)]
    ordered = sorted(shown)
    late = max(at - pts for at, pts in zip(ordered, shown, strict=True))
    return [at - late for at in ordered]
