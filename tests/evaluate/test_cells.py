"""Beside every value stand its interval and its chance, or why it has none."""

import math

import pytest

from streamer.evaluate.figures import Figure
from streamer.evaluate.report.cells import chance_cell, interval_cell

FIGURES = {
    "rank1_chance": Figure(0.005, 0.0, 0.015, 200),
    "match_rate_chance": Figure(math.nan, note="too few pairs of strangers"),
    "de_identify_rate_chance.dlib": Figure(0.5, 0.43, 0.57, 200),
    "delta.dlib": Figure(-0.01),
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rank1.dlib", "0.5 % (up to 1.5 %)"),
        ("de_identify_rate.dlib", "50 % (43 % to 57 %)"),
        ("similarity.dlib", "-0.01"),
        ("nearness.dlib", "0, by the scale"),
        ("nearest.dlib", "not measured"),
        ("match_rate.dlib", "not known"),
        ("ssim", "no guess"),
    ],
)
def test_chance_stands_beside_a_value_or_why_it_has_none(name: str, text: str):
    assert chance_cell(name, FIGURES) == text


def test_the_interval_stands_beside_a_value_or_why_it_has_none():
    assert interval_cell("rank1.dlib", Figure(0.5, 0.4, 0.6)) == "40 % to 60 %"
    assert interval_cell("nearest.dlib", Figure(0.9)) == "none: one face"
    assert interval_cell("ssim", Figure(0.9)) == "none"
    assert interval_cell("ssim", Figure(math.nan, note="nothing to measure")) == ""
