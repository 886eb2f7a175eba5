"""Adds the faces that are too small for `streamer.faces.detect`: all of a picture's, and in a video as time allows.

In a video every place is looked at every `LOOK_SECONDS`, coarsely, which costs a few milliseconds a frame. Where that
shows anything that the detector did not see, the place is looked at more closely and more often. In between, the
tracker follows, and looking ahead (`streamer.pipeline.lookahead`) covers what came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streamer.cores import beside
from streamer.faces.center_face import CLEAR, GRAIN, LEAST, CenterFace, best, grid
from streamer.faces.detect import (
    LEAST_SCORE,
    SAME_IOU,
    SAME_SHARE,
    SURE,
    Candidate,
    FaceDetector,
    drop_nested,
    estimated_points,
    overlaps,
    same_points,
    without_mesh,
)
from streamer.faces.looks import View
from streamer.faces.track import MAX_RATIO, SceneCuts
from streamer.settings import HELD_BYTES
from streamer.types import Face, Floats, Image

PICTURE_LEAST = 20.0  # pixels: the least face of a picture; 12 megapixels take 2 s of one core
VIDEO_LEAST = 30.0  # pixels: the least face of a video that is looked for everywhere
CLOSER = 1.5  # how much smaller faces are found around those that the detector did not see

LOOK_SECONDS = 0.4  # from one look at a place to the next: below COAST_SECONDS and the default delay; see `_pause`
CLOSE_SECONDS = 0.125  # the same for a close look: three frames at 25 a second
BUSY_SECONDS = 1.0  # a place is looked at closely so long after a small face was last seen there
CLOSE_TILES = 1  # per frame, 21 ms of one core each; the longest waiting first, and none waits over `LOOK_SECONDS`
SELDOM_SECONDS = 0.09  # between frames, from which on every place is looked at in each: people walk by their own width
BREAK_SECONDS = 2.0  # after a longer gap all is new


@dataclass(frozen=True, slots=True)
class Searched:
    """How small a face was really looked for.

    Attributes:
        least_face: Pixels from ear to ear of the least face that was looked for everywhere.
        least_among_others: The same where other small faces were; None of pictures.
        longest_gap_seconds: For which a place of a video went without a look, at most; None of pictures.
    """

    least_face: float
    least_among_others: float | None = None
    longest_gap_seconds: float | None = None

    def __str__(self) -> str:
        if self.least_among_others is None:
            return f"everywhere for faces of {self.least_face:g} pixels and more"
        often = f"every {self.longest_gap_seconds:.2f} s" if self.longest_gap_seconds else "once"
        among = f"of {self.least_among_others:g} and more among other small ones"
        return f"everywhere at least {often} for faces of {self.least_face:g} pixels and more, {among}"


@dataclass(slots=True)
class Search:
    """How small a face was looked for, and what came of it; shared by the streams of a run.

    Attributes:
        least: Pixels from ear to ear that were asked for; None for `PICTURE_LEAST` and `VIDEO_LEAST`.
        longest_gap: Seconds for which a place of a video went without a look, at most.
    """

    least: float | None = None
    longest_gap: float = 0.0

    @property
    def in_pictures(self) -> float:
        """The least face of a picture, in pixels."""
        return self.least or PICTURE_LEAST

    @property
    def in_video(self) -> float:
        """The least face of a video, in pixels."""
        return self.least or VIDEO_LEAST

    def report(self, *, unrelated: bool) -> Searched:
        """Return what was searched; `unrelated` says that the frames were pictures, each for itself."""
        if unrelated:
            return Searched(self.in_pictures)
        return Searched(self.in_video, round(self.in_video / CLOSER, 1), round(self.longest_gap, 3))


@dataclass(slots=True)
class _Place:
    """One tile of a video, with times in seconds: of the last look at it, and until when the looks are close."""

    view: View
    looked: float = -math.inf
    busy: float = -math.inf


class SmallFaces:
    """What of one stream is looked at when; for one thread at a time.

    Args:
        search: What is looked for, and where to note what came of it.
        network: May be shared with others in the same thread.
        frame_seconds: Between the frames of a live stream, as it is sent; None where none is left out.
    """

    def __init__(self, search: Search, network: CenterFace, frame_seconds: float | None = None) -> None:
        self._search, self._network, self._frame_seconds = search, network, frame_seconds
        self._cuts = SceneCuts()
        self._places: list[_Place] = []
        self._close_shape = self._coarse_shape = (0, 0)
        self._size, self._seconds, self._began = (0, 0), -math.inf, -math.inf
        self._pause = LOOK_SECONDS  # from one look at a place to the next: no frame is to be shown in between

    def in_picture(self, image: Image, near: Sequence[Face], detector: FaceDetector) -> list[Face]:
        """Return the faces of a picture: `near`, which the detector found, and the small ones, with meshes.

        What may be a face counts as one here: nothing later will tell.

        Raises:
            AnonymizerError: When a network fails.
        """
        cut = grid(image.shape[1], image.shape[0], least=self._search.in_pictures)
        found = best([face for view in cut.views for face in self._network(image, view, cut.shape)])
        known, new = joined(near, [replace(c, score=max(SURE, as_ours(c.score))) for c in found])
        fitted = detector.fit(image, new) if new else []
        added = [replace(face, score=max(face.score, c.score)) for face, c in zip(fitted, new, strict=True)]
        return drop_nested([*known, *added])

    def in_frame(
        self,
        image: Image,
        search: Callable[[], Sequence[Face]],
        *,
        followed: Sequence[Face] = (),
        seconds: float,
    ) -> list[Face]:
        """Return the faces of a frame of a video: the detector's, and the small ones of the places whose turn it is.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            search: Returns what the detector finds; called while the network looks at the places.
            followed: Known faces where it did not look; among what is returned only if they hide something.
            seconds: Presentation time.

        Raises:
            AnonymizerError: When the network fails.
            Exception: What `search` raised.
        """
        step = self._step(image, seconds)
        places = self._due(seconds, step)
        if not places:
            return list(search())
        seen, near = beside(lambda: [self._first_look(image, place, seconds) for place in places], search)
        others = [*near, *followed]
        looks = zip(places, seen, strict=True)
        found = best([c for place, first in looks for c in self._look(image, place, first, others, seconds=seconds)])
        known, new = joined(others, [replace(c, score=as_ours(c.score)) for c in found])
        for place in places:
            if any(_is_in(c, place.view) for c in new):
                place.busy = seconds + BUSY_SECONDS
        unseen = {id(face) for face in known[len(near) :] if not face.hides}
        whole = drop_nested([*known, *(without_mesh(c, c.score) for c in new)])
        return [face for face in whole if id(face) not in unseen]

    def _step(self, image: Image, seconds: float) -> float:
        """Return the seconds since the last frame, 0 where all is new."""
        height, width = image.shape[:2]
        size, step = (width, height), seconds - self._seconds
        self._seconds = seconds
        if self._cuts(image) or size != self._size or not 0 < step <= BREAK_SECONDS:
            self._begin(size)
            self._began = seconds
            return 0.0
        self._pause = min(LOOK_SECONDS, HELD_BYTES // max(image.nbytes, 1) * step)
        if (self._frame_seconds or step) >= SELDOM_SECONDS:
            self._pause = 0.0
        return step

    def _begin(self, size: tuple[int, int]) -> None:
        """Plan for frames of another size or scene: all places are to be looked at in the next one."""
        cut = grid(*size, least=self._search.in_video / CLOSER)
        self._places = [_Place(view) for view in cut.views]
        down, across = (math.ceil(side / CLOSER / GRAIN) * GRAIN for side in cut.shape)
        self._close_shape, self._coarse_shape, self._size = cut.shape, (down, across), size

    def _due(self, seconds: float, step: float) -> list[_Place]:
        """Return the places that would have waited too long by the next frame, which is `step` seconds away."""
        by_wait = sorted(self._places, key=lambda place: place.looked)
        due = [place for place in by_wait if seconds - place.looked + step > self._pause + 1e-6]
        busy = [p for p in by_wait if p.busy >= seconds and seconds - p.looked + step > CLOSE_SECONDS + 1e-6]
        return due + [place for place in busy if place not in due][: max(0, CLOSE_TILES - len(due))]

    def _first_look(self, image: Image, place: _Place, seconds: float) -> list[Candidate]:
        """Return what is seen at one place, closely where small faces were; whatever the detector sees."""
        return self._network(image, place.view, self._close_shape if place.busy >= seconds else self._coarse_shape)

    def _look(
        self, image: Image, place: _Place, first: list[Candidate], near: Sequence[Face], *, seconds: float
    ) -> list[Candidate]:
        """Return what is seen at one place: what the `first` look saw, or a close one if that is more than `near`."""
        self._note_look(place, seconds)
        if place.busy >= seconds or not joined(near, first)[1]:
            return first
        return self._network(image, place.view, self._close_shape)

    def _note_look(self, place: _Place, seconds: float) -> None:
        if place.looked == -math.inf:  # as if they had been looked at in turns, so that from now on they are
            place.looked = seconds - LOOK_SECONDS * self._places.index(place) / len(self._places)
            return
        gap = seconds - max(place.looked, self._began)
        self._search.longest_gap = max(self._search.longest_gap, gap)
        place.looked = seconds


def as_ours(heat: float) -> float:
    """Return CenterFace's score as one of MediaPipe's: `CLEAR` is `SURE`, `LEAST` is the least there."""
    if heat >= CLEAR:
        return min(1.0, SURE + heat - CLEAR)
    return LEAST_SCORE + (SURE - LEAST_SCORE) * (heat - LEAST) / (CLEAR - LEAST)


def joined(near: Sequence[Face], found: Sequence[Candidate]) -> tuple[list[Face], list[Candidate]]:
    """Return `near`, those of them surer that were found again, and of `found` those that are others.

    What lies at the place of one of `near` but has its eyes elsewhere may be another face: that one hides it.
    """
    known, new = list(near), list[Candidate]()
    boxes = np.array([face.box for face in near], np.float32).reshape(-1, 4)
    for candidate in found:
        again = np.flatnonzero(_is_same(candidate.box, boxes)).tolist()
        for n in again:
            face, points = known[n], estimated_points(candidate.keypoints)
            hides = not same_points(points, face.landmarks, min(face.size, candidate.box[2] - candidate.box[0]))
            known[n] = replace(face, score=max(face.score, candidate.score), hides=face.hides or hides)
        if not again:
            new.append(candidate)
    return known, new


def _is_same(box: Floats, boxes: Floats) -> npt.NDArray[np.bool_]:
    ious, shares = overlaps(box, boxes)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (box[2:] - box[:2]).prod()
    alike = (areas < MAX_RATIO**2) & (areas > MAX_RATIO**-2)
    return np.asarray((ious > SAME_IOU) | ((shares > SAME_SHARE) & alike))


def _is_in(candidate: Candidate, view: View) -> bool:
    x, y = (candidate.box[:2] + candidate.box[2:]) / 2
    return bool(view[0] <= x <= view[2] and view[1] <= y <= view[3])
