"""What skin does when a face moves: how folds at nose, mouth, eyes and brows darken, by the expression of its mesh."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from models.textures.regions import Floats, Regions

SIZE = 160  # pixels, side of the maps
RIDGE = 30.0  # faces' worth of doubt about each direction
MOST = 0.5  # logarithm: what is stronger is hair or shadow
FARTHEST = 2.0  # deviations of an expression that still deepen folds
BRIGHTEST = 0.06  # logarithm: a fold is dark; where a face stretches, there is no light
DEEPER = 1.25  # than the mean fold of many, which lie not quite in one place
TAKEN = 0.6  # on brows, of which the hair is the stranger's


def fit_folds(details: Floats, expressions: Tensor, regions: Regions) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps `(e, SIZE, SIZE)` of a deviation of each expression, the neutral `(e,)` and the deviations.

    A ridge regression over faces of many people: what tells one from another averages out.

    Args:
        details: `(N, SIZE, SIZE)` logarithms of brightness, less the light.
        expressions: `(N, e)` coordinates of their meshes.
        regions: At `SIZE`.
    """
    neutral = expressions.median(dim=0).values
    deviation = expressions.std(dim=0).clamp(min=1e-9)
    known = ((expressions - neutral) / deviation).clamp(-FARTHEST, FARTHEST).double()
    known = torch.cat([known, torch.ones(len(known), 1).double()], dim=1)
    doubt = RIDGE * torch.eye(known.shape[1]).double()
    doubt[-1, -1] = 0.0
    wanted = torch.from_numpy(np.clip(details, -MOST, MOST)).flatten(1).double()
    maps = torch.linalg.solve(known.T @ known + doubt, known.T @ wanted)[:-1].float().view(-1, SIZE, SIZE)
    return DEEPER * maps * torch.from_numpy(_where(regions)), neutral, deviation


def inside_of(regions: Regions) -> Floats:
    """Return 1 inside the face and softly 0 at its rim, `(SIZE, SIZE)`."""
    return np.asarray(cv2.GaussianBlur(cv2.erode(regions.core, np.ones((9, 9))), (0, 0), 0.02 * SIZE), np.float32)


def _where(regions: Regions) -> Floats:
    """Return where folds are drawn, `(SIZE, SIZE)` in [0, 1]: on skin inside the face, not in eyes and mouth."""
    openings = np.maximum(regions.eyes, regions.lips)
    return np.asarray(inside_of(regions) * (1 - openings) * (1 - (1 - TAKEN) * regions.brows), np.float32)
