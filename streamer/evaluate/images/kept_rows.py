"""Rows of measurements as arrays and back, for `Kept`: what was measured of a photo need not be measured again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from streamer.evaluate.images.before_after import Judged
from streamer.evaluate.images.measurements import Row
from streamer.evaluate.kept import Arrays
from streamer.evaluate.measures.utility import Expression, ExpressionError
from streamer.types import Floats

BEFORE, AFTER = "before ", "after "  # and the name of a recogniser
OPTIONAL = ("inception", "inception after", "points")  # left out where there is none
EXPRESSION = ("pose", "gaze", "eyes", "mouth", "shape")


def arrays_of_row(row: Row) -> Arrays:
    """Return all of a row, by name."""
    judged = row.judged
    numbers = (row.hog, judged.ssim, judged.mse, judged.hog, judged.found, judged.landmarks, *astuple(judged.error))
    values: dict[str, Any] = {
        "words": [row.name, row.person, judged.tier],
        "groups": np.array(row.groups, str),
        "shown": np.array(row.shown, str),
        "numbers": np.array(numbers, np.float64),
        "traits": row.traits,
        "shape": row.shape,
        "places": row.places,
        "weight": row.weight,
        "features": judged.features,
    }
    values |= dict(zip(OPTIONAL, (row.inception, judged.inception, judged.points), strict=True))
    values |= {f"{BEFORE}{name}": seen for name, seen in row.before.items()}
    values |= {f"{AFTER}{name}": seen for name, seen in judged.embeddings.items()}
    if judged.expression is not None:
        values |= {f"expression {name}": getattr(judged.expression, name) for name in EXPRESSION}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def row_of_arrays(arrays: Arrays) -> Row:
    """Return the row that `arrays_of_row` took apart."""
    name, person, tier = arrays["words"].tolist()
    hog_before, ssim, mse, hog, found, landmarks, *error = arrays["numbers"].tolist()
    inception, inception_after, points = map(arrays.get, OPTIONAL)
    judged = Judged(
        _stemmed(arrays, AFTER),
        arrays["features"],
        ssim,
        mse,
        bool(hog),
        bool(found),
        landmarks,
        ExpressionError(*error),
        _expression(arrays),
        points,
        tier,
        inception_after,
    )
    return Row(
        name,
        person,
        tuple(arrays["groups"].tolist()),
        _stemmed(arrays, BEFORE),
        bool(hog_before),
        arrays["traits"],
        arrays["shape"],
        inception,
        arrays["places"],
        arrays["weight"],
        judged,
        tuple(arrays["shown"].tolist()),
    )


def prefixed(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays, each name with a prefix before it."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def without(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names have a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _stemmed(arrays: Arrays, prefix: str) -> dict[str, Floats]:
    return dict(without(arrays, prefix))


def _expression(arrays: Mapping[str, Any]) -> Expression | None:
    if "expression shape" not in arrays:
        return None
    pose, gaze, eyes, mouth, shape = (arrays[f"expression {name}"] for name in EXPRESSION)
    return Expression(pose, gaze, eyes, float(mouth), shape)
