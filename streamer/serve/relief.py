"""Makes a picture smaller when the machine is too slow for it, and larger again when it is not, in steps of seconds.

A face in half the pixels is found and drawn in less time, and is better than one that is covered.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.pipeline.tiers import OVERLOAD
from streamer.types import FaceReport

SIDES = (1920, 1280, 960, 640)  # pixels of the longer side, at most
LOOK_SECONDS = 3.0  # over which it is judged
CALM_SECONDS = 20.0  # without strain before the next larger size is tried; doubled whenever that was too much
LONGEST_CALM_SECONDS = 320.0
LEAST_RATE = 12.0  # frames a second, below which it is too slow
MUCH = 0.2  # of the frames


class Relief:
    """How large the pictures of one stream may be.

    Attributes:
        side: Pixels of the longer side, at most.
    """

    def __init__(self) -> None:
        self._step, self._calm_seconds = 0, CALM_SECONDS
        self._began = self._changed_at = self._strained_at = float("-inf")
        self._frames = self._missed = self._overloaded = 0

    @property
    def side(self) -> int:
        """See the class."""
        return SIDES[self._step]

    def add(self, faces: Sequence[FaceReport], dropped: int, *, side: int, now: float) -> None:
        """Learn from one frame that went out, and those left out before it.

        Args:
            faces: Its own.
            dropped: As of `streamer.serve.peer_filter.FaceFilter`.
            side: Pixels of its longer side.
            now: Seconds of a clock.
        """
        if self._began == float("-inf"):
            self._began = self._changed_at = self._strained_at = now
        self._frames, self._missed = self._frames + 1, self._missed + dropped
        self._overloaded += any(face.reason == OVERLOAD for face in faces)
        seconds = now - self._began
        if seconds >= LOOK_SECONDS:
            self._judge(self._is_strained(seconds), side, now)
            self._began, self._frames, self._missed, self._overloaded = now, 0, 0, 0

    def _is_strained(self, seconds: float) -> bool:
        is_slow = self._frames / seconds < LEAST_RATE and self._missed > MUCH * self._frames
        return is_slow or self._overloaded > MUCH * self._frames

    def _judge(self, is_strained: bool, side: int, now: float) -> None:
        if is_strained:
            if self._step and now - self._changed_at < CALM_SECONDS:  # the larger size was too much
                self._calm_seconds = min(2 * self._calm_seconds, LONGEST_CALM_SECONDS)
            self._strained_at = now
            smaller = (n for n, one in enumerate(SIDES) if one < side)
            self._go(next(smaller, self._step), now)
        elif self._step and now - max(self._changed_at, self._strained_at) >= self._calm_seconds:
            self._go(self._step - 1, now)

    def _go(self, step: int, now: float) -> None:
        if step != self._step:
            self._step, self._changed_at = step, now
