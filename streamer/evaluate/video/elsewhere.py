"""What an output changed where no face is: what covering too much costs, told from pixels, whatever tool made it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from streamer.evaluate.figures import Figure, mean_figure
from streamer.evaluate.video.truth import TrueFace
from streamer.types import Image

CHANGED = 12  # grey levels; a codec changes less
AROUND = 1 / 3  # of a face's size, that a cover may reach beyond it
LEAST_SIDE = 9  # pixels; a smaller spot is a codec's


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What was changed beside the annotated faces of one frame.

    Attributes:
        share: Of the picture's area, in [0, 1].
        strays: Covers that touch no face.
    """

    share: float
    strays: int


def elsewhere(before: Image, after: Image, faces: Iterable[TrueFace]) -> Elsewhere:
    """Return what differs between two `(H, W, 3)` uint8 pictures outside every face, and a third of its size around."""
    differs = (cv2.absdiff(before, after).max(axis=2) > CHANGED).astype(np.uint8)
    near = np.zeros_like(differs)
    for face in faces:
        grow = AROUND * face.size
        (x1, y1), (x2, y2) = np.maximum(face.box[:2] - grow, 0).astype(int), (face.box[2:] + grow).astype(int)
        near[y1:y2, x1:x2] = 1
    return Elsewhere(float((differs & (1 - near)).mean()), _strays(differs, near))


def elsewhere_figures(frames: Iterable[Elsewhere]) -> dict[str, Figure]:
    """Return `covered_elsewhere`, the mean share of the picture, and `stray_covers`, how many a frame."""
    known = list(frames)
    return {
        "covered_elsewhere": mean_figure(np.array([frame.share for frame in known] or [math.nan])),
        "stray_covers": mean_figure(np.array([float(frame.strays) for frame in known] or [math.nan])),
    }


def _strays(differs: Image, near: Image) -> int:
    """Return how many changed areas lie wholly outside of what is near a face; a cover's flat parts are filled in."""
    kernel = np.ones((LEAST_SIDE, LEAST_SIDE), np.uint8)
    whole = cv2.morphologyEx(cv2.morphologyEx(differs, cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel)
    count, labels = cv2.connectedComponents(whole)
    touching = np.unique(labels[near > 0])
    return int(count - 1 - (touching > 0).sum())
