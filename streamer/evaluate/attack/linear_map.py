"""What recognisers see of covered faces, and a linear map from there to what they would see of the faces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamer.evaluate.covered.evidence import Rows, Views
from streamer.types import Floats

Doubles = npt.NDArray[np.float64]

ALPHAS = np.logspace(1, 6, 11)  # of the ridge, chosen by leaving one out


def described(embeddings: Mapping[str, Floats]) -> Doubles:
    """Return what all recognisers see, `(N, D)`: each one's unit embeddings less their mean, side by side.

    Args:
        embeddings: Of each recogniser, `(N, D)`.
    """
    parts = []
    for rows in embeddings.values():
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        centered = unit - unit.mean(axis=0)
        parts.append(centered / max(float(centered.std()), 1e-9))  # so that each recogniser has the same say
    return np.asarray(np.concatenate(parts, axis=1), np.float64)


def mapped(before: Views, after: Views, rows: Rows) -> Doubles:
    """Return what covered faces are mapped to, `(N, D)` centred: ridge regression, learned from `rows` alone.

    Args:
        before: Of photos.
        after: Of the same, covered.
        rows: Which photos the attacker has.
    """
    seen = np.concatenate(list(after.embeddings.values()), axis=1)
    mapping = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    mapping.fit(seen[rows], described(before.embeddings)[rows])
    found = np.asarray(mapping.predict(seen), np.float64)
    return np.asarray(found - found[rows].mean(axis=0))


def cosines(probes: Doubles, others: Doubles) -> Doubles:
    """Return the cosine of each of `(N, D)` with each of `(M, D)`, `(N, M)`; 0 with what is 0."""
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (probes, others)]
    return np.asarray(unit[0] @ unit[1].T)
