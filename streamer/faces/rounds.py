"""Decides in which frames of a video the detectors look, and where: seldom where nothing is in doubt.

While every face is known surely, the detectors look for new ones in rounds. Looking ahead
(`streamer.pipeline.lookahead`) covers a new face in the frames before, and puts a known one on its way in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.faces.looks import Scan, View, looks
from streamer.faces.track import SceneCuts
from streamer.types import Face, Floats, Image

ROUND_SECONDS = 0.2  # from one look everywhere to the next: five frames at 25 a second, six at 30
QUICK_SECONDS = 0.125  # the same where frames are held back for less than `LEISURE_SECONDS`
STIR_SECONDS = 0.1  # from one look to the next at where something moves that is no body of a known face
LEISURE_SECONDS = 0.5  # of delay: with less, a new face has not three long rounds to be found in
PATIENT_SECONDS = 0.3  # of delay: with less, a new face has not three quick rounds to be found in
LONGEST_STEP = 0.5  # seconds between two frames: what comes later tells nothing of what was before
MAX_BYTES = 64 << 20  # of a frame: larger ones may not be held back for as long as a round
LEISURE_BYTES = 16 << 20  # of a frame: larger ones may not be held back for `LEISURE_SECONDS` at 60 a second
CELL = 8  # pixels: the side of a square that moves or not
SUDDEN = 25.0  # grey levels, of the mean of 3x3 cells, from one frame to the next: somebody is there who was not
UNLIKE = 15.0  # grey levels, of the mean of 3x3 cells: how much a place differs from what it showed, pixel by pixel
SPARSE = 4  # pixels between two that are compared so
UNSTEADY = 0.1  # sizes of a known face, off a steady turn of the camera: then it is not on its way between two looks
MOTION = 8.0  # grey levels, of the mean of a cell: noise stays below
SWEPT = 0.2  # share of the cells: when more move at once, it is the camera that does, which tells nothing
BODY = np.array([2.5, 4.5])  # face sizes from the middle of a face, to the sides and down: where its body moves
ABOVE = 1.5  # the same upwards: hair, hats, hands
BROAD = 5  # cells: what changes beside a known face by less is its own body, which moves
OWN = 0.3  # face sizes around a face that are its own, whatever happens there suddenly
BORDER = 4  # cells along the sides and the top, over which others come into the picture
AROUND = 1.0  # face sizes around a doubted face in which it is looked for

STILL: Floats = np.zeros(2, np.float32)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What of a frame is compared with the next: its cells, and some of its pixels."""

    cells: Floats
    pixels: Image

    @classmethod
    def of(cls, image: Image) -> _Seen:
        return cls(_cells(image), np.ascontiguousarray(image[::SPARSE, ::SPARSE]))


