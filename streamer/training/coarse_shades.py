"""Give strangers the coarse shades of two donors who are alike (`models.textures.coarse`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from models.textures import Textures, coarse
from models.textures.recipes import BEARD_APART, Donors, Recipe, unlike
from models.textures.regions import make_regions
from models.textures.skin import held, picture_of
from models.textures.skin import logarithm as logarithms
from streamer.render.textures.light import BROWS, LightReader, logarithm
from streamer.render.textures.stranger import enlarged, without_tint
from streamer.training.donors import Donor
from streamer.types import Floats, Image

DIRECTIONS = 96
ALIKE = 2  # donors, whose mean is taken: the more, the more alike are all
UNDER_NOSE = 2  # of the mesh
BESIDE_NOSE = 0.14  # of the side, from the middle: there begins the cheek
BEARDED = 40.0  # of the cost, for a logarithm of beard more than a stranger has: who has none gets none
MOST_PLAIN = 0.15  # logarithm: what differs by more from skin where no feature is, above the mouth, is hair or shine
CHANCE = 1.5  # of the cost of who is unlike, at random: or all of an age would have the same


@torch.no_grad()
def give_coarse_shades(
    model: Textures, donors: Sequence[Donor], table: Donors, recipes: Sequence[Recipe], points: Floats
) -> None:
    """Fill in the coarse shades of `model`.

    Args:
        model: With as many strangers as recipes.
        donors: D, with crops.
        table: The same; of use are those with a clear brow or forehead.
        recipes: Of all strangers.
        points: `(468, 2)` of the template.
    """
    reader = LightReader(points)
    inside = make_regions(points, coarse.SIZE).core[..., None]
    skin = 1.0 - enlarged(reader.around_lips, coarse.SIZE)[..., None]
    plain = plain_skin(reader, points)
    flats = np.stack([without_hair(without_tint(_flat(donor.crop, reader), skin), plain) * inside for donor in donors])
    flats = np.stack([flats, flats[:, :, ::-1]])  # (2, D, SIZE, SIZE, 3), as they are and mirrored
    clear = table.upper | table.skin
    chance, shades = np.random.default_rng(0), []
    for recipe in recipes:
        cost = unlike(table, recipe.female, recipe.age, float(table.tone[recipe.colour]), table.ancestry[recipe.upper])
        cost += BEARDED * np.maximum(table.beard - recipe.beard(table) - BEARD_APART, 0.0)
        cost = np.where(clear, cost, np.inf) + CHANCE * chance.random(len(cost))
        cost[[recipe.upper, recipe.lower]] += len(cost)  # if there are others
        alike = np.argsort(cost)[:ALIKE]
        shades.append(flats[chance.integers(2, size=len(alike)), alike].mean(axis=0))
    directions, coordinates = coarse.principal(np.stack(shades), model.config.coarse)
    model.coarse_directions.copy_(directions)
    model.coarse.copy_(coordinates)


def plain_skin(reader: LightReader, points: Floats) -> Floats:
    """Return where forehead, temples and cheeks have no feature, `(SIDE, SIDE, 1)` in [0, 1]: a nose has shades."""
    y, x = (np.mgrid[: coarse.SIZE, : coarse.SIZE] + 0.5) / coarse.SIZE
    above = y < points[UNDER_NOSE, 1]
    beside = (np.abs(x - points[UNDER_NOSE, 0]) > BESIDE_NOSE) | (y < points[list(BROWS[0]), 1].min())
    plain = cv2.GaussianBlur((reader.skin & above & beside).astype(np.float32), (0, 0), 0.7)
    return np.asarray(plain[..., None])


def without_hair(flat: Floats, plain: Floats) -> Floats:
    """Return log colours less those of skin without what hangs over it, `(SIZE, SIZE, 3)`, where it is `plain`."""
    return np.asarray(flat + plain * (held(flat, MOST_PLAIN) - flat), np.float32)


def from_afar(model: Textures, points: Floats) -> Iterator[Image]:
    """Yield the small texture of each stranger, `(SMALL, SMALL, 3)` RGB, with their coarse shades."""
    reader, inside = LightReader(points), make_regions(points, coarse.SIZE).core
    for stranger in range(model.config.strangers):
        texture, shades = model.small_texture(stranger), model.coarse_shades(stranger)
        assert shades is not None
        change = cv2.resize(
            coarse.change(shades, _flat(texture, reader), inside, reader.around_lips), texture.shape[1::-1]
        )
        yield np.asarray(picture_of(logarithms(texture.astype(np.float32)) + change) + 0.5, np.uint8)


def _flat(crop: Image, reader: LightReader) -> Floats:
    """Return the log colours of a crop less those of skin in its light, `(SIZE, SIZE, 3)`."""
    size = (coarse.SIZE,) * 2
    light = cv2.resize(reader(crop).cells, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(logarithm(np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA))) - light, np.float32)
