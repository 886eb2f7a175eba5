"""Strangers to compare with: who resembles an enrolled person no more than one of these does, is not that person.

A recogniser finds some faces all alike: children, and people unlike those it was trained on. One threshold for all
takes them for one another far more often than it says; a crowd in which their like occur raises the bar for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from models.checkpoint import WEIGHTS
from models.metrics import false_accept_threshold
from streamer.consent.entries import RecognizerId
from streamer.errors import SinkError, SourceError
from streamer.types import Floats

FALSE_ACCEPTS = 1e-4  # share of pairs of strangers over the threshold
LEAST_COHORT = 150  # people: of their 11,000 pairs one may be over it
MARGIN = 0.15  # of cosine, by which a person is ahead of every stranger (see `streamer.consent.judge`)
SHIPPED_COHORT = WEIGHTS / "identity-crowd.safetensors"


@dataclass(frozen=True, slots=True)
class Cohort:
    """Embeddings of strangers by one recogniser.

    Attributes:
        threshold: Cosine under which nobody is taken for anybody.
        embeddings: `(M, D)` float32, unit.
    """

    threshold: float
    embeddings: Floats = field(repr=False, compare=False)

    def thresholds(self, embeddings: Floats) -> Floats:
        """Return how like each of `(N, D)` unit embeddings another must be to be the same person's, `(N,)` cosines."""
        nearest = (embeddings @ self.embeddings.T).max(axis=1)
        return np.asarray(np.maximum(nearest + MARGIN, self.threshold), np.float32)


def cohort_of(embeddings: Floats) -> Cohort:
    """Return the crowd of `(M, D)` unit embeddings of M different people, with the threshold that its pairs give.

    Raises:
        ValueError: If there are fewer than `LEAST_COHORT`.
    """
    if len(embeddings) < LEAST_COHORT:
        raise ValueError(f"a crowd needs at least {LEAST_COHORT} different people, got {len(embeddings)}")
    pairs = (embeddings @ embeddings.T)[np.triu_indices(len(embeddings), 1)]
    return Cohort(false_accept_threshold(pairs, FALSE_ACCEPTS), embeddings)


def write_cohort(path: Path, crowd: Cohort, recognizer: RecognizerId) -> None:
    """Write a crowd, in half precision; what was there before is replaced once the new file is whole.

    Raises:
        SinkError: If it cannot be written.
    """
    metadata = {"recognizer": recognizer.name, "sha256": recognizer.sha256, "threshold": repr(crowd.threshold)}
    content = safetensors.numpy.save({"embeddings": crowd.embeddings.astype(np.float16)}, metadata)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write the crowd {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def load_cohort(path: Path, recognizer: RecognizerId) -> Cohort:
    """Read a crowd.

    Args:
        recognizer: What embeds the faces that are to be compared with it.

    Raises:
        SourceError: If it cannot be read, is damaged, or was made with another recogniser.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata, embeddings = file.metadata(), file.get_tensor("embeddings").astype(np.float32)
        made_with, threshold = metadata["sha256"], float(metadata["threshold"])
    except OSError as error:
        raise SourceError(f"cannot read the crowd {path}: {error.strerror or error}") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path}: no crowd, or damaged; `veil consent crowd` makes one") from error
    if made_with != recognizer.sha256:
        raise SourceError(f"{path}: not of the recogniser {recognizer.name}; `veil consent crowd` makes one that is")
    lengths = np.linalg.norm(embeddings, axis=-1)
    if embeddings.ndim != 2 or not len(embeddings) or not (abs(lengths - 1) < 0.01).all() or not 0 < threshold < 1:
        raise SourceError(f"{path}: damaged: not unit vectors (M, D) and a threshold; `veil consent crowd` makes one")
    return Cohort(threshold, embeddings)
