"""Regions of the picture that are always covered, whatever is found there: for what no detector can know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

FORM = "x,y,width,height in pixels of the upright picture, or all four in percent of it: 25%,0%,50%,30%"
SAME_SHAPE = 0.02  # relative difference of the aspect ratio: encoders round to even sizes


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the picture, from its top left corner.

    Attributes:
        x, y, width, height: Pixels of the stream's first picture, or shares of the picture, 0 to 1.
        is_share: Which of the two.
    """

    x: float
    y: float
    width: float
    height: float
    is_share: bool = False

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.width, self.height)
        if not all(map(math.isfinite, values)) or self.width <= 0 or self.height <= 0:
            raise ValueError(f"always must be {FORM}; got {','.join(f'{value:g}' for value in values)}")

    def box_in(self, width: int, height: int, *, first: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return `x1, y1, x2, y2` in pixels of a `width` x `height` picture, in a stream whose first was `first`."""
        size = (1, 1) if self.is_share else first
        x_scale, y_scale = width / size[0], height / size[1]
        x, y = self.x * x_scale, self.y * y_scale
        return x, y, x + self.width * x_scale, y + self.height * y_scale


AnyRegion: TypeAlias = Region | str | Sequence[float]


def regions_of(values: Iterable[AnyRegion]) -> tuple[Region, ...]:
    """Return regions as they are written: "x,y,width,height", the same with percent signs, or four numbers of pixels.

    Raises:
        ValueError: If one of them is none.
    """
    return tuple(map(_region, values))


def misfit(regions: Iterable[Region], width: int, height: int, *, first: tuple[int, int]) -> str:
    """Return why regions cannot be told in a `width` x `height` picture of a stream whose first was `first`, or ""."""
    if abs(width / height / (first[0] / first[1]) - 1) > SAME_SHAPE:
        return f"always: the picture changed its shape from {first[0]}x{first[1]} to {width}x{height}"
    for region in regions:
        x1, y1, x2, y2 = region.box_in(width, height, first=first)
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            return f"always: a region lies outside the picture of {width}x{height}"
    return ""


def _region(value: AnyRegion) -> Region:
    if isinstance(value, Region):
        return value
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [str(part) for part in value]
    shares = [part.endswith("%") for part in parts]
    try:
        numbers = [float(part.removesuffix("%")) for part in parts]
    except ValueError as error:
        raise ValueError(f"always must be {FORM}; got {value!r}") from error
    if len(numbers) != 4 or any(shares) != all(shares):
        raise ValueError(f"always must be {FORM}; got {value!r}")
    x, y, width, height = (number / 100 for number in numbers) if all(shares) else numbers
    return Region(x, y, width, height, is_share=all(shares))
