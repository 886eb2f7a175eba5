"""Other faces on a face that is to stay visible: a photograph before it, a badge, a print on a cap.

They are too small for the detectors, which see the whole frame, and would be covered with the face that they lie on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from streamer.faces.detect import Candidate, estimated_points
from streamer.faces.disguise import stretched
from streamer.faces.looks import View
from streamer.types import Face, Image

SIDE = 640  # pixels, of what the network is shown, always as large: a face of a fifth of the other is seen in it
AROUND = 0.1  # of the face's size on every side
PART = 0.54  # of its size, below which what is seen is another: of faces of 8 clips, 321 looks, another alone is
CLEAR_PART, CLEAR = 0.65, 0.35  # the same of what is seen so clearly: vague parts of a face have scores to .27
FAR = 0.42  # of its size, by which eyes, nose or mouth are off: another, too; of those faces they were to .37
LEAST = 0.2  # score


class Network(Protocol):
    """Finds faces in a part of a frame, as `streamer.faces.center_face.CenterFace` does."""

    def __call__(self, image: Image, view: View, shape: tuple[int, int], /) -> Sequence[Candidate]:
        """Return the faces in `view`, shrunk or enlarged to `shape`."""

    def close(self) -> None:
        """Release what it needs."""


def has_another(image: Image, face: Face, network: Network) -> bool:
    """Return whether another face lies on a face, or close beside it; of what cannot be looked at, that one does.

    Args:
        image: `(H, W, 3)` uint8 RGB, the frame.
        face: In pixels of the frame.
        network: Finds faces in a part of the frame.

    Raises:
        AnonymizerError: When it fails.
    """
    side = math.ceil((1 + 2 * AROUND) * face.size)
    x, y = (math.floor(middle - side / 2) for middle in (face.box[:2] + face.box[2:]) / 2)
    if side < 2 or x + side <= 0 or y + side <= 0 or x >= image.shape[1] or y >= image.shape[0]:
        return True
    seen = network(stretched(image), (x, y, x + side, y + side), (SIDE, SIDE))
    return any(_is_another(one, face) for one in seen if one.score >= LEAST)


def _is_another(seen: Candidate, face: Face) -> bool:
    """Return whether what is seen on a face is smaller than that, or elsewhere."""
    size = float((seen.box[2:] - seen.box[:2]).max())
    off = float(np.linalg.norm(estimated_points(seen.keypoints) - face.landmarks, axis=1).max())
    is_part = size < (CLEAR_PART if seen.score >= CLEAR else PART) * face.size
    return is_part or off > FAR * face.size
