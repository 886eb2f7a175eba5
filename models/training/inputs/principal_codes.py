"""Whitened principal components of crops: a z for every picture, about as a Gaussian has it, before anything is learnt.

They are read from coarse pictures, where a few thousand values hold what all faces have in common.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import read_checkpoint
from models.checkpoint_errors import CheckpointError
from models.training.inputs.dataset import CropSet

CODE_SIZE = 32  # pixels a side that codes are read at: 3,072 values, whose covariance is cheap
CHUNK = 1024  # crops at a time
ENOUGH = 10_000  # crops, to tell the first few hundred components
SPARE, ROUNDS = 20, 12  # vectors more than are wanted, and how often they are turned towards the largest


CODES_KIND = "principal-codes"  # of the checkpoint


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


def read_codes(path: Path) -> PrincipalCodes:
    """Return the codes that `veil train generator --reconstruction` wrote.

    Raises:
        CheckpointError: If the file cannot be used.
    """
    stored = read_checkpoint(path)
    if stored.kind != CODES_KIND:
        raise CheckpointError(f"{path}: holds a {stored.kind}, not principal codes")
    return PrincipalCodes(stored.tensors["mean"], stored.tensors["basis"])


def principal_codes(crops: CropSet, count: int) -> PrincipalCodes:
    """Return what reads the first `count` components of crops and their mirror images.

    Raises:
        ValueError: If there are not as many crops.
    """
    if not 1 <= count <= min(len(crops), 3 * CODE_SIZE**2):
        raise ValueError(f"{count} components need as many crops, got {len(crops)}")
    rows = torch.linspace(0, len(crops) - 1, min(len(crops), ENOUGH)).long()
    pictures = torch.cat([_coarse(crops.images[chunk].cpu().float() / 127.5 - 1) for chunk in torch.split(rows, CHUNK)])
    mean = (pictures.mean(dim=0) + _mirrored(pictures.mean(dim=0))) / 2
    products = (pictures - mean).T @ (pictures - mean) / len(pictures)
    covariance = (products + _mirrored(_mirrored(products).T.contiguous())) / 2
    variances, components = _largest(covariance, count)
    return PrincipalCodes(mean, components / variances.clamp(min=1e-8).sqrt())


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues `(count,)` of a symmetric `(P, P)` matrix, and their vectors `(P, count)`.

    By subspace iteration (Halko et al. 2011, algorithm 4.4): of thousands of vectors only these are wanted.
    """
    width = min(count + SPARE, len(matrix))
    block = torch.randn(len(matrix), width, generator=torch.Generator().manual_seed(0))
    for _ in range(ROUNDS):
        block = torch.linalg.qr(matrix @ block).Q
    values, turned = torch.linalg.eigh(block.T @ matrix @ block)
    vectors = block @ turned.flip(1)[:, :count]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))  # of either sign by chance
    return values.flip(0)[:count], vectors * largest.sign()


def _coarse(pictures: Tensor) -> Tensor:
    """Return `(N, 3 * CODE_SIZE ** 2)` values."""
    return F.adaptive_avg_pool2d(pictures, CODE_SIZE).flatten(1)


def _mirrored(values: Tensor) -> Tensor:
    """Return `(..., 3 * CODE_SIZE ** 2)` coarse values as of mirrored pictures."""
    return values.view(*values.shape[:-1], 3, CODE_SIZE, CODE_SIZE).flip(-1).flatten(-3)
