"""What `protect` does with a stream, and with pictures that have nothing to do with one another."""

import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from streamer.errors import AnonymizerError, StreamerError
from streamer.faces.center_face import CenterFace
from streamer.pipeline import stream as stream_module
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.loading import Networks, without_collecting
from streamer.pipeline.renderer import Rendered, Renderer
from streamer.pipeline.runner import protect
from streamer.pipeline.tiers import Choice
from streamer.settings import Settings
from streamer.sources.file_source import open_source
from streamer.types import Face, Frame, Image, SafeFrame, TrackedFrame, VideoInfo
from tests.end_to_end.patience import PATIENCE_SECONDS

KEY = b"k" * 32
FACE = Face(np.array([20, 20, 60, 60], np.float32), np.full((5, 2), 40, np.float32), None, 0.9)


class FirstFrameOnly:
    """A detector that finds a face in the first picture it is shown, and none in others."""

    def __init__(self, networks: object) -> None:
        self.faces = [FACE]

    def __call__(self, image: Image, scanned: object = None) -> list[Face]:
        found, self.faces = self.faces, []
        return found

    def scan(self, image: Image, some: object = None) -> dict[object, object]:
        """Return what no look shows."""
        return {}

    def close(self) -> None:
        """Hold nothing."""


class Agreeing:
    """A second opinion that is the first."""

    def __init__(self, network: CenterFace) -> None:
        """Need no network."""

    def __call__(self, image: Image, faces: Sequence[Face], *, known: Sequence[Face], seconds: float) -> list[Face]:
        return list(faces)

    def in_picture(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        return list(faces)


@dataclass
class Still:
    """A source of equal frames, 25 a second; with names they are pictures."""

    count: int
    names: tuple[str, ...] = ()

    @property
    def info(self) -> VideoInfo:
        return VideoInfo(80, 80, Fraction(25), Fraction(1, 25), self.count, names=self.names)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            yield frame(index)


def frame(index: int = 0) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8), index, index, Fraction(1, 25))


@pytest.fixture
def only_cover(monkeypatch: pytest.MonkeyPatch) -> Anonymizer:
    """An anonymizer that covers what `FirstFrameOnly` finds."""
    monkeypatch.setattr(stream_module, "FaceDetector", FirstFrameOnly)
    monkeypatch.setattr(stream_module, "SecondLook", Agreeing)
    return Anonymizer(None, None, Settings(mode="cover"))


def test_a_face_lost_in_a_video_stays_covered(only_cover: Anonymizer):
    faces = [safe.faces for safe in protect(Still(3), only_cover)]
    assert [len(found) for found in faces] == [1, 1, 1]


def test_whoever_leaves_a_stream_early_leaves_no_thread_at_work(
    only_cover: Anonymizer, monkeypatch: pytest.MonkeyPatch
):
    class Slow(FirstFrameOnly):
        def __call__(self, image: Image, scanned: object = None) -> list[Face]:
            time.sleep(0.1)  # as inside MediaPipe, where Python must not end
            return super().__call__(image)

    monkeypatch.setattr(stream_module, "FaceDetector", Slow)
    before = threading.active_count()
    frames = protect(Still(100), only_cover)
    next(frames)
    assert threading.active_count() > before
    frames.close()
    assert threading.active_count() == before


def test_what_draws_is_closed_by_the_thread_that_draws_and_after_the_last_frame(
    only_cover: Anonymizer, monkeypatch: pytest.MonkeyPatch
):
    done: list[tuple[str, int]] = []

    class Watched(Renderer):
        def __call__(self, seen: TrackedFrame, plan: Mapping[int, Choice], settings: Settings) -> Rendered:
            done.append(("drawn", threading.get_ident()))
            return super().__call__(seen, plan, settings)

        def close(self) -> None:
            done.append(("closed", threading.get_ident()))

    monkeypatch.setattr(stream_module, "Renderer", Watched)
    list(protect(Still(5), only_cover))
    thread = done[0][1]
    assert done == [("drawn", thread)] * 5 + [("closed", thread)]


