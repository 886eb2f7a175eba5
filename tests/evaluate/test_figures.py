"""The values an evaluation ends in: figures and tables as text."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from streamer.evaluate.figures import Figure, Table, csv_text, markdown, mean_figure, number, rate_figure

NAN = float("nan")
ROWS = (("ours", Figure(0.25, 0.125, 0.5, 8)), ("none|raw", None))
TABLE = Table("Privacy", ("method", "match"), ROWS, note="8 faces")


def test_markdown_shows_a_figure_with_its_interval_and_escapes_the_bar():
    assert markdown(TABLE).splitlines() == [
        "### Privacy",
        "",
        "| method | match |",
        "|---|---|",
        "| ours | 0.25 (0.125 to 0.5) |",
        "| none\\|raw |  |",
        "",
        "8 faces",
    ]


def test_csv_gives_a_figure_three_columns():
    assert csv_text(TABLE) == "method,match,match low,match high\nours,0.25,0.125,0.5\nnone|raw,,,\n"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        Table("Privacy", ("method", "match"), (("ours",),))


def test_a_figure_that_was_not_measured_says_why():
    assert str(Figure(NAN, note="needs --inception")) == "needs --inception"
    assert str(Figure(NAN)) == "not measured"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.002134, "0.00213"), (12.345, "12.3"), (1234.6, "1235"), (NAN, "-")]
)
def test_numbers_have_three_digits(value: float, text: str):
    assert number(value) == text


def test_a_mean_leaves_out_what_is_unknown():
    figure = mean_figure(np.array([1.0, NAN, 3.0]))
    assert (figure.value, figure.count) == (2.0, 2)
    assert 1.0 <= figure.low <= 2.0 <= figure.high <= 3.0


def test_a_rate_of_nothing_in_forty_may_still_be_nine_per_cent():
    figure = rate_figure(np.array([0.0] * 40 + [NAN]))
    expected = binomtest(0, 40).proportion_ci(method="wilson")
    assert figure.value == 0.0
    assert figure.count == 40
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high))


def test_nothing_known_is_no_figure():
    for figure in (mean_figure(np.array([NAN])), rate_figure(np.array([]))):
        assert math.isnan(figure.value)
        assert str(figure) == "nothing to measure"
