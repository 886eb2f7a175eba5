"""Coarse shades of a face: brows, sockets, lips, sides of the nose and beard as one sees them from afar.

A stranger's are those of two people who are alike, and neither those of whose features they have, which look odd on
another's head, nor such as the person's own colours would make them, by which recognisers go. Finer ones, lashes,
nostrils, folds and pores, stay, and so do lips: others beside them, blurred, are a smear.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from models.textures.regions import Floats

SIZE = 48  # pixels, in which they are kept
FINE = 0.02  # of the side: what is finer stays
AROUND = 4.0  # pixels, the blur of what is added around lips, which is added to these
FADE = 0.04  # of the side, over which they end before the outline: there hair, ears and background begin


def change(wanted: Floats, own: Floats, inside: Floats, lips: Floats) -> Floats:
    """Return what to add to `own` for the coarse shades of `wanted`, `(SIZE, SIZE, 3)` logarithms each.

    Args:
        wanted, own: Without light.
        inside: `(SIZE, SIZE)` in [0, 1]: the face.
        lips: Likewise these and what is close to them: there is added what is added around.
    """
    sigma = FINE * SIZE
    blurred = cv2.GaussianBlur((wanted - own) * inside[..., None], (0, 0), sigma)
    blurred /= (cv2.GaussianBlur(inside, (0, 0), sigma) + 0.05)[..., None]
    shown = np.clip(2 * cv2.GaussianBlur(inside, (0, 0), FADE * SIZE) - 1, 0, 1)
    return _filled(np.asarray(blurred * shown[..., None], np.float32), lips)


def _filled(values: Floats, where: Floats) -> Floats:
    """Return `(SIZE, SIZE, 3)` values, `where` `(SIZE, SIZE)` is 1 the mean of those around."""
    kept = 1 - where
    around = cv2.GaussianBlur(values * kept[..., None], (0, 0), AROUND)
    around /= (cv2.GaussianBlur(kept, (0, 0), AROUND) + 1e-3)[..., None]
    return np.asarray(values + where[..., None] * (around - values), np.float32)


def principal(shades: Floats, count: int) -> tuple[Tensor, Tensor]:
    """Return `count` directions of `(B, SIZE, SIZE, 3)` shades, `(count, SIZE, SIZE, 3)`, and the shades by them."""
    rows = torch.from_numpy(shades).flatten(1)
    torch.manual_seed(0)  # of the method: for the same pictures the same
    _, _, directions = torch.svd_lowrank(rows, q=count, niter=4)
    return directions.T.reshape(count, *shades.shape[1:]), rows @ directions
