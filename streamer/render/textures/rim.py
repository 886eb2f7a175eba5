"""Where a drawn face ends: how strongly each pixel of the frame is drawn over, so that hair and jaw keep their edges.

Deep inside the face everything is drawn over. In a narrow rim only what looks like this person's skin is: hair,
background and what hangs before the forehead stay as they are, and with them the sharp edges that a blend would smear.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamer.types import Floats, Image

SKIN_RIM = 0.02  # of the oval's width: how deep the drawn face comes in over skin
OTHER_RIM = 0.04  # the same over what is no skin; deeper lie brows
STEP = 0.035  # over which it comes in
MATCHED = (0.0, 0.1)  # of the oval's width, the depth of skin whose colour the new face takes over at its rim
REACH = 0.08  # of the oval's width over which that dies away inwards
SMOOTH = 0.05  # of the oval's width, the blur of it
STROKE = 0.07  # of the oval's width: how high bows of glasses and brows are, at most
LEAST_KNOWN = 0.03  # of a place's surroundings must be skin


def depth(inside: Image, width: float) -> Floats:
    """Return how deep each pixel lies inside the face, in widths of it: `(h, w)`; 0 outside.

    A face that the frame cuts off goes on beyond it: it has no rim there, which would show what lies inside.

    Args:
        inside: `(h, w)` uint8, not 0 in the face.
        width: In pixels.
    """
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] * (1.0 / width), np.float32)


def without_strokes(skin: Floats, width: float) -> Floats:
    """Return `skin` with what is low and lies across it counted to it: the bows of glasses, which end, and brows.

    Args:
        skin: `(h, w)` in [0, 1], how much each pixel looks like the person's skin.
        width: Of the oval, in pixels.
    """
    return np.asarray(cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((max(1, round(STROKE * width)), 1), np.uint8)))


def opacity(depth: Floats, skin: Floats, kept: Floats) -> Floats:
    """Return how strongly the new face is drawn, `(h, w)` in [0, 1].

    Args:
        depth: `(h, w)` as `depth` tells it.
        skin: `(h, w)` in [0, 1], how much each pixel looks like the person's skin.
        kept: `(h, w)` in [0, 1]: the person's brows, of which nothing is shown.
    """
    start = OTHER_RIM - (OTHER_RIM - SKIN_RIM + STEP) * cv2.blur(skin, (3, 3))
    t = np.clip((depth - start) * (1.0 / STEP), 0.0, 1.0)
    drawn = np.maximum(t * t * (3.0 - 2.0 * t), kept * np.minimum(1.0, depth * (1.0 / SKIN_RIM)))
    drawn[depth <= 0] = 0.0
    return np.asarray(drawn, np.float32)


def matched(patch: Floats, below: Image, *, depth: Floats, skin: Floats, width: float) -> Floats:
    """Return `patch` in the colours of the person's skin where it begins, so that there is no seam.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        below: `(h, w, 3)` uint8 RGB, the frame.
        depth: `(h, w)`; 0 where there is no new face.
        skin: `(h, w)` in [0, 1].
        width: Of the oval, in pixels.
    """
    shrink = max(1.0, SMOOTH * width / 2.5)
    size = (max(1, round(patch.shape[1] / shrink)), max(1, round(patch.shape[0] / shrink)))
    frame, new, deep, weight = (
        cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (below, patch, depth, skin)
    )
    weight *= (deep > MATCHED[0]) & (deep < MATCHED[1])
    sigma = SMOOTH * width / shrink
    total = cv2.GaussianBlur((frame - new) * weight[..., None], (0, 0), sigma)
    field = total / (cv2.GaussianBlur(weight, (0, 0), sigma) + LEAST_KNOWN)[..., None]
    field *= np.exp(-((deep / REACH) ** 2))[..., None]
    return np.asarray(cv2.add(patch, cv2.resize(field, patch.shape[1::-1], interpolation=cv2.INTER_LINEAR)))
