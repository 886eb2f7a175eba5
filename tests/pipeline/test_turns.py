"""Streams of one process take turns with the networks that find faces, and free them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import cv2
import numpy as np
import pytest

from streamer.faces import detect
from streamer.faces.networks import LastingNetworks
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.turns import limit
from streamer.types import Image, SafeFrame
from tests.pipeline.framed import frame_of

STREAMS = 4


class Counted(LastingNetworks):
    """Networks that are counted."""

    living, made = 0, 0

    def __init__(self, *, least_score: float) -> None:
        super().__init__(least_score=least_score)
        Counted.living, Counted.made = Counted.living + 1, Counted.made + 1

    def close(self) -> None:
        super().close()
        Counted.living -= 1


@pytest.fixture
def images(hopper: Image) -> list[Image]:
    """Return pictures of one person, of a size each."""
    return [np.asarray(cv2.resize(hopper, (side, side))) for side in (240, 300, 360, 420)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    Counted.living = Counted.made = 0
    monkeypatch.setattr(detect, "LastingNetworks", Counted)
    return Counted


def test_streams_share_a_few_networks_that_are_freed_with_the_last_of_them(images: list[Image], counted: type[Counted]):
    anonymizer = Anonymizer.load(mode="cover", device="cpu")
    streams = [anonymizer.begin_stream() for _ in images]

    def covered(n: int) -> list[SafeFrame]:
        return [streams[n](frame_of(images[n], index)) for index in range(3)]

    with ThreadPoolExecutor(STREAMS) as threads:
        safe = list(threads.map(covered, range(STREAMS)))
    assert 1 <= counted.made <= limit()
    for frames, image in zip(safe, images, strict=True):
        with closing(anonymizer.begin_stream()) as alone:
            expected = alone(frame_of(image))
        assert [face.tier for face in expected.faces] == ["mosaic"]
        assert all((frame.image == expected.image).all() for frame in frames)
    for stream in streams:
        assert counted.living
        stream.close()
    assert not counted.living


def test_what_finds_faces_is_kept_from_one_stream_to_the_next(images: list[Image], counted: type[Counted]):
    with Anonymizer.load(mode="cover", device="cpu") as anonymizer:
        for _ in range(2):
            (safe,) = anonymizer.frames([frame_of(images[0])])
            assert len(safe.faces) == 1
        assert counted.made == 1
    assert not counted.living
