"""Looks again, with CenterFace, at what was found: what only one of two unlike networks takes for a face seldom is one.

Measured as likeness (`CenterFace.likeness`) on 12 clips and 40 faces pasted into three of them:

| | detections | less than `NOTHING` | less than `VAGUE` | `LIKE` and more |
|---|---|---|---|---|
| doubted, no face | 735 | 62 % | 88 % | 3 % |
| doubted, a face | 360 | 1 % | 7 % | 79 % |
| with a mesh and sure, no face | 12 | 11 | 12 | none |
| with a mesh and sure, a face | 369 | none | none | all but one |
| certain without a mesh, a face | 277 | none | 1 % | 95 % |

Masks, dark glasses, a hand, half a face, dark, noise, blur and JPEG leave 24 faces of 60 to 290 pixels at .34 and more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streamer.faces.center_face import CenterFace
from streamer.faces.detect import CERTAIN, DOUBTED, FILLING, SAME_IOU, SAME_SHARE, SURE, overlaps
from streamer.types import Face, Floats, Image

NOTHING = 0.1  # likeness: there is nothing like a face
VAGUE = 0.2  # it takes more than one sighting
LIKE = 0.35  # from here it is a face, for now
SURELY = 0.5  # 1 in 100 of what is no face have it: from here it is one, whatever the detector says
GLIMPSED = CERTAIN - 0.01  # at most, for what is vague but certain by itself: it is covered, and not for long
TILTED = 30.0  # degrees; CenterFace knows few faces that lie on their side
LYING = 0.4  # likeness: a face, if turned by `QUARTERS`; of 2,381 detections of no face 2 have it, and 8 have `LIKE`
QUARTERS = (90.0, 180.0, 270.0)  # degrees; the detectors find heads that lie or hang, but put their eyes elsewhere
UPRIGHT = 0.7  # likeness: of heads that hang, with a mesh, 94 had .62 at most as they are, and 40 upright ones .75
HANGS = 0.1  # likeness that turning it by quarters adds, from which on a head hangs, and its mesh is beside its eyes
HANGING_SECONDS = 1.0  # for which that is remembered of a place
CUT = 0.1  # share of a box outside the picture, from which on what is unlike a face may be one: CenterFace knows none
RECALL_SECONDS = 0.2  # for which a place where there was nothing is not looked at again: patterns stay
SAME_PLACE = 0.7  # IoU
BESIDE, SMALLER = 0.35, 0.55  # face sizes off its middle, and of its size: a sure face that is none of what is doubted
MAX_LOOKS = 8  # per frame, 4 ms each, up to 16 with those at a turned head; what is left stays as the detector has it


class SecondLook:
    """A second opinion on the faces of one stream; for one thread at a time.

    Args:
        network: May be shared with others in the same thread.
    """

    def __init__(self, network: CenterFace) -> None:
        self._network = network
        self._empty: list[tuple[float, Floats]] = []  # when and where there was nothing
        self._turned: list[tuple[float, Floats]] = []  # the same of heads that lie
        self._hanging: list[tuple[float, Floats]] = []  # when and where heads hung that a mesh was fitted to

    def __call__(self, image: Image, faces: Sequence[Face], *, known: Sequence[Face], seconds: float) -> list[Face]:
        """Return `faces`, in order: surer, less sure or, with nothing like a face in them, left out.

        Heads that hang are left without a mesh, so that all of them is covered: it is fitted as if they were upright.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            faces: What was found in it.
            known: Where verified faces are: what is found there is one of them, seen badly, and stays as it is;
                where a head hung, it is looked whether it still does.
            seconds: Presentation time of the frame.

        Raises:
            AnonymizerError: When the network fails.
        """
        boxes = np.array([face.box for face in known], np.float32).reshape(-1, 4)
        self._empty, self._turned = _recent(self._empty, seconds), _recent(self._turned, seconds)
        self._hanging = _recent(self._hanging, seconds, HANGING_SECONDS)
        faces = [face for face in faces if _is_at(face.box, boxes) or not self._was_nothing(face)]
        new = [face for face in faces if not _is_at(face.box, boxes)][:MAX_LOOKS]
        likeness = {id(face): self._recalled(_without_others(image, face, faces), face, seconds) for face in new}
        self._empty += [(seconds, face.box) for face in new if likeness[id(face)] < NOTHING]
        for face in faces:
            if id(face) not in likeness and self._hung(face):
                self._asked(image, face, seconds)
        judged = (_judged(face, likeness[id(face)]) if id(face) in likeness else face for face in faces)
        return [replace(f, mesh=None) if self._hung(f) else f for f in judged if f is not None]

    def in_picture(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        """Return the faces of a picture, in order: those that are doubted and like a face are sure, none is less so.

        Heads that hang are left without a mesh.

        Raises:
            AnonymizerError: When the network fails.
        """
        return [
            f if f.mesh is None and f.score >= SURE else self._in_picture(_without_others(image, f, faces), f)
            for f in faces
        ]

    def _in_picture(self, image: Image, face: Face) -> Face:
        likeness, hangs = self._likeness(image, face)
        surer = replace(face, score=SURE) if face.score < SURE and likeness >= LIKE else face
        return replace(surer, mesh=None) if hangs else surer

    def _hung(self, face: Face) -> bool:
        """Return whether a mesh was fitted to a head that hung here a moment before."""
        return face.mesh is not None and _is_among(self._hanging, face, SAME_IOU)

    def _was_nothing(self, face: Face) -> bool:
        """Return whether something doubted was looked at here a moment before, and there was nothing like a face."""
        return face.mesh is None and face.score < SURE and _is_among(self._empty, face)

    def _recalled(self, image: Image, face: Face, seconds: float) -> float:
        """Return the likeness; of a head that lies only where none was looked for a moment before, or a mesh fits.

        Nothing is held against a face that the border of the picture cuts, if it is sure or fills the picture.
        """
        if face.mesh is None and _is_among(self._turned, face):
            likeness = self._upright(image, face)
        elif (likeness := self._asked(image, face, seconds)) < LIKE:
            self._turned.append((seconds, face.box))
        return max(likeness, VAGUE if _may_be(face, image) else 0.0)

    def _asked(self, image: Image, face: Face, seconds: float) -> float:
        """Return the likeness, and remember a head that hangs."""
        likeness, hangs = self._likeness(image, face)
        if hangs:
            self._hanging.append((seconds, face.box))
        return likeness

    def _likeness(self, image: Image, face: Face) -> tuple[float, bool]:
        """Return the highest likeness, as the head is, turned upright by its eyes, or else by quarters of a turn.

        And whether it is clearly higher by those, though a mesh was fitted.
        """
        upright, has_mesh = self._upright(image, face), face.mesh is not None
        if upright >= (UPRIGHT if has_mesh else LIKE):
            return upright, False
        least = VAGUE if has_mesh and face.score >= SURE else LYING
        turned = max(self._network.likeness(image, face.box, degrees, least=least) for degrees in QUARTERS)
        hangs = has_mesh and turned >= max(least, upright + HANGS)
        return (max(upright, turned), hangs) if turned >= least else (upright, False)

    def _upright(self, image: Image, face: Face) -> float:
        """Return the higher likeness: as the head is, or turned upright by its eyes."""
        along = face.landmarks[1] - face.landmarks[0]
        tilt = math.degrees(math.atan2(along[1], along[0]))
        likeness = self._network.likeness(image, face.box)
        if likeness >= LIKE or abs(tilt) < TILTED:
            return likeness
        return max(likeness, self._network.likeness(image, face.box, tilt))


def _without_others(image: Image, face: Face, faces: Sequence[Face]) -> Image:
    """Return the picture in which `face`, if doubted, is looked at: without sure ones at its edge that are far smaller.

    What is like a face there is them.
    """
    if face.mesh is not None or face.score >= SURE:
        return image
    sure = (other for other in faces if other.mesh is not None and other.score >= SURE)
    beside = [other.box for other in sure if _is_beside(other, face)]
    if not beside:
        return image
    image = image.copy()
    for x1, y1, x2, y2 in np.round(beside).astype(int).clip(min=0):
        place = image[y1:y2, x1:x2]
        place[:] = place.mean(axis=(0, 1)) if place.size else 0
    return image


def _is_beside(other: Face, face: Face) -> bool:
    apart = np.abs(other.box[:2] + other.box[2:] - face.box[:2] - face.box[2:]).max() / 2
    return bool(other.size <= SMALLER * face.size and apart >= BESIDE * face.size)


def _may_be(face: Face, image: Image) -> bool:
    """Return whether a face is cut by the border of the picture, and sure, or nearly as large as that."""
    size = face.box[2:] - face.box[:2]
    inside = np.maximum(np.minimum(face.box[2:], image.shape[1::-1]) - np.maximum(face.box[:2], 0), 0)
    is_cut = inside.prod() < (1 - CUT) * size.prod()
    is_sure = face.mesh is not None and face.score >= SURE
    return bool(is_cut and (is_sure or size[0] >= FILLING * min(image.shape[:2])))


def _recent(
    places: list[tuple[float, Floats]], seconds: float, longest: float = RECALL_SECONDS
) -> list[tuple[float, Floats]]:
    return [(at, box) for at, box in places if 0 <= seconds - at < longest]


def _is_among(places: list[tuple[float, Floats]], face: Face, share: float = SAME_PLACE) -> bool:
    return bool(places) and bool((overlaps(face.box, np.stack([box for _, box in places]))[0] >= share).any())


def _judged(face: Face, likeness: float) -> Face | None:
    if likeness >= LIKE:
        return replace(face, score=max(face.score, SURE), is_verified=face.score >= SURE or likeness >= SURELY)
    if likeness >= VAGUE:
        return face
    if face.mesh is None and face.score >= CERTAIN and likeness >= NOTHING:
        return replace(face, score=GLIMPSED)
    if likeness >= NOTHING or (face.mesh is None and face.score >= SURE):  # CenterFace does not know every profile
        return replace(face, mesh=None, score=min(face.score, DOUBTED))  # a hint: a mesh there slid to something else
    return None


def _is_at(box: Floats, boxes: Floats) -> bool:
    ious, shares = overlaps(box, boxes)
    return bool(((ious > SAME_IOU) | (shares > SAME_SHARE)).any())
