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
    inner, skin = [chance.random(COUNT) < 0.6 for _ in range(2)]
    female = (np.arange(COUNT) % 2).astype(np.float32)
    beard = np.where(female == 0, chance.choice([0.0, 0.3], COUNT), 0.0).astype(np.float32)
    age, tone = chance.uniform(0, 85, COUNT), chance.uniform(-60, 70, COUNT)
    ancestry = np.eye(4, dtype=np.float32)[np.arange(COUNT) // 2 % 4]
    return Donors(inner, skin, beard, female, age.astype(np.float32), tone.astype(np.float32), ancestry)


@pytest.fixture(scope="module")
def recipes(donors: Donors) -> list[Recipe]:
    return make_recipes(donors, 700, seed=0)


def test_the_same_donors_make_the_same_strangers(donors: Donors, recipes: list[Recipe]) -> None:
    assert len(recipes) == 700
    assert make_recipes(donors, 700, seed=0) == recipes


def test_only_parts_that_are_fit_are_used(donors: Donors, recipes: list[Recipe]) -> None:
    assert all(donors.inner[r.inner] and donors.inner[r.other] and donors.skin[r.skin] for r in recipes)


def test_grown_donors_of_a_stranger_are_of_one_sex(donors: Donors, recipes: list[Recipe]) -> None:
    grown = [r for r in recipes if min(donors.age[[r.inner, r.other, r.skin]]) > GROWN]
    assert len(grown) > 300
    assert all(len(set(donors.female[[r.inner, r.other, r.skin]])) == 1 for r in grown)


def test_features_are_of_one_ancestry_and_there_are_as_many_of_each(donors: Donors, recipes: list[Recipe]) -> None:
    ancestry = donors.ancestry.argmax(axis=1)
    agree = [ancestry[r.inner] == ancestry[r.other] for r in recipes]
    assert np.mean(agree) > 0.9
    assert np.bincount(ancestry[[r.inner for r in recipes]], minlength=4) == pytest.approx(175, rel=0.25)


def test_a_beard_does_not_end_around_the_mouth(donors: Donors, recipes: list[Recipe]) -> None:
    apart = [max(abs(donors.beard[r.inner] - donors.beard[n]) for n in (r.other, r.skin)) for r in recipes]
    assert np.mean(np.array(apart) < 0.1) > 0.97


def test_parts_come_from_the_donors_they_should(donors: Donors) -> None:
    regions: Regions = make_regions(POINTS, 96)
    one, two, blank = (np.full((96, 96, 3), value, np.float32) for value in (1.5, 0.5, 0.02))
    mixed = compose(one, two, blank, regions)
    nose = (regions.lower > 0.95) & (regions.lips < 0.01) & (regions.upper < 0.01)
    assert mixed[regions.eyes > 0.95].mean() == pytest.approx(1.5, abs=0.05)
    assert mixed[nose].mean() == pytest.approx(1.0, abs=0.05)
    assert mixed[0].mean() == pytest.approx(0.02, abs=0.01)


def test_hairs_and_pores_are_of_one_donor(donors: Donors) -> None:
    """Those of two at once would be a veil."""
    regions: Regions = make_regions(POINTS, 96)
    chance = np.random.default_rng(0)
    one, two = (chance.normal(0, 1, (96, 96, 3)).astype(np.float32) for _ in range(2))
    mixed = compose(one, two, np.zeros_like(one), regions)[np.maximum(regions.eyes, regions.lower) > 0.95]
    own, other = (part[np.maximum(regions.eyes, regions.lower) > 0.95] for part in (one, two))
    assert np.corrcoef(mixed.ravel(), own.ravel())[0, 1] > 0.85
    assert np.corrcoef(mixed.ravel(), other.ravel())[0, 1] < 0.35


def test_no_shade_of_the_donor_of_skin_ends_at_an_edge(donors: Donors) -> None:
    """What is held down is held down softly: a plateau would have an outline."""
    regions: Regions = make_regions(POINTS, 96)
    ramp = np.broadcast_to(np.linspace(0, -0.6, 96, dtype=np.float32)[:, None, None], (96, 96, 3)).copy()
    around = compose(np.zeros_like(ramp), np.zeros_like(ramp), ramp, regions)[:, 2, 0]
    steps = np.abs(np.diff(around))
    assert around.min() > -0.06
    assert np.abs(np.diff(steps)).max() < 0.004


def test_nobody_is_one_donor_alone(recipes: list[Recipe]) -> None:
    assert all(len({r.inner, r.other, r.skin}) == 3 for r in recipes)
