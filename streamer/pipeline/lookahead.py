"""Holds frames back for a moment, so that a face found in a later one is covered in the earlier ones too.

Detectors find a face some frames after it came, and lose it now and then. Knows where faces are, not what they show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.faces.track import GROWTH_PER_SECOND, START_SCORE
from streamer.settings import COAST_SECONDS, HELD_BYTES
from streamer.types import Face, Floats, Frame, Image, Policy, Track, TrackedFrame, Traits

DRAWN_GAP_SECONDS = 0.14  # a face seen before and after so short a gap is drawn through it: three frames at 25 a second
DRAWN_GAP_MOVE = 0.3  # face sizes: unless it moved further, or the straight line between may miss it
LEAP_SECONDS = 0.3  # between two sightings, at most, of who runs too far for a tracker: it makes two people of them
LEAP_PER_SECOND, MAX_LEAP = 75.0, 4.5  # face sizes: how far in that time, such as where a camera sweeps over somebody
LEAP_RATIO = 1.6  # of both sizes
BEYOND_SECONDS = 0.2  # for which they ran before the first sighting, and run on after the last
NO_FACE_YET = "new scene, no face found yet"


@dataclass(slots=True)
class _Held:
    """A frame held back, with the tracks known so far, by id."""

    seen: TrackedFrame
    tracks: dict[int, Track]
    failed: str

    @property
    def seconds(self) -> float:
        return self.seen.frame.seconds

    def sees(self, track_id: int) -> bool:
        return track_id in self.tracks and self.tracks[track_id].missed_seconds == 0

    def sees_a_face(self) -> bool:
        return any(self.sees(track.id) and track.is_confirmed for track in self.tracks.values())

    def released(self, sure: set[int], traits: Mapping[int, Traits | None]) -> TrackedFrame:
        known = ((n, track) for n, track in sorted(self.tracks.items()) if n < 0 or n in sure)
        tracks = tuple(replace(track, is_confirmed=True, traits=traits.get(n, track.traits)) for n, track in known)
        return replace(self.seen, tracks=tracks, failed=self.failed)


class LookAhead:
    """A delay line for one stream.

    Args:
        delay_seconds: By how much each frame is late, in its own time; 0 passes frames on as they come.
        policy: "strict" also covers whole frames between a cut and the first face after it, as far as the delay goes.
        describe: Adds what tracks look like; asked once for each look at a frame, in order, and not before a frame is
            to be released, so that it may take its time to begin.
    """

    def __init__(
        self, delay_seconds: float, policy: Policy, describe: Callable[[TrackedFrame], TrackedFrame] = lambda seen: seen
    ) -> None:
        if not 0.0 <= delay_seconds < float("inf"):
            raise ValueError(f"a delay must be 0 or more seconds, got {delay_seconds}")
        self._delay, self._policy = delay_seconds, policy
        self._held: deque[_Held] = deque()
        self._describe, self._undescribed = describe, deque[_Held]()
        self._runners = Runners()

    def __call__(self, frames: Iterable[TrackedFrame]) -> Iterator[TrackedFrame]:
        """Yield each frame once, in order, with the tracks that later ones revealed; what comes twice counts anew."""
        try:
            for seen in frames:
                yield from self._pass(seen)
        except Exception:  # what came before it is whole
            yield from self._release_all()
            raise
        yield from self._release_all()

    def _pass(self, seen: TrackedFrame) -> Iterator[TrackedFrame]:
        if self._held and seen.frame.seconds < self._newest.seconds:
            yield from self._release_all()  # time went back: another recording begins
        if self._held and self._held[-1].seen.frame is seen.frame:
            self._held.pop()  # it was looked at once more
        self._hold(seen)
        room = max(1, HELD_BYTES // max(seen.frame.image.nbytes, 1))
        while self._held and (self._age >= self._delay - 1e-6 or len(self._held) > room):
            yield self._release()

    def _release(self) -> TrackedFrame:
        """Return the oldest frame, with the tracks that are sure by now, and what is known of them by now."""
        self._describe_held()
        sure = {track.id for held in self._held for track in held.seen.tracks if track.is_confirmed}
        traits = {track.id: track.traits for held in self._held for track in held.seen.tracks}  # the newest are last
        return self._held.popleft().released(sure, traits)

    def _describe_held(self) -> None:
        while self._undescribed:
            held = self._undescribed.popleft()
            held.seen = self._describe(held.seen)
            held.failed = held.failed or held.seen.failed

    def _hold(self, seen: TrackedFrame) -> None:
        self._held.append(_Held(seen, {track.id: track for track in seen.tracks}, seen.failed))
        self._undescribed.append(self._held[-1])
        past = self._past()
        new = [track for track in seen.tracks if track.missed_seconds == 0]
        for track in new:
            self._reveal(track, past)
        for way in self._runners(seen):
            self._cover_way(way, past)
        for way in self._runners.running:
            self._cover_way(way, [self._held[-1]])
        if self._policy == "strict" and self._held[-1].sees_a_face() and past and past[0].seen.starts_scene:
            self._cover_unsearched(past)

    def _cover_unsearched(self, past: Sequence[_Held]) -> None:
        """Cover whole the frames of a scene in which no face was found until now."""
        if not any(held.sees_a_face() for held in past):
            for held in past:
                held.failed = held.failed or NO_FACE_YET

    @property
    def _oldest(self) -> Frame:
        return self._held[0].seen.frame

    @property
    def _newest(self) -> Frame:
        return self._held[-1].seen.frame

    @property
    def _age(self) -> float:
        return self._newest.seconds - self._oldest.seconds

    def _release_all(self) -> Iterator[TrackedFrame]:
        while self._held:
            yield self._release()

    def _past(self) -> list[_Held]:
        """Return the frames before the newest that show the same scene in the same size, oldest first."""
        size = self._newest.image.shape
        starts = [n for n, held in enumerate(self._held) if held.seen.starts_scene]
        starts += [n + 1 for n, held in enumerate(self._held) if held.seen.frame.image.shape != size]
        return list(self._held)[max(starts, default=0) : -1]

    def _reveal(self, track: Track, past: Sequence[_Held]) -> None:
        """Cover `track`, seen in the newest frame, in those before it."""
        sightings = [n for n, held in enumerate(past) if held.sees(track.id)]
        if sightings:
            self._bridge(track, past[sightings[-1] :])
        if len(sightings) == 1:
            self._cover_before(past[: sightings[0]], past[sightings[0]], track)
        elif not sightings:
            self._cover_before(past, self._held[-1], track)
        if track.hides:
            self._hide_before(track, past)

    def _hide_before(self, track: Track, past: Sequence[_Held]) -> None:
        """Let `track` hide another face in the moment before that one was found, too."""
        for held in past:
            known = held.tracks.get(track.id)
            if known and self._newest.seconds - held.seconds <= COAST_SECONDS:
                held.tracks[track.id] = replace(known, hides=True)

    def _bridge(self, track: Track, past: Sequence[_Held]) -> None:
        """Put `track` on the way from its last sighting, in the first of `past`, to where it is now."""
        start, end = past[0].seconds, self._newest.seconds
        known = past[0].tracks[track.id].face
        is_confirmed = end - start <= DRAWN_GAP_SECONDS and _moved(known, track.face) <= DRAWN_GAP_MOVE
        for held in past[1:]:
            face = between(known, track.face, (held.seconds - start) / (end - start))
            if not is_confirmed or face.mesh is None:
                face = grown(face, min(held.seconds - start, end - held.seconds))
            held.tracks[track.id] = Track(track.id, face, held.seconds - start)

    def _cover_way(self, way: Way, frames: Sequence[_Held]) -> None:
        """Cover in `frames` who took `way`, as far as they are in the picture; whose sightings it joins stay as is."""
        for held in frames:
            track = way.at(held.seconds)
            if track and _in_picture(track.face.box, held.seen.frame.image):
                held.tracks[way.id] = track

    def _cover_before(self, past: Sequence[_Held], first: _Held, now: Track) -> None:
        """Cover in `past` a track seen in `first`, and maybe `now` again, which tells where it came from.

        It is where it would be had it come straight, or stood still, or where it was thought to be: the box holds all,
        as far as it is in the picture.
        """
        face, elapsed = first.tracks[now.id].face, self._newest.seconds - first.seconds
        velocity = (_centre(now.face) - _centre(face)) / elapsed if elapsed > 0 else np.zeros(2, np.float32)
        for held in past:
            missing = first.seconds - held.seconds
            if missing <= COAST_SECONDS or held is past[-1]:  # at two frames a second, half a second would be nothing
                still, known = grown(face, missing).box, held.tracks.get(now.id)
                way = _hull([still, still - np.tile(velocity * missing, 2)])
                boxes = [still, _within(way, held.seen.frame.image, face.size), *([known.face.box] if known else [])]
                since = known.missed_seconds if known else -missing
                held.tracks[now.id] = Track(now.id, replace(face, box=_hull(boxes), mesh=None), since)


@dataclass(frozen=True, slots=True)
class Way:
    """From where somebody was seen, once, to where somebody new was soon after, who may be the same.

    Attributes:
        id: Below 0, and never used again: it is nobody's track.
        start: Who was seen first, at the time `began` in seconds.
        end: Who was seen after, at the time `ended`.
    """

    id: int
    start: Track
    end: Track
    began: float
    ended: float

    def at(self, seconds: float) -> Track | None:
        """Return who took that way where they were at `seconds`, grown and without mesh; None where they are seen."""
        since, until = seconds - self.began, self.ended - seconds
        apart = min(abs(since), abs(until))
        if apart < 1e-6 or min(since, until) < -BEYOND_SECONDS:
            return None
        a, b, share = self.start.face, self.end.face, since / (self.ended - self.began)
        nearest = min(max(share, 0.0), 1.0)
        face = grown(between(a, b, nearest), apart)
        beyond = np.tile((share - nearest) * (_centre(b) - _centre(a)), 2)
        return Track(self.id, replace(face, box=face.box + beyond), since if until >= 0 else -until)


class Runners:
    """Notices in successive frames of one stream who may have run from one place to another."""

    def __init__(self) -> None:
        self.running: list[Way] = []  # taken a moment ago, by people who are not seen since
        self._once: dict[int, tuple[Track, float]] = {}
        self._last_id, self._next_way = 0, -1

    def __call__(self, seen: TrackedFrame) -> list[Way]:
        """Return the ways that end in this frame. All is forgotten where a scene begins."""
        now, found = seen.frame.seconds, [track for track in seen.tracks if track.missed_seconds == 0]
        if seen.starts_scene:
            self._once, self.running = {}, []
        again = {track.id for track in found if track.id <= self._last_id and _is_sure(track)}
        self._once = {n: (t, s) for n, (t, s) in self._once.items() if n not in again and 0 < now - s <= LEAP_SECONDS}
        new = [track for track in found if track.id > self._last_id and _is_sure(track)]
        ways = self._ways(new, now)
        gone_on = again.union(way.start.id for way in ways)
        self.running = [way for way in self.running if way.end.id not in gone_on and now - way.ended <= BEYOND_SECONDS]
        self.running += ways
        self._once |= {track.id: (track, now) for track in new}
        self._last_id = max([self._last_id, *(track.id for track in seen.tracks)])
        return ways

    def _ways(self, new: Sequence[Track], now: float) -> list[Way]:
        """Return the ways on which those who are new may have come, the shortest first; nobody went two ways."""
        pairs = [
            (_leap(old.face, track.face, now - s), old, track, s) for old, s in self._once.values() for track in new
        ]
        ways: list[Way] = []
        for leap, old, track, began in sorted(pairs, key=lambda pair: (pair[0], pair[1].id, pair[2].id)):
            if leap < np.inf and not any(old.id == way.start.id or track.id == way.end.id for way in ways):
                ways.append(Way(self._next_way, old, track, began, now))
                self._next_way -= 1
        return ways


def _is_sure(track: Track) -> bool:
    return track.is_confirmed and track.face.score >= START_SCORE


def _leap(a: Face, b: Face, seconds: float) -> float:
    """Return how far `b` is from `a`, in face sizes; infinite where nobody gets in that time, or nobody so large."""
    distance, ratio = _moved(a, b), max(a.size, b.size) / max(min(a.size, b.size), 1e-3)
    return distance if distance <= min(MAX_LEAP, LEAP_PER_SECOND * seconds) and ratio <= LEAP_RATIO else float("inf")


def between(a: Face, b: Face, share: float) -> Face:
    """Return the face on the straight way from `a`, at 0, to `b`, at 1; without a mesh unless both have one."""
    mesh = None if a.mesh is None or b.mesh is None else _mixed(a.mesh, b.mesh, share)
    return Face(_mixed(a.box, b.box, share), _mixed(a.landmarks, b.landmarks, share), mesh, min(a.score, b.score))


def grown(face: Face, seconds: float) -> Face:
    """Return `face` as one box without mesh, wider by what it may have moved in `seconds`."""
    margin = np.float32(GROWTH_PER_SECOND * seconds * face.size)
    return replace(face, box=face.box + margin * np.array([-1, -1, 1, 1], np.float32), mesh=None)


def _hull(boxes: Sequence[Floats]) -> Floats:
    """Return the smallest box that holds `boxes`."""
    corners = np.stack(boxes).reshape(-1, 2, 2)
    return np.asarray([*corners[:, 0].min(axis=0), *corners[:, 1].max(axis=0)], np.float32)


def _within(box: Floats, image: Image, margin: float) -> Floats:
    """Return what of `box` is in a picture or up to `margin` pixels beside it."""
    ends = np.array([*image.shape[1::-1]] * 2, np.float32) + margin
    return np.asarray(np.clip(box, -margin, ends), np.float32)


def _in_picture(box: Floats, image: Image) -> bool:
    """Return whether any of `box` is in a picture."""
    height, width = image.shape[:2]
    return bool(box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0)


def _mixed(a: Floats, b: Floats, share: float) -> Floats:
    return np.asarray(a + np.float32(share) * (b - a), np.float32)


def _centre(face: Face) -> Floats:
    """Return the middle of the box of `face`, `(2,)`."""
    return np.asarray((face.box[:2] + face.box[2:]) / 2, np.float32)


def _moved(a: Face, b: Face) -> float:
    """Return how far a face moved, in sizes of the smaller sighting."""
    return float(np.linalg.norm(_centre(a) - _centre(b))) / max(min(a.size, b.size), 1e-3)
