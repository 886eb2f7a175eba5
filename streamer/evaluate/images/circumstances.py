"""In which groups a face is by what the picture itself shows: turn, light, resolution, and tone of the skin."""

from __future__ import annotations

import cv2
import numpy as np

from streamer.evaluate.images.before_after import Original
from streamer.types import Floats, Image

LEFT_CHEEK, RIGHT_CHEEK = (50, 101, 205, 36), (280, 330, 425, 266)  # of the 468 points; image-left first
SPOT = 0.03  # of the face's size: half the side of the square that is looked at around each
TURNS = (15.0, 35.0)  # degrees of yaw: both eyes are seen alike; one is much narrower
SIZES = (64.0, 128.0)  # pixels of the face's longer side: what recognisers enlarge; what they see whole
DIM, BRIGHT = 35.0, 75.0  # L* of the cheeks
ONE_SIDED = 15.0  # L* between the cheeks
# Individual typology angle in degrees, from which on skin is of Fitzpatrick's types I to V (Chardon et al. 1991, and
# Del Bino and Bernerd 2013); darker is VI. Read from the picture, it counts light as skin.
SKIN_ANGLES = {"I": 55.0, "II": 41.0, "III": 28.0, "IV": 10.0, "V": -30.0}


def circumstances(original: Original) -> tuple[str, ...]:
    """Return the groups, such as ("turned under 15", "face 64-128 px", "even light", "skin III, measured")."""
    assert original.face.mesh is not None
    cheeks = [
        _colour(original.image, original.face.mesh[list(c)], original.face.size) for c in (LEFT_CHEEK, RIGHT_CHEEK)
    ]
    return (
        _between(abs(float(original.expression.pose[0])), TURNS, "turned {}"),
        _between(float(original.face.size), SIZES, "face {} px"),
        light_of(*cheeks),
        f"skin {skin_type(np.mean(cheeks, axis=0))}, measured",
    )


def light_of(left: Floats, right: Floats) -> str:
    """Return how cheeks of these CIELAB colours `(3,)` are lit."""
    if abs(left[0] - right[0]) > ONE_SIDED:
        return "light from one side"
    lightness = (left[0] + right[0]) / 2
    return "dim light" if lightness < DIM else "bright light" if lightness > BRIGHT else "even light"


def skin_type(colour: Floats) -> str:
    """Return Fitzpatrick's type of skin of a CIELAB colour `(3,)`, "I" to "VI", by its typology angle."""
    angle = np.degrees(np.arctan2(colour[0] - 50.0, colour[2]))
    return next((name for name, least in SKIN_ANGLES.items() if angle > least), "VI")


def _colour(image: Image, points: Floats, size: float) -> Floats:
    """Return the median CIELAB colour `(3,)` around points."""
    reach = max(1, round(SPOT * size))
    height, width = image.shape[:2]
    spots = []
    for x, y in points[:, :2]:
        left, top = (int(np.clip(v, 0, end - 1)) for v, end in ((x, width), (y, height)))
        part = image[max(0, top - reach) : top + reach + 1, max(0, left - reach) : left + reach + 1]
        spots.append(part.reshape(-1, 3))
    pixels = np.concatenate(spots).astype(np.float32)[None] / 255
    return np.asarray(np.median(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0], axis=0), np.float32)


def _between(value: float, ends: tuple[float, float], text: str) -> str:
    low, high = (f"{end:g}" for end in ends)
    which = f"under {low}" if value < ends[0] else f"over {high}" if value > ends[1] else f"{low}-{high}"
    return text.format(which)
