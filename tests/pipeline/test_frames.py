"""Frames in, frames out: in order, through threads, with settings that are checked."""

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.generator import GeneratorConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from streamer.errors import AnonymizerError, SourceError
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import QUEUE_LENGTH, protect
from streamer.pipeline.stream import DAMAGED, MAX_FAILURES
from streamer.render.draw import choose_device
from streamer.settings import Settings
from streamer.types import Frame, Image, TrackedFrame, VideoInfo
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.pipeline.framed import frame_of


class Listed:
    """A source of given frames, which may fail at the end."""

    def __init__(self, image: Image, count: int, error: Exception | None = None) -> None:
        self.image, self.count, self.error, self.read = image, count, error, 0
        self.info = VideoInfo(image.shape[1], image.shape[0], Fraction(25), Fraction(1, 25), count)

    def __enter__(self) -> "Listed":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            self.read += 1
            yield frame_of(self.image, index)
        if self.error:
            raise self.error


def test_every_frame_comes_out_once_and_in_order(coverer: Anonymizer) -> None:
    safe = list(protect(Listed(np.zeros((60, 80, 3), np.uint8), 30), coverer))
    assert [(frame.index, frame.pts) for frame in safe] == [(index, index) for index in range(30)]


def test_a_camera_may_fill_the_same_array_again_while_its_frames_are_held_back(coverer: Anonymizer, hopper: Image):
    pictures = [np.ascontiguousarray(hopper[:300, x : x + 300]) for x in range(0, 200, 20)]

    def filled() -> Iterator[Frame]:
        array = np.empty_like(pictures[0])
        for index, picture in enumerate(pictures):
            array[:] = picture
            yield frame_of(array, index)

    own = [safe.image for safe in coverer.frames(map(frame_of, pictures, range(len(pictures))))]
    shared = [safe.image for safe in coverer.frames(filled())]
    assert all((a == b).all() for a, b in zip(own, shared, strict=True))
    assert all((safe != picture).any() for safe, picture in zip(shared, pictures, strict=True))


def test_damaged_frames_are_covered_whole_however_many_they_are(coverer: Anonymizer) -> None:
    """No face is found for sure where half of it is of another frame."""
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    frames = (replace(frame_of(image, index), is_damaged=0 < index < 2 * MAX_FAILURES) for index in range(300))
    safe = list(coverer.frames(frames))
    assert [frame.failed for frame in safe] == [DAMAGED if 0 < n < 2 * MAX_FAILURES else "" for n in range(300)]
    assert np.abs(safe[1].image.astype(int) - image).mean() > 20


def test_a_damaged_frame_is_covered_whole_though_it_was_searched(coverer: Anonymizer) -> None:
    """As where what was found is kept from a time when nobody knew."""
    one = coverer.begin_stream("a")
    frame = frame_of(np.full((60, 80, 3), 90, np.uint8), 0)
    assert one.render(TrackedFrame(replace(frame, is_damaged=True), (), starts_scene=True)).failed == DAMAGED
    one.close()


def test_an_error_of_the_source_reaches_the_consumer_after_the_frames_before_it(coverer: Anonymizer) -> None:
    frames = protect(Listed(np.zeros((60, 80, 3), np.uint8), 5, SourceError("cable")), coverer)
    assert [frame.index for frame in itertools.islice(frames, 5)] == [0, 1, 2, 3, 4]
    with pytest.raises(SourceError, match="cable"):
        next(frames)


def test_a_slow_consumer_holds_the_source_back(coverer: Anonymizer) -> None:
    source = Listed(np.zeros((60, 80, 3), np.uint8), 200)
    frames = protect(source, coverer)
    next(frames)
    time.sleep(0.1)
    held_back = round(coverer.settings.delay_seconds * 25)
    assert source.read <= 3 * QUEUE_LENGTH + held_back + 8  # three threads, each with a frame or two in hand
    frames.close()  # type: ignore[attr-defined]


def test_a_consumer_that_leaves_ends_the_threads(coverer: Anonymizer) -> None:
    before = threading.active_count()
    frames = protect(Listed(np.zeros((60, 80, 3), np.uint8), 10_000), coverer)
    list(itertools.islice(frames, 3))
    frames.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beta": 1.5}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"mode": "hide"}, "mode"),
        ({"cover": "blur"}, "cover"),
        ({"key": b"short"}, "key must be 32 random bytes or more, got 5"),
        ({"epsilon": 1.0, "beta": 0.1}, "epsilon needs mode 'generate' and beta 0"),
        ({"epsilon": 1.0, "mode": "cover"}, "epsilon needs mode 'generate' and beta 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"epsilon": -1.0}, {"epsilon": 1.0, "delta": 2.0}])
def test_an_impossible_privacy_budget_is_refused(wrong: dict[str, float], anonymizer: Anonymizer) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        Anonymizer(anonymizer.model, anonymizer.device, Settings(**wrong))  # type: ignore[arg-type]


def test_privacy_is_not_promised_of_a_model_that_does_not_know_identity() -> None:
    encoder = EncoderConfig(input_size=32, latents=10, latent_size=16, stage_blocks=(1, 1, 1, 1), width=16)
    generator = GeneratorConfig(resolution=64, latent_size=16, mapping_layers=1, channel_base=64, channel_max=16)
    model = PrivateEncoder(PrivateEncoderConfig(encoder, generator))
    with pytest.raises(ValueError, match="a private-encoder model does not"):
        Anonymizer(model, torch.device("cpu"), Settings(epsilon=1.0))


def test_a_private_run_says_what_it_spent(anonymizer: Anonymizer, hopper: Image) -> None:
    private = Anonymizer(anonymizer.model, anonymizer.device, Settings(epsilon=3.0), anonymizer.recognizer)
    assert anonymizer.privacy == ""
    drawn = list(private.frames([frame_of(hopper, 0), frame_of(hopper, 1)]))
    assert [face.tier for frame in drawn for face in frame.faces] == ["generated"] * 2
    assert private.privacy == "epsilon 3 a track at delta 1e-05, 3 if all 1 tracks were one person"


def test_a_key_does_not_show_when_settings_are_printed() -> None:
    assert "secret" not in repr(Settings(key=b"secret" * 6))


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (10, 10, 1)])
def test_a_picture_of_another_shape_is_refused(shape: tuple[int, ...], coverer: Anonymizer) -> None:
    with pytest.raises(ValueError, match="RGB"):
        coverer.image(np.zeros(shape, np.uint8))


def test_cuda_that_is_asked_for_and_absent_is_an_error_not_a_cpu() -> None:
    if torch.cuda.is_available():
        assert choose_device("cuda").type == "cuda"
    else:
        with pytest.raises(AnonymizerError, match="no CUDA GPU"):
            choose_device("cuda")
    assert choose_device("cpu").type == "cpu"
