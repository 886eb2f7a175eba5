"""Compares what is drawn with whom it was drawn over, and says which faces must not be shown. Sees both, keeps neither.

The last check before a frame leaves: whatever the network did, a face that is taken for the person is covered. Judged
is each look by itself, and all looks of a track together: one small or dim look tells little, the mean of several more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch

from models.identity.recognizer import TOO_LIKE, TOO_LIKE_TO_RERANKER, FaceRecognizer
from streamer.faces.detect import overlaps
from streamer.render.embed import FaceEmbedder
from streamer.types import Floats, GuardReport, Image, Track

CHECK_SECONDS = 0.3  # between two comparisons of one track; a new face, or a new stranger, is compared at once
CLOSE, CLOSE_SECONDS = 0.2, 0.1  # the cosine from which on a face is watched more closely, and how often then
PERSON_SECONDS = 0.1  # for so long a look at the person is good: who they are changes less than what is drawn
CLOSEST = 0.25  # from which on it is compared in every frame by whom finds it so like, or close at least
JUMPED = 0.5  # overlap of a track's box with its last, below which somebody else may be there: after a cut, say
MAX_LOOKS = 8  # in a running mean; from then on it follows, as faces change with light and pose
LONG_AGO = float("-inf")
MAX_CHECKS = 2  # tracks compared in one frame, so that a crowd costs no more than a pair; the longest unchecked first


@dataclass(slots=True)
class _Mean:
    """The running mean of embeddings of one face."""

    embedding: Floats
    looks: int = 0

    def add(self, look: Floats) -> None:
        """Count one more look `(D,)`; one that is no number is not counted."""
        if np.isfinite(look).all():
            self.looks = min(self.looks + 1, MAX_LOOKS)
            self.embedding = self.embedding + (look - self.embedding) / self.looks


@dataclass(slots=True)
class _Watched:
    """Who a track is, and what was drawn of its stranger.

    Attributes:
        person: All looks at them.
        stranger: All looks at what was drawn.
        look: At the person, the last.
        looked: When that was.
        compared: When the stranger was compared last; long ago where that is due.
        pause: Until they are compared again.
    """

    person: _Mean
    stranger: _Mean
    look: Floats
    looked: float = LONG_AGO
    compared: float = LONG_AGO
    pause: float = 0.0

    def see(self, look: Floats, seconds: float) -> None:
        """Count one more look at the person; one that is no number is good for this time alone."""
        self.person.add(look)
        self.look, self.looked = look, seconds if np.isfinite(look).all() else LONG_AGO

    def judge(self, stranger: Floats) -> float:
        """Return the likeness of this look, or of all looks together if that is greater; not a number if either is."""
        self.stranger.add(stranger)
        a, b = self.person.embedding, self.stranger.embedding
        together = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6)
        return float(np.maximum(self.look @ stranger, together))


@dataclass(frozen=True, slots=True)
class Compared:
    """What a look at drawn faces found: the tracks that are too alike, and the figures."""

    alike: list[Track]
    report: GuardReport


class _Opinion:
    """What a recogniser makes of the tracks, each look by itself and all together.

    Args:
        embedder: With the recogniser.
        limit: Cosine over which it takes a face for the person's; None for what `Guard.check` is given.
    """

    def __init__(self, embedder: FaceEmbedder, limit: float | None = None) -> None:
        self.embedder, self.limit = embedder, limit
        self._watched: dict[int, _Watched] = {}  # by track

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._watched = {track: watched for track, watched in self._watched.items() if track in alive}

    def forget_stranger(self, track: int) -> None:
        """Judge the next stranger of a track by its own looks, at once; who the person is, is remembered."""
        watched = self._watched[track]
        watched.stranger, watched.compared = _Mean(np.zeros(1, np.float32)), LONG_AGO

    def compare(self, crop: Callable[[int, bool], Image], tracks: Sequence[Track], seconds: float) -> dict[int, float]:
        """Return how like the person the drawn faces are that are due, now or all in all: cosines by track.

        `crop` cuts out the face of a track, of the person or as it was drawn.
        """
        nothing = np.zeros(1, np.float32)
        for track in tracks:
            self._watched.setdefault(track.id, _Watched(_Mean(nothing), _Mean(nothing), nothing))
        due = self._due([track.id for track in tracks], seconds)
        unseen = [n for n in due if not 0.0 <= seconds - self._watched[n].looked < PERSON_SECONDS]
        crops = [crop(n, False) for n in unseen] + [crop(n, True) for n in due]
        embeddings = self.embedder.embed(crops).cpu().numpy() if crops else ()
        for n, look in zip(unseen, embeddings[: len(unseen)], strict=True):
            self._watched[n].see(look, seconds)
        return {n: self._watched[n].judge(look) for n, look in zip(due, embeddings[len(unseen) :], strict=True)}

    def _due(self, tracks: Sequence[int], seconds: float) -> list[int]:
        """Return which of the tracks are to be compared now."""
        since = {n: seconds - self._watched[n].compared for n in tracks}
        new = [n for n in tracks if since[n] == -LONG_AGO]
        old = [n for n in tracks if n not in new and since[n] >= self._watched[n].pause]
        old.sort(key=since.__getitem__, reverse=True)
        return new + old[: max(0, MAX_CHECKS - len(new))]

    def rest(self, track: int, own: float | None, closest: float, seconds: float) -> None:
        """Leave a track in peace for a while.

        Args:
            track: Its number.
            own: How like the person it has just been found; None where it was not compared.
            closest: The most that any recogniser has found.
            seconds: Presentation time.
        """
        watched = self._watched[track]
        pause = CLOSE_SECONDS if closest > CLOSE else CHECK_SECONDS
        if own is None:
            watched.pause = min(watched.pause, pause)
        else:
            watched.pause, watched.compared = 0.0 if own > CLOSE and closest > CLOSEST else pause, seconds


class Guard:
    """Watches the drawn faces of one stream.

    Args:
        recognizer: Prepared, on `device`.
        device: Where crops go.
        reranker: A finer one, asked as well: nobody is shown either whom it takes for the person.
    """

    # Cosines over which a first, a second and a third stranger is not shown; the first are less, as another stranger
    # costs little. Of 320 photos of LFW made small, dim or turned, 96 to 97 in 100 pairs of one person lie over .3, and
    # 1 to 2 in 100 of strangers; over .35, 93 and less than 1. Made small, dim and compressed at once, 76 and 66 in 100
    # looks of one person do by themselves, and 92 and 89 of the means of four.
    limits: ClassVar = (0.3, 0.3, TOO_LIKE)

    def __init__(
        self, recognizer: FaceRecognizer, device: torch.device, reranker: FaceRecognizer | None = None
    ) -> None:
        self.embedder = FaceEmbedder(recognizer, device)
        self._opinions = [_Opinion(self.embedder)]
        if reranker:
            self._opinions.append(_Opinion(FaceEmbedder(reranker, device), TOO_LIKE_TO_RERANKER))
        self._boxes: dict[int, Floats] = {}  # where each was last

    def warm_up(self) -> None:
        """Run the recognisers once: their first run is slow."""
        for opinion in self._opinions:
            opinion.embedder.warm_up()

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._boxes = {track: box for track, box in self._boxes.items() if track in alive}
        for opinion in self._opinions:
            opinion.keep_only(alive)

    def check(
        self, original: Image, drawn: Image, tracks: Sequence[Track], *, seconds: float, limit: float
    ) -> Compared:
        """Return the tracks whose drawn face is still taken for the person's; they are due again at once.

        Args:
            original: `(H, W, 3)` uint8 RGB.
            drawn: The frame with new faces.
            tracks: Those drawn.
            seconds: Presentation time.
            limit: Cosine of the recogniser over which a face is taken for the person's.
        """
        self._forget_jumped(tracks)
        faces = {track.id: track.face for track in tracks}

        @cache
        def cut(track: int, is_drawn: bool) -> Image:
            return self.embedder.crop(drawn if is_drawn else original, faces[track])

        found = [opinion.compare(cut, tracks, seconds) for opinion in self._opinions]
        limits = [limit if opinion.limit is None else opinion.limit for opinion in self._opinions]
        compared = [track for track in tracks if any(track.id in scores for scores in found)]
        alike = [track for track in compared if not _passes(track.id, found, limits)]
        for track in compared:
            closest = max(scores.get(track.id, -1.0) for scores in found)
            for opinion, scores in zip(self._opinions, found, strict=True):
                opinion.rest(track.id, scores.get(track.id), closest, seconds)
        for opinion in self._opinions:
            for track in alike:
                opinion.forget_stranger(track.id)
        passed = found[0].keys() - {track.id for track in alike}
        highest = max([-1.0, *(found[0][track] for track in passed)])
        return Compared(alike, GuardReport(len(compared), len(alike), highest))

    def _forget_jumped(self, tracks: Sequence[Track]) -> None:
        """Take tracks that are suddenly elsewhere for new ones."""
        boxes = {track.id: track.face.box for track in tracks}
        jumped = {n for n, box in boxes.items() if n in self._boxes and _overlap(box, self._boxes[n]) < JUMPED}
        if jumped:
            self.keep_only(self._boxes.keys() - jumped)
        self._boxes |= boxes


def _passes(track: int, found: Sequence[dict[int, float]], limits: Sequence[float]) -> bool:
    """Return whether nobody who compared a track takes it for the person; one that is no number is too like."""
    return all(scores.get(track, -1.0) <= limit for scores, limit in zip(found, limits, strict=True))


def _overlap(box: Floats, other: Floats) -> float:
    """Return the area of both over that of their union."""
    return float(overlaps(box, other[None])[0][0])
