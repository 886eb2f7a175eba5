"""Gives the faces of successive frames lasting ids, and keeps covering a face that the detector lost for a moment.

All motion is in pixels per second, so nothing here depends on the frame rate. Knows nothing of who a face is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from streamer.settings import COAST_SECONDS
from streamer.types import Face, Floats, Image, Track

GLIMPSE_SECONDS = 0.15  # the same for what was only ever seen doubtfully: most of it is a pattern of the background
CERTAIN_SCORE = 0.7  # from here one sighting is enough to coast in full: YuNet confirms 74 of 75 such detections
START_SCORE = 0.5  # a weaker face without a mesh, or beside a better one, starts no track at once: a hand, hair
HINTS = 3  # sightings of a weaker one, on one way, that make a face of it: profiles and passers-by
HINT_SECONDS = 0.35  # from one to the next, at most
START_SECONDS = 1.0  # time constant with which what is doubted forgets where it began: patterns drift, people walk
HINT_MOVE = 0.2  # face sizes, at least, on that way: what stands still and is doubtful is a pattern of the background
BODY = np.array([2.0, 0.4, 4.5])  # face sizes: how far beside, and from where to where below a sure face its body lies
BODY_PART = 2.5  # of that face's size: what is smaller, doubtful and on the body is a hand or clothes
VERIFIED_SECONDS = 1.0  # after which a verified face is to be verified anew: a pattern may have taken its place
RESET_SECONDS = 2.0  # after a longer gap nothing is where it was

REACH = 0.5  # face sizes: how far from its prediction a face may be found, plus
REACH_PER_SECOND = 8.0  # face sizes per second: at 10 frames per second 1.3 in all, where someone walking by moves 1.0
MAX_REACH = 1.5  # face sizes: beyond it, it is the neighbour
MAX_RATIO = 2.0  # of the sizes of one face in two sightings

VELOCITY_SECONDS = 0.1  # time constant of the velocity: a frame or three, so that one jumpy box does not throw a face
DAMPING_SECONDS = 0.3  # a lost face is followed at its velocity with this time constant, then waits
GROWTH_PER_SECOND = 0.6  # face sizes by which each side of a lost box moves out: 0.3 at the end of coasting
HIDDEN_SHARE = 0.75  # a lost box that lies this much under a seen one is covered with it
DOUBTED_SHARE = 0.25  # of what may be a face, under a seen one: neighbours overlap up to .17 (a clip of two)
HIDING_SECONDS = COAST_SECONDS  # after which a face that hid another one is taken to hide nobody any more

CUT_CORRELATION = 0.35  # of thumbnails, blind to brightness: real cuts .02 to .25, camera flashes from .50 (13 clips)
THUMBNAIL_SIDE = 24
BAR = 32.0  # grey level up to which an edge of the picture is a black bar: bars, alike in all scenes, hide cuts
FLAT_NOISE = 2.0  # grey levels; a thumbnail with less contrast (fade, black) says nothing about a cut


@dataclass(frozen=True, slots=True)
class TrackState:
    """What is remembered of one track.

    Attributes:
        id: The track's.
        face: As last seen.
        velocity: `(2,)` float32, pixels per second.
        seen: Time of the last sighting in seconds.
        coast_seconds: How long it is covered while it is lost; it is known again for `COAST_SECONDS`.
        hints: Sightings so far of what is not yet taken for a face; 0 once it is.
        start: `(2,)` float32, where it was first seen, in pixels; what is doubted forgets it bit by bit.
        sure: Time of the last sighting that was sure.
        hid: Time when another face last lay at its place that is not covered by itself.
        verified: Time of the last sighting that two networks agreed on.
    """

    id: int
    face: Face
    velocity: Floats
    seen: float
    coast_seconds: float
    hints: int
    start: Floats
    sure: float
    hid: float = -math.inf
    verified: float = -math.inf


class SceneCuts:
    """Notices in successive frames of one stream where another scene begins."""

    def __init__(self) -> None:
        self._thumbnail: Floats | None = None

    def __call__(self, image: Image) -> bool:
        """Return whether `image` shows another scene than the one before it; a flat one tells nothing."""
        new, old = thumbnail(image), self._thumbnail
        if not _shows(new):
            return False
        self._thumbnail = new
        return old is not None and correlation(*_without_bars(old, new)) < CUT_CORRELATION


class FaceTracker:
    """Follows the faces of one stream; ids count from 1 and are never reused, not even in another scene.

    Args:
        start_score: What a face without a mesh must reach to be followed from then on.
    """

    def __init__(self, start_score: float = START_SCORE) -> None:
        self._start_score = start_score
        self.starts_scene = True  # whether the last frame began a new scene
        self._states: list[TrackState] = []
        self._next_id = 1
        self._seconds = -math.inf
        self._cuts = SceneCuts()
        self._size: Floats | None = None  # of the pictures

    def verified(self, seconds: float) -> list[Face]:
        """Return where those faces should be at `seconds` that were verified in the last `VERIFIED_SECONDS`."""
        return [predicted(t, seconds) for t in self._states if 0 <= seconds - t.verified <= VERIFIED_SECONDS]

    def doubted(self, seconds: float, *, since: float) -> list[Face]:
        """Return where faces may be at `seconds` that are not known surely, or were not seen `since` then."""
        calm = (state for state in self._states if not state.hints and state.coast_seconds >= COAST_SECONDS)
        known = {state.id for state in calm if state.seen >= since}
        return [predicted(state, seconds) for state in self._states if state.id not in known]

    def steady(self, seconds: float, *, since: float) -> list[Face]:
        """Return where those sure faces should be at `seconds`, with their mesh, that were seen `since` then."""
        known = (t for t in self._states if not t.hints and t.seen >= since)
        return [_moved(state, seconds) for state in known]

    def update(self, faces: Sequence[Face], seconds: float, image: Image) -> list[Track]:
        """Return the tracks of this frame by id: those seen, and those lost a moment ago where they should be now.

        A lost face coasts for at least `COAST_SECONDS`, and for at least one frame. It is forgotten at a scene cut and
        when time goes backwards. After a gap of over `RESET_SECONDS` nobody is known again.

        Args:
            faces: What the detector found, in any order. Doubtful ones, under `START_SCORE` and without a mesh or
                overlapping a better one, become a track that is not sure, until `HINTS` of them make it so.
            seconds: Presentation time of the frame.
            image: `(H, W, 3)` uint8 RGB; only to notice a scene cut.
        """
        if not math.isfinite(seconds):
            raise ValueError(f"seconds must be finite, got {seconds}")
        self._resize(image)
        is_cut, gap = self._cuts(image), seconds - self._seconds
        self.starts_scene = is_cut or not 0 <= gap <= RESET_SECONDS
        if is_cut or gap < 0:
            self._states = []
        found = {} if self.starts_scene else match(self._states, faces, seconds)
        lost = [t for t in self._states if t.id not in found and self._may_coast(t, seconds)]
        matched = {id(face) for face in found.values()}
        clear = {id(face) for face in sure_faces(faces, self._start_score)}
        seen = [
            self._continued(t, f, seconds, is_confirmed=id(f) in clear) for t in self._states if (f := found.get(t.id))
        ]
        new = [face for face in faces if id(face) not in matched]
        seen += self._started([face for face in new if id(face) in clear], seconds, hints=0)
        doubted = [face for face in new if not (id(face) in clear or is_on_body(face, seen))]
        seen += self._started(doubted, seconds, hints=1)
        sure = [state for state in seen if not state.hints]
        under = {t.id: _over(predicted(t, seconds).box, sure, HIDDEN_SHARE) for t in lost if not t.hints}
        hiding = _over_doubted(faces, sure).union(*under.values())
        seen = [replace(t, hid=seconds) if t.id in hiding or t.face.hides else t for t in seen]
        shown = [t for t in lost if t.id in under and not under[t.id] and self._may_show(t, seconds)]
        self._seconds = seconds
        self._states = lost + seen
        tracks = [_seen(state, seconds) for state in seen] + [_coasting(state, seconds) for state in shown]
        return sorted(tracks, key=lambda track: track.id)

    def _resize(self, image: Image) -> None:
        """Move what is known along when the pictures become larger or smaller, as a browser's do."""
        size = np.array(image.shape[1::-1], np.float32)
        if self._size is not None and not np.array_equal(size, self._size):
            self._states = [_scaled(state, size / self._size) for state in self._states]
        self._size = size

    def _may_coast(self, state: TrackState, seconds: float) -> bool:
        known = HINT_SECONDS if state.hints else COAST_SECONDS
        seen_in_last_frame = state.seen == self._seconds  # at two frames per second, half a second would cover nothing
        return seconds - state.seen <= known or seen_in_last_frame

    def _may_show(self, state: TrackState, seconds: float) -> bool:
        return seconds - state.seen <= state.coast_seconds or state.seen == self._seconds

    def _started(self, faces: list[Face], seconds: float, *, hints: int) -> list[TrackState]:
        states = []
        for face in sorted(faces, key=lambda face: tuple(face.box)):
            still, (start,) = np.zeros(2, np.float32), _centres_and_sizes([face])[0]
            sure, verified = (seconds if is_so else -math.inf for is_so in (not hints, face.is_verified))
            lasting = COAST_SECONDS if _is_clear(face) else GLIMPSE_SECONDS
            state = TrackState(self._next_id, face, still, seconds, lasting, hints, start, sure, verified=verified)
            states.append(state)
            self._next_id += 1
        return states

    def _continued(self, state: TrackState, face: Face, seconds: float, *, is_confirmed: bool) -> TrackState:
        """Return `state` with one more sighting; from the first clear one on it may coast in full."""
        elapsed = seconds - state.seen
        velocity = state.velocity
        (before, now), (_, size) = _centres_and_sizes([state.face, face])
        if elapsed > 0:
            share = -math.expm1(-elapsed / VELOCITY_SECONDS)
            velocity = velocity + share * ((now - before) / elapsed - velocity)
        has_come = np.linalg.norm(now - state.start) >= HINT_MOVE * size
        hints = 0 if is_confirmed else _doubted_again(state, seconds, has_come=bool(has_come))
        start = (
            state.start if is_confirmed else state.start - math.expm1(-elapsed / START_SECONDS) * (now - state.start)
        )
        is_clear = _is_clear(face) or bool(state.hints and not hints) or self._start_score < START_SCORE
        lasting = COAST_SECONDS if is_clear else state.coast_seconds
        sure, verified = seconds if is_confirmed else state.sure, seconds if face.is_verified else state.verified
        velocity, start = velocity.astype(np.float32), start.astype(np.float32)
        return TrackState(state.id, face, velocity, seconds, lasting, hints, start, sure, state.hid, verified)


