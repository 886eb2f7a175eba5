from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.cli.demo import free_portrait
from streamer.evaluate.covered.covers import portrait
from streamer.evaluate.figures import Figure
from streamer.evaluate.images.before_after import Original
from streamer.evaluate.images.circumstances import circumstances, light_of, skin_type
from streamer.evaluate.images.image_tables import by_group
from streamer.evaluate.images.scores import columns_of, group_figures, references_of
from streamer.faces.detect import FaceDetector
from streamer.types import Image
from tests.evaluate.images.measured import CosineJudge, measured


@pytest.fixture(scope="module")
def original(detector: FaceDetector) -> Original:
    image = cv2.resize(free_portrait(), (240, 300), interpolation=cv2.INTER_AREA)
    (face,) = detector(image)
    return portrait(image, face)


def shown(original: Original, image: Image) -> tuple[str, ...]:
    return circumstances(replace(original, image=image))


def test_a_portrait_is_in_the_groups_that_anybody_would_put_it_in(original: Original):
    turn, size, light, skin = circumstances(original)
    assert (turn, size, light) == ("turned under 15", "face 64-128 px", "even light")
    assert skin.endswith(", measured")


def test_light_and_skin_follow_the_picture(original: Original):
    assert shown(original, original.image // 4)[2] == "dim light"
    half = original.image.copy()
    half[:, : int(original.face.landmarks[2, 0])] //= 3
    assert shown(original, half)[2] == "light from one side"


@pytest.mark.parametrize(
    ("colour", "kind"),  # angles by hand: 63, 45, 34, 18, 0 and -45 degrees
    [((70, 10), "I"), ((65, 15), "II"), ((62, 18), "III"), ((56, 18.5), "IV"), ((50, 18), "V"), ((35, 15), "VI")],
)
def test_skin_is_of_the_type_of_its_angle(colour: tuple[float, float], kind: str):
    assert skin_type(np.array([colour[0], 8, colour[1]])) == kind


@pytest.mark.parametrize(("lightness", "light"), [(20, "dim light"), (60, "even light"), (90, "bright light")])
def test_light_is_told_by_the_cheeks(lightness: float, light: str):
    assert light_of(np.array([lightness, 0, 0]), np.array([lightness + 10, 0, 0])) == light


def test_what_pictures_show_makes_groups_beside_labels_and_the_worst_is_set_against_the_mean():
    faces = np.eye(60, dtype=np.float32)
    after = np.where(np.arange(60)[:, None] < 30, faces, -faces).astype(np.float32)  # half of them stay who they were
    m = replace(measured(faces, after), shown=tuple([("dim light",)] * 30 + [("even light",)] * 30))
    judge = CosineJudge()
    columns = columns_of(m, [judge], references_of(m, [judge]))  # type: ignore[list-item]
    groups = group_figures(m, columns)
    assert list(groups) == ["dim light", "even light"]
    table = by_group(groups, {name: columns.figure(name) for name in columns.values})
    at = table.columns.index("similarity.made")
    assert [table.rows[n][at] for n in (2, 3)] == ["dim light", ""]  # the mean is 0: no ratio
    assert isinstance(table.rows[0][at], Figure)
