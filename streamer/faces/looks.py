"""Decides how a picture is cut into what MediaPipe's detectors look at, and shrinks it for them; knows no faces.

Their inputs are only 128 and 192 pixels wide: of a large frame they see overlapping tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from streamer.types import Image

FULL_SIDE = 192  # pixels; input of the full range model; shrinking to it beforehand costs no recall
TILED_SIDE = 1000  # pixels; a frame with a longer side than this is also searched in tiles
MAX_TILES = 8  # of a frame: 5 ms each
TILE_AREA = 250_000  # pixels of frame that pay for one tile: 3 at 720p, 8 at 1080p
TILE_OVERLAP = 0.2  # of the side of a tile: a face cut by one tile is whole in the next, or seen in the whole frame
ENOUGH_TILES = 3  # full range then skips the whole frame: street as well covered, false faces 2.6 to 1.5 a frame
BORDER = 40  # of those pixels, around a frame: a face that fills it, or is cut by it, is found from farther off
LEAST_SHRINK = 1.4  # times that a view is shrunk at least after its frame was halved, so that pixels stay averaged

View = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Scan:
    """One network's look at one view `x1, y1, x2, y2` of a picture, in pixels; black where that is none of it."""

    network: Literal["short", "full"]
    view: View


def looks(width: int, height: int, *, max_tiles: int = MAX_TILES) -> list[Scan]:
    """Return all looks at a picture of this size: short range at the whole, full range also at tiles of a large one.

    Short range looks twice, once from farther off.
    """
    whole, border = (0, 0, width, height), round(BORDER * max(width, height) / (FULL_SIDE - 2 * BORDER))
    far = (-border, -border, width + border, height + border)
    views = [whole, *tiles(width, height, max_tiles=max_tiles)]
    first = 1 if len(views) > ENOUGH_TILES else 0
    return [Scan("short", whole), Scan("short", far), *(Scan("full", view) for view in views[first:])]


def tiles(width: int, height: int, *, max_tiles: int) -> list[View]:
    """Return the smallest overlapping squares `(x1, y1, x2, y2)` that cover a large frame; none for a small one."""
    if max(width, height) <= TILED_SIDE:
        return []
    budget = min(max_tiles, width * height // TILE_AREA)
    for side in range(FULL_SIDE, max(width, height), 8):
        if _count(width, side) * _count(height, side) <= budget:
            ys, xs = _starts(height, side), _starts(width, side)
            return [(x, y, min(x + side, width), min(y + side, height)) for y in ys for x in xs]
    return []  # a tile would be the whole frame


def _count(length: int, side: int) -> int:
    return max(0, math.ceil((length - side) / (side * (1 - TILE_OVERLAP)))) + 1


def _starts(length: int, side: int) -> list[int]:
    count = _count(length, side)
    return [round(n * (length - side) / (count - 1)) for n in range(count)] if count > 1 else [0]


def shrunk_views(image: Image, views: Iterable[View]) -> dict[View, Image]:
    """Return each of the views of `image`, no larger than `FULL_SIDE`.

    The tiles of a large frame overlap: they are shrunk from one that was halved before, as often as each bears it.
    """
    halves = [image]  # of each the next is half as wide and high

    def halved(times: int) -> Image:
        while len(halves) <= times:
            halves.append(_half(halves[-1]))
        return halves[times]

    def seen(view: View) -> Image:
        times = _halvings(view) if max(image.shape[:2]) > TILED_SIDE else 0
        x1, y1, x2, y2 = (side >> times for side in view)
        return _shrunk(halved(times)[y1:y2, x1:x2])

    views, whole = list(views), (0, 0, image.shape[1], image.shape[0])
    shrunk = {view: seen(view) for view in views if view[0] >= 0}
    for far in (view for view in views if view[0] < 0):
        shrunk[far] = _from_afar(shrunk[whole] if whole in shrunk else seen(whole))
    return shrunk


def _from_afar(image: Image) -> Image:
    """Return a picture with a black border around it, no larger than `FULL_SIDE`."""
    inner = _shrunk(image, side=FULL_SIDE - 2 * BORDER)
    border = round(BORDER * max(inner.shape) / (FULL_SIDE - 2 * BORDER))  # of a small picture less
    return np.asarray(cv2.copyMakeBorder(inner, border, border, border, border, cv2.BORDER_CONSTANT), np.uint8)


def _halvings(view: View) -> int:
    """Return how often the picture may be halved before a view is shrunk, so that the view has whole pixels still."""
    shrink, times = max(view[2] - view[0], view[3] - view[1]) / FULL_SIDE, 0
    while shrink >= 2 * LEAST_SHRINK and all(side % 2 ** (times + 1) == 0 for side in view):
        shrink, times = shrink / 2, times + 1
    return times


def _half(image: Image) -> Image:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return np.asarray(cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA))


def _shrunk(image: Image, side: int = FULL_SIDE) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
