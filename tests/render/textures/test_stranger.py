"""A stranger made ready to be drawn: features in the colours of the person's, and never darker than their own."""

import numpy as np
import pytest

from streamer.render.textures.eyes import Eyeball
from streamer.render.textures.light import CELLS, Tones
from streamer.render.textures.stranger import FeatureMasks, Stranger, with_tones
from streamer.types import Floats

NONE = np.zeros((8, 8), np.float32)


def grey(value: float) -> Floats:
    return np.full(3, value, np.float32)


def drawn(level: Floats, own: Tones, persons: Tones, **where: bool) -> Floats:
    masks = FeatureMasks(*(NONE + where.get(name, False) for name in ("brows", "lips", "lashes")))
    stranger = Stranger(
        (np.tile(level, (8, 8, 1)),),
        np.zeros((CELLS, CELLS, 3), np.float32),
        Eyeball(np.zeros((4, 4, 3), np.float32), 0.2),
        own,
    )
    return with_tones(stranger, persons, masks).levels[0][4, 4]


@pytest.mark.parametrize(("persons", "expected"), [(-0.49, -0.49), (-1.0, -1.0), (-9.0, -1.0), (0.0, -0.4)])
def test_brows_follow_fair_ones_and_grow_no_darker(persons: float, expected: float) -> None:
    own, wanted = Tones(grey(-1.0), grey(0.0), 0.0), Tones(grey(persons), grey(0.0), 0.0)
    assert drawn(grey(-1.0), own, wanted, brows=True).mean() == pytest.approx(expected, abs=0.01)


def test_brows_have_the_hue_of_the_person_s_hair() -> None:
    ginger = Tones(np.array([-0.8, -1.0, -1.2], np.float32), grey(0.0), 0.0)
    red, green, blue = drawn(grey(-1.0), Tones(grey(-1.0), grey(0.0), 0.0), ginger, brows=True)
    assert red > green + 0.05 > blue + 0.1


@pytest.mark.parametrize(("persons", "expected"), [(-0.3, -0.3), (-0.9, -0.6), (0.0, -0.3)])
def test_lashes_are_no_more_made_up_than_the_person_s(persons: float, expected: float) -> None:
    own, wanted = Tones(grey(-1.0), grey(0.0), -0.6), Tones(grey(-1.0), grey(0.0), persons)
    assert drawn(grey(-0.6), own, wanted, lashes=True).mean() == pytest.approx(expected, abs=0.01)


def test_painted_lips_become_as_pale_as_the_person_s() -> None:
    painted, pale = np.array([0.1, -0.4, -0.3], np.float32), np.array([-0.05, -0.12, -0.08], np.float32)
    seen = drawn(painted, Tones(grey(-1.0), painted, 0.0), Tones(grey(-1.0), pale, 0.0), lips=True)
    assert np.abs(seen - pale).max() < 0.1


def test_what_hides_a_mouth_does_not_colour_lips() -> None:
    """A blue microphone before the mouth."""
    own = np.array([0.0, -0.15, -0.1], np.float32)
    blue = np.array([-2.0, -2.0, -0.5], np.float32)
    red, green, shade = drawn(own, Tones(grey(-1.0), own, 0.0), Tones(grey(-1.0), blue, 0.0), lips=True)
    assert -0.5 < green < red + 0.05
    assert shade - green < 0.25
