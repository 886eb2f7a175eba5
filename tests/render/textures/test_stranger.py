"""A stranger made ready to be drawn: their brows are as fair as the person's, and never darker than they are."""

import numpy as np
import pytest

from streamer.render.textures.eyes import Eyeball
from streamer.render.textures.light import CELLS
from streamer.render.textures.stranger import Stranger, with_brows


@pytest.mark.parametrize(("persons", "drawn"), [(-0.49, -0.49), (-1.0, -1.0), (-9.0, -1.0), (0.0, -0.4)])
def test_brows_follow_fair_ones_and_grow_no_darker(persons: float, drawn: float) -> None:
    hair = np.full((8, 8, 3), -1.0, np.float32)
    ball = Eyeball(np.zeros((4, 4, 3), np.float32), 0.2)
    light = np.zeros((CELLS, CELLS, 3), np.float32)
    stranger = Stranger((hair,), light, ball, -1.0, np.ones((8, 8), np.float32))
    assert with_brows(stranger, persons).levels[0].mean() == pytest.approx(drawn, abs=0.01)
