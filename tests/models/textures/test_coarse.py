"""Coarse shades of strangers: other people's, and nothing finer."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from models.registry import load_face_model
from models.textures import Textures, coarse
from models.textures.regions import Floats, make_regions

EVERYWHERE = np.ones((coarse.SIZE, coarse.SIZE), np.float32)
NOWHERE = np.zeros_like(EVERYWHERE)


def noise(seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((coarse.SIZE, coarse.SIZE, 3)).astype(np.float32)


def blurred(values: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))


def test_coarse_shades_become_the_wanted_ones_and_finer_ones_stay() -> None:
    wanted, own = noise(0), noise(1)
    new = own + coarse.change(wanted, own, EVERYWHERE, NOWHERE)
    inner = np.s_[8:-8, 8:-8]
    assert np.corrcoef(blurred(new, 4)[inner].ravel(), blurred(wanted, 4)[inner].ravel())[0, 1] > 0.98
    fine = [(values - blurred(values, 0.7))[inner].ravel() for values in (new, own)]
    assert np.corrcoef(*fine)[0, 1] > 0.95


def test_what_is_added_to_lips_is_what_is_added_around_them() -> None:
    """Two pairs of lips, one of them blurred, would both be seen."""
    lips, wanted = NOWHERE.copy(), np.full((*NOWHERE.shape, 3), 0.2, np.float32)
    lips[30:36, 18:30] = 1
    wanted[30:36, 18:30] = -1.0
    full, kept = (coarse.change(wanted, np.zeros_like(wanted), EVERYWHERE, mask) for mask in (NOWHERE, lips))
    assert full[32:34, 22:26].max() < -0.7
    assert kept[32:34, 22:26].min() > -0.3
    assert kept[8:26] == pytest.approx(full[8:26])


def test_what_lies_outside_the_face_changes_nothing_in_it() -> None:
    inside = EVERYWHERE.copy()
    inside[:, 24:] = 0
    wanted, own = noise(0), noise(1)
    other = wanted.copy()
    other[:, 24:] = 100
    assert (coarse.change(wanted, own, inside, NOWHERE) == coarse.change(other, own, inside, NOWHERE)).all()


def test_directions_tell_what_there_is_and_are_the_same_again() -> None:
    made = np.stack([noise(0), noise(1)])
    mixed = np.einsum("bk,khwc->bhwc", np.random.default_rng(2).standard_normal((9, 2)), made).astype(np.float32)
    directions, coordinates = coarse.principal(mixed, 2)
    assert torch.tensordot(coordinates, directions, dims=1).numpy() == pytest.approx(mixed, abs=1e-3)
    assert torch.equal(coarse.principal(mixed, 2)[0], directions)


@pytest.fixture(scope="module")
def model() -> Textures:
    loaded = load_face_model("textures")
    assert isinstance(loaded, Textures)
    return loaded.eval()


def test_the_shades_of_strangers_with_the_same_features_differ(model: Textures) -> None:
    """Who has the same eyes need not have the same sockets."""
    same = int(model.recipes[:, 0].mode().values)
    one, other = (model.coarse_shades(int(n)) for n in torch.nonzero(model.recipes[:, 0] == same)[:2, 0])
    assert one is not None
    assert other is not None
    assert np.abs(one - other).mean() > 0.01


def test_shades_are_those_of_a_face(model: Textures) -> None:
    """Brows, lids and lips are darker than the skin around, which is about as bright as its light says."""
    regions = make_regions(np.array(model.template.points, np.float32), coarse.SIZE)
    grey = np.mean(
        [shades.mean(axis=2) for shades in map(model.coarse_shades, range(50)) if shades is not None], axis=0
    )
    assert abs(grey[regions.cheeks == 1].mean()) < 0.05
    for features in (regions.brows, regions.lips):
        assert grey[features > 0.9].mean() < -0.1


def test_an_earlier_checkpoint_has_none(model: Textures) -> None:
    old = Textures(dataclasses.replace(model.config, coarse=0), model.template)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("coarse")}
    assert old.state_dict().keys() == kept.keys()
    assert old.coarse_shades(5) is None


def test_who_has_no_beard_gets_none(model: Textures) -> None:
    """Or a woman who is taken for a man gets one."""
    regions = make_regions(np.array(model.template.points, np.float32), coarse.SIZE)
    bare = torch.nonzero((model.beard < 0.05) & (model.female < 0.5) & (model.age > 17))[:, 0].tolist()
    dark = []
    for shades in map(model.coarse_shades, bare):
        assert shades is not None
        grey = shades.mean(axis=2)
        dark.append(max(-grey[part > 0.5].mean() for part in (regions.jaw, regions.moustache)))
    assert len(dark) > 100
    assert np.mean(np.array(dark) > 0.1) < 0.05
