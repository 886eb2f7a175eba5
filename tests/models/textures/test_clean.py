"""Mending: what light, hair and background do to a picture goes, what the face is stays. On painted faces."""

import numpy as np
import numpy.typing as npt
import pytest

from models.registry import load_face_model
from models.textures.clean import clean, without_hair
from models.textures.regions import Floats, Regions, make_regions
from models.textures.skin import SMALL, picture_of, read_skin

SIZE = 160
SKIN = np.array([190.0, 140.0, 115.0], np.float32)
POINTS = np.array(load_face_model("linear-refined").template.points, np.float32)


@pytest.fixture(scope="module")
def regions() -> Regions:
    return make_regions(POINTS, SIZE)


def painted(regions: Regions) -> Floats:
    """Skin with pores, dark brows, white eyes, red lips on a green background."""
    noise = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE, 1)).astype(np.float32)
    face = np.broadcast_to(SKIN, (SIZE, SIZE, 3)) + noise
    brows = regions.brows[..., None] * (regions.face[..., None] > 0)
    face = face * (1 - 0.7 * brows)
    face = face + regions.eyes[..., None] * (np.float32([230, 215, 190]) - face)
    return np.where(regions.face[..., None] > 0.5, face, np.float32([30, 200, 40])).astype(np.float32)


def mended(crop: Floats, regions: Regions) -> Floats:
    skin = read_skin(crop, make_regions(POINTS, SMALL))
    texture = clean(crop, skin, np.zeros((SIZE, SIZE, 3), np.float32), regions)
    return picture_of(texture.detail + texture.colour)


def sides(picture: Floats, regions: Regions) -> tuple[Floats, Floats]:
    cheeks = regions.cheeks > 0.5
    left = cheeks & (np.arange(SIZE) < SIZE / 2)
    return picture[left].mean(axis=0), picture[cheeks & ~left].mean(axis=0)


def test_light_from_one_side_becomes_even(regions: Regions) -> None:
    light = np.linspace(0.5, 1.3, SIZE, dtype=np.float32)[None, :, None]
    crop = np.clip(painted(regions) * light, 0, 255)
    left, right = sides(crop, regions)
    assert (right / left).min() > 1.3
    left, right = sides(mended(crop, regions), regions)
    assert right / left == pytest.approx(np.ones(3), abs=0.05)


def test_nothing_of_the_background_is_left(regions: Regions) -> None:
    picture = mended(painted(regions), regions)
    outside = picture[regions.face < 0.5]
    assert (outside[:, 0] > outside[:, 1]).all()  # skin is red, the background was green
    assert np.abs(outside.mean(axis=0) / SKIN - 1).max() < 0.2


def test_a_fringe_becomes_forehead_and_the_brows_stay(regions: Regions) -> None:
    crop = painted(regions)
    bare = mended(crop, regions)
    forehead = regions.forehead > 0.5
    top = forehead & (np.arange(SIZE)[:, None] < np.flatnonzero(forehead.any(axis=1))[0] + 10)
    crop[top] = (30, 25, 20)
    picture = mended(crop, regions)
    assert np.abs(picture[top].mean(axis=0) / SKIN - 1).max() < 0.25
    brows = (regions.brows > 0.5) & (regions.core > 0.5) & ~top
    assert picture[brows].mean() < 0.6 * SKIN.mean()
    assert bare[brows].mean() == pytest.approx(picture[brows].mean(), rel=0.15)


def test_whites_of_eyes_lose_the_tint_of_the_light(regions: Regions) -> None:
    warm = np.clip(painted(regions) * np.float32([1.1, 0.9, 0.5]), 0, 255)
    eyes = regions.eyes > 0.9
    before, after = (picture[eyes].mean(axis=0) for picture in (warm, mended(warm, regions)))
    skin_before, skin_after = (p[regions.cheeks > 0.5].mean(axis=0) for p in (warm, mended(warm, regions)))
    assert before[0] / before[2] > 2
    assert after[0] / after[2] < 1.5
    assert skin_after == pytest.approx(skin_before, rel=0.1)


