"""Decides what replaces each face: a worse cover at once when there is a reason, a better one only after a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamer.faces.track import START_SCORE
from streamer.render.align import profile_ratio
from streamer.types import Cover, Mode, Tier, Track, TrackedFrame

HOLD_SECONDS = 0.2  # without a reason before a covered face is drawn again: a flickering reason keeps it covered
LIVE_HOLD_SECONDS = 2.0  # the same while people watch, who see each change; longer each time
OVERLOAD_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 4.0, 30.0  # for lack of time; longer each time, up to this
SETTLED_SECONDS = 10.0  # for which it is drawn; then the next wait is as short as the first one, but for lack of time
PROOF_SECONDS = 1.0  # after which a face is drawn under its cover for so long: there may be no time for it after all
FADE_SECONDS = 0.2  # in which a drawn face comes out of its cover
MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_PROFILE_RATIO = 1.12  # nearer to profile than that, a real nose reaches past its mesh
STEADYING = "steadying"  # the reason while it waits
BEFORE_FOUND = "before it was found"  # the one reason that is over once it ends: the face then fades in at once
OVERLOAD = "overload"  # the reason when there is no time to draw it
HELD_BACK = "overload a moment ago"  # the reason while it waits after that
TOO_ALIKE = "too like the source"  # the guard's reason
LACK_OF_TIME = frozenset({OVERLOAD, HELD_BACK})


@dataclass(frozen=True, slots=True)
class Choice:
    """What one face of one frame gets.

    Attributes:
        tier: What replaces it.
        reason: Why it is not "generated", or drawn under its cover only; "" when it is.
        opacity: Of the drawn face over its cover, 0 to 1; 1 for other tiers.
    """

    tier: Tier
    reason: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class _State:
    bad_until: float = float("-inf")
    drawn_since: float | None = None  # from when on it comes out of its cover
    held_for: str = STEADYING
    holds: tuple[float, float] | None = None  # seconds without a reason, and for lack of time; None for the first ones


class TierLadder:
    """The tiers of one stream's faces: `choose` asks, `record` learns what became of a frame.

    Args:
        is_live: Whether somebody watches, and changes are to be few.
    """

    def __init__(self, *, is_live: bool = False) -> None:
        self._is_live = is_live
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
            choices[track] = Choice(cover, reason) if reason else _faded_in(state, seconds)
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
            begun = choice.opacity and before.drawn_since is None  # in full, as it opens a scene
            since = seconds - choice.opacity * FADE_SECONDS if begun else _since(before, seconds)
            return replace(before, drawn_since=since)
        after = replace(before, drawn_since=None)
        if choice.reason in (STEADYING, HELD_BACK, BEFORE_FOUND):
            return after
        is_overload = choice.reason == OVERLOAD
        plain, overload = before.holds or self._first_holds
        if before.drawn_since is not None and seconds - before.drawn_since > SETTLED_SECONDS:
            plain, _ = self._first_holds
        until = seconds + (overload if is_overload else plain)
        if before.drawn_since is not None or choice.reason == TOO_ALIKE:  # it may have been too early
            after = replace(after, holds=self._longer(plain, overload, choice.reason))
        if until <= before.bad_until:
            return after
        return replace(after, bad_until=until, held_for=HELD_BACK if is_overload else STEADYING)

    @property
    def _first_holds(self) -> tuple[float, float]:
        return LIVE_HOLD_SECONDS if self._is_live else HOLD_SECONDS, OVERLOAD_HOLD_SECONDS

    def _longer(self, plain: float, overload: float, reason: str) -> tuple[float, float]:
        """Return the holds of next time: twice as long for this reason.

        In a recording only for what takes time to try: want of time, and strangers who are too like the person.
        """
        if reason == OVERLOAD:
            return plain, min(2 * overload, LONGEST_HOLD_SECONDS)
        doubles = self._is_live or reason == TOO_ALIKE
        return min(2 * plain, LONGEST_HOLD_SECONDS) if doubles else plain, overload


def _since(state: _State, seconds: float) -> float:
    """Return from when on a face that can be drawn comes out of its cover; one there was no time for is to prove it."""
    if state.drawn_since is not None:
        return state.drawn_since
    return seconds + (PROOF_SECONDS if state.held_for == HELD_BACK else 0.0)


def _faded_in(state: _State, seconds: float) -> Choice:
    opacity = min(1.0, (seconds - _since(state, seconds)) / FADE_SECONDS)
    return Choice("generated", HELD_BACK if opacity < 0 else "", max(0.0, opacity))


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