class Rounds:
    """The looks at one stream; for one thread at a time.

    Args:
        delay_seconds: By how much its frames are late: none of them is shown before the next round is over. With 0,
            every frame is a round.

    Attributes:
        last: When it was last looked everywhere, in seconds.
        rest: Seconds after a look in which only a round is due, whatever is in doubt: where looks take longer than
            there is time for, frames between them are worth more. Not with so little delay that it hurries.
        is_startled: Whether the newest frame, which is no round, shows something else than the one before in a place as
            broad as a face, though perhaps as bright: hands and clothes do, and whoever is there for a moment.
    """

    def __init__(self, delay_seconds: float) -> None:
        self.last, self.rest, self.is_startled = -math.inf, 0.0, False
        self._stirred = -math.inf  # when it was last looked where something moved, or everywhere
        self._delay = delay_seconds
        self._hurries = delay_seconds < PATIENT_SECONDS
        self._cuts = SceneCuts()
        self._looks: list[Scan] = []
        self._seconds, self._step = -math.inf, 0.0
        self._reference: Floats | None = None  # the cells of the last round
        self._before: _Seen | None = None  # of the frame before
        self._turn = STILL  # by how many pixels the camera turned, from one frame to the next, at the last round
        self._astray = STILL  # by how many it turned otherwise since then

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
        goes_on = 0 < self._step <= LONGEST_STEP and not is_cut and taken == self._looks
        self._looks = taken
        if not goes_on or image.nbytes > MAX_BYTES:
            self.last, self._reference, self._before = -math.inf, None, None
        return was_open and not goes_on

    def due(self, image: Image, seconds: float, *, known: Sequence[Face], doubted: Sequence[Face]) -> list[Scan] | None:
        """Return the looks to take at this frame: None for a round of all, or those at what is in doubt.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            seconds: Presentation time.
            known: Where faces surely are: they and their bodies may move.
            doubted: Where something may be a face, or was lost.
        """
        seen, pause = _Seen.of(image) if self._delay else None, self._pause(image)
        before, self._before, self.is_startled = self._before, seen, False
        if seen is None or before is None or self._reference is None:
            self._begin(seconds, seen.cells if seen else None, STILL)
            return None
        cells, turn = seen.cells, _turn(seen.cells, before.cells)
        self._astray = self._astray + turn - self._turn
        if seconds - self.last + self._step > pause + 1e-6:
            self._begin(seconds, cells, turn)
            return None
        sudden = _sudden(cells, before.cells, turn)
        self.is_startled = not turn.any() and bool(_without_edges(_without_faces(_unlike(seen, before), known)).any())
        sudden = _without_bodies(sudden.copy(), known) | _without_edges(_without_faces(sudden, known))
        some = self._in_doubt(cells, self._reference, sudden, seconds, known=known, doubted=doubted)
        shakes = any(np.linalg.norm(self._astray) > UNSTEADY * face.size for face in known)
        if len(some) == len(self._looks) or shakes:
            self._begin(seconds, cells, turn)
            return None
        return some

    def _in_doubt(
        self, cells: Floats, reference: Floats, sudden: Mask, seconds: float, *, known: Sequence[Face],
        doubted: Sequence[Face],
    ) -> list[Scan]:  # fmt: skip
        """Return the looks where something came, moves or may be a face, unless it was looked a moment ago."""
        next_frame = seconds + self._step - 1e-6
        if next_frame - self.last <= self.rest and not self._hurries:
            self.is_startled = False
            return []
        boxes = [_around(face) for face in doubted]
        some = [look for look in self._looks if any(_meet(look.view, box) for box in boxes)]
        moving = sudden
        if self._hurries or next_frame - self._stirred > STIR_SECONDS:
            stirring = _moving(cells, reference, known, hurries=self._hurries)
            self._stirred = seconds if stirring.any() else self._stirred
            moving = sudden | stirring
        return [look for look in self._looks if look in some or _in(moving, look.view)]

    def _pause(self, image: Image) -> float:
        """Return the seconds from one round to the next: with leisure more, and never more than the delay."""
        has_leisure = self._delay >= LEISURE_SECONDS and image.nbytes <= LEISURE_BYTES
        return min(ROUND_SECONDS if has_leisure else QUICK_SECONDS, self._delay)

    def _begin(self, seconds: float, cells: Floats | None, turn: Floats) -> None:
        self.last = self._stirred = seconds
        self._reference = cells
        self._turn, self._astray = turn, STILL


