"""Say who is made of whom: for every sex, age and skin tone as many strangers, each of donors that agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from models.textures.regions import Floats

AGES = (0, 7, 13, 20, 32, 47, 62, 90)  # edges of the bands that get as many strangers each
TONES = (-60.0, -25.0, 5.0, 25.0, 40.0, 75.0)  # degrees of the typology angle, likewise
GROWN = 14  # years, below which sex shows little, and any donor suits
UNLIKE_SEX = 6.0  # what one donor of the other sex costs, in the unit of the others
YEARS = 4.0, 0.2  # off in age that cost 1: at birth at least, and as a share of the age
TONE = 14.0  # degrees off that cost 1
BEARD_APART = 0.05  # logarithm: lips may differ from skin by so much of a beard
CHANCE = 1.2  # of the cost, drawn at random: or the best donor would be in everybody


@dataclass(frozen=True)
class Donors:
    """What recipes are made from, of D donors.

    Attributes:
        upper, lower, skin: `(D,)` bool, which part can be used.
        beard: `(D,)` logarithm.
        female: `(D,)` in [0, 1].
        age: `(D,)` years.
        tone: `(D,)` degrees.
    """

    upper: npt.NDArray[np.bool_]
    lower: npt.NDArray[np.bool_]
    skin: npt.NDArray[np.bool_]
    beard: Floats
    female: Floats
    age: Floats
    tone: Floats

    def of(self, rows: npt.NDArray[np.int64]) -> Donors:
        """Return those donors alone."""
        return Donors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Recipe:
    """Who a stranger is made of.

    Attributes:
        upper, lower, skin, colour: Numbers of donors.
        female: In [0, 1].
        age: Years.
    """

    upper: int
    lower: int
    skin: int
    colour: int
    female: float
    age: float


def make_recipes(donors: Donors, count: int, seed: int) -> list[Recipe]:
    """Return about `count` different recipes, evenly over sex, age and tone, the same for the same seed."""
    chance = np.random.default_rng(seed)
    cells = [
        (female, ages, tones)
        for female in (0.0, 1.0)
        for ages in itertools.pairwise(AGES)
        for tones in itertools.pairwise(TONES)
    ]
    made: dict[tuple[int, int, int], Recipe] = {}
    used = np.zeros((3, len(donors.age)), np.float32)
    for number in range(16 * count):
        if len(made) == count:
            break
        female, ages, tones = cells[number % len(cells)]
        recipe = _recipe(donors, female, ages, tones, used=used, chance=chance)
        parts = recipe.upper, recipe.lower, recipe.skin
        if parts in made or len(set(parts)) == 1:
            continue
        made[parts] = recipe
        for row, donor in enumerate(parts):
            used[row, donor] += 1
    return list(made.values())


def _recipe(
    donors: Donors,
    female: float,
    ages: tuple[int, int],
    tones: tuple[float, float],
    *,
    used: Floats,
    chance: np.random.Generator,
) -> Recipe:
    age = float(chance.uniform(*ages))
    sexless = (donors.age < GROWN) & (age < GROWN)
    cost = np.where(sexless, 0.0, UNLIKE_SEX * np.abs(donors.female - female))
    cost = cost + np.abs(donors.age - age) / max(YEARS[0], YEARS[1] * age)
    tone = float(chance.uniform(*tones))
    toned = cost + np.abs(donors.tone - tone) / TONE
    skin = _best(toned, donors.skin, used[2], chance)
    colour = skin if tones[0] <= donors.tone[skin] < tones[1] else _best(toned, donors.skin, used[2] * 0, chance)
    near = cost + np.abs(donors.tone - donors.tone[skin]) / TONE
    upper = _best(near, donors.upper & (np.arange(len(near)) != skin), used[0], chance)
    beards = np.maximum(np.abs(donors.beard - donors.beard[skin]) - BEARD_APART, 0) * 40
    lower = _best(near + beards, donors.lower, used[1], chance)
    years = float((donors.age[skin] + donors.age[upper]) / 2)
    sexes = float((donors.female[skin] + donors.female[upper]) / 2) if age >= GROWN else female
    return Recipe(upper, lower, skin, colour, sexes, years)


def _best(cost: Floats, usable: npt.NDArray[np.bool_], used: Floats, chance: np.random.Generator) -> int:
    """Return the donor of least cost; who is in many strangers already costs more."""
    total = cost + CHANCE * chance.random(len(cost)) + 0.5 * used / (used.mean() + 1)
    return int(np.where(usable, total, np.inf).argmin())
