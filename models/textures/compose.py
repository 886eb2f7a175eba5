"""Make a stranger of several donors: the inner face of one, skin around it of another, colour of any."""

from __future__ import annotations

import numpy as np

from models.textures.regions import Floats, Regions
from models.textures.skin import picture_of

EYE_TONE = 0.35  # share of a change of skin colour that the eyes go along with: their own colour is not the skin's
BLANK = 0.08  # logarithm: of features and folds of whom the skin is from, no more than this stays


def compose(inner: Floats, skin: Floats, regions: Regions) -> Floats:
    """Return the detail of a stranger, `(S, S, 3)`.

    Args:
        inner: Detail of the donor of eyes, nose and mouth, and of the skin that folds around them.
        skin: Of the donor of all else.
        regions: At S.
    """
    blank = np.clip(skin, -BLANK, BLANK)
    return np.asarray(blank + regions.inner[..., None] * (inner - blank), np.float32)


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
