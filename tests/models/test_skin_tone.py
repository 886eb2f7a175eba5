"""The typology angle: that of the cheeks, as an independent colour conversion has it."""

import math

import numpy as np
import pytest
import torch

from models.attributes.skin_tone import typology_angle


def plain(*colours: tuple[int, int, int], size: int = 64) -> torch.Tensor:
    return torch.tensor(colours).float().view(-1, 3, 1, 1).expand(-1, 3, size, size) / 127.5 - 1


@pytest.mark.parametrize("colour", [(236, 200, 180), (190, 140, 110), (90, 60, 45), (40, 25, 20)])
def test_the_angle_is_that_of_lightness_over_yellowness(colour: tuple[int, int, int]) -> None:
    color = pytest.importorskip("skimage.color")
    lightness, _, yellow = color.rgb2lab(np.array(colour, np.uint8).reshape(1, 1, 3)).ravel()
    expected = math.degrees(math.atan2(lightness - 50, yellow))
    assert float(typology_angle(plain(colour))[0]) == pytest.approx(expected, abs=0.1)


def test_lighter_skin_has_the_greater_angle() -> None:
    angles = typology_angle(plain((236, 200, 180), (190, 140, 110), (120, 80, 60), (60, 40, 30)))
    assert (angles.diff() < 0).all()


def test_only_the_cheeks_count_and_of_them_the_lighter() -> None:
    crop = plain((0, 0, 255), size=100).clone()
    crop[:, :, 50:65, 28:45] = plain((190, 140, 110), size=1)
    crop[:, :, 50:65, 57:75] = plain((60, 40, 30), size=1)
    torch.testing.assert_close(typology_angle(crop), typology_angle(plain((190, 140, 110))))
