"""The sanity check before all others: do these outputs show the same scenes as these originals?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamer.evaluate.figures import Figure, Problem, rate_figure
from streamer.evaluate.images.measurements import Measurements
from streamer.types import Floats

Doubles = npt.NDArray[np.float64]

CHECKED = 1000  # photos at most: a million pairs
BELONG = 0.5  # share of outputs nearest to their own original: shuffled ones have 1 / N, real ones nearly 1
CLEARLY = 0.25  # of the squared difference to the own original: another is so much nearer that files were swapped

SHUFFLED = "outputs do not seem to belong to these originals: most show another one's background"
SWAPPED = "output shows another original's background: swapped?"


def pairing_figure(m: Measurements) -> tuple[Figure, list[Problem]]:
    """Return the share of originals whose own output is the nearest of all, away from the face; and what is wrong.

    A method may do anything to a face, but it leaves the rest, or most of it. One photo is no evidence.
    """
    rows = np.arange(0, len(m), -(-len(m) // CHECKED))
    if len(rows) < 2:
        return Figure(float("nan"), count=len(rows), note="needs 2 photos"), []
    distances = background_distances(m.places_before[rows], m.places_after[rows], m.weights[rows])
    own = np.diag(distances).copy()
    np.fill_diagonal(distances, np.inf)
    other = distances.min(axis=1)
    figure = rate_figure((own <= other).astype(np.float64))
    if figure.value < BELONG:
        return figure, [Problem(SHUFFLED, tuple(m.names[row] for row in rows[own > other]))]
    swapped = rows[other < CLEARLY * own]
    return figure, [Problem(SWAPPED, tuple(m.names[row] for row in swapped))] if len(swapped) else []


def background_distances(before: Floats, after: Floats, weights: Floats) -> Doubles:
    """Return the mean squared difference of each original's background and each output's same places, `(N, M)`.

    Args:
        before: `(N, P, 3)` pixels of originals.
        after: `(M, P, 3)` of outputs.
        weights: `(N, P)`: 0 in the original's face.
    """
    x, y = np.asarray(before, np.float64), np.asarray(after, np.float64)
    w = np.asarray(weights, np.float64)[:, :, None]
    # sum of w (x - y)^2 = w x^2 - 2 w x y + w y^2, as matrix products
    own = (w * x * x).sum(axis=(1, 2))[:, None]
    cross = (w * x).reshape(len(x), -1) @ y.reshape(len(y), -1).T
    square = w[:, :, 0] @ (y * y).sum(axis=2).T
    total = 3 * np.maximum(weights.sum(axis=1), 1e-6)[:, None]
    return np.asarray(np.maximum(own - 2 * cross + square, 0.0) / total)
