"""Upper rows of teeth, made up for each stranger: how they are shaded, and what of a mouth they cover.

A row is held as seen from the front, from corner to corner of the mouth, and from the gums to the edges of the teeth.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

ROWS = 32  # different ones
WIDTH, HEIGHT = 96, 48  # values of a row, across and down
DOWN = 1.3  # of the length of a front tooth, as far down as a row is held: below it there is none
FRONT = slice(WIDTH // 4, 3 * WIDTH // 4)  # columns that are as bright, in the mean, as what is read of teeth
WIDTHS = (0.132, 0.1, 0.092, 0.07, 0.05)  # of the mouth's width, from the middle outwards
LENGTHS = (1.0, 0.92, 0.97, 0.9, 0.84)  # of the length of a front tooth, likewise
MIDDLE, WIDER, LONGER, WHITER = 0.008, 0.04, 0.02, 0.04  # deviations from one stranger, and tooth, to another
ROUND, ROUNDER = 0.13, 3.5  # how much shorter a tooth is at its sides, and the power by which it becomes so
GAP, GAP_WIDTH = 0.28, 0.007  # logarithm: how dark it is between two teeth; half of how wide, in widths of the mouth
AT_GUMS, AT_EDGE, AT_SIDES, ASIDE = 0.16, 0.1, 0.1, 0.3  # logarithm: what is darker; the last by widths of the mouth
EDGE = 0.05  # of a tooth's length, in which it ends
BLUR = np.array([0.25, 0.5, 0.25], np.float32)  # of it all, across and down


@dataclass(frozen=True, slots=True)
class Teeth:
    """A row of teeth.

    Attributes:
        shade: `(HEIGHT, WIDTH)` logarithm of brightness, over that of the front teeth in the mean.
        covers: `(HEIGHT, WIDTH)` in [0, 1], where there is tooth.
    """

    shade: Floats
    covers: Floats


def row(stranger: int) -> Teeth:
    """Return a stranger's row of teeth: one of `ROWS`, always the same."""
    return _row(stranger % ROWS)


@functools.cache
def _row(seed: int) -> Teeth:
    chance = np.random.default_rng(seed)
    down = (np.arange(HEIGHT, dtype=np.float32) + 0.5)[:, None] / HEIGHT * DOWN
    across = (np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH - 0.5 - chance.normal(0.0, MIDDLE)
    shade, covers = np.zeros((2, HEIGHT, WIDTH), np.float32)
    for side in (-1.0, 1.0):
        start = 0.0
        for usual_width, usual_length in zip(WIDTHS, LENGTHS, strict=True):
            width = usual_width * (1.0 + chance.normal(0.0, WIDER))
            length, white = usual_length + chance.normal(0.0, LONGER), chance.normal(0.0, WHITER)
            way = (side * across - start) / width  # from one side of the tooth to the other
            here = (way >= 0.0) & (way < 1.0)
            tooth = _tooth(way[here], down, width, length)
            shade[:, here], covers[:, here] = tooth.shade + white - ASIDE * start, tooth.covers
            start += width
    shade, covers = _blurred(shade), _blurred(covers)
    mean = float((np.exp(shade) * covers)[:, FRONT].sum() / covers[:, FRONT].sum())
    return Teeth(shade - np.float32(np.log(mean)), covers)


def _blurred(values: Floats) -> Floats:
    wide = np.pad(values, 1, mode="edge")
    down = np.stack([wide[n : n + HEIGHT] for n in range(3)], axis=-1) @ BLUR
    return np.asarray(np.stack([down[:, n : n + WIDTH] for n in range(3)], axis=-1) @ BLUR, np.float32)


def _tooth(way: Floats, down: Floats, width: float, length: float) -> Teeth:
    """Return a tooth at `way` `(n,)` across it and `down` `(HEIGHT, 1)`."""
    aside = np.abs(2.0 * way - 1.0)
    edge = length - ROUND * aside**ROUNDER
    gums = np.clip(1.0 - down / 0.35, 0.0, 1.0)
    tip = np.clip((down - edge + 0.2) / 0.2, 0.0, 1.0)
    gap = GAP * np.exp(-((np.minimum(way, 1.0 - way) * width / GAP_WIDTH) ** 2))
    wider = 0.45 + 0.55 * np.clip(down, 0.0, 1.0)
    shade = -AT_GUMS * gums - AT_EDGE * tip - AT_SIDES * aside**2 - gap * wider
    return Teeth(shade, np.clip((edge - down) / EDGE + 0.5, 0.0, 1.0))
