"""Made-up measurements of photos that were never taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

from streamer.evaluate.images.before_after import Judged
from streamer.evaluate.images.measurements import VALUES, Measurements, Row
from streamer.evaluate.measures.recognizers import Doubles, Recognizer
from streamer.evaluate.measures.utility import Expression, ExpressionError
from streamer.types import Face, Floats, Image


def numbers(*shape: int) -> Floats:
    """Return an array of normal numbers, the same for the same shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


SEEN = Judged(
    {"dlib": numbers(8), "a file": numbers(4)},
    numbers(4),
    ssim=0.8,
    mse=0.01,
    hog=False,
    found=True,
    landmarks=0.04,
    error=ExpressionError(1, 2, float("nan"), 4, 5),
    expression=Expression(numbers(3), numbers(2), numbers(2), 0.25, numbers(92, 3)),
    points=numbers(5, 2),
    tier="generated",
    inception=numbers(16),
)
ROW = Row(
    "lfw/Ümit_0001.jpg",
    "Ümit",
    ("lfw", "female"),
    {"dlib": numbers(8), "a file": numbers(4)},
    hog=True,
    traits=numbers(8),
    shape=numbers(92, 3),
    inception=numbers(16),
    places=numbers(2, 256, 3),
    weight=numbers(256),
    judged=SEEN,
    shown=("turned under 15",),
)


class CosineJudge:
    """Compares embeddings by their cosine, as scipy has it."""

    name, usual_threshold = "made", None

    def score(self, a: Floats, b: Floats) -> Doubles:
        """Return cosines, `(N,)`."""
        return np.diag(self.scores(a, b))

    def scores(self, probes: Floats, gallery: Floats) -> Doubles:
        """Return cosines, `(N, M)`."""
        return np.asarray(1 - cdist(probes, gallery, "cosine"))

    def similarity(self, a: Floats, b: Floats, *, originals: Floats) -> Doubles:
        """Return cosines, `(N,)`."""
        return np.array([1 - cdist(x[None], y[None], "cosine")[0, 0] for x, y in zip(a, b, strict=True)])

    def centered(self, embeddings: Floats, *, originals: Floats) -> Floats:
        """Return them as they are."""
        return embeddings

    def __call__(self, image: object, face: object) -> Floats:
        """Never called: embeddings are made up."""
        raise NotImplementedError


class Blind:
    """A recogniser that looks at nothing any more."""

    def __init__(self, sighted: Recognizer) -> None:
        self._sighted = sighted

    def __getattr__(self, name: str) -> object:
        return getattr(self._sighted, name)

    def __call__(self, image: Image, face: Face) -> Floats:
        raise AssertionError("what was measured is measured again")


def measured(
    before: Floats,
    after: Floats,
    *,
    people: Sequence[str] = (),
    groups: Sequence[tuple[str, ...]] = (),
    places: tuple[Floats, Floats] | None = None,
) -> Measurements:
    """Return N photos of these `(N, D)` embeddings; every other figure is 1, and nobody moves.

    Args:
        before, after: Embeddings of originals and outputs.
        people: Of each; by default nobody knows.
        groups: Of each.
        places: `(N, 256, 3)` thumbnails before and after.
    """
    count = len(before)
    names = tuple(f"made/{index}.png" for index in range(count))
    traits = np.zeros((count, 11), np.float32)
    pictures = places or (np.zeros((count, 256, 3), np.float32),) * 2
    return Measurements(
        names,
        tuple(people) or names,
        tuple(groups) or (("made",),) * count,
        ("",) * count,
        values={name: np.ones(count) for name in VALUES},
        before={"made": before},
        after={"made": after},
        feature="made",
        features_before=before,
        features_after=after,
        traits_before=traits,
        traits_after=traits,
        inception_before=np.zeros((count, 0), np.float32),
        inception_after=np.zeros((count, 0), np.float32),
        places_before=pictures[0],
        places_after=pictures[1],
        weights=np.ones((count, 256), np.float32),
    )
