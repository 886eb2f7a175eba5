from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.evaluate.video.elsewhere import Elsewhere, elsewhere, elsewhere_figures
from streamer.evaluate.video.truth import TrueFace
from streamer.types import Image

FACE = TrueFace(np.array([20, 20, 50, 50], np.float32))  # what is near it reaches from 10 to 60


def picture() -> Image:
    return np.random.default_rng(0).integers(0, 100, (100, 200, 3), np.uint8)


@pytest.mark.parametrize(
    ("covers", "share", "strays"),
    [
        ([], 0.0, 0),
        ([np.s_[12:58, 12:58]], 0.0, 0),  # near the face
        ([np.s_[20:40, 50:80]], 20 * 20 / 20_000, 0),  # reaches beyond it
        ([np.s_[20:40, 100:130], np.s_[60:80, 100:130]], 2 * 20 * 30 / 20_000, 2),
        ([np.s_[70:73, 150:153]], 9 / 20_000, 0),  # a speck
    ],
)
def test_what_is_covered_where_no_face_is_counts_by_area_and_by_cover(
    covers: list[tuple[slice, slice]], share: float, strays: int
) -> None:
    before, after = picture(), picture()
    for cover in covers:
        after[cover] += 100
    assert elsewhere(before, after, [FACE]) == Elsewhere(pytest.approx(share), strays)


def test_a_cover_whose_flat_parts_are_as_before_is_one() -> None:
    before, after = picture(), picture()
    after[20:60, 100:140] += 100
    after[20:60, 118:122] = before[20:60, 118:122]
    assert elsewhere(before, after, [FACE]).strays == 1


def test_figures_are_means_over_frames_and_say_where_there_is_none() -> None:
    figures = elsewhere_figures([Elsewhere(0.1, 2), Elsewhere(0.3, 1)])
    assert figures["covered_elsewhere"].value == pytest.approx(0.2)
    assert (figures["stray_covers"].value, figures["stray_covers"].count) == (1.5, 2)
    assert math.isnan(elsewhere_figures([])["covered_elsewhere"].value)
