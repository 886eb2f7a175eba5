"""Keeps a live stream in time: how many faces may be drawn in a frame. The rest stays covered, which costs little."""

from __future__ import annotations

import math

MEMORY = 0.25  # weight of the last frame in the mean cost of a face: a slowdown is met within a few frames
SHARE = 0.9  # of the time between two frames that drawing may take
PROBE_FRAMES = 30  # after so many frames without a drawn face, one is drawn, to see whether it is affordable again


class DrawingBudget:
    """What one live stream can afford.

    Args:
        frame_seconds: From one frame to the next.
    """

    def __init__(self, frame_seconds: float) -> None:
        if not frame_seconds > 0:
            raise ValueError(f"frames must be some seconds apart, got {frame_seconds}")
        self._budget = SHARE * frame_seconds
        self._face_seconds = 0.0  # of drawing one
        self._idle_frames = 0

    def affordable(self, count: int) -> int:
        """Return how many of `count` faces may be drawn in this frame."""
        if self._face_seconds * count <= self._budget:
            return count
        self._idle_frames += 1
        if self._idle_frames > PROBE_FRAMES:
            return 1
        return math.floor(self._budget / self._face_seconds)

    def spent(self, count: int, seconds: float) -> None:
        """Learn that drawing `count` faces, 1 or more, took `seconds`; what a probe tells counts for all before it."""
        is_news = not self._face_seconds or self._idle_frames > PROBE_FRAMES
        self._face_seconds += (1.0 if is_news else MEMORY) * (seconds / count - self._face_seconds)
        self._idle_frames = 0
