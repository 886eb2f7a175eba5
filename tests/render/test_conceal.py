"""What is covered cannot be seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.render.conceal import MOSAIC_CELLS, clip_to, conceal_box, conceal_frame, conceal_polygon, mosaic


def noise(height: int = 90, width: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_solid_cover_leaves_one_colour_and_nothing_outside_changes() -> None:
    image = noise()
    before = image.copy()
    conceal_box(image, np.float32([40, 30, 80, 70]), cover="solid", margin=0.25)
    assert (image[20:80, 30:90] == 0).all()
    image[20:81, 30:91] = before[20:81, 30:91]
    assert (image == before).all()


def test_a_mosaic_of_a_face_has_only_a_few_colours() -> None:
    image = noise()
    conceal_box(image, np.float32([20, 20, 80, 80]), cover="mosaic", margin=0.0)
    colours = np.unique(image[20:80, 20:80].reshape(-1, 3), axis=0)
    assert len(colours) <= (MOSAIC_CELLS + 1) ** 2


def test_each_cell_is_the_mean_of_what_it_covers() -> None:
    image = noise(60, 60)
    cells = mosaic(image, cell=20.0)
    assert cells[:20, :20].reshape(-1, 3).std(axis=0).max() == 0
    np.testing.assert_allclose(cells[0, 0], image[:20, :20].mean(axis=(0, 1)), atol=1)


def test_a_face_half_outside_the_frame_is_covered_to_the_edge() -> None:
    image = noise(40, 40)
    conceal_box(image, np.float32([-5, 10, 5, 20]), cover="solid", margin=0.0)
    assert (image[10:20, :5] == 0).all()


def test_a_box_outside_the_frame_changes_nothing() -> None:
    image = noise()
    before = image.copy()
    conceal_box(image, np.float32([-90, -90, -50, -50]), cover="solid")
    conceal_box(image, np.float32([500, 20, 540, 60]), cover="mosaic")
    assert (image == before).all()


def test_a_polygon_is_covered_and_its_corners_are_not() -> None:
    image = noise(100, 100)
    before = image.copy()
    diamond = np.float32([[50, 20], [80, 50], [50, 80], [20, 50]])
    conceal_polygon(image, diamond, cover="solid")
    assert (image[50, 22:78] == 0).all()
    assert (image[22, 22] == before[22, 22]).all()


@given(st.integers(-60, 160), st.integers(-60, 160), st.integers(1, 90), st.integers(1, 90))
def test_no_pixel_of_any_box_survives(x: int, y: int, width: int, height: int) -> None:
    image = np.full((100, 110, 3), 200, np.uint8)
    conceal_box(image, np.float32([x, y, x + width, y + height]), cover="solid", margin=0.0)
    assert (image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] == 0).all()


def test_a_covered_frame_tells_nothing_but_its_size() -> None:
    assert np.ptp(conceal_frame(noise())) == 0
    assert conceal_frame(noise()).shape == noise().shape


def test_bounds_are_clipped_to_the_picture() -> None:
    image = noise(90, 120)
    assert clip_to(image, np.float32([[-5, 10.5], [30, 200]])) == (0, 10, 31, 90)
    assert clip_to(image, np.float32([[130, 10], [140, 20]])) is None


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_tiny_face_is_covered_too(size: int) -> None:
    image = noise(20, 20)
    conceal_box(image, np.float32([5, 5, 5 + size, 5 + size]), cover="solid", margin=0.0)
    assert (image[5 : 5 + size, 5 : 5 + size] == 0).all()
