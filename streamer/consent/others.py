"""Other faces on a face that is to stay visible: a photograph before it, a badge, a print on a cap.

They are too small for the detectors, which see the whole frame, and would be covered with the face that they lie on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from streamer.faces.center_face import GRAIN
from streamer.faces.detect import Candidate
from streamer.types import Face, Image

SIDE = 640  # pixels, the longer side of what the network is shown: a face of a fifth of the other is seen in it
AROUND = 0.1  # of the face's size on every side
PART = 0.45  # of its size, below which what is seen is another: of faces of 6 clips, 197 looks, nothing is
LEAST = 0.2  # score

View = tuple[int, int, int, int]
Network = Callable[[Image, View, tuple[int, int]], Sequence[Candidate]]  # as `streamer.faces.center_face.CenterFace`


def has_another(image: Image, face: Face, network: Network) -> bool:
    """Return whether another face lies on a face, or close beside it.

    Args:
        image: `(H, W, 3)` uint8 RGB, the frame.
        face: In pixels of the frame.
        network: Finds faces in a part of the frame.

    Raises:
        AnonymizerError: When it fails.
    """
    margin = AROUND * face.size
    x1, y1 = (max(0, math.floor(at - margin)) for at in face.box[:2])
    x2, y2 = (min(side, math.ceil(at + margin)) for at, side in zip(face.box[2:], image.shape[1::-1], strict=True))
    if x2 - x1 < 2 or y2 - y1 < 2:
        return False
    scale = SIDE / max(x2 - x1, y2 - y1)
    height, width = (math.ceil(scale * side / GRAIN) * GRAIN for side in (y2 - y1, x2 - x1))
    seen = network(image, (x1, y1, x2, y2), (height, width))
    return any(one.score >= LEAST and float((one.box[2:] - one.box[:2]).max()) < PART * face.size for one in seen)
