"""The inside of a mouth lies between the lips, and nowhere else."""

import cv2
import numpy as np
import pytest

from models.teeth import row
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


def test_a_closed_mouth_shows_where_the_lips_meet_and_nothing_else():
    patch = drawn(0)[..., 0]
    assert patch[60, 50] < 75
    assert patch.max() <= 100
    patch[56:65, 26:75] = 100
    assert (patch == 100).all()


def test_a_mouth_is_closed_though_one_lip_lies_aside_of_the_other():
    mesh, patch = lips(0), np.full((100, 100, 3), 100, np.float32)
    mesh[list(mouth.LOWER[1:-1]), 0] += 8
    mouth.draw(
        patch, mesh, np.full((mouth.STRIP[1], mouth.STRIP[0], 3), 250, np.float32), start=np.zeros(2, np.float32)
    )
    assert patch.max() <= 100


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
    assert patch[60, 50, 0] > 240
    patch[49:72, 29:72] = 100
    assert (patch == 100).all()


def test_a_strip_holds_what_is_between_the_lips():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:60], image[60:] = (200, 0, 0), (0, 200, 0)
    strip = mouth.strip(image, lips(24))
    assert strip.shape == (mouth.STRIP[1], mouth.STRIP[0], 3)
    assert strip[8, 48, 0] > 190 > 10 > strip[8, 48, 1]
    assert strip[-8, 48, 1] > 190 > 10 > strip[-8, 48, 0]


def seen(colour: tuple[int, int, int], *, gap: tuple[int, int, int] | None = None):
    """A picture of a mouth 24 pixels open that shows `colour`, and a tooth's width of `gap` a little off its middle."""
    image = np.full((100, 100, 3), (150, 110, 95), np.uint8)
    cv2.fillPoly(image, [np.round(lips(24)[[*mouth.UPPER, *mouth.LOWER[::-1]], :2]).astype(np.int32)], colour)
    if gap:
        image[45:75, 51:55] = gap
    return image


SKIN = np.array([170.0, 130.0, 110.0], np.float32)
WHITE, RED, BLACK = (190, 180, 165), (180, 80, 80), (40, 15, 12)


def inside(picture: np.ndarray, gap: float = 24):
    return mouth.inside(mouth.coarse(picture, lips(gap)), row(1), skin=SKIN, gap=mouth.gap(lips(gap)))


@pytest.mark.parametrize(("colour", "times"), [(BLACK, mouth.BEHIND), (RED, mouth.BEHIND), (WHITE, 1.0)])
def test_a_mouth_shows_what_that_of_the_person_does_and_what_is_no_tooth_darker(
    colour: tuple[int, int, int], times: float
):
    found = inside(seen(colour))[14:26, 36:60].mean(axis=(0, 1))
    np.testing.assert_allclose(found, times * np.array(colour), rtol=0.15, atol=4)


@pytest.mark.parametrize(("colour", "toothed"), [(BLACK, False), (RED, False), (WHITE, True)])
def test_teeth_are_drawn_where_it_is_white_and_neither_red_nor_dark(colour: tuple[int, int, int], toothed: bool):
    across = inside(seen(colour))[20, 32:64].mean(axis=1)
    assert (np.ptp(across) > 0.12 * across.mean()) == toothed


def test_teeth_in_warm_light_are_teeth_and_a_tongue_on_dark_skin_is_none():
    """There teeth are as yellow as lips are elsewhere, and here a tongue is as pale as skin elsewhere."""
    warm, dark = np.array([210.0, 120.0, 50.0], np.float32), np.array([105.0, 72.0, 55.0], np.float32)
    for colour, skin, toothed in (((215, 150, 80), warm, True), ((170, 100, 100), dark, False)):
        picture = mouth.coarse(seen(colour), lips(24))
        found = mouth.inside(picture, row(1), skin=skin, gap=0.6)[14:26, 36:60]
        times = 1.0 if toothed else mouth.BEHIND
        np.testing.assert_allclose(found.mean(axis=(0, 1)), times * np.array(colour), rtol=0.2)


def test_teeth_that_are_seen_to_end_do_so_at_once_and_where_they_do():
    picture = seen((40, 15, 12))
    upper = picture.copy()
    upper[48:58] = WHITE
    picture = np.where((picture == (40, 15, 12)).all(axis=2)[..., None], upper, picture)
    grey = inside(picture)[:, 44:52].mean(axis=(1, 2))
    assert grey[4:12].min() > 100
    assert grey[22:].max() < 30
    assert (np.diff(grey) < -0.25 * np.ptp(grey)).any()


def test_teeth_end_less_unevenly_than_is_seen_of_them():
    """One half of a mouth lies in shadow: without teeth it would be a black wedge."""
    picture = seen(BLACK)
    white = (picture == BLACK).all(axis=2)
    white[62:, :50] = white[55:, 50:] = False
    picture[white] = WHITE
    grey = inside(picture).mean(axis=2)
    left, right = ((grey[:, part] > 90).mean(axis=0).mean() for part in (np.s_[30:42], np.s_[54:66]))
    assert left > 0.3
    assert 0.0 < left - right < 0.18  # of what is seen .3


def test_teeth_reach_the_upper_lip_though_its_shadow_hides_where_they_begin():
    picture = seen(WHITE)
    shadow = (picture == WHITE).all(axis=2)
    shadow[51:] = False
    picture[shadow] = BLACK
    assert inside(picture)[1, 40:56].mean() > 90


def test_the_edges_of_teeth_lie_behind_the_lower_lip_where_a_narrow_mouth_is_white_throughout():
    grey = inside(seen(WHITE), gap=4).mean(axis=2)
    assert grey[-2, 44:52].mean() > 0.65 * grey[20, 44:52].mean()


def test_a_mouth_is_darkest_at_its_corners_and_darker_beneath_lips_than_in_its_middle():
    grey = inside(seen(WHITE)).mean(axis=2)
    middle = grey[18:22, 36:60].mean()
    assert grey[20, [2, -3]].max() < 0.5 * middle
    assert 0.6 * middle < grey[1, 36:60].mean() < 0.85 * middle
    assert grey[-2, 36:60].mean() < 0.85 * middle


def test_a_gap_between_the_teeth_of_the_person_is_lost():
    """It is a mark by which people are known."""
    whole, with_gap = (seen(WHITE, gap=gap) for gap in (None, (30, 15, 12)))
    assert np.abs(mouth.strip(whole, lips(24)).astype(int) - mouth.strip(with_gap, lips(24))).max() > 150
    assert np.abs(inside(whole) - inside(with_gap)).max() < 15


def test_gaps_between_teeth_do_not_flicker_in_a_small_mouth():
    """Dark lines a pixel of the strip wide are a shade, wherever the pixels of the frame fall."""
    strip = np.full((mouth.STRIP[1], mouth.STRIP[0], 3), 220, np.float32)
    strip[:, ::6] = 0
    patch = np.full((100, 100, 3), 100, np.float32)
    mouth.draw(patch, lips(16), strip, start=np.zeros(2, np.float32))
    row = patch[60, 40:61, 0]
    assert 150 < row.mean() < 205
    assert np.ptp(row) < 60
