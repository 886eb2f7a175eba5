"""Say who is made of whom: for every sex, age, skin tone and ancestry as many strangers, of donors that agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.textures.regions import Floats

AGES = (0, 7, 13, 20, 32, 47, 62, 90)  # edges of the bands that get as many strangers each
TONES = (-60.0, -25.0, 5.0, 25.0, 40.0, 75.0)  # degrees of the typology angle, likewise
GROWN = 14  # years, below which sex shows little, and any donor suits
UNLIKE_SEX, UNLIKE_ANCESTRY = 10.0, 3.0  # what a donor of another sex or ancestry costs, in the unit of the others
YEARS = 4.0, 0.2  # off in age that cost 1: at birth at least, and as a share of the age
TONE = 14.0  # degrees off that cost 1
SKIN_YEARS, SKIN_TONE = 0.12, 60.0  # the same for those whose skin is around: wrinkles tell, a tone is given anew
LOWER_SHARE = 1 / 3  # of the years that are seen, by nose and mouth: eyes show more of them
SKIN_ANCESTRY = 0.5  # of what another ancestry costs: skin tells it by its tone
LOWER_YEARS, LOWER_TONE = 0.12, 24.0  # the same for nose and mouth
BEARD_APART = 0.05  # logarithm: the skin around may differ from the inner face by so much of a beard
RECOLOURED = 25.0  # degrees: lips and lids of a darker or fairer face go ill with a skin farther off
CHANCE, LOWER_CHANCE, SKIN_CHANCE = 1.2, 2.5, 3.0  # of the cost, at random: or the best donor would be in everybody


@dataclass(frozen=True)
class Donors:
    """What recipes are made from, of D donors.

    Attributes:
        upper, lower, skin: `(D,)` bool, which part can be used (`models.textures.fitness`).
        beard: `(D,)` logarithm.
        female: `(D,)` in [0, 1].
        age: `(D,)` years.
        tone: `(D,)` degrees.
        ancestry: `(D, 4)` probabilities.
    """

    upper: npt.NDArray[np.bool_]
    lower: npt.NDArray[np.bool_]
    skin: npt.NDArray[np.bool_]
    beard: Floats
    female: Floats
    age: Floats
    tone: Floats
    ancestry: Floats


@dataclass(frozen=True)
class Recipe:
    """Who a stranger is made of.

    Attributes:
        upper, lower, skin, colour: Numbers of donors: of eyes and brows, of nose and mouth, of all else, of its tone.
        female: In [0, 1].
        age: Years.
    """

    upper: int
    lower: int
    skin: int
    colour: int
    female: float
    age: float

    def beard(self, donors: Donors) -> float:
        """Return how bearded the stranger is, logarithm: who has but the eyes of a bearded man is not."""
        return float(max(donors.beard[self.lower], donors.beard[self.skin]))


def make_recipes(donors: Donors, count: int, seed: int) -> list[Recipe]:
    """Return about `count` different recipes, evenly over sex, age, tone and ancestry, the same for the same seed."""
    chance = np.random.default_rng(seed)
    cells = [
        (female, ages, tones, ancestry)
        for female in (0.0, 1.0)
        for ages in itertools.pairwise(AGES)
        for tones in itertools.pairwise(TONES)
        for ancestry in np.unique(donors.ancestry[donors.upper].argmax(axis=1)).tolist()
    ]
    made: dict[tuple[int, ...], Recipe] = {}
    used = np.zeros((3, len(donors.age)), np.float32)
    for number in range(16 * count):
        if len(made) == count:
            break
        recipe = _recipe(donors, *cells[number % len(cells)], used=used, chance=chance)
        parts = recipe.upper, recipe.lower, recipe.skin
        if parts in made or len(set(parts)) < len(parts):
            continue
        made[parts] = recipe
        used[range(3), parts] += 1
    return list(made.values())


def _recipe(
    donors: Donors,
    female: float,
    ages: tuple[int, int],
    tones: tuple[float, float],
    ancestry: int,
    *,
    used: Floats,
    chance: np.random.Generator,
) -> Recipe:
    wanted = np.eye(donors.ancestry.shape[1], dtype=np.float32)[ancestry]
    age, tone = float(chance.uniform(*ages)), float(chance.uniform(*tones))
    upper = _best(unlike(donors, female, age, tone, wanted), donors.upper, used[0], chance)
    wanted = donors.ancestry[upper]
    female, age = float(donors.female[upper]), float(donors.age[upper])
    own_tone = float(donors.tone[upper])
    alike = unlike(donors, female, age, own_tone, wanted, years=LOWER_YEARS, tones=LOWER_TONE)
    others = donors.lower & (np.arange(len(alike)) != upper)
    lower = _best(alike, others, used[1], chance, by_chance=LOWER_CHANCE)
    beards = np.maximum(np.abs(donors.beard - donors.beard[lower]) - BEARD_APART, 0) * 40
    age += LOWER_SHARE * (float(donors.age[lower]) - age)
    near = unlike(
        donors, female, age, own_tone, wanted, years=SKIN_YEARS, tones=SKIN_TONE, unlike_ancestry=SKIN_ANCESTRY
    )
    others = donors.skin & (np.arange(len(near)) != upper) & (np.arange(len(near)) != lower)
    skin = _best(near + beards, others, used[2], chance, by_chance=SKIN_CHANCE)
    skin_off, upper_off = abs(donors.tone[[skin, upper]] - tone)
    alike = abs(donors.tone[skin] - donors.tone[upper]) < RECOLOURED
    colour = skin if alike and skin_off < upper_off else upper
    return Recipe(upper, lower, skin, colour, female, age)


def unlike(
    donors: Donors,
    female: float,
    age: float,
    tone: float,
    ancestry: Floats,
    *,
    years: float = YEARS[1],
    tones: float = TONE,
    unlike_ancestry: float = UNLIKE_ANCESTRY,
) -> Floats:
    """Return how unlike somebody each donor is, `(D,)`: what share of the age, and what of the tone, costs 1."""
    sexless = (donors.age < GROWN) & (age < GROWN)
    cost = np.where(sexless, 0.0, UNLIKE_SEX * np.abs(donors.female - female))
    cost = cost + np.abs(donors.age - age) / max(YEARS[0], years * age) + np.abs(donors.tone - tone) / tones
    apart = np.abs(donors.ancestry - ancestry).sum(axis=1) / 2
    return np.asarray(cost + unlike_ancestry * apart, np.float32)


def _best(
    cost: Floats,
    usable: npt.NDArray[np.bool_],
    used: Floats,
    chance: np.random.Generator,
    *,
    by_chance: float = CHANCE,
) -> int:
    """Return the donor of least cost; who is in many strangers already costs more."""
    total = cost + by_chance * chance.random(len(cost)) + 0.5 * used / (used.mean() + 1)
    return int(np.where(usable, total, np.inf).argmin())