def _cells(image: Image) -> Floats:
    """Return the mean green of squares of `CELL` pixels, `(H / CELL, W / CELL)` float32."""
    sparse = np.ascontiguousarray(image[::2, ::2, 1])
    size = max(1, image.shape[1] // CELL), max(1, image.shape[0] // CELL)
    return np.asarray(cv2.resize(sparse, size, interpolation=cv2.INTER_AREA), np.float32)


def _unlike(seen: _Seen, before: _Seen) -> Mask:
    """Return which cells show something else than before in whichever colour, be it as bright; of a still camera."""
    apart = cv2.absdiff(seen.pixels, before.pixels)
    change = cv2.resize(apart, seen.cells.shape[::-1], interpolation=cv2.INTER_AREA).max(axis=2)
    return np.asarray(cv2.blur(change.astype(np.float32) - np.median(change), (3, 3)) > UNLIKE)


def _moving(cells: Floats, before: Floats, known: Sequence[Face], *, hurries: bool) -> Mask:
    """Return which cells changed, by more than all together, but for those of people whose face is known.

    Args:
        cells: Of this frame, `(H / CELL, W / CELL)`.
        before: Of an earlier one.
        known: Those faces.
        hurries: Whether somebody who comes in is to be seen at once: also before a body, or while the camera moves.
    """
    change = cells - before
    moving: Mask = np.abs(change - np.median(change)) > MOTION
    if moving.mean() > SWEPT:
        return np.full_like(moving, hurries)
    return _without_bodies(moving, known, edge=BORDER if hurries else 0)


def _turn(cells: Floats, before: Floats) -> Floats:
    """Return by how many pixels all that is seen moved since the frame before, right and down: the camera turned."""
    change = cells - before
    if (np.abs(change - np.median(change)) > MOTION / 2).mean() <= SWEPT / 2:
        return STILL
    return np.array(cv2.phaseCorrelate(before, cells)[0], np.float32) * np.float32(CELL)


def _sudden(cells: Floats, before: Floats, turn: Floats) -> Mask:
    """Return which cells show what was not there a frame before, wherever the camera turned."""
    sudden = _differ(cells, before)
    if sudden.any() and turn.any():
        along = np.column_stack([np.eye(2), turn / CELL]).astype(np.float32)
        moved = cv2.warpAffine(before, along, before.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=np.nan)
        came = np.isnan(moved)  # over the border, as all that a camera turns to
        sudden &= _differ(cells, np.where(came, cells, moved))
    return sudden


def _differ(a: Floats, b: Floats) -> Mask:
    change = a - b
    return np.asarray(cv2.blur(np.abs(change - np.median(change)), (3, 3)) > SUDDEN)


def _without_bodies(moving: Mask, known: Sequence[Face], edge: int = 0) -> Mask:
    """Return `moving` less where people are whose face is known, but for `edge` cells along the borders."""
    for face in known:
        x, y = (face.box[:2] + face.box[2:]) / 2
        beside, below = BODY * face.size
        x1, y1, x2, y2 = (round(float(v) / CELL) for v in (x - beside, y - ABOVE * face.size, x + beside, y + below))
        x1, y1, x2 = max(edge, x1), max(edge, y1), min(moving.shape[1] - edge, x2)
        moving[y1 : max(0, y2), x1 : max(x1, x2)] = False
    return moving


def _without_faces(moving: Mask, known: Sequence[Face]) -> Mask:
    """Return `moving` less the known faces themselves: beside them, somebody may look over a shoulder."""
    for face in known:
        reach = OWN * face.size * np.array([-1, -1, 1, 1])
        x1, y1, x2, y2 = (max(0, round(float(v) / CELL)) for v in face.box + reach)
        moving[y1:y2, x1:x2] = False
    return moving


def _without_edges(moving: Mask) -> Mask:
    """Return what of `moving` is as broad as a face: where a body moves its edges do, and what is between hardly."""
    broad = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((BROAD, BROAD), np.uint8))
    return np.asarray(broad, np.bool_)


def _in(moving: Mask, view: View) -> bool:
    x1, y1, x2, y2 = (max(0, value) // CELL for value in view)
    return bool(moving[y1 : y2 + 1, x1 : x2 + 1].any())


def _around(face: Face) -> Floats:
    margin = np.float32(AROUND * face.size)
    return np.asarray(face.box + margin * np.array([-1, -1, 1, 1], np.float32))


def _meet(view: View, box: Floats) -> bool:
    return bool((np.maximum(view[:2], box[:2]) < np.minimum(view[2:], box[2:])).all())
