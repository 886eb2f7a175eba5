"""Rows of teeth that are made up."""

import numpy as np

from models.teeth import DOWN, HEIGHT, WIDTH, row

NECKS = HEIGHT // 3


def test_a_stranger_always_has_the_same_teeth_and_another_has_others():
    assert np.array_equal(row(3).shade, row(3).shade)
    assert np.abs(row(3).shade - row(4).shade).max() > 0.05
    assert np.abs(row(3).covers - row(4).covers).max() > 0.3


def test_there_are_ten_with_dark_between_them():
    shade = row(0).shade[NECKS]
    lowest = (shade[1:-1] < shade[:-2]) & (shade[1:-1] < shade[2:]) & (shade[1:-1] < -0.05)
    assert 7 <= lowest.sum() <= 11


def test_they_end_round_and_those_at_the_side_sooner():
    teeth = row(0)
    ends = teeth.covers.sum(axis=0) / HEIGHT * DOWN  # of the length of a front tooth
    middle = slice(WIDTH // 2 - 12, WIDTH // 2 + 12)
    assert 0.9 < ends[middle].max() < 1.1
    assert np.ptp(ends[middle]) > 0.05
    assert ends[[8, -9]].max() < 0.95
    assert teeth.covers[-2:].max() == 0.0
    assert ends[[0, -1]].max() == 0.0
