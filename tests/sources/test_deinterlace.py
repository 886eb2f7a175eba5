from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamer.sources.address import Address
from streamer.sources.file_source import open_source
from streamer.sources.live import LiveSource
from streamer.types import Image
from tests.clips import seconds_of

Clip = Callable[..., Path]
INTERLACED = {"codec": "libx264", "options": {"x264-params": "tff=1", "crf": "12"}}


def woven(count: int = 12) -> Iterable[Image]:
    """Yield pictures of a bright bar that moves to the right between one field and the next."""
    for index in range(count):
        image = np.full((48, 64, 3), 40, np.uint8)
        for field in (0, 1):
            x = 4 * index + 2 * field
            image[field::2, x : x + 10] = 220
        yield image


def combs(image: Image) -> float:
    """Return how much rows differ from the ones between which they lie."""
    grey = image.mean(2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


def test_an_interlaced_video_has_no_combs_and_keeps_its_times(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    pts = [0, 1, 2, 4, 7, 8, 9, 10, 11, 12, 13, 20]
    path = clip("clip.mkv", pictures=woven(), pts=pts, time_base=Fraction(1, 25), **INTERLACED)
    with open_source(path) as source:
        frames = list(source)
        assert source.interlaced_frames == 12
        assert source.info.notes == ("deinterlaced",)
    assert [frame.pts * frame.time_base for frame in frames] == seconds_of(path)
    before = [combs(image) for image in woven()]
    after = [combs(frame.image) for frame in frames]
    assert max(after[1:-1]) < min(before) / 3
    assert caplog.text.count("is interlaced: deinterlaced") == 1


def test_a_progressive_video_passes_untouched(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    path = clip("clip.mkv", pictures=woven(), codec="ffv1", pix_fmt="yuv444p")
    with open_source(path) as source:
        frames = list(source)
        assert source.interlaced_frames == 0
    assert all(np.abs(frame.image.astype(int) - image).max() <= 2 for frame, image in zip(frames, woven(), strict=True))
    assert not caplog.records


def test_an_interlaced_part_of_a_video_loses_no_frame(clip: Clip) -> None:
    parts = [
        clip("a.ts", pictures=woven()),
        clip("b.ts", pictures=woven(), **INTERLACED),
        clip("c.ts", pictures=woven(), size=(128, 96), **INTERLACED),
        clip("d.ts", pictures=woven()),
    ]
    joined = clip("joined.ts", pts=[0])
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_source(joined) as source:
        frames = list(source)
        assert source.interlaced_frames == 24
    assert [frame.index for frame in frames] == list(range(48))
    assert all(np.diff([frame.pts for frame in frames]) > 0)


def test_one_interlaced_frame_is_a_video(clip: Clip) -> None:
    with open_source(clip("clip.mkv", pictures=woven(1), pts=[5], **INTERLACED)) as source:
        assert len(list(source)) == 1


def test_an_interlaced_stream_has_no_combs(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    data = clip("clip.ts", pictures=woven(), **INTERLACED).read_bytes()

    def send() -> None:
        with suppress(OSError), listening.accept()[0] as connection:
            connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=send, daemon=True).start()
        address = Address("camera", f"tcp://127.0.0.1:{listening.getsockname()[1]}", "mpegts", ({},))
        with LiveSource(address) as source:
            frame = next(iter(source))
    assert combs(frame.image) < min(map(combs, woven())) / 3
    assert "camera is interlaced: deinterlaced" in caplog.text
