"""What light does to features: how nose, sockets and lips shade when it comes from one side, from above or from below.

The light on a face is kept no finer than `CELLS`, since what is finer is the person. What such a light makes of a nose
is finer, and about the same on everybody: it is learnt of many faces, so that nothing of this one is in it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from models.textures.folds import MOST, SIZE, inside_of
from models.textures.regions import Floats, Regions

CELLS = 16  # per side of the light that varies with the frame
RIDGE = 30.0  # faces' worth of doubt about each direction of light
FARTHEST = 2.0  # deviations of a direction of light that still shade more
SURE = 0.4  # share of what varies that the light tells, from which on all of what is found is taken
TAKEN = 0.8  # of what is found: too flat is seen less than a shadow where none is
DEEPEST = 0.35  # logarithm


def fit_shades(details: Floats, lights: Floats, directions: int, regions: Regions) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps `(k, SIZE, SIZE)` of a deviation of k directions of light, these `(k, CELLS, CELLS)`, and the usual.

    Principal directions of the light on many faces, and a ridge regression of what is finer than it on them: what tells
    one from another averages out.

    Args:
        details: `(N, SIZE, SIZE)` logarithms of brightness, less the light.
        lights: `(N, CELLS, CELLS)` logarithms of brightness.
        directions: k.
        regions: At `SIZE`.
    """
    face = cv2.resize(regions.face, (CELLS, CELLS), interpolation=cv2.INTER_AREA) > 0.9
    known = lights[:, face]
    known = known - known.mean(axis=1, keepdims=True)
    usual = known.mean(axis=0)
    found, singular, modes = np.linalg.svd(known - usual, full_matrices=False)
    scale = singular[:directions] / np.sqrt(len(lights))
    apart = np.clip(found[:, :directions] * np.sqrt(len(lights)), -FARTHEST, FARTHEST)
    apart = np.column_stack([apart, np.ones(len(apart))])
    doubt = np.diag([RIDGE] * directions + [0.0])
    wanted = np.clip(details, -MOST, MOST).reshape(len(details), -1)
    factors = np.linalg.solve(apart.T @ apart + doubt, apart.T @ wanted)
    told = (apart @ factors).var(axis=0) / np.maximum(wanted.var(axis=0), 1e-9)
    surely = cv2.GaussianBlur(np.clip(told / SURE, 0, 1).reshape(SIZE, SIZE), (0, 0), 0.01 * SIZE)
    maps = factors[:-1].reshape(-1, SIZE, SIZE) * surely
    fields = np.zeros((directions + 1, CELLS, CELLS), np.float32)
    fields[:, face] = np.vstack([modes[:directions] / scale[:, None], usual])
    shades = torch.from_numpy((TAKEN * maps * _where(regions)).astype(np.float32))
    return shades, torch.from_numpy(fields[:-1]), torch.from_numpy(fields[-1])


def shaded(lights: Tensor, shades: Tensor, directions: Tensor, usual: Tensor) -> Tensor:
    """Return what the light `(N, CELLS, CELLS)` on faces does to their features, `(N, SIZE, SIZE)` logarithms.

    Args:
        lights: Logarithms of brightness.
        shades, directions, usual: As of `fit_shades`.
    """
    apart = torch.tensordot(lights - usual, directions, dims=((1, 2), (1, 2))).clamp(-FARTHEST, FARTHEST)
    found: Tensor = torch.tensordot(apart, shades.to(apart), dims=1).clamp(-DEEPEST, DEEPEST)
    return found


def _where(regions: Regions) -> Floats:
    """Return where features shade, `(SIZE, SIZE)` in [0, 1]: inside the face, eyes and mouth are drawn anew."""
    mouth, brows = 1 - 0.7 * regions.lips, 1 - 0.5 * regions.brows
    return np.asarray(inside_of(regions) * (1 - regions.eyes) * mouth * brows, np.float32)
