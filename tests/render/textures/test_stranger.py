"""A stranger made ready to be drawn: features in the colours of the person's, and never darker than their own."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.checkpoint import read_checkpoint, weights_path
from models.textures import coarse
from models.textures.regions import make_regions
from streamer.render.textures.eyes import RADIUS, SIDE, Eyeball
from streamer.render.textures.light import CELLS, SHADE_HUE, LightReader, Tones
from streamer.render.textures.stranger import (
    LIP_SHADES,
    LIPS,
    LIPS_TAKEN,
    MOST_TINT,
    NOSTRILS_DARK,
    SHINE,
    WHITE_HAIRS,
    FeatureMasks,
    Stranger,
    feature_masks,
    prepare,
    with_coarse,
    with_tones,
)
from streamer.types import Floats

NONE = np.zeros((8, 8), np.float32)


def grey(value: float) -> Floats:
    return np.full(3, value, np.float32)


def drawn(level: Floats, own: Tones, persons: Tones, **where: bool) -> Floats:
    masks = FeatureMasks(
        *(NONE + where.get(name, False) for name in ("brows", "lips", "lashes", "around_lips", "nostrils"))
    )
    stranger = Stranger(
        (np.tile(level, (8, 8, 1)),),
        np.zeros((CELLS, CELLS, 3), np.float32),
        Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2),
        own,
        np.ones(96, np.float32),
    )
    return with_tones(stranger, persons, masks).levels[0][4, 4]


@pytest.mark.parametrize(("persons", "expected"), [(-0.49, -0.49), (-1.0, -1.0), (-9.0, -1.0), (0.0, -0.4)])
def test_brows_follow_fair_ones_and_grow_no_darker(persons: float, expected: float) -> None:
    own, wanted = Tones(grey(-1.0), grey(0.0), 0.0), Tones(grey(persons), grey(0.0), 0.0)
    assert drawn(grey(-1.0), own, wanted, brows=True).mean() == pytest.approx(expected, abs=0.01)


def test_brows_have_the_hue_of_the_person_s_hair() -> None:
    ginger = Tones(np.array([-0.8, -1.0, -1.2], np.float32), grey(0.0), 0.0)
    red, green, blue = drawn(grey(-1.0), Tones(grey(-1.0), grey(0.0), 0.0), ginger, brows=True)
    assert red > green + 0.05 > blue + 0.1


@pytest.mark.parametrize(("persons", "expected"), [(-0.3, -0.3), (-0.9, -0.6), (0.0, -0.3)])
def test_lashes_are_no_more_made_up_than_the_person_s(persons: float, expected: float) -> None:
    own, wanted = Tones(grey(-1.0), grey(0.0), -0.6), Tones(grey(-1.0), grey(0.0), persons)
    assert drawn(grey(-0.6), own, wanted, lashes=True).mean() == pytest.approx(expected, abs=0.01)


def test_painted_lips_become_paler_on_who_has_pale_ones_and_keep_some_of_their_own() -> None:
    painted, pale = np.array([0.1, -0.4, -0.3], np.float32), np.array([-0.05, -0.12, -0.08], np.float32)
    seen = drawn(painted, Tones(grey(-1.0), painted, 0.0), Tones(grey(-1.0), pale, 0.0), lips=True)
    assert seen == pytest.approx(painted + LIPS_TAKEN * (pale - painted), abs=0.03)


def test_what_hides_a_mouth_does_not_colour_lips() -> None:
    """A blue microphone before the mouth."""
    own = np.array([0.0, -0.15, -0.1], np.float32)
    blue = np.array([-2.0, -2.0, -0.5], np.float32)
    red, green, shade = drawn(own, Tones(grey(-1.0), own, 0.0), Tones(grey(-1.0), blue, 0.0), lips=True)
    assert -0.5 < green < red + 0.05
    assert shade - green < 0.25


def test_lips_do_not_shine() -> None:
    dark, fair = np.array([-0.6, -0.7, -0.65], np.float32), np.array([-0.05, -0.25, -0.15], np.float32)
    gloss = dark + 0.6
    assert drawn(gloss, Tones(grey(-1.0), dark, 0.0), Tones(grey(-1.0), fair, 0.0), lips=True).max() < 0.2


def test_what_shines_or_is_tinted_in_a_texture_is_held() -> None:
    points = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
    reader = LightReader(points)
    skin = np.full((96, 96, 3), (120, 90, 75), np.uint8)
    stained = skin.copy()
    stained[50:58, 26:34], stained[40:48, 60:68] = (220, 190, 170), (90, 90, 110)  # shine, and a blue shade
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    common = np.zeros((CELLS, CELLS, 3), np.float32)
    level = prepare(stained, points, common, eye, np.ones(96, np.float32), reader=reader, levels=1).levels[0]
    assert level.mean(axis=2)[54, 30] < sum(SHINE) + 0.01
    shade = level[44, 64].mean() * (SHADE_HUE - 1.0)
    assert np.abs(level[44, 64] - level[44, 64].mean() - shade).max() < MOST_TINT + 0.01


def test_white_hairs_in_brows_do_not_glitter() -> None:
    points = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
    reader = LightReader(points)
    brows = cv2.resize(reader.brows.astype(np.float32), (96, 96)) > 0.9
    texture = np.full((96, 96, 3), (150, 115, 100), np.uint8)
    texture[:, ::4][brows[:, ::4]] = (230, 230, 230)
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    common = np.zeros((CELLS, CELLS, 3), np.float32)
    level = prepare(texture, points, common, eye, np.ones(96, np.float32), reader=reader, levels=1).levels[0]
    assert level.mean(axis=2)[brows].max() < sum(WHITE_HAIRS) + 0.01 < sum(SHINE)


def test_a_shade_of_skin_is_red_and_not_grey() -> None:
    """Less light leaves skin in the red: a grey shade is a stain."""
    points = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
    texture = np.full((96, 96, 3), (200, 160, 140), np.uint8)
    texture[40:48, 60:68] = (150, 120, 105)  # the same hue
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    common = np.zeros((CELLS, CELLS, 3), np.float32)
    reader = LightReader(points)
    level = prepare(texture, points, common, eye, np.ones(96, np.float32), reader=reader, levels=1).levels[0]
    red, green, blue = level[44, 64].tolist()
    assert red > green > blue


def test_nostrils_are_dark_and_no_ink() -> None:
    """As black as they are in some pictures, they are lines of ink seen from above or small."""
    points = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
    nostrils = make_regions(points, 320).nostrils
    texture = np.full((320, 320, 3), (150, 115, 100), np.uint8)
    texture[nostrils > 0.5] = 4
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    common = np.zeros((CELLS, CELLS, 3), np.float32)
    level = prepare(texture, points, common, eye, np.ones(96, np.float32), reader=LightReader(points), levels=1).levels[
        0
    ]
    darkest = float(np.median(level.mean(axis=2)[nostrils > 0.95]))
    assert -NOSTRILS_DARK - 0.15 < darkest < -0.6


def test_lips_are_masked_whole_however_thin() -> None:
    """A mask as coarse as the light's would give them half of their colour."""
    points = np.array(read_checkpoint(weights_path("linear-refined")).template["points"], np.float32)
    lips = feature_masks(LightReader(points), points).lips
    upper, lower = (points[list(pair)].mean(axis=0) * len(lips) for pair in ((0, 13), (14, 17)))
    assert all(lips[int(y), int(x)] > 0.9 for x, y in (upper, lower))
    assert lips[: len(lips) // 2].max() == 0


def test_coarse_shades_are_the_stranger_s_whatever_the_person_s_colours_are() -> None:
    """Brows of a person's colour are seen from near alone; from afar recognisers would go by them."""
    side, rng = coarse.SIZE, np.random.default_rng(0)
    inside, shades = np.ones((side, side), np.float32), np.full((side, side, 3), -0.2, np.float32)
    shades[20:24] = -0.6
    fine = rng.normal(0, 0.1, (2 * side, 2 * side, 1)).astype(np.float32)
    own = np.zeros((2 * side, 2 * side, 3), np.float32)
    dark = own.copy()
    dark[60:70] = -1.0  # a beard, say
    seen = []
    for level in (own, dark):
        level = level + fine
        small = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
        tones = Tones(grey(-1.0), grey(-0.5), 0.0)
        stranger = Stranger(
            (level, small), np.zeros((CELLS, CELLS, 3), np.float32), eye, tones, np.ones(96, np.float32)
        )
        seen.append(with_coarse(stranger, shades, inside, FeatureMasks(*[np.zeros_like(inside)] * 5)).levels)

    def from_afar(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), 3)[8:-8, 8:-8])

    def from_near(values: Floats) -> Floats:
        return np.asarray((values - cv2.GaussianBlur(values, (0, 0), 1))[76:90, :, 0].ravel())

    for large, small in seen:
        assert np.abs(from_afar(small) - from_afar(shades)).max() < 0.1
        assert np.corrcoef(from_near(large), from_near(np.tile(fine, 3)))[0, 1] > 0.9
    assert np.abs(seen[0][1] - seen[1][1])[8:-8, 8:-8].mean() < 0.05


