"""Charts show what they are given, and the same for the same numbers."""

import cv2
import numpy as np

from streamer.evaluate.figures import Figure
from streamer.evaluate.report.charts import PALETTE, Point, Series, bars, curves, gallery, histograms, trade_off

UNKNOWN = Figure(float("nan"), note="not measured")


def pixels(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def count(png: bytes, colour: str) -> int:
    """How many pixels are of a colour such as #0072B2."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(pixels(png).astype(int) - wanted).max(axis=2) < 3).sum())


def series(*values: float) -> tuple[Figure, ...]:
    return tuple(Figure(value, value - 0.1, value + 0.1, 9) for value in values)


def test_a_curve_is_drawn_in_our_colour_and_a_quoted_one_in_grey():
    ours = Series("ours", (0.0, 0.5, 1.0), series(0.1, 0.4, 0.7))
    theirs = Series("theirs", (0.0, 1.0), (Figure(0.2), Figure(0.6)), "quoted")
    alone = curves([ours], x_label="beta", y_label="similarity")
    both = curves([ours, theirs], x_label="beta", y_label="similarity")
    assert count(alone, PALETTE[0]) > 500
    assert count(both, "#666666") > count(alone, "#666666") + 100


def test_a_curve_has_a_gap_where_nothing_was_measured():
    whole = Series("ours", (0.0, 0.5, 1.0), series(0.1, 0.1, 0.1))
    broken = Series("ours", (0.0, 0.5, 1.0), (whole.figures[0], UNKNOWN, whole.figures[2]))
    lines = [count(curves([each], x_label="x", y_label="y"), PALETTE[0]) for each in (whole, broken)]
    assert lines[1] < 0.5 * lines[0]


def test_the_same_numbers_give_the_same_bytes():
    line = Series("ours", (0.0, 1.0), series(0.1, 0.4))
    assert len({curves([line], x_label="x", y_label="y") for _ in range(2)}) == 1


def test_bars_are_as_high_as_their_values_and_an_unknown_one_has_none():
    values = {"ours": series(0.8, 0.8), "blur": (Figure(0.4), UNKNOWN)}
    png = bars(["a", "b"], values, y_label="found", unit="share")
    heights = {
        colour: (np.abs(pixels(png).astype(int) - rgb).max(axis=2) < 3).any(axis=1).sum()
        for colour, rgb in (("ours", (0, 114, 178)), ("blur", (213, 94, 0)))
    }
    assert abs(heights["blur"] / heights["ours"] - 0.5) < 0.1  # the legend's patch is a few rows more


def test_a_trade_off_draws_each_method_in_its_own_colour():
    points = [Point("ours", "beta 0", *series(0.1, 0.8)), Point("blur", "9 px", *series(0.3, 0.7))]
    png = trade_off(points, x_label="similarity", y_label="SSIM")
    assert all(count(png, colour) > 100 for colour in PALETTE[:2])
    assert not count(png, PALETTE[2])


def test_histograms_show_each_spread_and_each_threshold():
    rng = np.random.default_rng(0)
    scores = {"same": rng.normal(0.7, 0.1, 300), "strangers": rng.normal(0, 0.1, 3000)}
    without = histograms(scores, thresholds={}, x_label="cosine")
    png = histograms(scores, thresholds={"one in 1,000": 0.35}, x_label="cosine")
    assert all(count(png, colour) > 100 for colour in PALETTE[:2])
    assert count(png, "#000000") > count(without, "#000000") + 200


def test_a_gallery_shows_its_pictures_in_rows():
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 0, 250)))
    shown = pixels(gallery({"ours": [red, blue], "theirs": [blue, blue]}))
    height, width = shown.shape[:2]
    assert tuple(shown[height // 4, round(width * 0.55)]) == (250, 0, 0)
    assert tuple(shown[height // 4, round(width * 0.9)]) == (0, 0, 250)
    assert tuple(shown[3 * height // 4, round(width * 0.55)]) == (0, 0, 250)
