"""Shows the detectors what is there but for its brightness: a picture so faint that they see nothing hides nobody.

Whoever has the file stretches its contrast in a moment.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamer.types import Image

FAINT = 5.0  # grey levels, the deviation of a picture: dim scenes have 8 and more, a fade to black less
SIDE = 120  # pixels: of the shorter side about so many are looked at, as it is done in every frame
SPREAD = (0.5, 99.5)  # percentiles that become dark and bright
DARK, BRIGHT = 20.0, 220.0  # grey levels


def stretched(image: Image) -> Image:
    """Return a `(H, W, 3)` uint8 picture as the detectors see it best: itself, unless it is faint."""
    step = max(1, min(image.shape[:2]) // SIDE)
    sparse = np.ascontiguousarray(image[::step, ::step])
    if float(cv2.meanStdDev(sparse)[1].max()) >= FAINT:
        return image
    low, high = np.percentile(sparse, SPREAD)
    if high - low < 1:
        return image  # there is nothing
    gain = (BRIGHT - DARK) / (high - low)
    levels = np.clip((np.arange(256) - low) * gain + DARK, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels), np.uint8)
