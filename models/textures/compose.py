"""Make a stranger of three donors: eyes and brows of one, nose and mouth of another, the skin around of a third."""

from __future__ import annotations

import cv2
import numpy as np

from models.textures.regions import Floats, Regions
from models.textures.skin import held, picture_of

EYE_TONE = 0.35  # share of a change of skin colour that the eyes go along with: their own colour is not the skin's
FINE, PORES = 0.006, 0.045  # of the side: pores and hairs are finer; logarithm: they are no stronger than this
BROAD, LINES = 0.02, 0.08  # the same of lines
FAINT = 0.03  # logarithm: what is darker by less is no line
LINED = (35.0, 60.0)  # years: the young have no lines of the donor of skin, who may smile; from the second on all


def compose(upper: Floats, lower: Floats, skin: Floats, regions: Regions, *, age: float) -> Floats:
    """Return the detail of a stranger, `(S, S, 3)`.

    Args:
        upper: Detail of the donor of eyes and brows, and of the skin that folds around them.
        lower: The same of nose and mouth.
        skin: Of the donor of all else.
        regions: At S.
        age: Years, of the stranger.
    """
    young, old = LINED
    lined = float(np.clip((age - young) / (old - young), 0.0, 1.0))
    inner = upper + regions.below[..., None] * (lower - upper)
    blank = _blank(np.asarray(skin.mean(axis=-1), np.float32), lined)[..., None]
    return np.asarray(blank + regions.inner[..., None] * (inner - blank), np.float32)


def _blank(grey: Floats, lined: float) -> Floats:
    """Return pores and a share of the lines of skin `(S, S)`, and no blotches: those suit their own face alone."""
    pores, lines = (cv2.GaussianBlur(grey, (0, 0), scale * len(grey)) for scale in (FINE, BROAD))
    return held(grey - pores, PORES) + np.float32(lined) * held(np.minimum(pores - lines + FAINT, 0), LINES)


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
