"""Learn of donors what light does to features, and take it from their pictures: then all are lit alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from models.textures import Textures, shades
from models.textures.folds import SIZE
from models.textures.regions import make_regions
from models.textures.shades import CELLS
from models.textures.skin import logarithm, picture_of
from streamer.render.textures.light import LightReader
from streamer.training.donors import Donor
from streamer.types import Floats, Image

DIRECTIONS = 6  # of light
MANY = 200  # faces, from which on they tell


@dataclass(frozen=True)
class Shading:
    """What light does to features (`models.textures.shades`).

    Attributes:
        model: Maps, directions and the usual light.
        lights: `(D, CELLS, CELLS)` of the donors.
    """

    model: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    lights: torch.Tensor


def read_shading(donors: Sequence[Donor], points: Floats, base: Textures) -> Shading:
    """Return what the light on the donors does to their features; too few tell nothing, and then it is that of `base`.

    Args:
        donors: D.
        points: `(468, 2)` of the template.
        base: Another model.
    """
    reader, size = LightReader(points), (SIZE, SIZE)
    lights = [reader(donor.crop).cells.mean(axis=2) for donor in donors]
    stacked = np.stack(lights) if lights else np.zeros((0, CELLS, CELLS), np.float32)
    if len(donors) < MANY:
        return Shading((base.shades, base.directions, base.usual_light), torch.from_numpy(stacked))
    small = [cv2.resize(donor.crop, size, interpolation=cv2.INTER_AREA) for donor in donors]
    details = [
        logarithm(crop.astype(np.float32)).mean(axis=2) - cv2.resize(light, size, interpolation=cv2.INTER_CUBIC)
        for crop, light in zip(small, lights, strict=True)
    ]
    regions = make_regions(points, SIZE)
    return Shading(shades.fit_shades(np.stack(details), stacked, DIRECTIONS, regions), torch.from_numpy(stacked))


def without_shading(donors: Sequence[Donor], shading: Shading) -> list[Donor]:
    """Return the donors with crops as if the light on their features were the usual one."""
    shaded = shades.shaded(shading.lights, *shading.model).numpy()
    return [replace(donor, crop=_unshaded(donor.crop, shade)) for donor, shade in zip(donors, shaded, strict=True)]


def _unshaded(crop: Image, shade: Floats) -> Image:
    enlarged = cv2.resize(shade, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    return np.asarray(picture_of(logarithm(crop.astype(np.float32)) - enlarged) + 0.5, np.uint8)
