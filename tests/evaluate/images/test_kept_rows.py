from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from streamer.evaluate.images.before_after import Judged
from streamer.evaluate.images.kept_rows import arrays_of_row, prefixed, row_of_arrays, without
from streamer.evaluate.images.measurements import Row
from streamer.evaluate.kept import Kept
from streamer.evaluate.measures.utility import Expression, ExpressionError


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


SEEN = Judged(
    {"dlib": numbers(8), "a file": numbers(4)},
    numbers(4),
    ssim=0.8,
    mse=0.01,
    hog=False,
    found=True,
    landmarks=0.04,
    error=ExpressionError(1, 2, float("nan"), 4, 5),
    expression=Expression(numbers(3), numbers(2), numbers(2), 0.25, numbers(92, 3)),
    points=numbers(5, 2),
    tier="generated",
    inception=numbers(16),
)
ROW = Row(
    "lfw/Ümit_0001.jpg",
    "Ümit",
    ("lfw", "female"),
    {"dlib": numbers(8), "a file": numbers(4)},
    hog=True,
    traits=numbers(8),
    shape=numbers(92, 3),
    inception=numbers(16),
    places=numbers(2, 256, 3),
    weight=numbers(256),
    judged=SEEN,
    shown=("turned under 15",),
)
UNSEEN = replace(
    ROW, groups=(), shown=(), inception=None, judged=replace(SEEN, expression=None, points=None, inception=None)
)


@pytest.mark.parametrize("row", [ROW, UNSEEN], ids=["all of it", "no face in the output"])
def test_a_row_comes_back_from_the_folder_as_it_was(row: Row, tmp_path: Path):
    kept = Kept(tmp_path, "x")
    kept.once("1", lambda: prefixed(arrays_of_row(row), "row "))
    back = row_of_arrays(without(kept.once("1", dict), "row "))
    np.testing.assert_equal(astuple(back), astuple(row))
    assert [type(value) for value in astuple(back)] == [type(value) for value in astuple(row)]
    assert (back.judged.expression is None) == (row.judged.expression is None)
