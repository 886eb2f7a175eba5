"""Decides what replaces each face: a worse cover at once when there is a reason, a better one only after a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamer.faces.track import START_SCORE
from streamer.render.align import profile_ratio
from streamer.types import Cover, Mode, Tier, Track, TrackedFrame

HOLD_SECONDS = 0.2  # without a reason before a covered face is drawn again: a flickering reason keeps it covered
OVERLOAD_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 4.0, 30.0  # for lack of time; longer each time, up to this
FADE_SECONDS = 0.2  # in which a drawn face comes out of its cover
MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_PROFILE_RATIO = 1.12  # nearer to profile than that, a real nose reaches past its mesh
STEADYING = "steadying"  # the reason while it waits
BEFORE_FOUND = "before it was found"  # the one reason that is over once it ends: the face then fades in at once
OVERLOAD = "overload"  # the reason when there is no time to draw it
HELD_BACK = "overload a moment ago"  # the reason while it waits after that
LACK_OF_TIME = frozenset({OVERLOAD, HELD_BACK})


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
    held_for: str = STEADYING
    overload_hold: float = OVERLOAD_HOLD_SECONDS


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
            reason = reason or (state.held_for if seconds < state.bad_until else "")
            since = seconds if state.drawn_since is None else state.drawn_since
            faded_in = Choice("generated", "", min(1.0, (seconds - since) / FADE_SECONDS))
            choices[track] = Choice(cover, reason) if reason else faded_in
        return choices

    def is_held(self, track: int, seconds: float) -> bool:
        """Return whether a track stays covered for now, whatever speaks for drawing it."""
        return track in self._states and seconds < self._states[track].bad_until

    def record(self, outcomes: Mapping[int, Choice], seconds: float) -> None:
        """Learn what each track of a frame was given in the end; tracks that are not among them are forgotten."""
        self._states = {track: self._after(track, choice, seconds) for track, choice in outcomes.items()}

    def _after(self, track: int, choice: Choice, seconds: float) -> _State:
        before = self._states.get(track, _State())
        if choice.tier == "generated":
            return replace(before, drawn_since=seconds - choice.opacity * FADE_SECONDS)
        after = replace(before, drawn_since=None)
        if choice.reason in (STEADYING, HELD_BACK, BEFORE_FOUND):
            return after
        is_overload = choice.reason == OVERLOAD
        if is_overload and before.drawn_since is not None:
            after = replace(after, overload_hold=min(2 * before.overload_hold, LONGEST_HOLD_SECONDS))
        until = seconds + (before.overload_hold if is_overload else HOLD_SECONDS)
        if until <= before.bad_until:
            return after
        return replace(after, bad_until=until, held_for=HELD_BACK if is_overload else STEADYING)


def plan(
    seen: TrackedFrame, ladder: TierLadder, *, mode: Mode, cover: Cover, affordable: Callable[[int], int]
) -> dict[int, Choice]:
    """Return what each track of a frame is to get; changes nothing.

    Args:
        seen: The frame's tracks.
        ladder: What they had before.
        mode: "cover" also where there is no model to draw with.
        cover: What replaces a face that is not drawn.
        affordable: How many of a number of faces there is time to draw; the largest that are not held come first.
    """
    reasons = {track.id: "mode" if mode == "cover" else why_not_drawn(track) for track in seen.tracks}
    seconds = seen.frame.seconds
    drawable = sorted(
        (track for track in seen.tracks if not reasons[track.id]),
        key=lambda track: (not ladder.is_held(track.id, seconds), track.face.size),
        reverse=True,
    )
    if drawable:
        reasons |= {track.id: OVERLOAD for track in drawable[affordable(len(drawable)) :]}
    return ladder.choose(reasons, cover, seconds=seconds, starts_scene=seen.starts_scene)


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
