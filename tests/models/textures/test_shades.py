"""Shades: what the light makes of features, learned from many faces, and drawn where the light comes from there."""

import numpy as np
import pytest
import torch

from models.registry import load_face_model
from models.textures import Textures
from models.textures.folds import SIZE
from models.textures.regions import make_regions
from models.textures.shades import CELLS, DEEPEST, TAKEN, fit_shades, shaded
from tests.models.textures.test_clean import POINTS

PEOPLE = 400
NOSE = (88, 72)  # row and column in the middle of a face, beside its middle line


def _from_the_side(strength: float) -> torch.Tensor:
    """Return a light `(1, CELLS, CELLS)` that is brighter on the right."""
    return strength * torch.linspace(-1.0, 1.0, CELLS).expand(1, CELLS, CELLS)


def test_what_goes_with_a_light_is_found_and_what_tells_people_apart_is_not() -> None:
    chance = np.random.default_rng(0)
    strengths = (0.3 * chance.standard_normal(PEOPLE)).astype(np.float32)
    lights = np.concatenate([_from_the_side(float(strength)).numpy() for strength in strengths])
    lights += chance.standard_normal((PEOPLE, 1, 1)).astype(np.float32)  # skins differ more than lights do
    details = np.zeros((PEOPLE, SIZE, SIZE), np.float32)
    details[:, NOSE[0] - 3 : NOSE[0] + 3, NOSE[1] - 3 : NOSE[1] + 3] = 0.5 * strengths[:, None, None]
    details[::7, 60:66, 80:86] -= 0.3  # a mole
    fitted = fit_shades(details, lights, 2, make_regions(POINTS, SIZE))
    left, none, right = (shaded(_from_the_side(strength) + 2.0, *fitted)[0] for strength in (-0.4, 0.0, 0.4))
    assert [float(shade[NOSE]) for shade in (left, none, right)] == pytest.approx(
        [-0.2 * TAKEN, 0.0, 0.2 * TAKEN], abs=0.04
    )
    assert right[63, 83].abs() < 0.02
    assert right[:8].abs().max() < 0.01


def test_one_side_of_the_nose_is_darker_where_the_light_comes_from_the_other() -> None:
    model = load_face_model("textures")
    assert isinstance(model, Textures)
    meshes = model.shape.mean.expand(2, -1, -1)
    lights = model.usual_light + torch.cat([_from_the_side(-0.5), _from_the_side(0.5)])
    shades = model.shading(meshes, lights[..., None].expand(-1, -1, -1, 3))
    sides = shades[:, 70:95, 68:74].mean(dim=(1, 2)) - shades[:, 70:95, 86:92].mean(dim=(1, 2))
    assert sides[0] > 0.03 > -0.03 > sides[1]
    assert shades.abs().max() <= DEEPEST + 0.1


def test_a_light_beyond_all_that_was_seen_shades_no_more() -> None:
    model = load_face_model("textures")
    assert isinstance(model, Textures)
    maps = model.shades, model.directions, model.usual_light
    glaring = shaded(model.usual_light + _from_the_side(50.0), *maps)
    assert torch.equal(glaring, shaded(model.usual_light + _from_the_side(500.0), *maps))
