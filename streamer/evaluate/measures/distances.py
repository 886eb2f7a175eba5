"""How far outputs are from real faces as a whole: Frechet and kernel distances of features, with intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from models.metrics import frechet_distance
from streamer.evaluate.figures import Figure
from streamer.types import Floats

Doubles = npt.NDArray[np.float64]

FEWEST = 20  # photos; of fewer, resamples hold hardly two of a kind, and an interval means nothing
RESAMPLES = 100  # of the photos: the ends of an interval are then good to a tenth of its width
KERNEL_PHOTOS = 4000  # at most: three matrices of 4,000 by 4,000
NEEDS_INCEPTION = "needs --inception WEIGHTS"


def frechet_figure(before: Floats, after: Floats) -> Figure:
    """Return the Frechet distance of `(N, D)` features of originals and outputs (Heusel et al. 2017).

    It needs more photos than features, or the covariances have no full rank; then it is not measured.
    """
    count, size = before.shape
    if count <= size:
        return Figure(float("nan"), count=count, note=f"needs more than {size:,} photos, got {count:,}")
    value = frechet_distance(before, after)
    resamples = [frechet_distance(before[rows], after[rows]) for rows in _resampled(count)]
    figure = _with_interval(value, resamples, count)
    return dataclasses.replace(figure, low=max(figure.low, 0.0))  # no distance is negative


def inception_figure(before: Floats, after: Floats) -> Figure:
    """Return the FID of `(N, 2048)` Inception features; without features, a note on what is missing.

    No interval: its 2,048 square covariance takes seconds a resample.
    """
    count, size = before.shape
    if not size:
        return Figure(float("nan"), note=NEEDS_INCEPTION)
    if count <= size:
        return Figure(float("nan"), count=count, note=f"needs more than {size:,} photos, got {count:,}")
    return Figure(frechet_distance(before, after), count=count)


def kernel_figure(before: Floats, after: Floats) -> Figure:
    """Return the kernel distance of `(N, D)` features, times 1,000 (Binkowski et al. 2018, KID).

    The unbiased estimate of the squared maximum mean discrepancy, over at most `KERNEL_PHOTOS`.
    """
    before, after = before[:: -(-len(before) // KERNEL_PHOTOS)], after[:: -(-len(after) // KERNEL_PHOTOS)]
    count = len(before)
    if count < FEWEST:
        return Figure(float("nan"), count=count, note=f"needs {FEWEST} photos, got {count}")
    scale = float(np.square(before).sum(axis=1).mean())
    kernels = [polynomial_kernel(a, b, scale) for a, b in ((before, before), (after, after), (before, after))]
    weights = np.stack([np.ones(count), *(np.bincount(rows, minlength=count) for rows in _resampled(count))], axis=1)
    values = 1000 * _discrepancies(kernels, weights)  # (1 + resamples,)
    return _with_interval(float(values[0]), values[1:].tolist(), count)


def polynomial_kernel(a: Floats, b: Floats, scale: float) -> Doubles:
    """Return k(x, y) = (x . y / scale + 1)^3 of `(N, D)` and `(M, D)` features, `(N, M)`.

    Binkowski et al. divide by D, which suits features whose squares are about 1; recognisers' have about unit length.
    """
    return np.asarray((np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / scale + 1) ** 3)


def _discrepancies(kernels: list[Doubles], weights: Doubles) -> Doubles:
    """Return the unbiased MMD^2 for each column of `(N, R)` weights: how often a photo is in the resample.

    A photo that was drawn twice is not paired with itself, and an output not with its own original.
    """
    total = weights.sum(axis=0)
    own = (weights**2).sum(axis=0)
    inside, outside, between = (_pairs(kernel, weights) for kernel in kernels)
    return np.asarray((inside + outside - 2 * between) / (total**2 - own))


def _pairs(kernel: Doubles, weights: Doubles) -> Doubles:
    """Return the sum over i != j of w_i w_j k_ij."""
    return np.asarray((weights * (kernel @ weights)).sum(axis=0) - np.diag(kernel) @ weights**2)


def _resampled(count: int) -> list[npt.NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    return [rng.integers(count, size=count) for _ in range(RESAMPLES)]


def _with_interval(value: float, resamples: list[float], count: int) -> Figure:
    """Return a figure whose interval spreads as the resamples do, about the value.

    Not about the resamples: they hold photos twice, which pushes every distance up.
    """
    low, high = np.percentile(resamples, (2.5, 97.5)) - np.mean(resamples)
    return Figure(value, value + float(low), value + float(high), count)
