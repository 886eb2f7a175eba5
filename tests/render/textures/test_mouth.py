"""The inside of a mouth lies between the lips, and nowhere else."""

import cv2
import numpy as np
import pytest

from streamer.render.textures import mouth


def lips(gap: float):
    """A mesh with a mouth 40 pixels wide and `gap` pixels open, and eyes 80 pixels apart."""
    mesh = np.zeros((468, 3), np.float32)
    mesh[33, :2], mesh[263, :2] = (10, 10), (90, 10)
    across = np.linspace(0, 1, 11)
    bow = gap / 2 * np.sin(np.pi * across)
    mesh[list(mouth.UPPER), 0] = mesh[list(mouth.LOWER), 0] = 30 + 40 * across
    mesh[list(mouth.UPPER), 1], mesh[list(mouth.LOWER), 1] = 60 - bow, 60 + bow
    return mesh


def drawn(gap: float):
    patch = np.full((100, 100, 3), 100, np.float32)
    strip = np.full((mouth.STRIP[1], mouth.STRIP[0], 3), 250, np.float32)
    mouth.draw(patch, lips(gap), strip, start=np.zeros(2, np.float32))
    return patch


def test_opening_is_measured_in_distances_of_the_eyes():
    np.testing.assert_allclose(mouth.opening(lips(16)), [16 / 80, 40 / 80], rtol=1e-5)


def test_a_closed_mouth_shows_where_the_lips_meet_and_nothing_else():
    patch = drawn(0)[..., 0]
    assert patch[60, 50] < 75
    assert patch.max() <= 100
    patch[57:64, 28:73] = 100
    assert (patch == 100).all()


def test_between_the_lips_of_a_texture_there_is_lip():
    """In the template the mouth is open: of what shows between the lips nothing is left, and around them all."""
    points = lips(24)[:, :2] / 100
    texture = np.full((100, 100, 3), (170, 90, 90), np.uint8)
    inside = np.zeros((100, 100), np.uint8)
    cv2.fillPoly(inside, [np.round(points[[*mouth.UPPER, *mouth.LOWER[::-1]]] * 100).astype(np.int32)], 1)
    texture[cv2.erode(inside, np.ones((3, 3))) > 0] = 250  # teeth
    texture[40:45] = 10
    closed = mouth.closed(texture, points)
    assert np.abs(closed[50:71, 32:69].astype(int) - (170, 90, 90)).max() < 40
    assert (closed[40:45] == 10).all()


def test_an_open_mouth_is_filled_between_the_lips_alone():
    patch = drawn(20)
    assert patch[66, 50, 0] > 240  # below the middle, where the upper lip casts no shadow
    patch[49:72, 29:72] = 100
    assert (patch == 100).all()


def test_teeth_under_the_upper_lip_are_in_its_shadow():
    patch = drawn(24)[..., 0]
    assert patch[51, 50] < 0.85 * patch[66, 50]


def test_a_strip_holds_what_is_between_the_lips():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:60], image[60:] = (200, 0, 0), (0, 200, 0)
    strip = mouth.strip(image, lips(24))
    assert strip.shape == (mouth.STRIP[1], mouth.STRIP[0], 3)
    assert strip[8, 48, 0] > 190 > 10 > strip[8, 48, 1]
    assert strip[-8, 48, 1] > 190 > 10 > strip[-8, 48, 0]


@pytest.mark.parametrize(("wanted", "taken"), [((0.21, 0.5, 0.0), 1), ((0.06, 0.5, 1.0), 3), ((0.35, 0.5, 0.0), 2)])
def test_the_mouth_that_is_as_far_open_and_shows_as_much_of_the_teeth_is_taken(wanted: tuple[float, ...], taken: int):
    mouths = np.array([[0.05, 0.5, 0], [0.2, 0.5, 0], [0.4, 0.5, 0], [0.08, 0.5, 1]], np.float32)
    assert mouth.nearest(mouths, np.array(wanted, np.float32)) == taken


@pytest.mark.parametrize(("inside", "shown"), [((60, 25, 25), 0.0), ((190, 90, 90), 0.0), ((180, 175, 165), 1.0)])
def test_teeth_are_white_and_neither_lips_nor_dark(inside: tuple[int, int, int], shown: float):
    strip = np.full((mouth.STRIP[1], mouth.STRIP[0], 3), inside, np.uint8)
    assert mouth.teeth(mouth.whiteness(strip, 160.0)) == pytest.approx(shown, abs=0.35)


def test_the_hue_of_teeth_is_that_of_the_brighter_part():
    strip = np.full((mouth.STRIP[1], mouth.STRIP[0], 3), (120, 30, 30), np.uint8)
    strip[4:14] = (220, 200, 160)
    np.testing.assert_allclose(mouth.hue(strip), np.array([220, 200, 160]) / 193.33, atol=0.01)


def test_gaps_between_teeth_do_not_flicker_in_a_small_mouth():
    """Dark lines a pixel of the strip wide are a shade, wherever the pixels of the frame fall."""
    strip = np.full((mouth.STRIP[1], mouth.STRIP[0], 3), 220, np.float32)
    strip[:, ::6] = 0
    patch = np.full((100, 100, 3), 100, np.float32)
    mouth.draw(patch, lips(16), strip, start=np.zeros(2, np.float32))
    row = patch[60, 40:61, 0]
    assert 150 < row.mean() < 205
    assert np.ptp(row) < 60
