"""Eyeballs look where the person looks, and lids close over them."""

import numpy as np
import pytest

from streamer.render.textures import eyes

WIDTH = 60.0
UPPER = ([246, 161, 160, 159, 158, 157, 173], [398, 384, 385, 386, 387, 388, 466])  # from left to right


def mesh(look: tuple[float, float] = (0.0, 0.0), height: float = 20.0):
    """A mesh of two eyes, `WIDTH` wide and `height` pixels open, with irises at `look` widths from the middle."""
    points = np.zeros((478, 3), np.float32)
    across = np.linspace(-0.5, 0.5, 9)
    bow = height / 2 * np.cos(np.pi * across)
    for eye, centre in enumerate((60.0, 160.0)):
        lower = list(eyes.LIDS[eye][:9])[:: 1 - 2 * eye]  # both lists begin with the outer corner
        upper = UPPER[eye]
        points[lower, 0], points[lower, 1] = centre + WIDTH * across, 50 + bow
        points[upper, 0], points[upper, 1] = centre + WIDTH * across[1:-1], 50 - bow[1:-1]
        iris = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]], np.float32) * 0.2 * WIDTH
        points[eyes.IRISES[eye], :2] = iris + np.array([centre + look[0] * WIDTH, 50 + look[1] * WIDTH])
    return points


def ball():
    white = np.full((eyes.SIDE, eyes.SIDE, 3), 200, np.float32)
    y, x = np.mgrid[: eyes.SIDE, : eyes.SIDE] - (eyes.SIDE - 1) / 2
    white[np.hypot(x, y) < eyes.RADIUS] = 20
    return eyes.Eyeball(white, 0.2)


UNKNOWN = np.zeros(3, np.float32)


def drawn(look: tuple[float, float] = (0.0, 0.0), height: float = 20.0, tone: np.ndarray = UNKNOWN):
    patch = np.full((100, 220, 3), 120, np.float32)
    fine = mesh(look, height)
    eyes.draw(patch, fine, ball(), eyes.gaze(fine), np.ones((2, 3), np.float32), np.zeros(2, np.float32), tone=tone)
    return patch


@pytest.mark.parametrize("look", [(0.0, 0.0), (0.15, 0.0), (-0.1, 0.05)])
def test_gaze_is_where_the_irises_are(look: tuple[float, float]):
    np.testing.assert_allclose(eyes.gaze(mesh(look)), [look, look], atol=1e-5)


@pytest.mark.parametrize("look", [-0.15, 0.0, 0.15])
def test_the_irises_are_drawn_there(look: float):
    patch = drawn((look, 0.0))[50, :, 0]
    for centre in (60, 160):
        eye = patch[centre - 24 : centre + 24]
        dark = np.flatnonzero(eye < 60).mean() - 24
        assert dark == pytest.approx(look * WIDTH, abs=1.5)


@pytest.mark.parametrize(("bright", "varied"), [(0.6, 0.5), (0.8, 0.8)])
def test_eyes_are_as_bright_and_as_rich_in_contrast_as_those_of_the_person(bright: float, varied: float):
    seen = eyes.tone(np.clip(drawn(), 0, 255).astype(np.uint8), mesh())
    wanted = seen * np.array([bright, varied, 0], np.float32)
    got = eyes.tone(np.clip(drawn(tone=wanted), 0, 255).astype(np.uint8), mesh())
    assert got[:2] == pytest.approx(wanted[:2], rel=0.15)
    assert got[0] < 0.9 * seen[0]


@pytest.mark.parametrize(("brightest", "side"), [(200.0, 0.0), (200.0, 1.0), (40.0, 0.0)])
def test_light_mirrors_in_eyes_as_brightly_as_in_the_person_s_and_on_the_side_it_comes_from(
    brightest: float, side: float
):
    patch, fine = np.full((100, 220, 3), 120, np.float32), mesh()
    blue = np.array([[0.8, 1.0, 1.2]] * 2, np.float32)
    tone = np.array([150.0, 60.0, brightest], np.float32)
    eyes.draw(patch, fine, ball(), eyes.gaze(fine), blue, np.zeros(2, np.float32), tone=tone, side=side)
    colours = patch[40:60, 52:69]  # of the left eye, whose middle is 60
    iris = colours[..., 1]
    bright = np.argwhere(iris > 120)
    if brightest < 200:
        assert not len(bright)  # where nothing mirrors in the person's eyes nothing does in the drawn ones
    else:
        assert iris.max() == pytest.approx(brightest, abs=35)
        red, _, blue_ = colours[tuple(np.argwhere(iris == iris.max())[0])]
        assert blue_ > 1.2 * red  # as the light is
        down, across = bright.mean(axis=0) - [10, 8]
        assert down < -2
        assert across > 1.5 if side else abs(across) < 1.0


def test_of_eyes_of_few_pixels_nothing_is_told():
    picture = np.full((100, 220, 3), 120, np.uint8)
    assert (eyes.tone(picture, mesh() * np.float32(0.05)) == 0).all()
    assert (eyes.tone(picture, mesh() - np.float32(400)) == 0).all()  # outside the picture


