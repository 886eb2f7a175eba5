"""A stranger made ready to be drawn: their skin without light at several sizes, and their eyes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from streamer.faces.fine_mesh import FineMesh
from streamer.render.textures import eyes, mouth
from streamer.render.textures.light import CELLS, DARK, Light, LightReader
from streamer.types import Floats, Image

LEVELS = 3  # sizes a stranger is kept in, each half the one before
BROWS_PALER = 0.4  # times as dark as in their texture brows are drawn at least; never darker: that is a smear of shade
BROW_REACH = 5  # cells around the brows of the mesh, past which those of some strangers reach
OWN_LIGHT = (-0.2, 0.25)  # of the logarithm: how much of a texture's own light may be left in it, beyond what all have


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who does not exist.

    Attributes:
        levels: Log colours less `light`, `(S, S, 3)` float32, then half as large, and again.
        light: `(CELLS, CELLS, 3)`, in which the texture was lit.
        eyeball: Of either eye.
        brows: How dark the brows are, as `streamer.render.textures.light.Light` says it.
        brow_mask: `(SIDE, SIDE)` in [0, 1], where they are.
    """

    levels: tuple[Floats, ...]
    light: Floats
    eyeball: eyes.Eyeball
    brows: float
    brow_mask: Floats


def prepare(texture: Image, points: Floats, common: Floats, *, reader: LightReader, network: FineMesh) -> Stranger:
    """Return the stranger whose face is `texture`, `(S, S, 3)` uint8 RGB in the template `points`.

    Args:
        texture: Evenly lit, eyes open, mouth closed.
        points: `(468, 2)` in the unit square.
        common: `(CELLS, CELLS, 3)`: what the light of all textures has in common.
        reader: Of the template.
        network: Finds the irises.
    """
    side = len(texture)
    read = reader(texture)
    light = _light(read, common, reader)
    texture = mouth.closed(texture, points)
    flat = np.log(texture.astype(np.float32) + DARK) - enlarged(light, side)
    levels = [flat]
    for _ in range(LEVELS - 1):
        levels.append(np.asarray(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)))
    mesh = np.pad(points * side, ((0, 0), (0, 1))).astype(np.float32)
    reach = np.ones((BROW_REACH, BROW_REACH), np.uint8)
    mask = cv2.dilate(reader.brows.astype(np.float32), reach) * (1.0 - reader.eyes)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)
    ball = eyes.eyeball(texture, network(texture, mesh))
    return Stranger(tuple(levels), light, ball, read.brows, np.asarray(mask, np.float32))


def with_brows(stranger: Stranger, brows: float) -> Stranger:
    """Return the stranger with brows no darker than `brows` says: the hair around them stays the person's."""
    times = float(np.clip(brows / min(stranger.brows, -1e-3), BROWS_PALER, 1.0))
    levels = []
    for level in stranger.levels:
        mask = cv2.resize(stranger.brow_mask, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        levels.append(level * (1.0 + (times - 1.0) * mask)[..., None])
    return replace(stranger, levels=tuple(levels))


def _light(read: Light, common: Floats, reader: LightReader) -> Floats:
    """Return the light of a texture: the common one, and a little of its own, which beards and make-up falsify."""
    own = read.cells
    weight = cv2.resize(read.skin * reader.skin, (CELLS, CELLS), interpolation=cv2.INTER_AREA)[..., None]
    level = ((own - common) * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    base = common + level
    return np.asarray(base + np.clip(own - base, *OWN_LIGHT), np.float32)


def enlarged(light: Floats, side: int) -> Floats:
    """Return a light `(side, side, 3)`."""
    return np.asarray(cv2.resize(light, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
