"""Values that hold arrays: not to be changed, nor shown in a log, nor compared pixel by pixel by accident."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streamer.types import Face, Frame, SafeFrame

IMAGE = np.full((4, 4, 3), 171, np.uint8)


def values() -> list[Frame | Face | SafeFrame]:
    ones = np.ones((5, 2), np.float32)
    face = Face(np.ones(4, np.float32), ones, np.full((468, 3), 171, np.float32), 0.9)
    return [Frame(IMAGE, 0, 0, Fraction(1)), face, SafeFrame(IMAGE, 0, 0, Fraction(1))]


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_no_array_of_a_value_can_be_written_to(value: object):
    names = [name for name in ("image", "box", "landmarks", "mesh") if hasattr(value, name)]
    for name in names:
        with pytest.raises(ValueError, match="read-only"):
            getattr(value, name)[:] = 0
    assert names


def test_whose_array_it_was_may_fill_it_again_and_the_frame_stays_what_it_was():
    mine = IMAGE.copy()
    frame, shared = Frame(mine, 0, 0, Fraction(1)), Frame(mine, 0, 0, Fraction(1), is_own=True)
    mine[:] = 0
    assert (frame.image == 171).all()
    assert not shared.image.any()
    assert replace(frame, image=mine, index=1).image.base is not mine


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_a_value_shows_no_pixels_and_no_mesh(value: object):
    assert "171" not in repr(value)


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_a_value_is_itself_and_can_be_looked_up(value: object):
    assert {value: 1}[value] == 1
    assert value in [value]
    assert [value for other in values() if value == other] == []