def test_closed_eyes_are_closed_though_one_lid_lies_aside_of_the_other():
    """Lids of a new face lie so: how far they are open is told across them."""
    fine = mesh(height=1.0)
    for upper in UPPER:
        fine[upper, 0] += 12
    patch = np.full((100, 220, 3), 120, np.float32)
    bright = eyes.Eyeball(np.full((eyes.SIDE, eyes.SIDE, 3), 250, np.float32), 0.2)
    eyes.draw(patch, fine, bright, eyes.gaze(fine), np.ones((2, 3), np.float32), np.zeros(2, np.float32), tone=UNKNOWN)
    assert patch.max() <= 121
    assert patch[50, 50:70].max() < 90  # their lashes


def test_where_small_eyes_seem_to_squint_the_mesh_is_wrong():
    fine = mesh()
    fine[eyes.IRISES[1], 0] -= 0.3 * WIDTH
    large, small = eyes.gaze(fine)[:, 0], eyes.gaze(fine * np.float32(0.25))[:, 0]
    assert large == pytest.approx([-0.12, -0.18], abs=1e-5)  # as far as people do
    assert small == pytest.approx([-0.1575, -0.1425], abs=1e-5)


def test_nothing_is_drawn_outside_the_lids():
    patch = drawn()
    assert (np.delete(patch, slice(39, 62), axis=0) == 120).all()
    assert patch[50, 40, 0] > 150  # the white beside the iris


def test_closed_lids_show_neither_white_nor_iris():
    patch = drawn(height=1.5)
    assert patch.max() <= 125
    assert (np.abs(np.delete(patch, slice(44, 58), axis=0) - 120) < 8).all()
    assert 20 < patch[50, 60, 0] < 90  # the line of the lashes


def read(skin: tuple[int, int, int], iris: tuple[int, int, int]):
    """The eyeball of a texture of that skin, with an iris of which lids hide the upper and the lower third."""
    texture = np.full((100, 220, 3), skin, np.uint8)
    fine = mesh(height=16)
    y, x = np.mgrid[:100, :220].astype(np.float32)
    for centre in (60.0, 160.0):
        inside = np.abs(y - 50) < 8 * np.cos(np.clip((x - centre) / WIDTH, -0.5, 0.5) * np.pi)
        texture[inside] = 230
        texture[inside & (np.hypot(x - centre, y - 50) < 12)] = iris
    return eyes.eyeball(texture, fine)


FAIR, BROWN, BLUE = (225, 195, 180), (110, 75, 55), (40, 70, 140)
MIDDLE = eyes.SIDE // 2
ABOVE = MIDDLE - int(0.7 * eyes.RADIUS)  # where there was a lid


def test_an_eyeball_is_read_behind_the_lids():
    """An iris is whole again, and dark in its middle."""
    ball = read(FAIR, BLUE)
    assert ball.ball[ABOVE, MIDDLE, 2] > 1.2 * ball.ball[ABOVE, MIDDLE, 0]  # blue
    assert ball.ball[MIDDLE, MIDDLE].mean() < 60 < 110 < ball.ball[4, MIDDLE].mean()
    assert ball.share == pytest.approx(0.2, abs=0.01)


def test_dark_people_have_brown_eyes():
    ball = read(BROWN, BLUE)
    assert ball.ball[ABOVE, MIDDLE, 0] > 1.2 * ball.ball[ABOVE, MIDDLE, 2]


@pytest.mark.parametrize("skin", [FAIR, BROWN])
def test_the_white_of_an_eye_is_no_brighter_than_shade_allows(skin: tuple[int, int, int]):
    white = read(skin, BLUE).ball[MIDDLE, 4:10].mean()
    assert white < 0.9 * np.mean(skin) + 10


def test_an_upper_lid_covers_the_top_of_an_iris_that_would_stare():
    """In an eye so far open that there is white all around the iris, its top goes below the upper lid."""
    tall = drawn(height=29.0)[..., 0]
    rows = np.flatnonzero(tall[:, 60] < 60)
    assert rows.min() <= 50 - 29 / 2 + 2
    assert rows.max() < 50 + 29 / 2 - 4


def test_what_counts_to_an_eye_reaches_a_little_past_its_lids_and_no_further():
    points = mesh()
    x1, y1 = 10, 20
    found = eyes.around(points, (x1, y1, 190, 120), 100.0)
    assert found.shape == (100, 180)
    assert (found[50 - y1, [60 - x1, 160 - x1]] > 0.9).all()
    assert (found[90 - y1, [60 - x1, 160 - x1]] < 0.01).all()  # cheeks
    assert found[50 - y1, 110 - x1] < 0.05  # between the eyes


def test_eyes_are_softened_and_nothing_else_is():
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    result, part = image.copy(), np.zeros((60, 80), np.float32)
    part[20:40, 20:60] = 1.0
    eyes.soften(result, part, (30, 10, 110, 70), 100.0)
    changed = np.zeros((100, 120), bool)
    changed[30:50, 50:90] = True
    assert (result[~changed] == image[~changed]).all()
    assert result[32:48, 52:88].std() < 0.8 * image[32:48, 52:88].std()


@pytest.mark.parametrize(("width", "most"), [(20.0, 0.6), (2000.0, 1.3)])
def test_eyes_are_softened_within_limits(width: float, most: float):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    eyes.soften(image, np.ones((64, 64), np.float32), (0, 0, 64, 64), width)
    steepest = np.diff(image[32, :, 0].astype(float)).max()
    assert steepest > 200 / (most * np.sqrt(2 * np.pi)) * 0.85
