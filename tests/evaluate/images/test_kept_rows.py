from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from streamer.evaluate.images.kept_rows import arrays_of_row, prefixed, row_of_arrays, without
from streamer.evaluate.images.measurements import Row
from streamer.evaluate.kept import Kept
from tests.evaluate.images.measured import ROW

UNSEEN = replace(
    ROW, groups=(), shown=(), inception=None, judged=replace(ROW.judged, expression=None, points=None, inception=None)
)


@pytest.mark.parametrize("row", [ROW, UNSEEN], ids=["all of it", "no face in the output"])
def test_a_row_comes_back_from_the_folder_as_it_was(row: Row, tmp_path: Path):
    kept = Kept(tmp_path, "x")
    kept.once("1", lambda: prefixed(arrays_of_row(row), "row "))
    back = row_of_arrays(without(kept.once("1", dict), "row "))
    np.testing.assert_equal(astuple(back), astuple(row))
    assert [type(value) for value in astuple(back)] == [type(value) for value in astuple(row)]
    assert (back.judged.expression is None) == (row.judged.expression is None)
