"""The part of undoing a cover that is linear: ridge regression from covered crops to the crops, in closed form.

A blur is linear, and so is what many faces have in common; a network begins where this ends. What a cover leaves as it
was stays so.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor, nn

from streamer.types import Floats, Image

GIVEN = 24  # pixels a side that are read: finer than this, a blur that hides a face leaves nothing
DRAWN = 64  # pixels a side that are drawn
HELD_OUT = 10  # every tenth crop chooses the penalty
CHANGED = 0.02  # of [-1, 1]: where a cover changes pixels by more on average, they are drawn
PENALTIES = np.logspace(-7, 0, 15)  # of the mean variance of what is read


class LinearUndo(nn.Module):
    """Covered crops in, what lay beneath out, `(N, 3, S, S)` in [-1, 1] both; of rank 0 it returns what it is given."""

    read: Tensor  # (3 GIVEN^2, R)
    write: Tensor  # (R, 3 DRAWN^2)
    offset: Tensor  # (3 DRAWN^2,)
    where: Tensor  # (1, DRAWN, DRAWN) in [0, 1]: what the cover changes

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.register_buffer("read", torch.zeros(3 * GIVEN**2, rank))
        self.register_buffer("write", torch.zeros(rank, 3 * DRAWN**2))
        self.register_buffer("offset", torch.zeros(3 * DRAWN**2))
        self.register_buffer("where", torch.zeros(1, DRAWN, DRAWN))

    def forward(self, crops: Tensor) -> Tensor:
        """Return what lay beneath `crops`, of the same size."""
        if not len(self.write):
            return crops
        values = shrunk(crops, GIVEN).flatten(1) @ self.read @ self.write + self.offset
        size = crops.shape[2:]
        drawn = F.interpolate(values.view(-1, 3, DRAWN, DRAWN), size=size, mode="bicubic", align_corners=False)
        where = F.interpolate(self.where[None], size=size, mode="bilinear", align_corners=False)
        return crops + where * (drawn - crops)

    @torch.no_grad()
    def fit(self, after: Image, before: Image) -> None:
        """Learn from crops `(N, S, S, 3)` uint8 RGB and their mirror images, N above the rank."""
        given, covered, wanted = (_both_sides(*each) for each in ((after, GIVEN), (after, DRAWN), (before, DRAWN)))
        moved = np.abs(covered - wanted).mean(axis=0).reshape(3, DRAWN, DRAWN).mean(axis=0)
        self.where.copy_(torch.from_numpy(np.clip(moved / CHANGED, 0, 1))[None])
        parts = PCA(self.write.shape[0], svd_solver="randomized", random_state=0).fit(wanted)
        codes = parts.transform(wanted)  # (2 N, R)
        middle = given.mean(axis=0)
        read = _ridge(given - middle, codes)
        self.read.copy_(torch.from_numpy(read))
        self.write.copy_(torch.from_numpy(parts.components_))
        self.offset.copy_(torch.from_numpy(parts.mean_ - middle @ read @ parts.components_))


def shrunk(crops: Tensor, side: int) -> Tensor:
    """Return crops `(N, 3, S, S)` at a smaller size."""
    return F.interpolate(crops, size=(side, side), mode="area")


def _both_sides(pictures: Image, side: int) -> Floats:
    chunks = torch.split(torch.from_numpy(pictures), 256)
    small = torch.cat([shrunk(chunk.permute(0, 3, 1, 2).float() / 127.5 - 1, side) for chunk in chunks])
    return torch.stack([small, small.flip(3)], dim=1).flatten(0, 1).flatten(1).numpy()  # neighbours: a face's two sides


def _ridge(given: Floats, codes: Floats) -> Floats:
    """Return the regression `(D, R)` of codes `(N, R)` from `(N, D)`, with the penalty that foretells others best."""
    face = np.arange(len(given)) // 2
    held = face % HELD_OUT == 0
    values, axes = np.linalg.eigh(given[~held].T @ given[~held])
    projected, seen = axes.T @ (given[~held].T @ codes[~held]), given[held] @ axes
    scale = max(float(values.mean()), 1e-9)

    def miss(penalty: float) -> float:
        return float(np.square(seen @ (projected / (values + penalty * scale)[:, None]) - codes[held]).mean())

    penalty = min(PENALTIES, key=miss)
    return np.asarray(axes @ (projected / (values + penalty * scale)[:, None]), np.float32)
