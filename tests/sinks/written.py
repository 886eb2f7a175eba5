"""Videos that tests of sinks write."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source
from streamer.types import SafeFrame, VideoInfo
from tests.clips import picture, safe

Clip = Callable[..., Path]

INFO = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), None)


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


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
