"""Lids and lips of a new face are as far open as the person's, whatever its shape."""

import numpy as np
import pytest

from streamer.render.textures import openings
from streamer.types import Floats


def mesh(mouth: float, eye: float, *, width: float = 1.0) -> Floats:
    """A mesh with its mouth and eyes so far open, in their own widths, features `width` times as wide."""
    points = np.zeros((468, 3), np.float32)
    parts = ((openings.MOUTH, openings.UPPER_LIP, openings.LOWER_LIP, (100.0, 150.0), 50.0, mouth),)
    parts += tuple(
        (corners, upper, lower, centre, 30.0, eye)
        for corners, upper, lower, centre in zip(
            openings.EYES, openings.UPPER_LIDS, openings.LOWER_LIDS, ((70.0, 80.0), (130.0, 80.0)), strict=True
        )
    )
    for (left, right), upper, lower, (x, y), size, gap in parts:
        half = size * width / 2
        points[left, :2], points[right, :2] = (x - half, y), (x + half, y)
        across = np.linspace(-1, 1, len(upper[0]) + 2)[1:-1]
        for step, (up, low) in enumerate(zip(upper, lower, strict=True)):
            bow = gap * half * np.cos(across * np.pi / 2) + 2.0 * step
            points[list(up), 0] = points[list(low), 0] = x + half * across
            points[list(up), 1], points[list(low), 1] = y - bow, y + bow
    return points


def gap(points: Floats, upper: int, lower: int, corners: tuple[int, int]) -> float:
    return float(
        np.linalg.norm(points[lower] - points[upper]) / np.linalg.norm(points[corners[1]] - points[corners[0]])
    )


def test_a_wider_face_opens_as_far_by_its_width() -> None:
    result = openings.as_open(mesh(0.1, 0.2, width=1.3), mesh(0.3, 0.3))
    assert gap(result, 13, 14, openings.MOUTH) == pytest.approx(0.3, abs=1e-3)
    assert gap(result, 159, 145, openings.EYES[0]) == pytest.approx(0.3, abs=1e-3)
    assert gap(result, 386, 374, openings.EYES[1]) == pytest.approx(0.3, abs=1e-3)


def test_lips_that_touch_are_drawn_shut() -> None:
    result = openings.as_open(mesh(0.2, 0.3), mesh(0.03, 0.3))
    assert gap(result, 13, 14, openings.MOUTH) == pytest.approx(0, abs=1e-3)


def test_lips_stay_as_thick() -> None:
    before, own = mesh(0.05, 0.3), mesh(0.3, 0.3)
    after = openings.as_open(before, own)
    for inner, outer in ((13, 11), (14, 16)):
        thick = [float(np.linalg.norm(points[inner] - points[outer])) for points in (before, after)]
        assert thick[1] == pytest.approx(thick[0], abs=0.01)


def test_eyes_do_not_stare() -> None:
    result = openings.as_open(mesh(0.1, 0.6), mesh(0.1, 0.6))
    assert gap(result, 159, 145, openings.EYES[0]) == pytest.approx(openings.WIDEST_EYE, abs=1e-3)


@pytest.mark.parametrize(("size", "least"), [(0.5, 0.24), (2.0, 0.0)])
def test_large_eyes_wink_and_of_small_ones_the_mesh_is_wrong(size: float, least: float) -> None:
    """15 and 60 pixels wide."""
    own, shut = mesh(0.1, 0.3), mesh(0.1, 0.0)
    lids = [index for lids in (openings.UPPER_LIDS[0], openings.LOWER_LIDS[0]) for row in lids for index in row]
    own[lids] = shut[lids]
    result = openings.as_open(mesh(0.1, 0.3) * np.float32(size), own * np.float32(size))
    assert gap(result, 159, 145, openings.EYES[0]) == pytest.approx(least, abs=1e-3)
    assert gap(result, 386, 374, openings.EYES[1]) == pytest.approx(0.3, abs=1e-3)
    both = openings.as_open(mesh(0.1, 0.3) * np.float32(size), shut * np.float32(size))
    assert gap(both, 159, 145, openings.EYES[0]) == pytest.approx(0.0, abs=1e-3)


def test_the_eyes_of_a_small_turned_face_are_as_open_as_they_were() -> None:
    """The farther eye is narrower, and as many pixels high: that does not open the other one."""
    own = mesh(0.1, 0.2) * np.float32(0.5)
    rows = (*openings.UPPER_LIDS[1], *openings.LOWER_LIDS[1], openings.EYES[1])
    far = [index for row in rows for index in row]
    own[far, 0] = 65.0 + 0.6 * (own[far, 0] - 65.0)
    result = openings.as_open(own, own)
    assert np.abs(result - own).max() < 1e-3


def test_a_mesh_that_is_as_open_stays() -> None:
    own = mesh(0.2, 0.3)
    np.testing.assert_allclose(openings.as_open(own, own), own, atol=1e-3)
