"""Make a stranger of several donors: the inner face of two, skin around it of another, colour of any."""

from __future__ import annotations

import cv2
import numpy as np

from models.textures.regions import Floats, Regions
from models.textures.skin import picture_of

EYE_TONE = 0.35  # share of a change of skin colour that the eyes go along with: their own colour is not the skin's
BLANK = 0.08  # logarithm: of features and folds of whom the skin is from, no more than this stays
FINE = 0.012  # of the side: hairs and pores are finer; of two donors at once they would be a veil
BROAD = 0.02  # of the side: scale of shades and folds, of which half as much does


def compose(inner: Floats, other: Floats, skin: Floats, regions: Regions) -> Floats:
    """Return the detail of a stranger, `(S, S, 3)`.

    Args:
        inner: Detail of the donor of eyes, nose and mouth, and of the skin that folds around them.
        other: Of the donor who is as much in nose and skin, but for pores and hairs; brows, lids and lips of two would
            be seen double.
        skin: Of the donor of all else.
        regions: At S.
    """
    sigma = FINE * len(inner)
    mean, own = (cv2.GaussianBlur(part, (0, 0), sigma) for part in ((inner + other) / 2, inner))
    shared = 1 - np.maximum(regions.upper, regions.lips)
    inner = inner + shared[..., None] * (mean - own)
    broad = np.asarray(cv2.GaussianBlur(skin, (0, 0), BROAD * len(skin)), np.float32)
    blank = _held(broad, BLANK / 2) + _held(skin - broad, BLANK)
    return np.asarray(blank + regions.inner[..., None] * (inner - blank), np.float32)


def _held(values: Floats, most: float) -> Floats:
    """Return `values` within `most` of 0, softly: a plateau has an edge that one sees."""
    return np.asarray(most * np.tanh(values / most), np.float32)


def coloured(detail: Floats, colour: Floats, own: Floats, mean_light: Floats, regions: Regions) -> Floats:
    """Return the picture `(S, S, 3)` of 0 to 255 of a stranger in the light that all textures have.

    Args:
        detail: From `compose`.
        colour: `(3,)` logarithm of the skin's.
        own: `(3,)` that of the donor of the eyes.
        mean_light: `(S, S, 3)` logarithm.
        regions: At S.
    """
    eyes = (own - colour) * (1 - EYE_TONE) * regions.eyes[..., None]
    return picture_of(detail + colour + eyes + mean_light)
