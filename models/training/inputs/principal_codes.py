"""Whitened principal components of crops: a z for every picture, about as a Gaussian has it, before anything is learnt.

They are read from coarse pictures, where a few thousand values hold what all faces have in common.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.inputs.dataset import CropSet

CODE_SIZE = 32  # pixels a side that codes are read at: 3,072 values, whose covariance is cheap
CHUNK = 1024  # crops at a time


class PrincipalCodes(nn.Module):
    """Reads codes of unit variance.

    Args:
        mean: `(P,)`, of pictures of `CODE_SIZE` pixels.
        basis: `(P, K)`: components, each divided by its deviation.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return codes `(N, K)` of `pictures` `(N, 3, S, S)` in [-1, 1]."""
        return (_coarse(pictures) - self.mean) @ self.basis


def principal_codes(crops: CropSet, count: int) -> PrincipalCodes:
    """Return what reads the first `count` components of crops and their mirror images.

    Raises:
        ValueError: If there are not as many crops.
    """
    if not 1 <= count <= min(len(crops), 3 * CODE_SIZE**2):
        raise ValueError(f"{count} components need as many crops, got {len(crops)}")
    size = 3 * CODE_SIZE**2
    total, products = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for start in range(0, len(crops), CHUNK):
        pictures = crops.images[start : start + CHUNK].cpu().float() / 127.5 - 1
        for values in (_coarse(pictures), _coarse(pictures.flip(3))):
            total += values.sum(dim=0)
            products += values.T @ values  # float32 within a chunk: exact enough, and twice as fast
    pictures_seen = 2 * len(crops)
    mean = total / pictures_seen
    variances, components = torch.linalg.eigh(products / pictures_seen - torch.outer(mean, mean))
    deviations = variances[-count:].clamp(min=1e-8).sqrt()
    basis = (components[:, -count:] / deviations).flip(1)  # largest first
    return PrincipalCodes(mean.float(), basis.float().contiguous())


def _coarse(pictures: Tensor) -> Tensor:
    """Return `(N, 3 * CODE_SIZE ** 2)` values."""
    return F.adaptive_avg_pool2d(pictures, CODE_SIZE).flatten(1)
