"""The figures that faces are judged by, one pure function each: likeness, quality, use, and how sure we are of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]

SSIM_RADIUS, SSIM_SIGMA = 5, 1.5  # pixels of the Gaussian window, 11 x 11 (Wang et al. 2004, section III.C)
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2  # for a range of 1
_RESAMPLES = 2000  # enough for the second digit of a 95 % interval's ends
_AT_ONCE = 50  # resamples: few enough for a cache, enough that numpy does the work
_NORMAL_95 = 1.959963984540054  # deviations that hold 95 % of a Gaussian


def cosine_similarity(embeddings: Array, others: Array) -> Doubles:
    """Return how like each pair is, `(N,)` in [-1, 1] (Zhao et al. 2022, eq. 5).

    Args:
        embeddings: `(N, D)`, of any length but 0.
        others: `(N, D)`.

    Raises:
        ValueError: If the shapes differ.
    """
    if embeddings.shape != others.shape or embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (N, D) in one shape, got {embeddings.shape} and {others.shape}")
    cosines: Doubles = (_unit(embeddings) * _unit(others)).sum(axis=1)
    return cosines


def false_accept_threshold(stranger_scores: Array, rate: float) -> float:
    """Return the lowest threshold that at most a share `rate` of strangers' scores is above.

    It is the score of rank floor(rate M) + 1 among M. A pair matches when its score is above the threshold, so
    scores that tie with it do not match, and the share never exceeds `rate`.

    Args:
        stranger_scores: `(M,)`, of pairs of different people; higher is more alike.
        rate: The false accept rate, in (0, 1).

    Raises:
        ValueError: If `rate` is out of range, or M is below 1 / rate: one false accept would be too many to measure.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate}")
    accepted = math.floor(rate * len(stranger_scores) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if accepted < 1:
        raise ValueError(f"a false accept rate of {rate} needs {math.ceil(1 / rate)} pairs, got {len(stranger_scores)}")
    return float(np.sort(stranger_scores)[-accepted - 1])


def frechet_distance(features: Array, others: Array) -> float:
    """Return how far apart two sets of features lie, each taken for a Gaussian (Heusel et al. 2017, section 2).

        |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))

    The last trace is the sum of the singular values of C^(1/2) C'^(1/2), which needs no root of what is not symmetric
    and stays exact where a covariance has no full rank.

    Args:
        features: `(N, D)`, N from 2.
        others: `(M, D)`, M from 2.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if features.ndim != 2 or features.shape[1:] != others.shape[1:] or min(len(features), len(others)) < 2:
        raise ValueError(f"features must be (N, D) and (M, D) with N, M from 2, got {features.shape}, {others.shape}")
    (mean, root), (other_mean, other_root) = _gaussian(features), _gaussian(others)
    cross = np.linalg.svd(root @ other_root, compute_uv=False).sum()
    distance = ((mean - other_mean) ** 2).sum() + (root**2).sum() + (other_root**2).sum() - 2 * cross
    return max(float(distance), 0.0)  # round-off may fall below


def ssim(pictures: Tensor, others: Tensor) -> Tensor:
    """Return the structural similarity of each pair, `(N,)` float64, 1 for the same picture (Wang et al. 2004, eq. 13).

    With the paper's Gaussian window and constants, each channel by itself, averaged over the channels and over the
    places where the whole window lies in the picture.

    Args:
        pictures: `(N, C, H, W)` in [0, 1], sides at least 11.
        others: The same.

    Raises:
        ValueError: If the shapes differ or are too small.
    """
    side = 2 * SSIM_RADIUS + 1
    if pictures.shape != others.shape or pictures.ndim != 4 or min(pictures.shape[2:]) < side:
        shapes = f"{tuple(pictures.shape)} and {tuple(others.shape)}"
        raise ValueError(f"pictures must be (N, C, H, W) in one shape, sides at least {side}, got {shapes}")
    x, y = pictures.double(), others.double()
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variances = _window_mean(x * x) - mean_x**2 + _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    return (light * (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)).mean(dim=(1, 2, 3))


def landmark_error(landmarks: Array, others: Array) -> Doubles:
    """Return how far the points of each face moved, `(N,)`: their mean distance in shares of the eyes' distance.

    Args:
        landmarks: `(N, 5, 2)` of the source: eye centres, nose tip, mouth corners; the eyes' distance is its.
        others: `(N, 5, 2)` of what was drawn, in the same pixels.

    Raises:
        ValueError: If the shapes are others.
    """
    if landmarks.shape != others.shape or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be (N, 5, 2), got {landmarks.shape} and {others.shape}")
    moved = np.linalg.norm(np.asarray(landmarks, np.float64) - others, axis=2).mean(axis=1)
    eyes = np.linalg.norm(np.asarray(landmarks[:, 0], np.float64) - landmarks[:, 1], axis=1)
    ratio: Doubles = moved / eyes
    return ratio


def bootstrap_interval(values: Array, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `(N,)` values: percentiles over resamples (Efron 1979).

    Not for a rate near 0 or 1: where nothing matched, no resample matches. That is `rate_interval`.

    Args:
        values: One a face, or one a person where a person has several faces.
        seed: Of the resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = (values[rng.integers(len(values), size=(_AT_ONCE, len(values)))] for _ in range(_RESAMPLES // _AT_ONCE))
    low, high = np.percentile(np.concatenate([some.mean(axis=1) for some in drawn]), (2.5, 97.5))
    return float(low), float(high)


def rate_interval(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate, of which `successes` of `count` were seen (Wilson 1927)."""
    if not 0 <= successes <= count or count < 1:
        raise ValueError(f"successes must be in [0, count] and count at least 1, got {successes} of {count}")
    rate, z2 = successes / count, _NORMAL_95**2
    center = rate + z2 / (2 * count)
    half = _NORMAL_95 * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    low, high = ((center + sign * half) / (1 + z2 / count) for sign in (-1, 1))
    return low if successes else 0.0, high if successes < count else 1.0  # exact, where round-off would show


def _unit(embeddings: Array) -> Doubles:
    """Return `(N, D)` embeddings of length 1."""
    exact = np.asarray(embeddings, np.float64)
    unit: Doubles = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return unit


def _gaussian(features: Array) -> tuple[Doubles, Doubles]:
    """Return mean `(D,)` and the symmetric root `(D, D)` of the covariance of `(N, D)` features."""
    exact = np.asarray(features, np.float64)
    mean = exact.mean(axis=0)
    values, vectors = np.linalg.eigh((exact - mean).T @ (exact - mean) / (len(exact) - 1))
    return mean, (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _window_mean(pictures: Tensor) -> Tensor:
    """Return Gaussian-weighted means around each place, `(N, C, H - 10, W - 10)`."""
    places = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=pictures.dtype, device=pictures.device)
    taps = (-(places**2) / (2 * SSIM_SIGMA**2)).exp()
    taps = (taps / taps.sum()).expand(pictures.shape[1], 1, 1, -1)
    rows = F.conv2d(pictures, taps, groups=len(taps))
    return F.conv2d(rows, taps.transpose(2, 3), groups=len(taps))
