"""Regions that are always covered, in pictures, videos and live streams, whatever becomes of the frame's faces."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamer import AnonymizerError, open_source
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.settings import Settings
from streamer.sources.pacing import Paced
from streamer.types import Frame, Image, SafeFrame

REGION = (16, 8, 24, 20)
PLACE = np.s_[8:28, 16:40]


def noise(width: int = 64, height: int = 48) -> Image:
    return np.random.default_rng(1).integers(60, 255, (height, width, 3), np.uint8)


def covering(**settings: object) -> Anonymizer:
    return Anonymizer.load(mode="cover", cover="solid", device="cpu", always=[REGION], **settings)  # type: ignore[arg-type]


def stream_of(pictures: list[Image], **fields: bool) -> Iterator[Frame]:
    return (Frame(image, n, n, Fraction(1, 10), **fields) for n, image in enumerate(pictures))


def assert_covered(image: Image, before: Image) -> None:
    assert not image[PLACE].any()
    outside = np.ones(image.shape[:2], bool)
    outside[7:30, 15:42] = False  # the outline may take a pixel more
    assert (image[outside] == before[outside]).all()


def test_a_picture_is_covered_there_and_nowhere_else():
    picture = noise()
    assert_covered(covering().image(picture), picture)


def test_the_mosaic_leaves_flat_cells_of_a_region():
    safe = Anonymizer.load(mode="cover", device="cpu", always=[REGION]).image(noise())
    assert safe[10:12, 18:20].std(axis=(0, 1)).max() == 0
    assert len(np.unique(safe[PLACE].reshape(-1, 3), axis=0)) <= 36


def test_every_frame_is_covered_through_the_look_ahead():
    pictures = [noise() for _ in range(12)]
    safe = list(covering(delay_seconds=0.5).frames(stream_of(pictures)))
    assert len(safe) == 12
    for frame in safe:
        assert_covered(frame.image, pictures[0])


@pytest.mark.slow
def test_the_region_is_not_drawn_over():
    """A face that lies in it is drawn first, and covered with it."""
    import matplotlib
    from PIL import Image as PilImage

    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    hopper = np.asarray(PilImage.open(photo).convert("RGB"), np.uint8)
    anonymizer = Anonymizer.load(device="cpu", cover="solid", always=["0%,0%,100%,100%"])
    assert not anonymizer.image(hopper).any()


def test_a_region_grows_with_a_picture_that_grows():
    safe = list(covering().frames(stream_of([noise(), noise(128, 96), noise()])))
    assert not safe[1].image[16:56, 32:80].any()
    assert safe[1].image[60:].any()
    assert_covered(safe[2].image, noise())


@pytest.mark.parametrize("later", [noise(48, 64), noise(64, 64)])
def test_a_picture_that_turns_is_covered_whole(later: Image):
    first, second = covering().frames(stream_of([noise(), later]))
    assert_covered(first.image, noise())
    assert "shape" in second.failed
    assert second.image.std() == 0


def test_a_picture_with_bars_is_covered_whole():
    (safe,) = covering().frames(stream_of([noise()], is_letterboxed=True))
    assert "bars" in safe.failed
    assert safe.image.std() == 0


def test_bars_matter_only_where_a_region_is_asked_for():
    (safe,) = Anonymizer.load(mode="cover").frames(stream_of([noise()], is_letterboxed=True))
    assert (safe.image == noise()).all()


def test_a_region_outside_the_picture_is_an_error_not_a_picture():
    with pytest.raises(AnonymizerError, match="outside the picture of 14x20"):
        covering().image(noise(20, 20)[:, :14])


def test_pictures_of_a_folder_have_regions_of_their_own_size():
    anonymizer = covering()
    for width, height in ((64, 48), (128, 96), (48, 64)):
        assert_covered(anonymizer.image(noise(width, height)), noise(width, height))


def test_a_clip_that_is_stored_on_its_side_is_covered_as_it_is_seen(clip: Callable[..., Path]):
    path = clip(rotation=(90, False))
    with open_source(path) as source:
        assert (source.info.width, source.info.height) == (48, 64)
        safe = list(protect(source, covering()))
    assert len(safe) == 12
    for frame in safe:
        assert not frame.image[PLACE].any()


@pytest.mark.slow
def test_a_live_stream_is_covered(clip: Callable[..., Path]):
    with Paced(open_source(clip())) as source:
        safe: list[SafeFrame] = list(protect(source, covering(delay_seconds=0.1)))
    assert safe
    for frame in safe:
        assert not frame.image[PLACE].any()


def test_settings_that_change_take_the_regions_along():
    anonymizer = covering()
    stream = anonymizer.begin_stream()
    frames = list(stream_of([noise(), noise()]))
    assert_covered(stream(frames[0]).image, noise())
    anonymizer.settings = Settings(mode="cover", cover="solid")
    assert (stream(frames[1]).image == noise()).all()
    stream.close()


def test_what_is_held_back_stays_covered_when_the_region_is_given_up():
    anonymizer = covering(delay_seconds=0.5)

    def frames() -> Iterator[Frame]:
        for frame in stream_of([noise()] * 20):
            if frame.index == 10:
                anonymizer.settings = Settings(mode="cover", cover="solid", delay_seconds=0.5)
            yield frame

    safe = list(anonymizer.frames(frames()))
    for frame in safe[:10]:
        assert_covered(frame.image, noise())
    assert (safe[-1].image == noise()).all()


def test_the_region_is_that_of_whoever_sends():
    anonymizer = covering()
    stream = anonymizer.begin_stream()
    wide, tall = noise(64, 48), noise(48, 64)
    assert not stream(Frame(wide, 0, 0, Fraction(1, 10))).failed
    assert stream(Frame(tall, 1, 1, Fraction(1, 10))).failed
    first = stream(Frame(tall, 2, 2, Fraction(1, 10), is_first=True))
    assert not first.failed
    assert not first.image[PLACE].any()
    assert not stream(Frame(tall, 3, 3, Fraction(1, 10))).failed
    stream.close()
