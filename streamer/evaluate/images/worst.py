"""Keeps the few faces that come nearest to being recognised, for whoever must look; as drawings unless asked."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from streamer.evaluate.figures import Specimen, number
from streamer.evaluate.images.before_after import CROP_SIZE, Judged
from streamer.evaluate.images.identity_figures import Reference, nearness
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


@dataclass(frozen=True, slots=True, order=True)
class _Face:
    score: float  # by which heaps are ordered
    name: str
    row: Row = field(compare=False)
    before: bytes = field(compare=False, repr=False)
    after: bytes = field(compare=False, repr=False)


class WorstFaces:
    """The `WORST` faces that are nearest to a match, by any recogniser, of all that are added."""

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        """Take whose scores are told."""
        self._recognizers = recognizers
        self._heaps: list[list[_Face]] = [[] for _ in recognizers]  # the least alike first

    def add(self, row: Row, before: bytes, after: bytes) -> None:
        """Take a face, shown before and after as PNG, if it is among any recogniser's worst so far."""
        for each, heap in zip(self._recognizers, self._heaps, strict=True):
            heapq.heappush(heap, _Face(_score(each, row), row.name, row, before, after))
            if len(heap) > WORST:
                heapq.heappop(heap)

    def specimens(self, references: Mapping[str, Reference]) -> tuple[Specimen, ...]:
        """Return them, the nearest to a match first."""
        near = {face: self._near(face, references) for heap in self._heaps for face in heap}
        worst = sorted(near, key=lambda face: (-np.nanmax([*near[face].values(), -np.inf]), -face.score, face.name))
        once = {face.name: _specimen(face, near[face]) for face in worst}
        return tuple(once.values())[:WORST]

    def _near(self, face: _Face, references: Mapping[str, Reference]) -> dict[str, float]:
        return {
            each.name: float(nearness(np.array([_score(each, face.row)]), references[each.name])[0])
            for each in self._recognizers
        }


def _score(recognizer: Recognizer, row: Row) -> float:
    return float(recognizer.score(row.before[recognizer.name][None], row.judged.embeddings[recognizer.name][None])[0])


def _specimen(face: _Face, near: Mapping[str, float]) -> Specimen:
    said = ", ".join(f"{name} {number(value)}" for name, value in near.items())
    why = "; ".join([said, f"structure kept {number(face.row.judged.ssim)}", _moved(face.row.judged)])
    return Specimen(face.name, why, face.before, face.after)


def png(picture: Image) -> bytes:
    """Return a picture `(H, W, 3)` uint8 RGB as PNG."""
    return bytes(np.asarray(cv2.imencode(".png", picture[..., ::-1])[1]))


def _moved(judged: Judged) -> str:
    return f"expression changed {number(judged.error.expression)}" if judged.found else "no face found in the output"
