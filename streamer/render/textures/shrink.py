"""Cut a face and its surroundings out of a frame, smaller: for what need not be as large as the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from streamer.types import Face, Floats, Image

AROUND = 0.8  # of the face's longer side, of its surroundings on every side


def shrunk(image: Image, faces: Sequence[Face], size: float) -> tuple[Image, list[Face], float]:
    """Return the surroundings of a face at which it is at most `size` pixels long, the faces in it, and the scale.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        faces: The first is the one that is cut out.
        size: Of its longer side, in pixels.
    """
    scale = min(1.0, size / max(faces[0].size, 1.0))
    reach = AROUND * faces[0].size
    low = np.clip(np.floor(faces[0].box[:2] - reach), 0, np.array(image.shape[1::-1]) - 1).astype(int)
    high = np.clip(np.ceil(faces[0].box[2:] + reach), low + 1, image.shape[1::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    if scale < 1.0:
        part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return part, [_moved(face, low.astype(np.float32), scale) for face in faces], scale


def _moved(face: Face, start: Floats, scale: float) -> Face:
    """Return a face in a part of the frame that begins at `start` `(2,)`, and is resized by `scale`."""
    box = (face.box - np.tile(start, 2)) * scale
    mesh = None if face.mesh is None else (face.mesh - np.append(start, 0.0).astype(np.float32)) * np.float32(scale)
    return replace(face, box=box, landmarks=(face.landmarks - start) * scale, mesh=mesh, crop=None)