def alone(faces: Sequence[Face], start_score: float = START_SCORE) -> list[Track]:
    """Return the tracks of a picture with none before it: its sure faces, from the left, with ids from 1.

    Args:
        faces: What the detector found, in any order.
        start_score: As of `FaceTracker`.
    """
    sure = sorted(sure_faces(faces, start_score), key=lambda face: tuple(face.box))
    return [Track(number, face, 0.0) for number, face in enumerate(sure, 1)]


def sure_faces(faces: Sequence[Face], start_score: float) -> list[Face]:
    """Return the faces that one picture is enough to be sure of: by their score, or a mesh where no better one is."""
    certain = [face.box for face in faces if face.score >= START_SCORE]
    return [f for f in faces if f.score >= start_score or (f.mesh is not None and is_apart(f, certain))]


def match(states: Sequence[TrackState], faces: Sequence[Face], seconds: float) -> dict[int, Face]:
    """Return the face that continues each track, by id: nearest pairs first, sure tracks and faces before others."""
    if not states or not faces:
        return {}
    expected = [predicted(state, seconds) for state in states]
    centres, sizes = _centres_and_sizes(expected)  # (T, 2), (T,)
    face_centres, face_sizes = _centres_and_sizes(faces)  # (F, 2), (F,)
    scale = np.minimum(sizes[:, None], face_sizes[None])
    distance = np.linalg.norm(centres[:, None] - face_centres[None], axis=2) / scale  # (T, F)
    ratio = np.maximum(sizes[:, None], face_sizes[None]) / scale
    reach = np.array([min(MAX_REACH, REACH + REACH_PER_SECOND * (seconds - state.seen)) for state in states])
    pairs = np.argwhere((distance <= reach[:, None]) & (ratio <= MAX_RATIO))
    cost = distance + np.log2(ratio)
    found: dict[int, Face] = {}
    taken: set[int] = set()

    def order(pair: npt.NDArray[np.int64]) -> tuple[object, ...]:
        state, face = states[pair[0]], faces[pair[1]]
        # The box breaks ties, so that the order of `faces` never matters.
        return state.hints > 0, face.score < START_SCORE, cost[*pair], pair[0], tuple(face.box)

    for t, f in sorted(pairs, key=order):
        if states[t].id not in found and f not in taken:
            found[states[t].id] = faces[f]
            taken.add(f)
    return found


