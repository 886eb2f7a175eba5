"""A beard for strangers who stand in for somebody with one: as dark and as wide, of hairs of nobody.

Beside a shaven face the person's own beard would end at the rim like a strap. Of it a blurred, symmetric darkness is
read, as of light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from streamer.render.textures.light import LIPS, NOSTRILS, SIDE, polygon
from streamer.render.textures.stranger import Stranger
from streamer.types import Floats

# fmt: off
AREA = (132, 147, 207, 206, 97, 2, 326, 426, 427, 376, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
        136, 172, 58)  # from ear to ear below the cheeks, without the lips
MOUSTACHE = (98, 97, 2, 326, 327, 426, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61, 206)
# fmt: on
SIZE = 96  # pixels, side of what is drawn: an upper lip is thin
CHEEKS = (20, 29, 12, 36)  # rows and columns at `SIDE` between which skin is that of cheeks and nose
SMOOTH = 0.05  # of the crop's side: finer than that is the person
SEEN = (0.24, 0.45)  # logarithm below the cheeks: less darkness is shade, and from the second on it is all hair
DARKEST = 1.2  # logarithm
CHIN, CHIN_DARK = 0.1, (0.1, 0.2)  # of the side from the middle; logarithm: shades of jaws leave it bare
EDGE = 1.6  # pixels, how softly it ends
STRANDS = 0.18  # deviation of hairs, of the darkness of the beard
STRANDS_SIDE, STRAND = 320, (0.6, 1.8)  # pixels: of a crop in which hairs are drawn, and how wide and long they are


@dataclass(frozen=True, slots=True)
class Beard:
    """How a beard lies on a face.

    Attributes:
        dark: `(SIZE, SIZE)`, how much darker it is than skin in the light that was read, which holds a part of it.
        hair: `(SIZE, SIZE)`, how much darker than the cheeks, 0 where there is none.
    """

    dark: Floats
    hair: Floats


class BeardReader:
    """Reads beards from crops of a template.

    Args:
        points: `(468, 2)` of the template, in the unit square.
        skin: `(SIDE, SIDE)`, where skin is in it.
    """

    def __init__(self, points: Floats, skin: npt.NDArray[np.bool_]) -> None:
        lip = polygon(points, MOUSTACHE, scale=1.0) & ~polygon(points, NOSTRILS, scale=1.3)
        area = polygon(points, AREA, scale=1.0) & ~polygon(points, (*MOUSTACHE, *LIPS), scale=1.1)
        self._lip, self._area = lip, area.astype(np.float32)
        self._around = cv2.GaussianBlur(self._area, (0, 0), SMOOTH * SIDE) + 0.05
        beneath = polygon(points, AREA, scale=1.0, side=SIZE) & ~polygon(points, LIPS, scale=1.0, side=SIZE)
        above = polygon(points, MOUSTACHE, scale=1.0, side=SIZE)
        self._above, self._beneath = (
            cv2.GaussianBlur(mask.astype(np.float32), (0, 0), EDGE) for mask in (above, beneath & ~above)
        )
        columns = np.abs(np.arange(SIZE) / SIZE - 0.5) < CHIN
        self._chin = beneath & columns & (np.arange(SIZE)[:, None] > points[17, 1] * SIZE)
        top, bottom, left, right = CHEEKS
        self._cheeks = np.zeros_like(skin)
        self._cheeks[top:bottom, left:right] = skin[top:bottom, left:right]

    def __call__(self, logs: Floats, light: Floats) -> Beard:
        """Return the beard in a crop.

        Args:
            logs: `(SIDE, SIDE, 3)`, its log colours.
            light: `(CELLS, CELLS, 3)`, those of skin in its light.
        """
        lit = cv2.resize(light, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        hair = self._darkness(logs - np.median(logs[self._cheeks], axis=0))
        (low, high), (bare, covered) = SEEN, CHIN_DARK
        chin = float(np.clip((hair[self._chin].mean() - bare) / (covered - bare), 0.0, 1.0))
        sure = chin * np.clip((hair - low) / (high - low), 0.0, 1.0)
        return Beard(sure * self._darkness(logs - lit), sure * hair)

    def _darkness(self, rest: Floats) -> Floats:
        """Return how dark the area of beards is, blurred, `(SIZE, SIZE)`; of both sides the lighter.

        A microphone or a shadow lies on one.
        """
        grey = np.clip(rest.mean(axis=2), -DARKEST, 0.0)
        broad = -cv2.GaussianBlur(grey * self._area, (0, 0), SMOOTH * SIDE) / self._around
        broad = cv2.resize(np.minimum(broad, broad[:, ::-1]), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        lip = -float(np.quantile(grey[self._lip], 0.7))
        return np.asarray(self._beneath * broad + self._above * lip, np.float32)


def with_beard(stranger: Stranger, beard: Beard) -> Stranger:
    """Return the stranger with a beard; the same where there is none."""
    if not beard.hair.any():
        return stranger
    levels = []
    for level in stranger.levels:
        size = level.shape[1::-1]
        dark, hair = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (beard.dark, beard.hair))
        levels.append(np.asarray(level - (dark + hair * _strands(size[0]))[..., None], np.float32))
    return replace(stranger, levels=tuple(levels))


@cache
def _strands(side: int) -> Floats:
    """Return hairs of a beard as shares of its darkness, `(side, side)` of mean 0, the same for everyone.

    Seen smaller they run into each other, as hairs do.
    """
    noise = np.random.default_rng(0).standard_normal((STRANDS_SIDE, STRANDS_SIDE)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), STRAND[0], sigmaY=STRAND[1])
    noise *= STRANDS / noise.std()
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_AREA), np.float32)
