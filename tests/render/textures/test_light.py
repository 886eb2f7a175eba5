"""The light on a face is that on its skin, whatever hangs over it."""

import cv2
import numpy as np
import pytest

from models.checkpoint import read_checkpoint, weights_path
from streamer.render.textures.light import CELLS, SIDE, Light, LightReader
from streamer.types import Floats

POINTS = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
SKIN = np.array([180, 140, 120], np.float32)


@pytest.fixture(scope="module")
def reader() -> LightReader:
    return LightReader(POINTS)


def face(light: float | Floats = 1.0):
    """A crop of plain skin in a light `(SIDE, SIDE)` or a number, with dark brows."""
    crop = np.ones((SIDE, SIDE, 1), np.float32) * SKIN * np.asarray(light)[..., None]
    return np.clip(crop, 0, 255).astype(np.uint8)


def over_face(reader: LightReader, light: Light):
    """The cells of a light that lie wholly on the skin."""
    inside = cv2.resize(reader.skin.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA) > 0.9
    return light.cells[inside]


def test_half_the_light_is_read_as_half(reader: LightReader):
    full, half = over_face(reader, reader(face())), over_face(reader, reader(face(0.5)))
    expected = np.log(SKIN + 8) - np.log(SKIN / 2 + 8)
    np.testing.assert_allclose((full - half).mean(axis=0), expected, atol=0.02)


def test_light_from_the_side_is_followed(reader: LightReader):
    across = np.linspace(0.4, 1.2, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    light = reader(face(across)).cells.mean(axis=2)
    middle = light[6:11]
    expected = np.log(0.6 * 147 + 8) - np.log(1.0 * 147 + 8)  # at a quarter and at three quarters of the way
    assert middle[:, 4].mean() - middle[:, 11].mean() == pytest.approx(expected, abs=0.08)


def test_a_fringe_does_not_darken_the_face_below_it(reader: LightReader):
    crop = face()
    crop[: int(0.3 * SIDE)] = 20
    below = slice(int(0.45 * CELLS), int(0.7 * CELLS))
    plain, fringed = reader(face()).cells[below, 5:11], reader(crop).cells[below, 5:11]
    assert np.abs(plain - fringed).max() < 0.1


def test_a_fringe_lies_before_the_face_and_a_spot_does_not(reader: LightReader):
    crop = face()
    top = int((POINTS[10, 1] + 0.07) * SIDE)
    crop[:top] = 20
    y, x = int((POINTS[9, 1] - 0.04) * SIDE), SIDE // 2
    crop[y : y + 2, x : x + 2] = 20  # on the forehead, with skin around
    front = reader.front(reader(crop).skin)
    assert front[top - 3, SIDE // 2] > 0.7
    assert front[y + 1, x + 1] < 0.3


def test_nothing_lies_before_eyes_and_mouth(reader: LightReader):
    front = reader.front(reader(np.zeros((SIDE, SIDE, 3), np.uint8)).skin * 0)  # all of it no skin
    for point in (159, 386, 13, 1):
        x, y = (POINTS[point] * SIDE).astype(int)
        assert front[y, x] < 0.05


def test_light_is_never_brighter_than_the_skin_that_is_seen(reader: LightReader):
    """Where nothing is known of the skin a polynomial would go on rising."""
    across = np.linspace(0.3, 1.3, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    crop = face(across)
    hidden = np.arange(SIDE) > 0.7 * SIDE
    crop[:, hidden] = (20, 60, 20)
    seen = np.log(crop[:, ~hidden].reshape(-1, 3).max(axis=0) + 8.0)
    assert (reader(crop).cells <= seen + 0.01).all()
