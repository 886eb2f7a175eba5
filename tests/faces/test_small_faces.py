"""Small faces: crowds in pictures and in videos, made of the public-domain portrait."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamer.errors import AnonymizerError
from streamer.faces import center_face
from streamer.faces.center_face import OVERLAP, TILE_SIDE, CenterFace, best, grid
from streamer.faces.detect import Candidate
from streamer.faces.looks import View
from streamer.faces.small_faces import BUSY_SECONDS, LOOK_SECONDS, Search, SmallFaces, joined
from streamer.pipeline.anonymizer import Anonymizer
from streamer.settings import HELD_BYTES, Settings
from streamer.types import Face, Floats, Frame, Image

RATE = 25
FACE_WIDTH = 185.0  # pixels of the portrait from ear to ear
FACE_CENTRE = np.array([264.0, 235.0])
EYES_TO_MOUTH = np.array([-50.0, -50.0, 50.0, 45.0])  # around it


@pytest.fixture(scope="module")
def portrait() -> Image:
    import matplotlib

    photo = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))[:, :, ::-1]
    return np.ascontiguousarray(photo)


@pytest.fixture(scope="module")
def anonymizer() -> Iterator[Anonymizer]:
    with Anonymizer.load(mode="cover", cover="solid", device="cpu") as made:
        yield made


def crowd(portrait: Image, size: tuple[int, int], at: list[tuple[int, int, float]]) -> tuple[Image, Floats]:
    """Return a picture with the portrait at places `(x, y, pixels of the face)`, and where eyes to mouth are."""
    width, height = size
    image = np.full((height, width, 3), 96, np.uint8)
    boxes = []
    for x, y, pixels in at:
        scale = pixels / FACE_WIDTH
        small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top = np.round((x, y) - FACE_CENTRE * scale).astype(int)
        place = image[max(0, top) : top + small.shape[0], max(0, left) : left + small.shape[1]]
        place[:] = small[max(0, -top) :, max(0, -left) :][: place.shape[0], : place.shape[1]]
        boxes.append(np.array([x, y, x, y]) + EYES_TO_MOUTH * scale)
    return image, np.array(boxes)


def rows(size: tuple[int, int], across: int, down: int, pixels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    (width, height), places = size, [(c, r) for r in range(down) for c in range(across)]
    return [
        (round((c + 0.5) * width / across), round((r + 0.4) * height / down), pixels[n % len(pixels)])
        for n, (c, r) in enumerate(places)
    ]


def uncovered(before: Image, after: Image, boxes: Floats) -> int:
    changed = (before != after).any(axis=2)
    return sum(changed[y1:y2, x1:x2].mean() < 0.7 for x1, y1, x2, y2 in boxes.astype(int))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "across", "down", "pixels"),
    [((1600, 1000), 10, 5, (20, 26, 32)), ((640, 480), 9, 4, (18, 24)), ((2400, 400), 12, 2, (30,))],
)
def test_no_face_of_a_crowd_in_a_picture_stays_open(
    anonymizer: Anonymizer, portrait: Image, size: tuple[int, int], across: int, down: int, pixels: tuple[float, ...]
):
    image, boxes = crowd(portrait, size, rows(size, across, down, pixels))
    safe = anonymizer.image(image)
    assert uncovered(image, safe, boxes) == 0
    assert (image != safe).any(axis=2).mean() < 0.25


def seconds_of(*shots: list[Image]) -> Iterator[Frame]:
    images = [image for shot in shots for image in shot]
    return (Frame(image, index, index, Fraction(1, RATE)) for index, image in enumerate(images))


@pytest.mark.slow
def test_no_face_of_a_moving_crowd_stays_open_in_a_video(anonymizer: Anonymizer, portrait: Image):
    places = rows((480, 360), 7, 3, (24, 30))
    made = [crowd(portrait, (480, 360), [(x + 2 * n, y, p) for x, y, p in places]) for n in range(14)]
    safe = list(anonymizer.frames(seconds_of([image for image, _ in made])))
    assert [uncovered(b, s.image, boxes) for (b, boxes), s in zip(made, safe, strict=True)] == [0] * 14


def test_a_small_face_that_comes_between_two_looks_is_covered_from_its_first_frame(
    anonymizer: Anonymizer, portrait: Image
):
    empty, _ = crowd(portrait, (480, 360), [])
    image, boxes = crowd(portrait, (480, 360), [(330, 120, 30)])
    safe = list(anonymizer.frames(seconds_of([empty] * 3, [image] * 15)))
    assert [uncovered(image, frame.image, boxes) for frame in safe[3:]] == [0] * 15


def test_a_short_scene_is_searched_for_small_faces(anonymizer: Anonymizer, portrait: Image):
    dice = np.random.default_rng(0)
    first, other = (np.repeat(dice.integers(0, 255, (90, 120, 1), np.uint8), 3, axis=2) for _ in range(2))
    first, other = (np.asarray(cv2.resize(place, (480, 360))) for place in (first, other))
    image, boxes = crowd(portrait, (480, 360), rows((480, 360), 5, 2, (30,)))
    safe = list(anonymizer.frames(seconds_of([first] * 3, [image] * 3, [other] * 3)))
    assert [uncovered(image, frame.image, boxes) for frame in safe[3:6]] == [0] * 3


class Recording:
    """Stands for the network: sees `found` wherever it looks, and remembers where and when that was."""

    def __init__(self, found: list[Candidate]) -> None:
        self.found, self.seconds = found, 0.0
        self.looks: list[tuple[float, View, tuple[int, int]]] = []

    def __call__(self, image: Image, view: View, shape: tuple[int, int]) -> list[Candidate]:
        self.looks.append((self.seconds, view, shape))
        return self.found


def watched(
    size: tuple[int, int],
    found: list[Candidate],
    near: list[Face],
    rate: int = RATE,
    frame_seconds: float | None = None,
) -> tuple[Recording, Search]:
    """Return what two seconds of a video of `size` were looked at, and what is said of it."""
    search = Search()
    network = Recording(found)
    small = SmallFaces(search, network, frame_seconds)  # type: ignore[arg-type]
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for n in range(2 * rate):
        network.seconds = n / rate
        small.in_frame(image, lambda: near, seconds=n / rate)
    return network, search


def test_the_detector_searches_while_the_network_looks():
    both = threading.Barrier(2)

    def meets(*_: object) -> list[Any]:
        both.wait(timeout=60)
        return []

    small = SmallFaces(Search(), meets)  # type: ignore[arg-type]
    assert small.in_frame(np.zeros((480, 640, 3), np.uint8), meets, seconds=0.0) == []


def test_a_place_is_looked_at_again_after_the_detector_failed():
    network = Recording([])
    small, image = SmallFaces(Search(), network), np.zeros((480, 640, 3), np.uint8)  # type: ignore[arg-type]
    with pytest.raises(AnonymizerError, match="did not run"):
        small.in_frame(image, fails, seconds=0.0)
    small.in_frame(image, list, seconds=1 / RATE)
    assert len(network.looks) == 2


def test_every_place_is_looked_at_in_frames_that_all_have_the_same_time():
    network = Recording([])
    small, image = SmallFaces(Search(), network), np.zeros((480, 640, 3), np.uint8)  # type: ignore[arg-type]
    for _ in range(5):
        small.in_frame(image, list, seconds=1.0)
    assert len(network.looks) == 5


def fails() -> list[Face]:
    raise AnonymizerError("MediaPipe did not run")


def candidate(x: float, y: float, size: float, score: float) -> Candidate:
    keypoints = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [0, 0.25], [-0.5, -0.2], [0.5, -0.2]]) * size + (x, y)
    box = np.array([x, y, x, y]) + np.array([-0.5, -0.5, 0.5, 0.5]) * size
    return Candidate(box.astype(np.float32), keypoints.astype(np.float32), score)


def face(x: float, y: float, size: float, score: float) -> Face:
    box = (np.array([x, y, x, y]) + np.array([-0.5, -0.5, 0.5, 0.5]) * size).astype(np.float32)
    points = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.16, 0.25], [0.16, 0.25]]) * size + (x, y)
    return Face(box, points.astype(np.float32), None, score)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (3840, 2160)])
@pytest.mark.parametrize("is_crowd", [False, True])
def test_every_place_of_a_video_is_looked_at_in_time(size: tuple[int, int], is_crowd: bool):
    network, search = watched(size, [candidate(100, 100, 30, 0.6)] if is_crowd else [], [])
    views = {view for _, view, _ in network.looks}
    assert views == set(grid(*size, least=20).views)
    for view in views:
        times = [0.0, *(seconds for seconds, where, _ in network.looks if where == view), 2.0]
        assert np.diff(times).max() <= LOOK_SECONDS + 1e-6
    assert search.report(unrelated=False).longest_gap_seconds <= LOOK_SECONDS


@pytest.mark.parametrize(("size", "rate"), [((3840, 2160), 60), ((3840, 2160), 120), ((7680, 4320), 30)])
def test_frames_too_large_to_wait_for_long_are_looked_at_before_they_are_released(size: tuple[int, int], rate: int):
    network, _ = watched(size, [], [], rate)
    held = HELD_BYTES // (size[0] * size[1] * 3) / rate  # seconds
    assert held < LOOK_SECONDS
    for view in grid(*size, least=20).views:
        times = [seconds for seconds, where, _ in network.looks if where == view]
        assert np.diff(times).max() <= held + 1e-6


@pytest.mark.parametrize("rate", [3, 5, 8, 10])
def test_where_frames_are_far_apart_every_place_of_each_is_looked_at(rate: int):
    network, _ = watched((1280, 720), [], [], rate)
    views = grid(1280, 720, least=20).views
    assert len(views) > 1
    looked = {(seconds, view) for seconds, view, _ in network.looks}
    assert looked == {(n / rate, view) for n in range(2 * rate) for view in views}


def test_frames_of_a_live_stream_that_was_too_fast_are_not_taken_for_far_apart():
    network, _ = watched((1280, 720), [], [], 8, frame_seconds=1 / 25)
    assert len(network.looks) < len(grid(1280, 720, least=20).views) * 8


def test_a_video_of_one_large_face_is_looked_at_rarely_and_coarsely():
    network, _ = watched((640, 480), [candidate(300, 200, 200, 0.9)], [face(300, 200, 200, 0.9)])
    assert len(network.looks) <= 1 + 2 / LOOK_SECONDS
    assert {shape for _, _, shape in network.looks} == {(192, 256)}


def test_among_small_faces_it_is_looked_closely_and_often():
    network, _ = watched((640, 480), [candidate(300, 200, 20, 0.4)], [])
    close = [seconds for seconds, _, shape in network.looks if shape == (288, 384)]
    assert np.diff(close).max() <= 3 / RATE + 1e-6
    assert BUSY_SECONDS > LOOK_SECONDS


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (4032, 3024), (8000, 900), (500, 7000)])
def test_tiles_cover_the_picture_and_one_holds_any_face_whole(size: tuple[int, int]):
    cut = grid(*size, least=20)
    assert max(cut.shape) <= TILE_SIDE
    assert cut.shape[0] % 32 == cut.shape[1] % 32 == 0
    views = np.array(cut.views)
    assert (views[:, :2].min(axis=0) == 0).all()
    assert (views[:, 2:].max(axis=0) >= size).all()
    dice = np.random.default_rng(0)
    side = OVERLAP * 20 / center_face.SEEN - 2
    for x, y in dice.uniform(0, np.maximum(np.array(size) - side, 1), (200, 2)):
        starts, ends = views[:, :2] <= (x, y), views[:, 2:] >= np.minimum((x + side, y + side), size)
        assert (starts & ends).all(axis=1).any()


@pytest.mark.slow
def test_inputs_of_other_shapes_in_between_change_nothing(portrait: Image):
    image, boxes = crowd(portrait, (320, 256), [(100, 100, 40)])
    views = [((0, 0, 320, 256), (256, 320)), ((0, 0, 320, 256), (128, 160)), ((0, 0, 160, 256), (256, 160))]
    fresh = [CenterFace()(image, *view) for view in views]
    one = CenterFace()
    again = [one(image, *view) for view in (*views, *views)]
    for found, expected in zip(again, fresh * 2, strict=True):
        (seen,), (known,) = found, expected
        assert np.allclose(seen.box, known.box, atol=0.01)
        assert (seen.box[:2] < boxes[0, :2]).all()
        assert (seen.box[2:] > boxes[0, 2:]).all()


def test_eyes_nose_and_mouth_of_a_small_face_are_where_the_eye_sees_them(portrait: Image):
    image, _ = crowd(portrait, (320, 256), [(160, 120, 60)])
    (seen,) = CenterFace()(image, (0, 0, 320, 256), (256, 320))
    left, right, nose, mouth = seen.keypoints[:4]
    assert left[0] < nose[0] < right[0]
    assert max(left[1], right[1]) < nose[1] < mouth[1]
    assert 15 < right[0] - left[0] < 35


def test_half_a_face_at_the_end_of_a_tile_is_left_to_the_next(portrait: Image):
    image, _ = crowd(portrait, (512, 256), [(256, 120, 40)])
    network, shape = CenterFace(), (256, 256)
    assert network(image, (258, 0, 514, 256), shape) == []
    assert len(network(image, (162, 0, 418, 256), shape)) == 1
    assert len(network(np.ascontiguousarray(image[:, 258:]), (0, 0, 256, 256), shape)) == 1  # no tile beyond


def test_a_doubted_face_that_is_found_again_is_sure_and_no_second_one():
    known, new = joined([face(100, 100, 40, 0.35)], [candidate(102, 99, 38, 0.8), candidate(300, 100, 30, 0.6)])
    assert [f.score for f in known] == [0.8]
    assert [tuple(c.keypoints[2]) for c in new] == [(300, 100)]


def test_another_face_at_the_same_place_is_said_to_be_hidden():
    (known,), new = joined([face(100, 100, 40, 0.9)], [candidate(112, 110, 24, 0.8)])
    assert known.hides
    assert not new


def test_of_two_sightings_of_one_face_the_better_stays():
    kept = best([candidate(100, 100, 40, 0.5), candidate(102, 100, 40, 0.7), candidate(160, 100, 40, 0.3)])
    assert [c.score for c in kept] == [0.7, 0.3]


@pytest.mark.parametrize("least", [7.9, 201.0, float("nan")])
def test_a_least_face_that_makes_no_sense_is_refused(least: float):
    with pytest.raises(ValueError, match="min_face must be 8 to 200 pixels"):
        Settings(min_face=least)


def test_what_was_searched_is_said():
    assert str(Search().report(unrelated=True)) == "everywhere for faces of 20 pixels and more"
    said = str(Search(45, 0.36).report(unrelated=False))
    assert said == (
        "everywhere at least every 0.36 s for faces of 45 pixels and more, of 30 and more among other small ones"
    )


def test_a_larger_least_face_costs_less(portrait: Image):
    assert len(grid(4000, 3000, least=60).views) < len(grid(4000, 3000, least=20).views)
