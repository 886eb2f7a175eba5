"""Recipes: strangers of every kind, each of donors that agree, the same every time."""

import numpy as np
import pytest

from models.textures.compose import compose
from models.textures.recipes import GROWN, Donors, Recipe, make_recipes
from models.textures.regions import Regions, make_regions
from tests.models.textures.test_clean import POINTS

COUNT = 400


@pytest.fixture(scope="module")
def donors() -> Donors:
    chance = np.random.default_rng(1)
    upper, lower, skin = [chance.random(COUNT) < 0.6 for _ in range(3)]
    female = (np.arange(COUNT) % 2).astype(np.float32)
    beard = np.where(female == 0, chance.choice([0.0, 0.3], COUNT), 0.0).astype(np.float32)
    age, tone = chance.uniform(0, 85, COUNT), chance.uniform(-60, 70, COUNT)
    ancestry = np.eye(4, dtype=np.float32)[np.arange(COUNT) // 2 % 4]
    return Donors(upper, lower, skin, beard, female, age.astype(np.float32), tone.astype(np.float32), ancestry)


@pytest.fixture(scope="module")
def recipes(donors: Donors) -> list[Recipe]:
    return make_recipes(donors, 700, seed=0)


def test_the_same_donors_make_the_same_strangers(donors: Donors, recipes: list[Recipe]) -> None:
    assert len(recipes) == 700
    assert make_recipes(donors, 700, seed=0) == recipes


def test_only_parts_that_are_fit_are_used(donors: Donors, recipes: list[Recipe]) -> None:
    assert all(donors.upper[r.upper] and donors.lower[r.lower] and donors.skin[r.skin] for r in recipes)


def test_grown_donors_of_a_stranger_are_of_one_sex(donors: Donors, recipes: list[Recipe]) -> None:
    grown = [r for r in recipes if min(donors.age[[r.upper, r.lower, r.skin]]) > GROWN]
    assert len(grown) > 300
    assert all(len(set(donors.female[[r.upper, r.lower, r.skin]])) == 1 for r in grown)


def test_features_are_of_one_ancestry_and_there_are_as_many_of_each(donors: Donors, recipes: list[Recipe]) -> None:
    ancestry = donors.ancestry.argmax(axis=1)
    agree = [ancestry[r.upper] == ancestry[r.lower] for r in recipes]
    assert np.mean(agree) > 0.9
    assert np.bincount(ancestry[[r.upper for r in recipes]], minlength=4) == pytest.approx(175, rel=0.25)


def test_a_beard_does_not_end_around_the_mouth(donors: Donors, recipes: list[Recipe]) -> None:
    apart = [abs(donors.beard[r.lower] - donors.beard[r.skin]) for r in recipes]
    assert np.mean(np.array(apart) < 0.1) > 0.97


def test_who_has_but_the_eyes_of_a_bearded_man_has_no_beard(donors: Donors) -> None:
    (bearded, *_), (bare, *_) = np.flatnonzero(donors.beard > 0.2), np.flatnonzero(donors.beard == 0)
    usual = {"colour": bare, "female": 0.0, "age": 40.0}
    assert Recipe(upper=bearded, lower=bare, skin=bare, **usual).beard(donors) == 0
    for part in ("lower", "skin"):
        recipe = Recipe(**({"upper": bare, "lower": bare, "skin": bare, part: bearded} | usual))
        assert recipe.beard(donors) == pytest.approx(0.3)


def test_parts_come_from_the_donors_they_should(donors: Donors) -> None:
    regions: Regions = make_regions(POINTS, 96)
    one, two, blank = (np.full((96, 96, 3), value, np.float32) for value in (1.5, 0.5, 0.02))
    mixed = compose(one, two, blank, regions, age=60.0)
    assert mixed[regions.eyes > 0.95].mean() == pytest.approx(1.5, abs=0.05)
    assert mixed[regions.brows * regions.core > 0.95].mean() > 1.2
    assert mixed[regions.lips > 0.95].mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(mixed[0]).max() < 0.01


def test_no_seam_crosses_the_nose(donors: Donors) -> None:
    regions: Regions = make_regions(POINTS, 96)
    one, two = (np.full((96, 96, 3), value, np.float32) for value in (0.0, 1.0))
    down = compose(one, two, one, regions, age=60.0)[:, 48, 0]
    assert np.abs(np.diff(down)).max() < 0.25
    assert down[: int(96 * POINTS[145, 1])].max() < 0.01
    assert down[int(96 * POINTS[4, 1])] > 0.95


def test_hairs_and_pores_are_of_one_donor() -> None:
    """Those of two at once would be a veil."""
    regions: Regions = make_regions(POINTS, 96)
    chance = np.random.default_rng(0)
    one, two = (chance.normal(0, 1, (96, 96, 3)).astype(np.float32) for _ in range(2))
    mixed = compose(one, two, np.zeros_like(one), regions, age=60.0)
    nose = (regions.lower > 0.95) & (regions.below > 0.95)
    for where, own, other in ((regions.eyes > 0.95, one, two), (nose, two, one)):
        assert np.corrcoef(mixed[where].ravel(), own[where].ravel())[0, 1] > 0.95
        assert abs(np.corrcoef(mixed[where].ravel(), other[where].ravel())[0, 1]) < 0.35


def test_no_shade_of_the_donor_of_skin_ends_at_an_edge() -> None:
    """What is held down is held down softly: a plateau would have an outline."""
    regions: Regions = make_regions(POINTS, 96)
    ramp = np.broadcast_to(np.linspace(0, -0.6, 96, dtype=np.float32)[:, None, None], (96, 96, 3)).copy()
    around = compose(np.zeros_like(ramp), np.zeros_like(ramp), ramp, regions, age=60.0)[:, 2, 0]
    steps = np.abs(np.diff(around))
    assert around.min() > -0.06
    assert np.abs(np.diff(steps)).max() < 0.004


def test_of_the_skin_around_pores_and_lines_stay_and_blotches_do_not() -> None:
    regions: Regions = make_regions(POINTS, 320)
    skin = np.zeros((320, 320, 3), np.float32)
    skin[20, 100:220] = -0.2  # a line across the forehead
    skin[4::8, 300:316:4] = -0.02  # pores
    y, x = np.mgrid[:320, :320]
    skin[..., 0] += 0.1 * np.exp(-((y - 200) ** 2 + (x - 12) ** 2) / 2 / 8**2)  # a red blotch
    around = compose(np.zeros_like(skin), np.zeros_like(skin), skin, regions, age=60.0)
    assert around[20, 160].max() < -0.04
    assert around[4::8, 300:316:4].max() < -0.005
    assert np.abs(around[180:220, 2:30]).max() < 0.005
    assert (around == around[..., :1]).all()


def test_the_young_have_no_lines_of_another() -> None:
    regions: Regions = make_regions(POINTS, 320)
    skin = np.zeros((320, 320, 3), np.float32)
    skin[18:24, 100:220] = -0.3  # a crease
    skin[4::8, 300:316:4] = -0.02  # pores
    young, grown, old = (compose(0 * skin, 0 * skin, skin, regions, age=age) for age in (30.0, 47.0, 65.0))
    assert young[21, 160].max() > grown[21, 160].max() + 0.02 > old[21, 160].max() + 0.04
    assert young[4::8, 300:316:4].max() < -0.005


def test_nobody_is_one_donor_alone(recipes: list[Recipe]) -> None:
    assert all(len({r.upper, r.lower, r.skin}) == 3 for r in recipes)
