"""Keeps the few faces that are most like their originals, for whoever must look at them; covered unless asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import cv2
import numpy as np

from streamer.evaluate.figures import Specimen, number
from streamer.evaluate.images.before_after import CROP_SIZE, Judged, Original
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.render.align import SimilarityAligner
from streamer.render.conceal import MOSAIC_CELLS, mosaic
from streamer.types import Image

WORST = 12  # faces: what fits on a page
Show = Callable[[Image], Image]


def covered(crop: Image) -> Image:
    """Return a crop in which nobody can be recognised: cells of a sixth of its side."""
    return mosaic(crop, cell=CROP_SIZE / MOSAIC_CELLS)


def uncovered(crop: Image) -> Image:
    """Return the crop as it is: real faces, for whoever asked for them."""
    return crop


class WorstFaces:
    """The `WORST` faces by the score of one recogniser, of all that are added."""

    def __init__(self, recognizer: Recognizer, aligner: SimilarityAligner, show: Show) -> None:
        """Take whose score counts, how faces are cut out, and how they are shown: `covered` or `uncovered`."""
        self._recognizer, self._aligner, self._show = recognizer, aligner, show
        self._heap: list[tuple[float, str, Image, Image]] = []  # the least alike first

    def add(self, original: Original, output: Image, judged: Judged) -> None:
        """Take a face, if it is among the worst so far."""
        name = self._recognizer.name
        score = float(self._recognizer.score(original.embeddings[name][None], judged.embeddings[name][None])[0])
        if len(self._heap) == WORST and score <= self._heap[0][0]:
            return
        after = self._aligner.crop(output, original.face)
        heapq.heappush(self._heap, (score, original.photo.name, self._show(original.crop), self._show(after)))
        if len(self._heap) > WORST:
            heapq.heappop(self._heap)

    def specimens(self) -> tuple[Specimen, ...]:
        """Return them, the most alike first."""
        return tuple(
            Specimen(name, f"{self._recognizer.name}: {_in_words(score)}", _png(before), _png(after))
            for score, name, before, after in sorted(self._heap, key=lambda face: -face[0])
        )


def _in_words(score: float) -> str:
    return f"distance {number(-score)}" if score < 0 else f"similarity {number(score)}"


def _png(crop: Image) -> bytes:
    return bytes(np.asarray(cv2.imencode(".png", crop[..., ::-1])[1]))
