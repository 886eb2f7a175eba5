"""Coarse shades of a face: brows, sockets, lips, sides of the nose and beard as one sees them from afar.

A stranger's are those of two people who are alike, and neither those of whose features they have, which look odd on
another's head, nor such as the person's own colours would make them, by which recognisers go. Finer ones, lashes,
nostrils, folds and pores, stay.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from models.textures.regions import Floats

SIZE = 48  # pixels, in which they are kept
FINE = 0.02  # of the side: what is finer stays
LIPS_HUE = 0.5  # how much of a change of hue lips take: with all of it they are made up, with none of it pale
FADE = 0.04  # of the side, over which they end before the outline: there hair, ears and background begin


def change(wanted: Floats, own: Floats, inside: Floats, lips: Floats) -> Floats:
    """Return what to add to `own` for the coarse shades of `wanted`, `(SIZE, SIZE, 3)` logarithms each.

    Args:
        wanted, own: Without light.
        inside: `(SIZE, SIZE)` in [0, 1]: the face.
        lips: Likewise what is around them: hues change less there, or both pairs of lips would show, blurred.
    """
    sigma = FINE * SIZE
    blurred = cv2.GaussianBlur((wanted - own) * inside[..., None], (0, 0), sigma)
    blurred /= (cv2.GaussianBlur(inside, (0, 0), sigma) + 0.05)[..., None]
    shown = np.clip(2 * cv2.GaussianBlur(inside, (0, 0), FADE * SIZE) - 1, 0, 1)
    blurred += (1 - LIPS_HUE) * lips[..., None] * (blurred.mean(axis=2, keepdims=True) - blurred)
    return np.asarray(blurred * shown[..., None], np.float32)


def principal(shades: Floats, count: int) -> tuple[Tensor, Tensor]:
    """Return `count` directions of `(B, SIZE, SIZE, 3)` shades, `(count, SIZE, SIZE, 3)`, and the shades by them."""
    rows = torch.from_numpy(shades).flatten(1)
    torch.manual_seed(0)  # of the method: for the same pictures the same
    _, _, directions = torch.svd_lowrank(rows, q=count, niter=4)
    return directions.T.reshape(count, *shades.shape[1:]), rows @ directions