def predicted(state: TrackState, seconds: float) -> Face:
    """Return the face of `state`, without mesh, moved to where it should be at `seconds`.

    shift = velocity * d * (1 - exp(-t / d)),  t = seconds since seen, d = DAMPING_SECONDS
    """
    return replace(_moved(state, seconds), mesh=None)


def _moved(state: TrackState, seconds: float) -> Face:
    shift = state.velocity * DAMPING_SECONDS * -math.expm1(-(seconds - state.seen) / DAMPING_SECONDS)
    face = state.face
    mesh = None if face.mesh is None else face.mesh + np.array([*shift, 0], np.float32)
    return replace(face, box=face.box + np.tile(shift, 2), landmarks=face.landmarks + shift, mesh=mesh)


def is_on_body(face: Face, states: Sequence[TrackState]) -> bool:
    """Return whether `face` may be a hand or the clothes of somebody whose face is known: below it, and no larger."""
    known = [state.face for state in states if not state.hints]
    if not known:
        return False
    (centre,), (size,) = _centres_and_sizes([face])
    centres, sizes = _centres_and_sizes(known)
    beside, below = (centre - centres).T / sizes
    return bool(((np.abs(beside) < BODY[0]) & (below > BODY[1]) & (below < BODY[2]) & (size < BODY_PART * sizes)).any())


