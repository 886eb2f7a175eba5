"""Decides in which frames of a video the detectors look, and where: seldom where nothing is in doubt.

While every face is known surely, the detectors look for new ones in rounds. Looking ahead
(`streamer.pipeline.lookahead`) covers a new face in the frames before, and puts a known one on its way in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from streamer.faces.looks import Scan, View, looks
from streamer.faces.track import SceneCuts
from streamer.types import Face, Floats, Image

ROUND_SECONDS = 0.2  # from one look everywhere to the next: five frames at 25 a second, six at 30
QUICK_SECONDS = 0.125  # the same where frames are held back for less than `LEISURE_SECONDS`
LEISURE_SECONDS = 0.5  # of delay: with less, a new face has not three long rounds to be found in
PATIENT_SECONDS = 0.3  # of delay: with less, a new face has not three quick rounds to be found in
LONGEST_STEP = 0.5  # seconds between two frames: what comes later tells nothing of what was before
MAX_BYTES = 64 << 20  # of a frame: larger ones may not be held back for as long as a round
LEISURE_BYTES = 16 << 20  # of a frame: larger ones may not be held back for `LEISURE_SECONDS` at 60 a second
CELL = 8  # pixels: the side of a square that moves or not
MOTION = 8.0  # grey levels, of the mean of a cell: noise stays below
SWEPT = 0.2  # share of the cells: when more move at once, it is the camera that does, which tells nothing
BODY = np.array([2.5, 4.5])  # face sizes from the middle of a face, to the sides and down: where its body moves
ABOVE = 1.5  # the same upwards: hair, hats, hands
BORDER = 4  # cells along the sides and the top, over which others come into the picture
AROUND = 1.0  # face sizes around a doubted face in which it is looked for


class Rounds:
    """The looks at one stream; for one thread at a time.

    Args:
        delay_seconds: By how much its frames are late: none of them is shown before the next round is over. With 0,
            every frame is a round.
    """

    def __init__(self, delay_seconds: float) -> None:
        self._delay = delay_seconds
        self._hurries = delay_seconds < PATIENT_SECONDS
        self._cuts = SceneCuts()
        self._looks: list[Scan] = []
        self._seconds, self._step = -math.inf, 0.0
        self._reference: Floats | None = None  # the cells of the last round
        self.last = -math.inf  # when it was last looked everywhere, in seconds

    @property
    def is_open(self) -> bool:
        """Whether the newest frame was not looked at everywhere."""
        return self.last < self._seconds

    def leaves(self, image: Image, seconds: float) -> bool:
        """Return whether the frame before is to be looked at once more, because what comes tells nothing of it.

        To be called once before `due`, where frames are late.
        """
        height, width = image.shape[:2]
        was_open = self.is_open
        self._step, self._seconds = seconds - self._seconds, seconds
        is_cut, taken = self._cuts(image), looks(width, height)
        goes_on = 0 <= self._step <= LONGEST_STEP and not is_cut and taken == self._looks
        self._looks = taken
        if not goes_on or image.nbytes > MAX_BYTES:
            self.last, self._reference = -math.inf, None
        return was_open and not goes_on

    def due(self, image: Image, seconds: float, *, known: Sequence[Face], doubted: Sequence[Face]) -> list[Scan] | None:
        """Return the looks to take at this frame: None for a round of all, or those at what is in doubt.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            seconds: Presentation time.
            known: Where faces surely are: they and their bodies may move.
            doubted: Where something may be a face, or was lost.
        """
        cells, pause = _cells(image) if self._delay else None, self._pause(image)
        if cells is None or self._reference is None or seconds - self.last + self._step > pause + 1e-6:
            self._begin(seconds, cells)
            return None
        moving = _moving(cells, self._reference, known, hurries=self._hurries)
        boxes = [_around(face) for face in doubted]
        some = [k for k in self._looks if _in(moving, k.view) or any(_meet(k.view, box) for box in boxes)]
        if len(some) < len(self._looks):
            return some
        self._begin(seconds, cells)
        return None

    def _pause(self, image: Image) -> float:
        """Return the seconds from one round to the next: with leisure more, and never more than the delay."""
        has_leisure = self._delay >= LEISURE_SECONDS and image.nbytes <= LEISURE_BYTES
        return min(ROUND_SECONDS if has_leisure else QUICK_SECONDS, self._delay)

    def _begin(self, seconds: float, cells: Floats | None) -> None:
        self.last, self._reference = seconds, cells


def _cells(image: Image) -> Floats:
    """Return the mean green of squares of `CELL` pixels, `(H / CELL, W / CELL)` float32."""
    sparse = np.ascontiguousarray(image[::2, ::2, 1])
    size = max(1, image.shape[1] // CELL), max(1, image.shape[0] // CELL)
    return np.asarray(cv2.resize(sparse, size, interpolation=cv2.INTER_AREA), np.float32)


def _moving(cells: Floats, before: Floats, known: Sequence[Face], *, hurries: bool) -> npt.NDArray[np.bool_]:
    """Return which cells changed, by more than all together, but for those of people whose face is known.

    Args:
        cells: Of this frame, `(H / CELL, W / CELL)`.
        before: Of an earlier one.
        known: Those faces.
        hurries: Whether somebody who comes in is to be seen at once: also before a body, or while the camera moves.
    """
    change = cells - before
    moving: npt.NDArray[np.bool_] = np.abs(change - np.median(change)) > MOTION
    if moving.mean() > SWEPT:
        return np.full_like(moving, hurries)
    edge = BORDER if hurries else 0
    for face in known:
        x, y = (face.box[:2] + face.box[2:]) / 2
        beside, below = BODY * face.size
        x1, y1, x2, y2 = (round(float(v) / CELL) for v in (x - beside, y - ABOVE * face.size, x + beside, y + below))
        x1, y1, x2 = max(edge, x1), max(edge, y1), min(moving.shape[1] - edge, x2)
        moving[y1 : max(0, y2), x1 : max(x1, x2)] = False
    return moving


def _in(moving: npt.NDArray[np.bool_], view: View) -> bool:
    x1, y1, x2, y2 = (value // CELL for value in view)
    return bool(moving[y1 : y2 + 1, x1 : x2 + 1].any())


def _around(face: Face) -> Floats:
    margin = np.float32(AROUND * face.size)
    return np.asarray(face.box + margin * np.array([-1, -1, 1, 1], np.float32))


def _meet(view: View, box: Floats) -> bool:
    return bool((np.maximum(view[:2], box[:2]) < np.minimum(view[2:], box[2:])).all())
