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
    usable = [chance.random(COUNT) < 0.6 for _ in range(3)]
    female = (np.arange(COUNT) % 2).astype(np.float32)
    beard = np.where(female == 0, chance.choice([0.0, 0.3], COUNT), 0.0).astype(np.float32)
    age, tone = chance.uniform(0, 85, COUNT), chance.uniform(-60, 70, COUNT)
    return Donors(*usable, beard, female, age.astype(np.float32), tone.astype(np.float32))


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


def test_a_beard_does_not_end_at_the_lips(donors: Donors, recipes: list[Recipe]) -> None:
    apart = [abs(donors.beard[r.lower] - donors.beard[r.skin]) for r in recipes]
    assert np.mean(np.array(apart) < 0.1) > 0.97


def test_parts_come_from_the_donors_they_should(donors: Donors) -> None:
    regions: Regions = make_regions(POINTS, 96)
    one, two, three = (np.full((96, 96, 3), value, np.float32) for value in (1.0, 2.0, 0.05))
    mixed = compose(one, two, three, regions)
    eyes, lips = (regions.eyes > 0.9), (regions.lower > 0.95)
    assert mixed[eyes].mean() == pytest.approx(1.0, abs=0.1)
    assert mixed[lips].mean() == pytest.approx(2.0, abs=0.1)
    assert mixed[regions.jaw > 0.9].mean() == pytest.approx(0.05, abs=0.3)
    assert mixed[0].mean() == pytest.approx(0.05, abs=0.01)