def is_apart(face: Face, boxes: Sequence[Floats]) -> bool:
    """Return whether `face` overlaps none of `boxes`: a mesh also fits hair and shoulders beside a face."""
    return not any((np.maximum(face.box[:2], box[:2]) < np.minimum(face.box[2:], box[2:])).all() for box in boxes)


def thumbnail(image: Image) -> Floats:
    """Return the green of `image` as `(24, 24)` float32, cheaply."""
    step = max(1, min(image.shape[:2]) // (4 * THUMBNAIL_SIDE))
    sparse = np.ascontiguousarray(image[::step, ::step, 1])
    small = cv2.resize(sparse, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of two thumbnails, in [-1, 1]; neither may be flat."""
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))


def _without_bars(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return two thumbnails less the rows and columns at their edges that are black in both, if both show anything."""
    lit = np.maximum(a, b) > BAR
    inside = np.ix_(_within(lit.any(axis=1)), _within(lit.any(axis=0)))
    return (a[inside], b[inside]) if _shows(a[inside]) and _shows(b[inside]) else (a, b)


def _within(lit: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the places from the first to the last that is lit."""
    places = np.flatnonzero(lit)
    return np.arange(places[0], places[-1] + 1) if len(places) else places


def _shows(thumbnail: Floats) -> bool:
    """Return whether there is anything to see."""
    return thumbnail.size > 0 and float(thumbnail.std()) >= FLAT_NOISE


def _is_clear(face: Face) -> bool:
    """Return whether one sighting is enough to cover a face for long: two networks agree, or one is certain."""
    return face.is_verified or face.score >= CERTAIN_SCORE


def _doubted_again(state: TrackState, seconds: float, *, has_come: bool) -> int:
    """Return how many hints there are of a face that is seen doubtfully once more, 0 if it is one all the same.

    What was once verified is a face as long as anything is found there; what was not must be seen surely, or move.
    """
    if not state.hints:
        is_face = has_come or state.verified > -math.inf or seconds - state.sure <= COAST_SECONDS
        return 0 if is_face else 1
    return 0 if state.hints + 1 >= HINTS and has_come else state.hints + 1


def _scaled(state: TrackState, by: Floats) -> TrackState:
    """Return `state` in pictures `by` `(2,)` times as wide and high."""
    face = replace(state.face, box=state.face.box * np.tile(by, 2), landmarks=state.face.landmarks * by, mesh=None)
    return replace(state, face=face, velocity=state.velocity * by, start=state.start * by)


def _seen(state: TrackState, seconds: float) -> Track:
    hides = seconds - state.hid <= HIDING_SECONDS
    return Track(state.id, state.face, 0.0, is_confirmed=not state.hints, hides=hides)


def _coasting(state: TrackState, seconds: float) -> Track:
    missed = seconds - state.seen
    face = predicted(state, seconds)
    margin = GROWTH_PER_SECOND * missed * face.size
    box = (face.box + margin * np.array([-1, -1, 1, 1])).astype(np.float32)
    return Track(state.id, replace(face, box=box), missed)


def _over(box: Floats, seen: Sequence[TrackState], share: float) -> set[int]:
    """Return which seen faces cover more than `share` of `box`, each by itself."""
    over = set()
    for state in seen:
        size = np.minimum(box[2:], state.face.box[2:]) - np.maximum(box[:2], state.face.box[:2])
        if np.maximum(size, 0).prod() > share * (box[2:] - box[:2]).prod():
            over.add(state.id)
    return over


def _over_doubted(faces: Sequence[Face], sure: Sequence[TrackState]) -> set[int]:
    """Return which seen faces lie over one of `faces` that is not sure, and is covered only as far as they are."""
    certain = {id(state.face) for state in sure}
    doubted = [face.box for face in faces if id(face) not in certain]
    return {state for box in doubted for state in _over(box, sure, DOUBTED_SHARE)}


def _centres_and_sizes(faces: Sequence[Face]) -> tuple[Floats, Floats]:
    boxes = np.stack([face.box for face in faces])
    return (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1e-3)