def test_a_face_of_one_picture_is_not_looked_for_in_the_next(only_cover: Anonymizer):
    safe = list(protect(Still(3, ("a.png", "b.png", "c.png")), only_cover))
    assert [len(frame.faces) for frame in safe] == [1, 0, 0]
    assert [frame.index for frame in safe] == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("array([[17, 18, 19]])"), "ValueError"),
        (RuntimeError("array([[17, 18, 19]])"), "RuntimeError"),
        (AnonymizerError("the picture is empty"), "AnonymizerError: the picture is empty"),
    ],
)
def test_why_a_frame_could_not_be_searched_is_said_without_data(
    only_cover: Anonymizer, error: Exception, said: str, caplog: pytest.LogCaptureFixture
):
    def fail(image: Image) -> list[Face]:
        raise error

    stream = only_cover.begin_stream()
    stream.detector = fail
    with caplog.at_level(logging.DEBUG):
        safe = stream(frame())
    assert safe.failed == said
    assert caplog.messages == [f"frame 0 is covered whole: {said}"]


def test_covering_does_not_load_torch():
    """It takes longer to load than a short clip to cover."""
    code = "import sys, streamer\nstreamer.Anonymizer.load(mode='cover')\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def broken() -> NoReturn:
    raise StreamerError("weights.safetensors: sha256 does not match")


def begun(load: Callable[[], Networks], delay: float = 1.0) -> Anonymizer:
    return Anonymizer.begin_loading(Settings(key=KEY, delay_seconds=delay), load)


def networks_of(loaded: Anonymizer) -> Networks:
    return loaded._loaded.networks()


@pytest.mark.slow
def test_frames_are_searched_while_weights_load_and_come_out_afterwards(anonymizer: Anonymizer):
    reached, may_end, out = threading.Event(), threading.Event(), list[SafeFrame]()

    class Watched(Still):
        def __iter__(self) -> Iterator[Frame]:
            for one in super().__iter__():
                if one.index == 12:  # further than threads read ahead
                    reached.set()
                yield one

    def load() -> Networks:
        may_end.wait(PATIENCE_SECONDS)
        return networks_of(anonymizer)

    thread = threading.Thread(target=lambda: out.extend(protect(Watched(20), begun(load))))
    thread.start()
    was_reached, came_early = reached.wait(PATIENCE_SECONDS), bool(out)
    may_end.set()
    thread.join(PATIENCE_SECONDS)
    assert (was_reached, came_early, [frame.index for frame in out]) == (True, False, list(range(20)))


@pytest.mark.slow
def test_frames_are_the_same_whether_weights_load_before_or_beside(anonymizer: Anonymizer, portrait_clip: Path):
    def frames(one: Anonymizer) -> list[Image]:
        with open_source(portrait_clip) as source:
            return [safe.image for safe in protect(source, one, stream="clip")]

    before = frames(anonymizer.with_settings(Settings(key=KEY, delay_seconds=1.0)))
    beside = frames(begun(lambda: networks_of(anonymizer)))
    assert len(before) == len(beside) == 12
    assert all(np.array_equal(a, b) for a, b in zip(before, beside, strict=True))


@pytest.mark.parametrize("delay", [0.0, 0.04, 1.0])
def test_no_frame_comes_out_if_loading_fails(delay: float):
    safe = protect(Still(3), begun(broken, delay))
    with pytest.raises(StreamerError, match="sha256 does not match"):
        next(safe)


def test_no_frame_comes_out_of_a_loop_or_as_a_picture_if_loading_fails():
    for attempt in (
        lambda: next(begun(broken).frames(Still(3))),
        lambda: begun(broken).image(frame().image),
        lambda: begun(broken).begin_stream()(frame()),
    ):
        with pytest.raises(StreamerError, match="sha256 does not match"):
            attempt()


@pytest.mark.parametrize("settings", [Settings(mode="cover"), Settings(epsilon=3.0)])
def test_only_weights_that_draw_and_on_which_no_setting_depends_load_beside(settings: Settings):
    with pytest.raises(ValueError, match="load in the background"):
        Anonymizer.begin_loading(settings, broken)


def test_the_collector_leaves_what_is_loaded_alone_and_goes_on_afterwards():
    try:
        with without_collecting():
            assert not gc.isenabled()
            kept = [[n] for n in range(1000)]
        assert gc.isenabled()
        assert not {id(one) for one in kept} & {id(one) for one in gc.get_objects()}
    finally:
        gc.unfreeze()
