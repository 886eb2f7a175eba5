"""Keeps a live stream in time: how many faces may be drawn in a frame, and how many of them anew.

What a network made of a face a frame ago fits its mesh of now, and costs a quarter to draw again. So when time is short
faces are made anew less often; then a frame may take longer, and those that nobody has time for are left out; only then
the smallest stay covered, which costs little.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

MEMORY = 5  # frames whose median is what a face costs: two slow ones are chance, a slowdown is met within three
SHARE = 0.9  # of the time between two frames that drawing may take
PROBE_FRAMES = 15  # after so many frames without a drawn face, one is drawn, to see whether it is affordable again
LONGEST_SECONDS = 0.1  # of one frame: ten a second that are drawn are better than thirty that are covered
REUSED = 5  # frames, at most, in which one made face is drawn


class DrawingBudget:
    """What one live stream can afford.

    Args:
        frame_seconds: From one frame to the next.
        longest_seconds: The same, before drawing is given up.
    """

    def __init__(self, frame_seconds: float, longest_seconds: float = LONGEST_SECONDS) -> None:
        if not frame_seconds > 0:
            raise ValueError(f"frames must be some seconds apart, got {frame_seconds}")
        self._budget, self._longest = SHARE * frame_seconds, SHARE * max(frame_seconds, longest_seconds)
        # Seconds that one face took, made and drawn, and only drawn; nothing, until enough is known.
        self._fresh, self._again = (deque([0.0] * MEMORY, MEMORY) for _ in range(2))
        self._asked: float = math.inf  # how many were to be made anew in this frame
        self._saved = 0.0  # seconds of the budgets of frames before
        self._idle_frames = 0

    def affordable(self, count: int) -> int:
        """Return how many of `count` faces may be drawn in this frame, each of them made anew every `REUSED` frames."""
        cost = self._cost()
        if cost * count <= self._longest:
            return count
        return 1 if self._is_probe else math.floor(self._longest / cost)

    def rest(self) -> None:
        """Count a frame in which nobody was drawn for want of time."""
        self._idle_frames += 1

    @property
    def _is_probe(self) -> bool:
        return self._idle_frames >= PROBE_FRAMES

    def fresh(self, count: int) -> int:
        """Return how many of `count` faces that are drawn may be made anew; called once a frame."""
        fresh, again = self._costs()
        budget = max(self._budget, min(self._longest, count * self._cost()))
        self._saved = min(self._saved + budget, max(budget, count * fresh))
        room = self._saved - count * again
        asked = count if fresh <= again else max(0, min(count, math.floor(room / (fresh - again))))
        self._asked = asked
        return asked

    def spent(self, count: int, fresh: int, seconds: float) -> None:
        """Learn that drawing `count` faces, 1 or more, took `seconds`, when `fresh` of them were made anew.

        What is first told from a probe on counts for all before it. One made anew though it was not asked for could not
        be drawn again.
        """
        self._saved = max(self._saved - seconds, -self._longest)  # for more than that, frames were dropped already
        if self._is_probe:  # what was slow then is to be seen anew, or it would stay so for ever
            self._fresh.clear()
            self._again.clear()
        self._idle_frames = 0
        if fresh in (0, count):
            known = self._fresh if 0 < fresh <= self._asked else self._again
            known.extend([seconds / count] * (1 if known else MEMORY))

    def _cost(self) -> float:
        """Return the seconds of one face in a frame, when it is made anew every `REUSED` frames."""
        fresh, again = self._costs()
        return again + (fresh - again) / REUSED

    def _costs(self) -> tuple[float, float]:
        """Return the seconds of one face, made anew and drawn again; 0 where not known."""
        return median(self._fresh or [0.0]), median(self._again or [0.0])
