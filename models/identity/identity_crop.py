"""From our crop of a face to a recogniser's, by a fixed warp through which gradients flow."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_model import Template
from models.identity.recognizer import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS

Points = npt.NDArray[np.float64]


def identity_crops(crops: Tensor, template: Template) -> Tensor:
    """Return crops aligned to `IDENTITY_LANDMARKS`, `(N, 3, 112, 112)`; differentiable.

    Edges are repeated where they reach outside. Larger crops are averaged first, or fine detail would turn to moire.

    Args:
        crops: `(N, 3, S, S)` RGB in [-1, 1], aligned to `template`.
        template: How they are aligned; of a mesh, its five landmarks count.
    """
    matrix = _identity_to_crop(template, crops.shape[-1])
    shrink = int(np.hypot(matrix[0, 0], matrix[1, 0]) * crops.shape[-1] / IDENTITY_CROP_SIZE)
    pooled = F.avg_pool2d(crops, shrink) if shrink > 1 else crops
    theta = _on_device(template, crops.shape[-1], pooled.device).to(pooled.dtype).expand(len(crops), 2, 3)
    grid = F.affine_grid(theta, [len(crops), 3, IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE], align_corners=False)
    return F.grid_sample(pooled, grid, padding_mode="border", align_corners=False)


def similarity(source: Points, target: Points) -> Points:
    """Return the `(2, 3)` similarity that carries `source` to `target`, `(N, 2)` points each, with least squares."""
    x, y = source.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    # A similarity is x' = a x - b y + c, y' = b x + a y + d: linear in its four numbers.
    equations = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    (a, b, c, d), *_ = np.linalg.lstsq(equations, target.T.ravel(), rcond=None)
    return np.array([[a, -b, c], [b, a, d]])


@functools.cache
def _identity_to_crop(template: Template, size: int) -> Points:
    """Return the similarity from a recogniser's crop to ours `(2, 3)`, both in [-1, 1] from edge to edge."""
    ours = _from_edge_to_edge(template.landmarks * size, size)
    theirs = _from_edge_to_edge(np.array(IDENTITY_LANDMARKS, np.float64), IDENTITY_CROP_SIZE)
    there = np.vstack([similarity(ours, theirs), [0.0, 0.0, 1.0]])
    return np.linalg.inv(there)[:2]


@functools.cache
def _on_device(template: Template, size: int, device: torch.device) -> Tensor:
    """Return `_identity_to_crop` as a tensor that is there already when a step is recorded as a CUDA graph."""
    return torch.from_numpy(_identity_to_crop(template, size)).to(device)


def _from_edge_to_edge(points: Points, size: int) -> Points:
    """Return points in pixels, whole numbers in the middle of a pixel, as `grid_sample` counts them."""
    return (2 * points + 1) / size - 1
