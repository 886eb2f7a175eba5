"""Regions that are always covered: how they are written, and where they lie in pictures of other sizes."""

import pytest

from streamer.region import Region, misfit, regions_of
from streamer.settings import Settings


@pytest.mark.parametrize("written", ["10,20,30,40", "10, 20, 30, 40", (10, 20, 30, 40), [10.0, 20.0, 30.0, 40.0]])
def test_a_region_is_four_numbers_of_pixels(written: object):
    (region,) = regions_of([written])  # type: ignore[list-item]
    assert region.box_in(640, 480, first=(640, 480)) == (10, 20, 40, 60)


def test_pixels_are_those_of_the_first_picture_and_grow_with_it():
    (region,) = regions_of(["10,20,30,40"])
    assert region.box_in(1280, 960, first=(640, 480)) == (20, 40, 80, 120)


def test_a_region_in_percent_is_the_same_part_of_every_size():
    (region,) = regions_of(["25%,0%,50%,100%"])
    assert region.box_in(640, 480, first=(64, 48)) == (160, 0, 480, 480)


@pytest.mark.parametrize(
    "written", ["", "1,2,3", "1,2,3,x", "1,2,3,4,5", "1%,2,3,4", "1,2,0,4", "1,2,3,-4", "1,2,3,inf"]
)
def test_what_is_no_region_is_refused_with_the_form(written: str):
    with pytest.raises(ValueError, match="always must be x,y,width,height"):
        regions_of([written])


@pytest.mark.parametrize(
    ("region", "size", "first", "reason"),
    [
        ((10, 10, 5, 5), (64, 48), (64, 48), ""),
        ((60, 40, 50, 50), (64, 48), (64, 48), ""),
        ((10, 10, 5, 5), (128, 96), (64, 48), ""),
        ((10, 10, 5, 5), (852, 480), (1920, 1080), ""),
        ((64, 0, 5, 5), (64, 48), (64, 48), "outside the picture of 64x48"),
        ((10, 10, 5, 5), (48, 64), (64, 48), "changed its shape from 64x48 to 48x64"),
    ],
)
def test_a_region_that_cannot_be_told_says_why(
    region: tuple[float, ...], size: tuple[int, int], first: tuple[int, int], reason: str
):
    said = misfit(regions_of([region]), *size, first=first)
    assert reason in said if reason else not said


def test_settings_hold_regions():
    assert Settings(always=(Region(0, 0, 1, 1),)).always[0].width == 1
