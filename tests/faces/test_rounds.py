"""When the detectors look at a frame of a video, and where."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from streamer.faces.looks import Scan, looks
from streamer.faces.rounds import CELL, ROUND_SECONDS, STIR_SECONDS, Rounds
from streamer.types import Face, Image

RATE = 30
SMALL, LARGE = (320, 240), (1920, 1080)


def scene(size: tuple[int, int], seed: int = 0) -> Image:
    coarse = np.random.default_rng(seed).integers(40, 200, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def with_something(image: Image, x: int, y: int, side: int = 24, *, strength: int = 0) -> Image:
    """Return a picture with a square in it: all else than it was, or brighter by `strength`."""
    image = image.copy()
    part = image[y : y + side, x : x + side]
    image[y : y + side, x : x + side] = part + np.uint8(strength) if strength else part + np.uint8(128)
    return image


def face(x: float, y: float, size: float) -> Face:
    box = (np.array([x, y, x, y]) + np.array([-0.5, -0.5, 0.5, 0.5]) * size).astype(np.float32)
    return Face(box, np.full((5, 2), (x, y), np.float32), None, 0.9)


def taken(
    images: list[Image],
    *,
    delay: float = 0.5,
    known: list[Face] | None = None,
    doubted: list[Face] | None = None,
    rest: float = 0.0,
) -> Iterator[list[Scan] | None]:
    """Yield what is due in each of `images`, `RATE` a second."""
    rounds = Rounds(delay)
    rounds.rest = rest
    for n, image in enumerate(images):
        rounds.leaves(image, n / RATE)
        yield rounds.due(image, n / RATE, known=known or [], doubted=doubted or [])


@pytest.mark.parametrize("delay", [0.1, 0.12, 0.5, 10.0])
@pytest.mark.parametrize("rate", [10, 24, 25, 29.97, 30, 60])
def test_no_frame_waits_longer_than_a_round_or_than_it_is_held_back(delay: float, rate: float):
    rounds, image = Rounds(delay), scene(SMALL)
    times = np.arange(40) / rate
    seen = []
    for seconds in times:
        rounds.leaves(image, seconds)
        if rounds.due(image, seconds, known=[], doubted=[]) is None:
            seen.append(seconds)
    assert np.diff(seen).max() <= max(min(delay, ROUND_SECONDS), 1 / rate) + 1e-6
    assert len(seen) < 40 or min(delay, ROUND_SECONDS) < 2 / rate


@pytest.mark.parametrize(
    ("delay", "size", "second"), [(0.5, SMALL, 6), (0.49, SMALL, 3), (0.5, (3840, 2160), 3)], ids=str
)
def test_rounds_are_quick_where_frames_are_held_back_for_less_than_three_long_ones(
    delay: float, size: tuple[int, int], second: int
):
    assert list(taken([scene(size)] * 7, delay=delay)).index(None, 1) == second


def test_without_delay_every_frame_is_looked_at():
    assert set(taken([scene(SMALL)] * 5, delay=0.0)) == {None}


def test_where_something_is_in_doubt_every_frame_is_looked_at():
    assert set(taken([scene(SMALL)] * 5, doubted=[face(100, 100, 30)])) == {None}
    first, *rest = taken([scene(LARGE)] * 3, doubted=[face(1800, 980, 40)])
    assert first is None
    for some in rest:
        assert some is not None
        assert 0 < len(some) < len(looks(*LARGE))
        assert any(look.view[2:] == LARGE and look.network == "full" for look in some)


def test_where_something_moves_it_is_looked_at_within_a_tenth_of_a_second_and_not_again_before_another():
    still, moved = scene(LARGE), with_something(scene(LARGE), 8, 8, strength=20)
    there = [look for look in looks(*LARGE) if max(look.view[:2]) <= 0]
    wait = round(STIR_SECONDS * RATE)
    assert list(taken([still, *[moved] * wait])) == [None, *[[]] * (wait - 1), there]
    assert list(taken([*[still] * wait, moved, moved, moved])) == [None, *[[]] * (wait - 1), there, [], []]


def test_where_somebody_is_who_was_not_there_a_frame_before_it_is_looked_at_at_once():
    still, flash = scene(LARGE), with_something(scene(LARGE), 8, 8, 120)
    there = [look for look in looks(*LARGE) if max(look.view[:2]) <= 0]
    assert list(taken([still, flash, flash])) == [None, there, []]
    assert list(taken([still, flash, flash], rest=1.0)) == [None, [], []]


def test_so_it_is_beside_a_known_face_and_before_its_body():
    still, moved = [scene(SMALL)] * 3, with_something(scene(SMALL), 184, 152, 48)
    assert list(taken([*still, moved], delay=0.5, known=[face(160, 80, 40)])) == [None, [], [], None]
    blink = with_something(scene(SMALL), 152, 72, 16)
    assert list(taken([*still, blink], delay=0.5, known=[face(160, 80, 40)])) == [None, [], [], []]


def test_also_who_is_as_bright_as_what_was_there():
    still = np.full((240, 320, 3), 120, np.uint8)
    somebody = still.copy()
    somebody[100:148, 200:240] = (170, 120, 70)  # skin before grey
    somebody[100:148, 240:248] = (70, 120, 170)
    rounds, startled = Rounds(0.5), []
    for n, picture in enumerate([still, still, somebody, somebody, np.ascontiguousarray(somebody[:, ::-1])]):
        rounds.leaves(picture, n / RATE)
        rounds.due(picture, n / RATE, known=[face(160, 80, 40)], doubted=[])
        startled.append(rounds.is_startled)
    assert startled == [False, False, True, False, True]


def test_frames_that_all_have_the_same_time_are_all_looked_at():
    rounds, image = Rounds(0.5), scene(SMALL)
    for _ in range(5):
        rounds.leaves(image, 1.0)
        assert rounds.due(image, 1.0, known=[face(160, 80, 40)], doubted=[]) is None


def pan(*steps: int) -> list[Image]:
    """Return what a camera sees that turns by so many pixels from one frame to the next."""
    coarse = np.random.default_rng(3).integers(60, 190, (10, 50, 3), np.uint8)
    wide = cv2.resize(coarse, (1200, 240), interpolation=cv2.INTER_CUBIC)
    places = np.cumsum([200, *steps])
    return [np.ascontiguousarray(wide[:, place : place + 320]) for place in places]


def test_also_while_the_camera_turns():
    images = pan(*[6] * 5)
    assert list(taken(images, delay=0.5)) == [None, *[[]] * 5]
    images[3] = with_something(images[3], 100, 100, 80)
    assert list(taken(images, delay=0.5))[3] is None


def test_a_known_face_is_looked_for_where_the_camera_shakes_and_not_while_it_turns_steadily():
    person = [face(160, 80, 50)]
    assert list(taken(pan(*[16] * 4), known=person)) == [None, None, *[[]] * 3]  # it begins to turn, and goes on
    assert set(taken(pan(16, -20, 24, -16, 20), known=person)) == {None}


def test_with_little_delay_it_is_looked_at_in_every_frame():
    still, moved = scene(LARGE), with_something(scene(LARGE), 8, 8)
    there = [look for look in looks(*LARGE) if max(look.view[:2]) <= 0]
    assert list(taken([still, moved, moved], delay=0.25)) == [None, there, there]


def test_hands_and_body_of_a_known_face_may_move():
    still, moved = [scene(SMALL)] * 3, with_something(scene(SMALL), 150, 150, strength=20)
    assert list(taken([*still, moved], known=[face(160, 80, 40)])) == [None, [], [], []]
    assert list(taken([*still, moved], known=[face(40, 80, 10)])) == [None, [], [], None]


def test_during_a_rest_nothing_is_looked_at_until_the_round_unless_there_is_little_delay():
    images, doubted = [scene(SMALL)] * 7, [face(100, 100, 30)]
    assert list(taken(images, doubted=doubted, rest=0.1)) == [None, [], [], None, [], [], None]
    assert list(taken(images, doubted=doubted, rest=10.0)) == [None, *[[]] * 5, None]
    assert set(taken(images, doubted=doubted, rest=10.0, delay=0.25)) == {None}


def test_with_little_delay_who_comes_in_over_a_border_is_looked_for_beside_a_known_body():
    still, moved = scene(SMALL), with_something(scene(SMALL), 0, 150, strength=20)
    assert list(taken([still, moved], delay=0.5, known=[face(100, 80, 80)])) == [None, []]
    assert list(taken([still, moved], delay=0.1, known=[face(100, 80, 80)])) == [None, None]


def test_a_moving_camera_tells_nothing_of_who_comes_unless_it_is_looked_for_at_once():
    assert list(taken(pan(12), delay=0.5)) == [None, []]
    assert list(taken(pan(12), delay=0.1)) == [None, None]


def test_noise_and_a_change_of_light_are_no_motion():
    still, dice = scene(SMALL), np.random.default_rng(1)
    noisy = np.clip(still + dice.normal(0, 5, still.shape), 0, 255).astype(np.uint8)
    assert list(taken([still, noisy, still + 20])) == [None, [], []]


def test_what_precedes_a_cut_is_looked_at_once_more():
    rounds, here, there = Rounds(0.5), scene(SMALL, 0), scene(SMALL, 1)
    left = []
    for n, image in enumerate([here, here, there, there]):
        left.append(rounds.leaves(image, n / RATE))
        rounds.due(image, n / RATE, known=[], doubted=[])
    assert left == [False, False, True, False]
    assert rounds.is_open


@pytest.mark.parametrize("seconds", [-1.0, 1.0])
def test_what_precedes_a_gap_is_looked_at_once_more(seconds: float):
    rounds, image = Rounds(0.5), scene(SMALL)
    for n in range(2):
        rounds.leaves(image, n / RATE)
        rounds.due(image, n / RATE, known=[], doubted=[])
    assert rounds.leaves(image, seconds)
    assert rounds.due(image, seconds, known=[], doubted=[]) is None


def test_pictures_of_another_size_begin_a_round():
    assert list(taken([scene(SMALL), scene(SMALL), scene((CELL * 8, CELL * 6))]))[1:] == [[], None]
