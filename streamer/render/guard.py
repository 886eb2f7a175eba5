"""Compares what is drawn with whom it was drawn over, and says which faces must not be shown. Sees both, keeps neither.

The last check before a frame leaves: whatever the network did, a face that is taken for the person is covered. Judged
is each look by itself, and all looks of a track together: one small or dim look tells little, the mean of several more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from models.identity.recognizer import TOO_LIKE, TOO_LIKE_TO_RERANKER, FaceRecognizer
from streamer.faces.detect import overlaps
from streamer.render.embed import FaceEmbedder
from streamer.types import Floats, GuardReport, Image, Track

CHECK_SECONDS = 0.3  # between two comparisons of one track; a new face, or a new stranger, is compared at once
CLOSE, CLOSE_SECONDS = 0.2, 0.1  # the cosine from which on a face is watched more closely, and how often then
CLOSEST = 0.25  # from which on it is compared in every frame
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
    """Who a track is, and what was drawn of its stranger."""

    person: _Mean
    stranger: _Mean

    def judge(self, person: Floats, stranger: Floats) -> float:
        """Return the likeness of this look, or of all looks together if that is greater; not a number if either is."""
        self.person.add(person)
        self.stranger.add(stranger)
        a, b = self.person.embedding, self.stranger.embedding
        together = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6)
        return float(np.maximum(person @ stranger, together))


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
        """Judge the next stranger of a track by its own looks; who the person is, is remembered."""
        self._watched[track].stranger = _Mean(np.zeros(1, np.float32))

    def compare(self, original: Image, drawn: Image, tracks: Sequence[Track]) -> Floats:
        """Return how like the person the drawn face of each track is, now or all in all, `(N,)` cosines."""
        faces = [(image, track.face) for image in (original, drawn) for track in tracks]
        before, after = self.embedder(faces).cpu().numpy().reshape(2, len(tracks), -1)
        scores = []
        for track, person, stranger in zip(tracks, before, after, strict=True):
            nothing = np.zeros(1, np.float32)
            watched = self._watched.setdefault(track.id, _Watched(_Mean(nothing), _Mean(nothing)))
            scores.append(watched.judge(person, stranger))
        return np.array(scores, np.float32)


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
        self._seconds: dict[int, float | None] = {}  # when each track was compared last; None where it is due
        self._pauses: dict[int, float] = {}  # until it is compared again
        self._boxes: dict[int, Floats] = {}  # where each was last

    def warm_up(self) -> None:
        """Run the recognisers once: their first run is slow."""
        for opinion in self._opinions:
            opinion.embedder.warm_up()

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._seconds = {track: seconds for track, seconds in self._seconds.items() if track in alive}
        self._pauses = {track: pause for track, pause in self._pauses.items() if track in alive}
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
        due = self._due(tracks, seconds)
        if not due:
            return Compared([], GuardReport())
        scores, *finer = (opinion.compare(original, drawn, due) for opinion in self._opinions)
        passed, closest = scores <= limit, scores  # nan is too like
        for score in finer:
            passed &= score <= TOO_LIKE_TO_RERANKER
            closest = np.maximum(closest, score)
        alike = [track for track, has_passed in zip(due, passed, strict=True) if not has_passed]
        self._seconds |= {track.id: seconds for track in due} | {track.id: None for track in alike}
        self._pauses |= {track.id: _pause(near) for track, near in zip(due, closest.tolist(), strict=True)}
        for opinion in self._opinions:
            for track in alike:
                opinion.forget_stranger(track.id)
        highest = max([-1.0, *scores[passed].tolist()])
        return Compared(alike, GuardReport(len(due), len(alike), highest))

    def _forget_jumped(self, tracks: Sequence[Track]) -> None:
        """Take tracks that are suddenly elsewhere for new ones."""
        boxes = {track.id: track.face.box for track in tracks}
        jumped = {n for n, box in boxes.items() if n in self._boxes and _overlap(box, self._boxes[n]) < JUMPED}
        if jumped:
            self.keep_only(self._boxes.keys() - jumped)
        self._boxes |= boxes

    def _due(self, tracks: Sequence[Track], seconds: float) -> list[Track]:
        last = {track.id: self._seconds[track.id] for track in tracks if track.id in self._seconds}
        since = {n: seconds - before for n, before in last.items() if before is not None}
        new = [track for track in tracks if track.id not in since]
        old = [track for track in tracks if track.id in since and since[track.id] >= self._pauses[track.id]]
        old.sort(key=lambda track: since[track.id], reverse=True)
        return new + old[: max(0, MAX_CHECKS - len(new))]


def _pause(likeness: float) -> float:
    """Return the seconds until a face that is so like the person is compared again."""
    if likeness > CLOSEST:
        return 0.0
    return CLOSE_SECONDS if likeness > CLOSE else CHECK_SECONDS


def _overlap(box: Floats, other: Floats) -> float:
    """Return the area of both over that of their union."""
    return float(overlaps(box, other[None])[0][0])
