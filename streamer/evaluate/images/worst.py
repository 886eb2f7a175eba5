"""Keeps the few faces that are most like their originals, for whoever must look at them; as drawings unless asked."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from streamer.evaluate.figures import Specimen, number
from streamer.evaluate.images.before_after import CROP_SIZE, Judged
from streamer.evaluate.images.measurements import Row
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.measures.utility import Expression
from streamer.types import Image

WORST = 12  # faces: what fits on a page
EYE_DISTANCE, EYES_AT = 0.27 * CROP_SIZE, np.array([0.5, 0.42]) * CROP_SIZE  # as crops have them
INK = (20, 60, 120)
Show = Callable[[Image, Expression | None], Image]


def drawn(crop: Image, expression: Expression | None) -> Image:
    """Return a drawing of lids, lips and brows, turned to the front, on white; nothing where no face was found."""
    sheet = np.full_like(crop, 255)
    if expression is not None:
        for x, y in np.round(expression.shape[:, :2] * EYE_DISTANCE + EYES_AT).astype(int).tolist():
            cv2.circle(sheet, (x, y), 2, INK, -1, cv2.LINE_AA)
    return sheet


def uncovered(crop: Image, expression: Expression | None) -> Image:
    """Return the crop as it is: real faces, for whoever asked for them."""
    return crop


class WorstFaces:
    """The `WORST` faces by the score of the first recogniser, of all that are added."""

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        """Take whose scores are told."""
        self._recognizers = recognizers
        self._heap: list[tuple[float, str, Specimen]] = []  # the least alike first

    def add(self, row: Row, before: bytes, after: bytes) -> None:
        """Take a face, shown before and after as PNG, if it is among the worst so far."""
        seen = [(row.before[each.name][None], row.judged.embeddings[each.name][None]) for each in self._recognizers]
        scores = [float(each.score(*pair)[0]) for each, pair in zip(self._recognizers, seen, strict=True)]
        said = [_in_words(each, value) for each, value in zip(self._recognizers, scores, strict=True)]
        why = "; ".join([*said, f"structure kept {number(row.judged.ssim)}", _moved(row.judged)])
        heapq.heappush(self._heap, (scores[0], row.name, Specimen(row.name, why, before, after)))
        if len(self._heap) > WORST:
            heapq.heappop(self._heap)

    def specimens(self) -> tuple[Specimen, ...]:
        """Return them, the most alike first."""
        return tuple(specimen for _, _, specimen in sorted(self._heap, key=lambda face: -face[0]))


def png(picture: Image) -> bytes:
    """Return a picture `(H, W, 3)` uint8 RGB as PNG."""
    return bytes(np.asarray(cv2.imencode(".png", picture[..., ::-1])[1]))


def _in_words(recognizer: Recognizer, score: float) -> str:
    is_distance = recognizer.usual_threshold is not None and recognizer.usual_threshold < 0  # the score is minus it
    return f"{recognizer.name}: " + (f"distance {number(-score)}" if is_distance else f"similarity {number(score)}")


def _moved(judged: Judged) -> str:
    return f"expression moved {number(judged.error.expression)}" if judged.found else "no face found in the output"