def test_lines_of_lips_stay_and_their_shades_are_held() -> None:
    side = 96
    y = np.arange(side)[:, None, None]
    fine = 0.08 * np.where(np.arange(side)[None, :, None] % 2, 1.0, -1.0)  # finer than `LIP_LINES`
    level = (-0.2 + fine + np.where(y < side // 2, -0.5, 0.5) * np.ones((1, 1, 3))).astype(np.float32)
    full, tones = np.ones((side, side), np.float32), Tones(grey(-1.0), grey(-0.2), 0.0)
    masks = FeatureMasks(*[np.zeros_like(full)] * 5)
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    stranger = Stranger((level,), np.zeros((CELLS, CELLS, 3), np.float32), eye, tones, np.ones(96, np.float32))
    lips = with_tones(stranger, tones, replace(masks, lips=full)).levels[0].mean(axis=2)
    upper, lower = lips[8:24], lips[-24:-8]
    assert lower.mean() - upper.mean() == pytest.approx(2 * LIP_SHADES, rel=0.05)
    assert min(part.std() for part in (upper, lower)) > 0.05


def test_lips_are_redder_and_darker_than_skin_whatever_is_read() -> None:
    """Before a hidden mouth, or on a small face, nothing is: lips like skin are none."""
    own, skin = Tones(grey(-1.0), grey(-0.3), 0.0), Tones(grey(-1.0), grey(0.0), 0.0)
    red, green, _ = drawn(grey(-0.3), own, skin, lips=True)
    assert red - green == pytest.approx(LIPS_TAKEN * LIPS[1][0], abs=0.01)
    assert (red + green) / 2 < 0


def test_lips_keep_their_own_shades_in_those_of_the_skin_around() -> None:
    side = coarse.SIZE
    nothing, lips = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    lips[28:36, 16:32] = 1
    eye, tones = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2), Tones(grey(-1.0), grey(-0.5), 0.0)
    level = np.zeros((side, side, 3), np.float32)
    stranger = Stranger((level,), np.zeros((CELLS, CELLS, 3), np.float32), eye, tones, np.ones(96, np.float32))
    shades = np.full((side, side, 3), 0.3, np.float32)
    shades[28:36, 16:32] = (0.3, -0.6, -0.6)  # another's
    changed = with_coarse(stranger, shades, nothing + 1, FeatureMasks(nothing, nothing, nothing, lips, nothing))
    assert changed.levels[0][32, 24] == pytest.approx(np.full(3, 0.3), abs=0.15)


@pytest.mark.parametrize(("brows", "is_brown"), [(-0.8, True), (-0.2, False)])
def test_who_has_dark_brows_has_brown_eyes(brows: float, is_brown: bool) -> None:
    down, across = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    ball = np.full((SIDE, SIDE, 3), 120, np.float32)
    ball[np.hypot(down, across) < 1.1 * RADIUS] = (70, 80, 110)
    own, levels = Tones(grey(-0.9), grey(-0.3), 0.0), (np.zeros((8, 8, 3), np.float32),)
    stranger = Stranger(
        levels, np.zeros((CELLS, CELLS, 3), np.float32), Eyeball(ball, 0.2), own, np.ones(96, np.float32)
    )
    iris = with_tones(stranger, Tones(grey(brows), grey(-0.3), 0.0), FeatureMasks(*[NONE] * 5)).eyeball.ball
    red, _, blue = iris[SIDE // 2, SIDE // 2 + round(0.7 * RADIUS)]
    assert (red > blue) == is_brown
    assert iris[0] == pytest.approx(ball[0])


def test_coarse_shades_throw_no_rim_of_light_around_nostrils() -> None:
    side = coarse.SIZE
    nothing, full = np.zeros((side, side), np.float32), np.ones((side, side), np.float32)
    eye, tones = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2), Tones(grey(-1.0), grey(-0.5), 0.0)
    level, nostrils = np.zeros((side, side, 3), np.float32), nothing.copy()
    level[24:26, 20:24] = -0.7
    nostrils[22:28, 18:26] = 1
    stranger = Stranger((level,), np.zeros((CELLS, CELLS, 3), np.float32), eye, tones, np.ones(96, np.float32))
    shades = np.zeros((side, side, 3), np.float32)  # of people whose nostrils lie elsewhere
    brightest = []
    for mask in (nothing, nostrils):
        changed = with_coarse(stranger, shades, full, FeatureMasks(nothing, nothing, nothing, nothing, mask)).levels[0]
        brightest.append(changed[22:28, 18:26].max())
    assert brightest[0] > 0.05
    assert brightest[1] < 0.01


def test_coarse_shades_make_brows_paler_but_never_darker() -> None:
    side = coarse.SIZE
    brows = np.zeros((side, side), np.float32)
    brows[16:32, 16:32] = 1
    level = np.full((side, side, 3), -0.3, np.float32)
    eye = Eyeball(np.zeros((SIDE, SIDE, 3), np.float32), 0.2)
    tones = Tones(grey(-1.0), grey(-0.5), 0.0)
    stranger = Stranger((level,), np.zeros((CELLS, CELLS, 3), np.float32), eye, tones, np.ones(96, np.float32))
    for wanted, expected in ((-0.8, -0.3), (-0.1, -0.1)):
        shades = np.full((side, side, 3), wanted, np.float32)
        masks = FeatureMasks(brows, *[np.zeros_like(brows)] * 4)
        changed = with_coarse(stranger, shades, np.ones((side, side), np.float32), masks).levels[0]
        assert changed[24, 24] == pytest.approx(expected, abs=0.03)
        assert changed[40, 24] == pytest.approx(wanted, abs=0.05)  # elsewhere they are as wanted