def test_shine_is_held_down(regions: Regions) -> None:
    crop = painted(regions)
    y, x = np.mgrid[:SIZE, :SIZE]
    cheek = np.argwhere(regions.cheeks > 0.5).mean(axis=0)
    shine = ((y - cheek[0]) ** 2 + (x - cheek[1] - 22) ** 2) < 16
    crop[shine] = 250
    picture = mended(crop, regions)
    assert picture[shine].mean() < 1.25 * SKIN.mean()


def on_the_nose(regions: Regions) -> npt.NDArray[np.bool_]:
    return (regions.lower > 0.9) & (regions.lips < 0.01) & (regions.nostrils < 0.01)


def test_a_nose_lit_from_above_loses_the_black_on_it_and_brows_stay_dark(regions: Regions) -> None:
    crop = painted(regions)
    black = on_the_nose(regions) & (np.arange(SIZE)[:, None] > POINTS[1, 1] * SIZE)
    crop[black] *= 0.25
    before, after = (np.log(picture[black].mean() / SKIN.mean()) for picture in (crop, mended(crop, regions)))
    assert before < -1.2
    assert -0.75 < after < -0.4
    brows = (regions.brows > 0.9) & (regions.core > 0.9)
    assert np.log(mended(crop, regions)[brows].mean() / SKIN.mean()) == pytest.approx(np.log(0.3), abs=0.25)


def test_a_patch_of_shadow_on_a_cheek_is_held_down_and_a_beard_stays(regions: Regions) -> None:
    crop = painted(regions)
    y, x = np.mgrid[:SIZE, :SIZE]
    middle = np.argwhere(regions.cheeks * (1 - regions.features) > 0.9).mean(axis=0)
    patch = ((y - middle[0]) ** 2 + (x - 116) ** 2) < 16
    beard = regions.jaw > 0.5
    crop[patch] *= 0.6
    crop[beard] = 0.2 * crop[beard] + np.float32([30, 28, 27])
    picture = mended(crop, regions)
    assert (regions.features[patch] < 0.4).all()
    assert crop[patch].mean() < 0.65 * SKIN.mean()
    assert picture[patch].mean() > 0.72 * SKIN.mean()
    chin = beard & (np.abs(x - SIZE / 2) < 20) & (y < np.flatnonzero(beard.any(axis=1))[0] + 15)
    assert picture[chin].mean() < 0.6 * SKIN.mean()


def test_hair_over_the_tail_of_a_brow_is_replaced_by_the_other(regions: Regions) -> None:
    detail = np.zeros((SIZE, SIZE, 3), np.float32)
    detail[(regions.brows > 0.5) & (regions.brows[:, ::-1] > 0.5)] = -0.8
    haired = detail.copy()
    left = np.arange(SIZE) < 0.3 * SIZE
    haired[np.ix_(np.flatnonzero(regions.brows.max(axis=1) > 0), np.flatnonzero(left))] = -1.4
    mended_brows = without_hair(haired, regions)
    tail = (detail[..., 0] < 0) & left
    assert np.abs(mended_brows - detail)[tail].mean() < 0.3 * np.abs(haired - detail)[tail].mean()
    np.testing.assert_allclose(without_hair(detail, regions), detail, atol=0.02)


def test_a_shadow_beside_the_nose_becomes_paler_and_nostrils_stay_dark(regions: Regions) -> None:
    crop = painted(regions)
    nostrils, shadow = regions.nostrils > 0.9, on_the_nose(regions)
    crop[nostrils] *= 0.2
    crop[shadow] *= 0.4
    picture = mended(crop, regions)
    assert picture[nostrils].mean() < 0.3 * SKIN.mean()
    assert picture[shadow].mean() > 0.5 * SKIN.mean()
