"""Keeps the few faces that are most like their originals, for whoever must look at them; as drawings unless asked."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from streamer.evaluate.figures import Specimen, number
from streamer.evaluate.images.before_after import CROP_SIZE, Judged, Original
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.measures.utility import Expression
from streamer.render.align import SimilarityAligner
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

    def __init__(self, recognizers: Sequence[Recognizer], aligner: SimilarityAligner, show: Show) -> None:
        """Take whose scores are told, how faces are cut out, and how they are shown: `drawn` or `uncovered`."""
        self._recognizers, self._aligner, self._show = recognizers, aligner, show
        self._heap: list[tuple[float, str, str, Image, Image]] = []  # the least alike first

    def add(self, original: Original, output: Image, judged: Judged) -> None:
        """Take a face, if it is among the worst so far."""
        scores = [
            float(each.score(original.embeddings[each.name][None], judged.embeddings[each.name][None])[0])
            for each in self._recognizers
        ]
        score = scores[0]
        if len(self._heap) == WORST and score <= self._heap[0][0]:
            return
        before = self._show(original.crop, original.expression)
        after = self._show(self._aligner.crop(output, original.face), judged.expression)
        said = [_in_words(each, value) for each, value in zip(self._recognizers, scores, strict=True)]
        why = "; ".join([*said, f"structure kept {number(judged.ssim)}", _moved(judged)])
        heapq.heappush(self._heap, (score, original.photo.name, why, before, after))
        if len(self._heap) > WORST:
            heapq.heappop(self._heap)

    def specimens(self) -> tuple[Specimen, ...]:
        """Return them, the most alike first."""
        return tuple(
            Specimen(name, why, _png(before), _png(after))
            for _, name, why, before, after in sorted(self._heap, key=lambda face: -face[0])
        )


def _in_words(recognizer: Recognizer, score: float) -> str:
    is_distance = recognizer.usual_threshold is not None and recognizer.usual_threshold < 0  # the score is minus it
    return f"{recognizer.name}: " + (f"distance {number(-score)}" if is_distance else f"similarity {number(score)}")


def _moved(judged: Judged) -> str:
    return f"expression moved {number(judged.error.expression)}" if judged.found else "no face found in the output"


def _png(crop: Image) -> bytes:
    return bytes(np.asarray(cv2.imencode(".png", crop[..., ::-1])[1]))
