"""Decides per track whether somebody who agreed is seen, and covers in every doubt. One per stream.

What it takes to be visible: `NEEDED` good sightings in a row over at least `NEEDED_SECONDS`, each of them like one
enrolled person: over the threshold, clear of every stranger of the crowd, clear of every other enrolled person. One
sighting that says otherwise covers at once, and all begins anew; so does a track that coasted. In a frame in which a
track is not looked at it is covered.

Measured with the shipped `identity`, a threshold of .65 and a crowd of 3,619 synthetic faces, a photo a decision,
before what strangers share was taken out of its embeddings (`models.training.fits.shared`). Sightings of a track are
much alike, so that several are not counted as more than one; they can only lower these.

| photos enrolled, LFW (546 people) | right person | stranger, per person enrolled |
|---|---|---|
| 1 | 131 of 322 | 0 of 473,060 |
| 2 | 94 of 153 | 0 of 146,201 |
| 3 | 46 of 61 | 0 of 79,519 (at most 5 in 100,000, 95 %) |

Since then, one photo against one, no look at its quality: of LFW the right person in 418 of 1,072 (417 before), a
stranger in 2 of 751,484 (2). In 10,000 strangers (before): All-Age-Faces .2 (.2); UTKFace, tight crops whose border is
made up, white .6 (3.3), black 3.6 (12.8), Asian 4.0 (5.7), Indian 1.6 (15.6), children up to 12 years 2.0 (12.6);
without the crowd the same (146, 120, 329, 245, 3,448). Where many strangers pass, a better recogniser is needed:
MobileFaceNet, with a crowd of 423 people, knows 86 of 100 photos at 0 of 94,123.

Nine clips: of six, one person each is enrolled by three frames of the first half; in the second halves they were
visible in 253 of 437 face-frames, and in the other three clips nobody was in any of 1,330.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from streamer.consent.cohort import MARGIN, Cohort
from streamer.consent.entries import ConsentList
from streamer.consent.quality import Observation
from streamer.types import Track

log = logging.getLogger(__name__)

NEEDED = 5  # sightings
NEEDED_SECONDS = 0.5  # longer than most slips of a tracker, and than the blink or blur that makes a face another's
FRESH_SECONDS = 0.2  # between two sightings in a row; six frames at 30 a second

UNKNOWN, AMBIGUOUS, WAITING, STALE = "unknown", "ambiguous", "not sure yet", "not looked at"
OTHER = "another face lies on it"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done to a track.

    Attributes:
        name: Who stays visible; None for a face that is to be covered.
        reason: Why it is covered; "" where it is not.
    """

    name: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.name} stays visible" if self.name else f"covered: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Good sightings of a track in a row that agree: of whom, how many, and the times of the first and the last.

    `reason` is why the track is covered all the same, as of the last sighting, good or not.
    """

    name: str | None
    count: int
    since: float
    seen: float
    reason: str


class ConsentJudge:
    """The decisions of one stream.

    Args:
        consents: Whose consent holds.
        crowd: Strangers, by the recogniser of the sightings.
        today: The clock that expiry dates are compared with: a stream may run past midnight.
    """

    def __init__(self, consents: ConsentList, crowd: Cohort, *, today: Callable[[], date] = date.today) -> None:
        self._people, self._crowd, self._today = consents.people, crowd, today
        self._known = np.array([person.embedding for person in self._people], np.float32)
        self._bars = crowd.thresholds(self._known) if self._people else np.zeros(0, np.float32)
        self._evidence: dict[int, _Evidence] = {}
        self._said: dict[int, Decision] = {}

    def observe(self, track_id: int, sighting: Observation, *, seconds: float) -> Decision:
        """Take one look at a track into account; what is done to it, `decide` says for the whole frame.

        Args:
            seconds: Time of the frame; it goes forward.

        Returns:
            What this track alone would get.
        """
        before = self._evidence.get(track_id)
        if before is not None and not 0 <= seconds - before.seen <= FRESH_SECONDS:
            before = None
        if sighting.flaw:
            # Neither for nor against: the track is covered, and what was known of it soon no longer counts.
            known = before or _Evidence(None, 0, seconds, seconds, "")
            self._evidence[track_id] = replace(known, reason=sighting.flaw)
            return self._of(track_id, seconds)
        name, reason = self._who(sighting)
        if name is None or before is None or before.name != name:
            self._evidence[track_id] = _Evidence(name, 1 if name else 0, seconds, seconds, reason)
        else:
            self._evidence[track_id] = _Evidence(name, before.count + 1, before.since, seconds, "")
        return self._of(track_id, seconds)

    def doubt(self, track_id: int, *, seconds: float) -> None:
        """Cover a track in this frame, since another face lies on it, and begin anew."""
        self._evidence[track_id] = _Evidence(None, 0, seconds, seconds, OTHER)

    def decide(self, tracks: Sequence[Track], *, seconds: float) -> dict[int, Decision]:
        """Return what is done to each track of a frame, by id; a change is logged.

        Tracks that are gone or not seen in this frame are forgotten, and must be looked at anew. Nobody is in two
        places: two tracks that are both taken for one person are both covered, and what was known of them no longer
        counts: who of them goes may be the one who agreed, with somebody else in the place of the other.
        """
        seen = {track.id for track in tracks if track.missed_seconds == 0}
        self._evidence = {track: evidence for track, evidence in self._evidence.items() if track in seen}
        decisions = {track.id: self._of(track.id, seconds) for track in tracks}
        claims = Counter(evidence.name for evidence in self._evidence.values() if evidence.name)
        for track, evidence in self._evidence.items():
            if evidence.name and claims[evidence.name] > 1:
                decisions[track] = Decision(None, AMBIGUOUS)
                self._evidence[track] = replace(evidence, count=1, since=evidence.seen)
        self._say(decisions)
        return decisions

    def _of(self, track_id: int, seconds: float) -> Decision:
        evidence = self._evidence.get(track_id)
        if evidence is not None and evidence.reason:
            return Decision(None, evidence.reason)
        if evidence is None or evidence.name is None or evidence.seen != seconds:
            return Decision(None, STALE)
        if evidence.count < NEEDED or evidence.seen - evidence.since < NEEDED_SECONDS:
            return Decision(None, WAITING)
        expires = next(person.expires for person in self._people if person.name == evidence.name)
        return Decision(None, "expired") if self._today() > expires else Decision(evidence.name, "")

    def _who(self, sighting: Observation) -> tuple[str | None, str]:
        """Return who a good sighting shows, or None and why nobody."""
        if not self._people:
            return None, UNKNOWN
        likeness = self._known @ sighting.embedding  # (N,)
        order = np.argsort(-likeness)
        best = int(order[0])
        bar = max(self._bars[best], self._crowd.thresholds(sighting.embedding[None])[0])
        if not likeness[best] > bar:  # not <=: what is no number is nobody
            return None, UNKNOWN
        if len(order) > 1 and not likeness[best] > likeness[order[1]] + MARGIN:
            return None, AMBIGUOUS
        return self._people[best].name, ""

    def _say(self, decisions: dict[int, Decision]) -> None:
        covered = Decision(None, "gone")
        for track in sorted(self._said.keys() | decisions.keys()):
            before, now = self._said.get(track, covered), decisions.get(track, covered)
            if before.name != now.name:
                log.info("track %d: %s", track, now)
        self._said = decisions
