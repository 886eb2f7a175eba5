"""Decides what replaces each face: a worse cover at once when there is a reason, a better one only after a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamer.faces.track import START_SCORE
from streamer.render.align import profile_ratio
from streamer.types import Cover, Mode, Tier, Track, TrackedFrame

HOLD_SECONDS = 0.2  # without a reason before a covered face is drawn again: a flickering reason keeps it covered
FADE_SECONDS = 0.2  # in which a drawn face comes out of its cover
MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_PROFILE_RATIO = 1.12  # nearer to profile than that, a real nose reaches past its mesh
STEADYING = "steadying"  # the reason while it waits
BEFORE_FOUND = "before it was found"  # the one reason that is over once it ends: the face then fades in at once
OVERLOAD = "overload"  # the reason when there is no time to draw it


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


@dataclass(frozen=True, slots=True)
class _State:
    bad_until: float = float("-inf")
    drawn_since: float | None = None


class TierLadder:
    """The tiers of one stream's faces: `choose` asks, `record` learns what became of a frame."""

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}

    def choose(
        self, reasons: Mapping[int, str], cover: Cover, *, seconds: float, starts_scene: bool
    ) -> dict[int, Choice]:
        """Return what each track gets in this frame; changes nothing.

        Args:
            reasons: By track, why it cannot be drawn, or "".
            cover: The first tier below "generated".
            seconds: Presentation time.
            starts_scene: Whether a scene begins: a face that can be drawn from its start does not fade in.
        """
        new = _State(drawn_since=seconds - FADE_SECONDS if starts_scene else None)
        choices = {}
        for track, reason in reasons.items():
            state = self._states.get(track, new)
            reason = reason or (STEADYING if seconds < state.bad_until else "")
            since = seconds if state.drawn_since is None else state.drawn_since
            faded_in = Choice("generated", "", min(1.0, (seconds - since) / FADE_SECONDS))
            choices[track] = Choice(cover, reason) if reason else faded_in
        return choices

    def record(self, outcomes: Mapping[int, Choice], seconds: float) -> None:
        """Learn what each track of a frame was given in the end; tracks that are not among them are forgotten."""
        self._states = {track: self._after(track, choice, seconds) for track, choice in outcomes.items()}

    def _after(self, track: int, choice: Choice, seconds: float) -> _State:
        bad_until = self._states.get(track, _State()).bad_until
        if choice.tier == "generated":
            return _State(bad_until, seconds - choice.opacity * FADE_SECONDS)
        if choice.reason in (STEADYING, BEFORE_FOUND):
            return _State(bad_until)
        return _State(max(bad_until, seconds + HOLD_SECONDS))


def plan(
    seen: TrackedFrame, ladder: TierLadder, *, mode: Mode, cover: Cover, affordable: Callable[[int], int]
) -> dict[int, Choice]:
    """Return what each track of a frame is to get; changes nothing.

    Args:
        seen: The frame's tracks.
        ladder: What they had before.
        mode: "cover" also where there is no model to draw with.
        cover: What replaces a face that is not drawn.
        affordable: How many of a number of faces there is time to draw; the largest come first.
    """
    reasons = {track.id: "mode" if mode == "cover" else why_not_drawn(track) for track in seen.tracks}
    drawable = sorted((t for t in seen.tracks if not reasons[t.id]), key=lambda t: t.face.size, reverse=True)
    if drawable:
        reasons |= {track.id: OVERLOAD for track in drawable[affordable(len(drawable)) :]}
    return ladder.choose(reasons, cover, seconds=seen.frame.seconds, starts_scene=seen.starts_scene)


def why_not_drawn(track: Track) -> str:
    """Return why a track's face can only be covered, or "" where it can be drawn."""
    if track.missed_seconds < 0:
        return BEFORE_FOUND
    if track.face.mesh is None:
        return "coasting" if track.missed_seconds > 0 else "no mesh"
    if track.face.score < START_SCORE:
        return "doubtful"
    if track.face.size < MIN_FACE_SIZE:
        return "small"
    return "turned" if profile_ratio(track.face.mesh) > MAX_PROFILE_RATIO else ""
