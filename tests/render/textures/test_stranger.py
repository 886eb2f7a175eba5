"""A stranger made ready to be drawn: their brows are as fair as the person's, and go half the way to darker ones."""

import numpy as np
import pytest

from streamer.render.textures.eyes import Eyeball
from streamer.render.textures.light import CELLS
from streamer.render.textures.stranger import Stranger, with_brows


@pytest.mark.parametrize(
    ("persons", "drawn"), [(-0.49, -0.49), (-1.0, -1.0), (-1.3, -1.14), (-9.0, -1.18), (0.0, -0.4)]
)
def test_brows_follow_fair_ones_wholly_and_dark_ones_by_half_within_bounds(persons: float, drawn: float) -> None:
    hair = np.full((8, 8, 3), -1.0, np.float32)
    ball = Eyeball(np.zeros((4, 4, 3), np.float32), 0.2)
    light = np.zeros((CELLS, CELLS, 3), np.float32)
    stranger = Stranger((hair,), light, ball, -1.0, np.ones((8, 8), np.float32))
    assert with_brows(stranger, persons).levels[0].mean() == pytest.approx(drawn, abs=0.01)


def test_what_is_no_hair_grows_no_darker() -> None:
    skin = np.full((8, 8, 3), -0.05, np.float32)
    ball = Eyeball(np.zeros((4, 4, 3), np.float32), 0.2)
    light = np.zeros((CELLS, CELLS, 3), np.float32)
    stranger = Stranger((skin,), light, ball, -0.5, np.ones((8, 8), np.float32))
    assert with_brows(stranger, -1.0).levels[0].mean() == pytest.approx(-0.05)
