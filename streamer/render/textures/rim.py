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
BROAD = 0.14  # of the oval's width, the blur of the shade that skin has everywhere: what is finer is the stranger's
BROAD_SHARE = 0.7  # of the difference of shades is taken over
MARK = 16.0  # grey levels from the shade around: what differs by more is no shade, but a mark of either face
LEAST_KNOWN = 0.03  # of a place's surroundings must be skin


def depth(inside: Image, width: float) -> Floats:
    """Return how deep each pixel lies inside the face, in widths of it: `(h, w)`; 0 outside.

    A face that the frame cuts off goes on beyond it: it has no rim there, which would show what lies inside.

    Args:
        inside: `(h, w)` uint8, not 0 in the face.
        width: In pixels.
    """
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] * np.float32(1.0 / width))


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
    more = (OTHER_RIM - SKIN_RIM + STEP) / STEP
    t = cv2.addWeighted(depth, 1.0 / STEP, cv2.blur(skin, (3, 3)), more, -OTHER_RIM / STEP)
    t = cv2.min(cv2.max(t, 0.0, t), 1.0, t)
    step = cv2.multiply(t, t)
    step = cv2.multiply(step, cv2.addWeighted(t, -2.0, t, 0.0, 3.0, t), step)
    brows = cv2.multiply(kept, cv2.min(depth * np.float32(1.0 / SKIN_RIM), 1.0))
    drawn = cv2.max(step, brows, step)
    drawn[depth <= 0] = 0.0
    return np.asarray(drawn)


def matched(patch: Floats, below: Image, *, depth: Floats, skin: Floats, new_skin: Floats, width: float) -> Floats:
    """Return `patch` in the colours of the person's skin where it begins, so that there is no seam, and in its shade.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        below: `(h, w, 3)` uint8 RGB, the frame.
        depth: `(h, w)`; 0 where there is no new face.
        skin: `(h, w)` in [0, 1].
        new_skin: `(h, w)` in [0, 1], how much each pixel of the patch looks like skin in the person's light.
        width: Of the oval, in pixels.
    """
    shrink = max(1.0, SMOOTH * width / 2.5)
    size = (max(1, round(patch.shape[1] / shrink)), max(1, round(patch.shape[0] / shrink)))
    frame, new = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (below, patch))
    weights = cv2.merge([depth, skin, cv2.multiply(skin, new_skin)])
    deep, seen, both = cv2.split(cv2.resize(weights, size, interpolation=cv2.INTER_AREA))
    apart, sigma = frame - new, width / shrink
    at_rim = _blurred(apart, seen * ((deep > MATCHED[0]) & (deep < MATCHED[1])), SMOOTH * sigma)
    both *= deep > MATCHED[0]
    broad = _blurred(apart, both, BROAD * sigma)
    both *= cv2.exp(-np.square(np.abs(apart - broad).max(axis=2) * (1.0 / MARK)))
    broad = BROAD_SHARE * _blurred(apart, both, BROAD * sigma)
    field = broad + cv2.exp(-np.square(deep / REACH))[..., None] * (at_rim - broad)
    field = cv2.resize(field, patch.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(patch, field, field))


def _blurred(values: Floats, weight: Floats, sigma: float) -> Floats:
    """Return the mean of `values` `(h, w, 3)` around each pixel by `weight` `(h, w)`; 0 where nothing of it is near."""
    weighed = cv2.merge([*cv2.split(values * weight[..., None]), weight])
    blurred = cv2.GaussianBlur(weighed, (0, 0), sigma)
    return np.asarray(blurred[..., :3] / (blurred[..., 3:] + np.float32(LEAST_KNOWN)))
