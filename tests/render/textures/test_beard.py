"""Whoever has a beard becomes somebody with one, and nobody else does."""

import numpy as np
import pytest

from models.checkpoint import config_from_json, read_checkpoint, weights_path
from models.face_model import Template
from streamer.render.textures import beard
from streamer.render.textures.eyes import Eyeball
from streamer.render.textures.light import CELLS, LIPS, SIDE, LightReader, Tones, logarithm, polygon
from streamer.render.textures.stranger import Stranger
from streamer.types import Floats, Image

SKIN, HAIR = (200, 150, 130), (70, 50, 40)
SHAVEN = slice(4, 14), slice(30, 60)  # of a texture of 96: the forehead


@pytest.fixture(scope="module")
def points():
    return np.array(config_from_json(Template, read_checkpoint(weights_path("textures")).template).points, np.float32)


@pytest.fixture(scope="module")
def reader(points: Floats):
    return beard.BeardReader(points, LightReader(points).skin)


def crop(points: Floats, *, sides: slice = slice(None)) -> Image:
    """A face in the template with a beard in some of the columns."""
    picture = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    where = polygon(points, beard.AREA, scale=1.1) & ~polygon(points, LIPS, scale=1.0)
    mask = np.zeros_like(where)
    mask[:, sides] = where[:, sides]
    picture[mask] = HAIR
    return picture


def read(reader: beard.BeardReader, picture: Image) -> beard.Beard:
    light = np.tile(np.log(np.array(SKIN, np.float32) + 8.0), (CELLS, CELLS, 1))
    return reader(logarithm(picture), light)


def test_a_shaven_face_has_none(reader: beard.BeardReader, points: Floats):
    assert not read(reader, crop(points, sides=slice(0))).hair.any()


def test_a_beard_is_as_dark_as_it_is(reader: beard.BeardReader, points: Floats):
    found = read(reader, crop(points))
    chin = points[[152, 200]].mean(axis=0) * beard.SIZE
    assert found.hair[int(chin[1]), int(chin[0])] == pytest.approx(0.95, abs=0.3)
    assert found.dark[int(chin[1]), int(chin[0])] == pytest.approx(0.95, abs=0.3)
    assert not found.hair[: beard.SIZE // 2].any()


def test_a_shadow_on_one_side_is_no_beard(reader: beard.BeardReader, points: Floats):
    assert read(reader, crop(points, sides=slice(0, SIDE // 2 - 3))).hair.max() < 0.1


def test_hollow_cheeks_are_no_beard(reader: beard.BeardReader, points: Floats):
    """Both sides of the jaw lie in shade, as when somebody laughs below a lamp; the chin does not."""
    both = crop(points)
    both[:, SIDE // 2 - 6 : SIDE // 2 + 6] = crop(points, sides=slice(0))[:, SIDE // 2 - 6 : SIDE // 2 + 6]
    assert read(reader, both).hair.max() < 0.1


def test_a_stranger_gets_hairs_of_nobody_where_the_beard_is(reader: beard.BeardReader, points: Floats):
    flat = tuple(np.zeros((side, side, 3), np.float32) for side in (192, 96))
    tones = Tones(np.zeros(3), np.zeros(3), 0.0)
    nobody = Stranger(flat, np.zeros((CELLS, CELLS, 3)), Eyeball(np.zeros((4, 4, 3)), 0.2), tones, np.ones(96))
    assert beard.with_beard(nobody, read(reader, crop(points, sides=slice(0)))) is nobody
    bearded = beard.with_beard(nobody, read(reader, crop(points)))
    x, y = (points[200] * 96).astype(int)
    jaw = bearded.levels[1][y : y + 8, x - 8 : x + 8, 0]
    assert jaw.mean() < -0.5
    assert jaw.std() > 0.1  # hairs
    assert not bearded.levels[1][SHAVEN].any()
