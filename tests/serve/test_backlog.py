"""A decoder that is too slow is given the newest frames, and never more than it can be behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import av
import numpy as np
import pytest
from aiortc import codecs
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.frame import VideoFrame

from streamer.serve import backlog
from streamer.serve.backlog import MAX_FRAMES, Backlog, begins_anew
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import Playing, noise, peer, serving
from tests.serve.asking import run

VP8 = RTCRtpCodecParameters("video/VP8", 90_000)
KEY, DELTA = JitterFrame(b"\x10", 0), JitterFrame(b"\x11", 0)


def waiting(one: Backlog) -> list[JitterFrame]:
    return [item[1] for item in one.queue if item]


def test_what_waits_is_dropped_when_it_is_too_much_and_the_next_whole_picture_is_asked_for():
    asked = threading.Event()
    kept = Backlog(asked)
    for n in range(MAX_FRAMES):
        kept.put((VP8, DELTA if n else KEY))
    assert (len(waiting(kept)), asked.is_set()) == (MAX_FRAMES, False)
    for _ in range(5):
        kept.put((VP8, DELTA))
        assert (waiting(kept), asked.is_set()) == ([], True)
    for frame in (KEY, DELTA):
        kept.put((VP8, frame))
    assert waiting(kept) == [KEY, DELTA]


def test_the_end_is_always_said():
    full = Backlog(threading.Event())
    for _ in range(MAX_FRAMES):
        full.put((VP8, DELTA))
    full.put(None)
    assert full.queue[-1] is None


@pytest.mark.parametrize(("codec", "encoder"), [("VP8", "libvpx"), ("H264", "libx264")])
def test_a_frame_that_needs_no_other_is_known_as_the_encoder_says(codec: str, encoder: str):
    made = av.CodecContext.create(encoder, "w")
    made.width, made.height, made.pix_fmt, made.framerate, made.gop_size = 64, 48, "yuv420p", 30, 4
    images = [np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(12)]
    packets = [p for image in [*images, None] for p in made.encode(image if image is None else frame_of(image))]
    told = [begins_anew(RTCRtpCodecParameters(f"video/{codec}", 90_000), bytes(packet)) for packet in packets]
    assert told == [packet.is_keyframe for packet in packets]
    assert set(told) == {True, False}


def test_frames_of_which_a_part_was_lost_are_left_out_up_to_the_next_key_frame():
    """Their decoder puts there what it has: half of a face, where the rest is of another frame."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 320, 240, "yuv420p", 10
    encoder.options = {"g": "6", "bf": "0", "tune": "zerolatency", "x264-params": "slices=4:scenecut=0"}
    pictures = np.random.default_rng(0).integers(0, 255, (12, 240, 320, 3), np.uint8)
    decoder = codecs.get_decoder(RTCRtpCodecParameters("video/H264", 90_000))
    came = []
    for number, packet in enumerate(p for image in pictures for p in encoder.encode(frame_of(image))):
        data = bytearray(bytes(packet))
        if number == 3:
            data[len(data) // 2 : len(data) // 2 + 400] = b"U" * 400
            with pytest.raises(av.InvalidDataError):
                decoder.decode(JitterFrame(bytes(data), number))
        else:
            came += [number for _ in decoder.decode(JitterFrame(bytes(data), number))]
    assert came == [0, 1, 2, 6, 7, 8, 9, 10, 11]


def frame_of(image: np.ndarray) -> VideoFrame:
    return VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")


def test_a_decoder_that_stands_still_goes_on_with_the_newest(monkeypatch: pytest.MonkeyPatch):
    go_on, sizes, get = threading.Event(), [], Backlog.get
    takes = Backlog._takes

    def held(self: Backlog, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401 - an item
        if block:
            go_on.wait()
        return get(self, block, timeout)

    def counted(self: Backlog, *item: Any) -> bool:  # noqa: ANN401 - an item
        sizes.append(self.qsize())
        return takes(self, *item)

    monkeypatch.setattr(Backlog, "get", held)
    monkeypatch.setattr(Backlog, "_takes", counted)
    monkeypatch.setattr(backlog, "MAX_FRAMES", 8)

    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (_, received, _):
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while len(sizes) < 40:
                        await asyncio.sleep(0.05)
            finally:
                go_on.set()
            await received.until(lambda images: len(images) > 3)

    run(test())
    assert max(sizes) <= 8
