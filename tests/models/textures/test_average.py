"""Donors are softened toward others alike: soft, symmetric, without lines, beards and paint."""

import numpy as np
import pytest

from models.checkpoint import config_from_json, read_checkpoint, weights_path
from models.face_model import Template
from models.textures import average
from models.textures.recipes import Donors
from models.textures.regions import Regions, make_regions

SIZE = 96


@pytest.fixture(scope="module")
def regions() -> Regions:
    template = config_from_json(Template, read_checkpoint(weights_path("textures")).template)
    return make_regions(np.array(template.points, np.float32), SIZE)


def donors(count: int, usable: tuple[bool, ...] | None = None) -> Donors:
    use = np.array(usable or (True,) * count)
    same = np.zeros(count, np.float32)
    return Donors(upper=use, lower=use, skin=use, beard=same, female=same, age=same + 30, tone=same)


def test_a_mark_that_others_lack_fades(regions: Regions) -> None:
    """A dark patch on a cheek, broader than pores, keeps a part of its darkness."""
    patch = np.zeros((SIZE, SIZE), np.float32)
    y, x = (np.argwhere(regions.cheeks[:, : SIZE // 2] > 0.5).mean(axis=0)).astype(int)
    patch[y - 3 : y + 4, x - 3 : x + 4] = 1
    details = [np.zeros((SIZE, SIZE, 3), np.float32) for _ in range(5)]
    details[0] = np.repeat(-0.08 * patch[..., None], 3, axis=2)
    soft = average.softened(details, donors(5), regions)
    assert -0.05 < soft[0][y, x].mean() < -0.005
    assert abs(float(soft[1][y, x].mean())) < 0.08 / 4  # and in others there is hardly any


def test_parts_that_cannot_be_used_are_in_nobody(regions: Regions) -> None:
    details = [np.zeros((SIZE, SIZE, 3), np.float32) for _ in range(4)]
    details[3] += 0.05 * regions.cheeks[..., None]
    with_it = average.softened(details, donors(4), regions)
    without = average.softened(details, donors(4, (True, True, True, False)), regions)
    assert with_it[0].max() > 0.005
    assert np.abs(without[0]).max() < 1e-6


def test_one_donor_alone_stays_the_donor(regions: Regions) -> None:
    detail = (0.02 * np.random.default_rng(0).standard_normal((SIZE, SIZE, 1)) * np.ones(3)).astype(np.float32)
    (soft,) = average.softened([detail], donors(1), regions)
    assert np.corrcoef(soft[regions.cheeks > 0.5].ravel(), detail[regions.cheeks > 0.5].ravel())[0, 1] > 0.8


@pytest.mark.parametrize(("part", "most"), [("jaw", 0.6), ("moustache", 0.75)])
def test_a_beard_is_shaven(regions: Regions, part: str, most: float) -> None:
    where = getattr(regions, part) > 0.5
    detail = np.where(where[..., None], np.float32(-0.4), np.float32(0)) * np.ones(3, np.float32)
    held = average.held(detail.astype(np.float32), regions)
    assert np.median(held[where]) > -0.4 * most


def test_lips_are_not_painted(regions: Regions) -> None:
    lips = (regions.lower > 0.95) & (regions.skin == 0)
    detail = np.zeros((SIZE, SIZE, 3), np.float32)
    detail[lips] = (0.4, -0.2, -0.2)
    held = average.held(detail, regions)[lips]
    tint = np.linalg.norm(held - held.mean(axis=1, keepdims=True), axis=1)
    assert tint.max() < 0.2
    assert (held[:, 0] > held[:, 1]).all()  # but red they are
