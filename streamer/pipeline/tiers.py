"""Decides what replaces each face: a worse cover at once when there is a reason, a better one only after a while."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.types import Cover, Tier

HOLD_SECONDS = 0.2  # without a reason before a covered face is drawn again: a flickering reason keeps it covered
FADE_SECONDS = 0.2  # in which a drawn face comes out of its cover
STEADYING = "steadying"  # the reason while it waits
BEFORE_FOUND = "before it was found"  # the one reason that is over once it ends: the face then fades in at once


@dataclass(frozen=True, slots=True)
class Choice:
    """What one face of one frame gets.

    Attributes:
        tier: What replaces it.
        reason: Why it is not "generated"; "" when it is.
        opacity: Of the drawn face over its cover, 0 to 1; 1 for other tiers.
    """

    tier: Tier
    reason: str
    opacity: float = 1.0


@dataclass(slots=True)
class _State:
    bad_until: float = float("-inf")
    drawn_since: float | None = None


class TierLadder:
    """The tiers of one stream's faces.

    Args:
        cover: The first tier below "generated".
    """

    def __init__(self, cover: Cover) -> None:
        self._cover: Cover = cover
        self._states: dict[int, _State] = {}

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._states = {track: state for track, state in self._states.items() if track in alive}

    def choose(self, track_id: int, reason: str, *, seconds: float, is_first: bool) -> Choice:
        """Return what a track gets in this frame.

        Args:
            track_id: The track's.
            reason: Why it cannot be drawn, or "".
            seconds: Presentation time.
            is_first: Whether a scene begins: a face that can be drawn from its start does not fade in.
        """
        state = self._states.get(track_id)
        if state is None:
            state = self._states[track_id] = _State(drawn_since=seconds - FADE_SECONDS if is_first else None)
        if reason:
            return self._covered(state, reason, seconds)
        if seconds < state.bad_until:
            state.drawn_since = None
            return Choice(self._cover, STEADYING)
        if state.drawn_since is None:
            state.drawn_since = seconds
        return Choice("generated", "", min(1.0, (seconds - state.drawn_since) / FADE_SECONDS))

    def _covered(self, state: _State, reason: str, seconds: float) -> Choice:
        state.drawn_since = None
        if reason != BEFORE_FOUND:
            state.bad_until = max(state.bad_until, seconds + HOLD_SECONDS)
        return Choice(self._cover, reason)
