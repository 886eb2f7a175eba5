"""Folds: what skin does when a face moves, learned from many faces, and drawn where it lies."""

import numpy as np
import pytest
import torch

from models.registry import load_face_model
from models.textures import Textures
from models.textures.folds import BRIGHTEST, SIZE, fit_folds
from models.textures.regions import make_regions
from tests.models.textures.test_clean import POINTS

PEOPLE = 400


def test_what_goes_with_an_expression_is_found_and_what_tells_people_apart_is_not() -> None:
    chance = torch.Generator().manual_seed(0)
    expressions = torch.randn(PEOPLE, 2, generator=chance) * torch.tensor([0.03, 0.01]) + 0.2
    fold, mole = np.zeros((2, SIZE, SIZE), np.float32)
    fold[90:94, 50:60], mole[60:66, 80:86] = -0.1, -0.3
    smile = ((expressions[:, 0] - 0.2) / 0.03).numpy()[:, None, None]
    details = smile * fold + (np.arange(PEOPLE) % 7 == 0)[:, None, None] * mole
    maps, neutral, deviation = fit_folds(details.astype(np.float32), expressions, make_regions(POINTS, SIZE))
    assert neutral.tolist() == pytest.approx([0.2, 0.2], abs=0.01)
    assert deviation.tolist() == pytest.approx([0.03, 0.01], rel=0.2)
    assert maps[0, 91, 55] < -0.08
    assert maps[:, 63, 83].abs().max() < 0.03
    assert maps[1].abs().max() < 0.03


def test_a_smile_deepens_the_lines_beside_the_nose_and_a_face_at_rest_has_none() -> None:
    model = load_face_model("textures")
    assert isinstance(model, Textures)
    shape = model.shape
    smile = model.neutral + 2 * model.deviation * torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    meshes = torch.stack([shape.mean + (at @ shape.expression).view(468, 3) for at in (model.neutral, smile)])
    usual = model.usual_light[..., None].expand(2, -1, -1, 3)
    at_rest, smiling = model.shading(meshes, usual)
    assert at_rest.abs().max() < 0.02
    assert smiling.min() < -0.08
    assert smiling.max() <= BRIGHTEST + 1e-4
    assert smiling[:4].abs().max() < 0.005  # nothing above the forehead
