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
CLOSEST = 0.25  # from which on whoever finds it so like compares it in every frame
JUMPED = 0.5  # overlap of a track's box with its last, below which somebody else may be there: after a cut, say
MAX_LOOKS = 8  # in a running mean; from then on it follows, as faces change with light and pose
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
        compared: When the stranger was compared last; None where that is due.
        pause: Until they are compared again.
    """

    person: _Mean
    stranger: _Mean
    look: Floats
    looked: float = float("-inf")
    compared: float | None = None
    pause: float = 0.0

    def see(self, look: Floats, seconds: float) -> None:
        """Count one more look at the person."""
        self.person.add(look)
        self.look, self.looked = look, seconds

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
    """What a recogniser makes of the tracks, each look by itself and all together."""

    def __init__(self, embedder: FaceEmbedder) -> None:
        self.embedder = embedder
        self._watched: dict[int, _Watched] = {}  # by track

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._watched = {track: watched for track, watched in self._watched.items() if track in alive}

    def forget_stranger(self, track: int) -> None:
        """Judge the next stranger of a track by its own looks, at once; who the person is, is remembered."""
        watched = self._watched[track]
        watched.stranger, watched.compared = _Mean(np.zeros(1, np.float32)), None

    def due(self, tracks: Sequence[Track], seconds: float) -> list[Track]:
        """Return which of the tracks are to be compared now."""
        since = {}
        for track in tracks:
            watched = self._watched.get(track.id)
            if watched is not None and watched.compared is not None:
                since[track.id] = seconds - watched.compared
        new = [track for track in tracks if track.id not in since]
        old = [track for track in tracks if track.id in since and since[track.id] >= self._watched[track.id].pause]
        old.sort(key=lambda track: since[track.id], reverse=True)
        return new + old[: max(0, MAX_CHECKS - len(new))]

    def compare(self, crop: Callable[[int, bool], Image], tracks: Sequence[Track], seconds: float) -> dict[int, float]:
        """Return how like the person the drawn face of each track is, now or all in all: cosines.

        `crop` cuts out the face of a track, of the person or as it was drawn.
        """
        for track in tracks:
            nothing = np.zeros(1, np.float32)
            self._watched.setdefault(track.id, _Watched(_Mean(nothing), _Mean(nothing), nothing))
        unseen = [t for t in tracks if not 0.0 <= seconds - self._watched[t.id].looked < PERSON_SECONDS]
        crops = [crop(track.id, False) for track in unseen] + [crop(track.id, True) for track in tracks]
        embeddings = self.embedder.embed(crops).cpu().numpy() if crops else ()
        for track, look in zip(unseen, embeddings, strict=False):
            self._watched[track.id].see(look, seconds)
        scores = {}
        for track, look in zip(tracks, embeddings[len(unseen) :], strict=True):
            scores[track.id], self._watched[track.id].compared = self._watched[track.id].judge(look), seconds
        return scores

    def rest(self, track: int, own: float | None, closest: float) -> None:
        """Leave a track in peace for a while.

        Args:
            track: Its number.
            own: How like the person it has just been found; None where it was not compared.
            closest: The most that any recogniser has found.
        """
        watched = self._watched[track]
        pause = CLOSE_SECONDS if closest > CLOSE else CHECK_SECONDS
        if own is None:
            watched.pause = min(watched.pause, pause)
        else:
            watched.pause = 0.0 if own > CLOSEST else pause


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
            self._opinions.append(_Opinion(FaceEmbedder(reranker, device)))
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

        @cache
        def cut(track: int, is_drawn: bool) -> Image:
            return self.embedder.crop(drawn if is_drawn else original, faces[track])

        faces = {track.id: track.face for track in tracks}
        found = [opinion.compare(cut, opinion.due(tracks, seconds), seconds) for opinion in self._opinions]
        compared = [track for track in tracks if any(track.id in scores for scores in found)]
        alike = [track for track in compared if not _passes(track.id, found, (limit, TOO_LIKE_TO_RERANKER))]
        for track in compared:
            closest = max(scores.get(track.id, -1.0) for scores in found)
            for opinion, scores in zip(self._opinions, found, strict=True):
                opinion.rest(track.id, scores.get(track.id), closest)
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
    return all(scores.get(track, -1.0) <= limit for scores, limit in zip(found, limits, strict=False))


def _overlap(box: Floats, other: Floats) -> float:
    """Return the area of both over that of their union."""
    return float(overlaps(box, other[None])[0][0])
