"""Keeps a live stream in time: how many faces may be drawn in a frame, and how many of them anew.

What a network made of a face a frame ago fits its mesh of now, and costs a quarter to draw again. So when time is short
faces are made anew less often; then the smallest stay covered, which costs little.
"""

from __future__ import annotations

import math

MEMORY = 0.25  # weight of the last frame in the mean cost of a face: a slowdown is met within a few frames
SHARE = 0.9  # of the time between two frames that drawing may take
PROBE_FRAMES = 15  # after so many frames without a drawn face, one is drawn, to see whether it is affordable again
REUSED = 5  # frames, at most, in which one made face is drawn


class DrawingBudget:
    """What one live stream can afford.

    Args:
        frame_seconds: From one frame to the next.
    """

    def __init__(self, frame_seconds: float) -> None:
        if not frame_seconds > 0:
            raise ValueError(f"frames must be some seconds apart, got {frame_seconds}")
        self._budget = SHARE * frame_seconds
        self._fresh_seconds = self._again_seconds = 0.0  # of one face: made and drawn, and only drawn; 0: not known
        self._saved = 0.0  # seconds of the budgets of frames before
        self._idle_frames = 0

    def affordable(self, count: int) -> int:
        """Return how many of `count` faces may be drawn in this frame, each of them made anew every `REUSED` frames."""
        cost = self._again_seconds + (self._fresh_seconds - self._again_seconds) / REUSED
        if cost * count <= self._budget:
            return count
        self._idle_frames += 1
        if self._idle_frames > PROBE_FRAMES:
            return 1
        return math.floor(self._budget / cost)

    def fresh(self, count: int) -> int:
        """Return how many of `count` faces that are drawn may be made anew; called once a frame."""
        more = self._fresh_seconds - self._again_seconds
        self._saved = min(self._saved + self._budget, max(self._budget, count * self._fresh_seconds))
        room = self._saved - count * self._again_seconds
        return count if more <= 0 else max(0, min(count, math.floor(room / more)))

    def spent(self, count: int, fresh: int, seconds: float) -> None:
        """Learn that drawing `count` faces, 1 or more, took `seconds`, when `fresh` of them were made anew.

        What a probe tells counts for all before it.
        """
        self._saved -= seconds
        is_news, self._idle_frames = self._idle_frames > PROBE_FRAMES, 0
        if fresh == count:
            self._fresh_seconds = _learned(self._fresh_seconds, seconds / count, is_news=is_news)
            self._again_seconds *= not is_news  # what was slow then is to be seen anew, or it would stay so for ever
        elif fresh == 0:
            self._again_seconds = _learned(self._again_seconds, seconds / count, is_news=is_news)


def _learned(known: float, seconds: float, *, is_news: bool) -> float:
    return seconds if is_news or not known else known + MEMORY * (seconds - known)
