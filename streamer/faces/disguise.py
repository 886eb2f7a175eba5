"""Shows the detectors what anybody sees or restores in a moment, and they do not: faint pictures, nets, negatives.

A picture so faint that they see nothing hides nobody; nor does a net, a fence or a window's bars before a face, the
lines of a screen, or a picture with its colours inverted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamer.faces.center_face import CenterFace
from streamer.faces.detect import SURE, Candidate, FaceDetector, estimated_points, non_max_suppression, overlaps
from streamer.faces.looks import Scan
from streamer.faces.second_look import LIKE
from streamer.types import Face, Image

FAINT = 5.0  # grey levels, the deviation of a picture: dim scenes have 8 and more, a fade to black less
SIDE = 120  # pixels: of the shorter side about so many are looked at, as it is done in every frame
SPREAD = (0.5, 99.5)  # percentiles that become dark and bright
DARK, BRIGHT = 20.0, 220.0  # grey levels

PAUSE_SECONDS = 0.4  # from one look through a disguise to the next: below the default delay, which then covers the rest
OFTEN_SECONDS = 0.125  # the same where a face was seen through it ...
AFTER_SECONDS = 1.0  # ... so long ago at most
LINE = 25  # grey levels by which a line differs from what is around it
LINED, PATCH = 0.2, 8  # share of a patch, an eighth of the longer side, that lines take up at least
SURELY_SAME, SAME = 0.5, 0.3  # IoU, from which on a face is one that is known without; share of a box, where it may be


@dataclass(frozen=True, slots=True)
class _Disguise:
    """What hides faces from detectors, and how a picture is freed of it.

    Attributes:
        side: Pixels, that the longer side of a picture is shrunk to.
        lines: Pixels of those, the width from which on dark and light lines stay; None for a negative.
    """

    side: int
    lines: int | None

    def off(self, small: Image) -> Image | None:
        """Return a picture that was shrunk to `side` without the disguise; None where it wears none, surely."""
        if self.lines is None:
            return np.asarray(cv2.bitwise_not(small), np.uint8)
        kernel = np.ones((self.lines, self.lines), np.uint8)
        closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel)  # dark lines go, then light ones
        bare = np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel), np.uint8)
        drawn = (cv2.absdiff(bare[..., 1], small[..., 1]) > LINE).astype(np.float32)
        around = (max(1, round(self.side / PATCH)),) * 2
        return bare if cv2.blur(drawn, around, borderType=cv2.BORDER_REFLECT).max() >= LINED else None

    def looks(self, bare: Image) -> list[Scan]:
        """Return the looks at a picture without the disguise."""
        whole = (0, 0, bare.shape[1], bare.shape[0])
        return [Scan("full", whole)] if self.lines is None else [Scan("full", whole), Scan("short", whole)]


DISGUISES = (*(_Disguise(*sizes) for sizes in ((480, 5), (480, 7), (240, 5), (240, 7))), _Disguise(480, None))


class Disguises:
    """Looks through what hides faces from the detectors alone, now and then; for one stream and one thread at a time.

    Args:
        network: Tells what is a face; may be shared with others in the same thread.
    """

    def __init__(self, network: CenterFace) -> None:
        self._network = network
        self._looked = [-math.inf] * len(DISGUISES)  # when, in seconds
        self._seen = [-math.inf] * len(DISGUISES)  # when a face was

    def in_frame(self, image: Image, faces: Sequence[Face], detector: FaceDetector, *, seconds: float) -> list[Face]:
        """Return the faces of a frame of a video, and those that show without the disguises whose turn it is.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            faces: What was found in it as it is.
            detector: Both of its networks look at the whole picture.
            seconds: Presentation time.

        Raises:
            AnonymizerError: When a network fails.
        """
        due = [n for n in range(len(DISGUISES)) if self._is_due(n, seconds)]
        for number in due:
            self._looked[number] = seconds
        found = self._found(image, faces, detector, due)
        for number in found:
            self._seen[number] = seconds
        return [*faces, *itertools.chain(*found.values())]

    def in_picture(self, image: Image, faces: Sequence[Face], detector: FaceDetector) -> list[Face]:
        """Return the faces of a picture, and those that show without any of the disguises.

        Raises:
            AnonymizerError: When a network fails.
        """
        return [*faces, *itertools.chain(*self._found(image, faces, detector, range(len(DISGUISES))).values())]

    def _is_due(self, number: int, seconds: float) -> bool:
        is_worn = 0 <= seconds - self._seen[number] <= AFTER_SECONDS
        return not 0 <= seconds - self._looked[number] < (OFTEN_SECONDS if is_worn else PAUSE_SECONDS)

    def _found(
        self, image: Image, known: Sequence[Face], detector: FaceDetector, numbers: Iterable[int]
    ) -> dict[int, list[Face]]:
        """Return the faces that show without each of some disguises; all of each is covered."""
        sure = [face for face in known if face.score >= SURE]
        shrunk: dict[int, tuple[Image, float]] = {}
        found: dict[int, list[Face]] = {}
        for number in numbers:
            disguise = DISGUISES[number]
            if disguise.side not in shrunk:
                shrunk[disguise.side] = _shrunk(image, disguise.side)
            small, scale = shrunk[disguise.side]
            bare = disguise.off(small)
            if bare is not None:
                seen = detector.scan(bare, disguise.looks(bare)).values()
                others = self._others(small, bare, itertools.chain(*seen), sure, scale)
                sure += others
                found |= {number: others} if others else {}
        return found

    def _others(
        self, small: Image, bare: Image, seen: Iterable[Candidate], known: Sequence[Face], scale: float
    ) -> list[Face]:
        """Return what of `seen` in `bare`, which `small` hides, is none of those `known` in the picture itself."""
        boxes = np.array([face.box * scale for face in known], np.float32).reshape(-1, 4)
        faces = []
        for candidate in non_max_suppression(c for c in seen if c.score >= SURE):
            ious, shares = overlaps(candidate.box, boxes)
            if (ious > SURELY_SAME).any() or self._network.likeness(bare, candidate.box, least=LIKE) < LIKE:
                continue
            if (shares > SAME).any() and self._network.likeness(small, candidate.box, least=LIKE) >= LIKE:
                continue  # there is nothing before it
            points = estimated_points(candidate.keypoints) / scale
            faces.append(Face(candidate.box / scale, points, None, candidate.score, is_verified=True))
        return faces


def _shrunk(image: Image, side: int) -> tuple[Image, float]:
    """Return a picture whose longer side has `side` pixels at most, and how much smaller that is."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return image, scale
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8), scale


def stretched(image: Image) -> Image:
    """Return a `(H, W, 3)` uint8 picture as the detectors see it best: itself, unless it is faint."""
    step = max(1, min(image.shape[:2]) // SIDE)
    sparse = np.ascontiguousarray(image[::step, ::step])
    if float(cv2.meanStdDev(sparse)[1].max()) >= FAINT:
        return image
    low, high = np.percentile(sparse, SPREAD)
    if high - low < 1:
        return image  # there is nothing
    gain = (BRIGHT - DARK) / (high - low)
    levels = np.clip((np.arange(256) - low) * gain + DARK, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels), np.uint8)
