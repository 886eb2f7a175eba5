"""Replaces or covers the faces of one frame, as planned: conceal all, draw, compare. Knows neither plans nor consent.

The pixels of every face are destroyed first: what fails after that shows a cover.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamer.pipeline.assembly import Loaded, drawer_of, guard_of
from streamer.pipeline.budget import DrawingBudget
from streamer.pipeline.tiers import OVERLOAD, TOO_ALIKE, Choice
from streamer.render.blend import fade_in, inner_face
from streamer.render.conceal import conceal_box, conceal_polygon
from streamer.settings import Settings
from streamer.types import Cover, GuardReport, Image, KnownPerson, Track, TrackedFrame

log = logging.getLogger(__name__)

MODEL_FAILED = "model failed"  # the reason when drawing raised something


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A frame without its faces.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        outcomes: What replaced each track, by id: as planned, or a cover with the reason why not.
        guard: What was compared.
    """

    image: Image
    outcomes: dict[int, Choice]
    guard: GuardReport


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A frame with synthetic faces, the tracks whose every stranger was too like them, and how many faces are new."""

    image: Image
    alike: Sequence[Track]
    made: int
    guard: GuardReport


class Renderer:
    """Hides the faces of one stream, and remembers who they have become; for one thread at a time.

    Attributes:
        budget: What a live stream has time for; None where time does not matter.
    """

    def __init__(
        self, loaded: Loaded, frame_seconds: float | None = None, *, known: Sequence[KnownPerson] = ()
    ) -> None:
        """Begin a stream; with `frame_seconds` between its frames it is live, and draws what it has time for.

        Those who are `known` become the strangers fixed for them.
        """
        self.budget = DrawingBudget(frame_seconds) if frame_seconds else None
        self.drawer = drawer_of(loaded, known, is_live=self.budget is not None)
        self.guard = guard_of(loaded)

    def forget(self, stream: str | None) -> None:
        """Forget who has become whom; the next stream has this name, or one that follows from what it shows first."""
        if self.drawer:
            self.drawer.reset(stream)
        if self.guard:
            self.guard.keep_only(set())

    def warm_up(self) -> None:
        """Run every network once: their first run is slow."""
        if self.drawer:
            self.drawer.warm_up()
        if self.guard:
            self.guard.warm_up()

    def close(self) -> None:
        """Release what draws."""
        if self.drawer:
            self.drawer.close()

    def affordable(self, count: int) -> int:
        """Return how many of `count` faces there is time to draw."""
        return self.budget.affordable(count) if self.budget else count

    def __call__(self, seen: TrackedFrame, plan: Mapping[int, Choice], settings: Settings) -> Rendered:
        """Return the frame with every track replaced or covered.

        Args:
            seen: The frame and its tracks.
            plan: What each of them is to get (`streamer.pipeline.tiers.plan`).
            settings: How.
        """
        self._keep_only({track.id for track in seen.tracks})
        drawable = [track for track in seen.tracks if plan[track.id].tier == "generated"]
        if self.drawer is None or not drawable:
            if self.budget and any(choice.reason == OVERLOAD for choice in plan.values()):
                self.budget.rest()
            return Rendered(self._conceal(seen.frame.image, seen.tracks, [], settings.cover), dict(plan), GuardReport())
        try:
            return self._draw(seen, drawable, plan, settings)
        except Exception as error:  # whatever it was: a face that was not drawn is covered
            log.warning("frame %d: faces are covered, not drawn: %s", seen.frame.index, type(error).__name__)
            covered = {track.id: Choice(settings.cover, MODEL_FAILED) for track in drawable}
            return Rendered(
                self._conceal(seen.frame.image, seen.tracks, [], settings.cover), dict(plan) | covered, GuardReport()
            )

    def _keep_only(self, alive: set[int]) -> None:
        if self.drawer:
            self.drawer.keep_only(alive)
        if self.guard:
            self.guard.keep_only(alive)

    def _conceal(self, image: Image, tracks: Sequence[Track], drawable: Sequence[Track], cover: Cover) -> Image:
        image, drawn = image.copy(), {track.id for track in drawable}
        for track in tracks:
            if track.id not in drawn:
                conceal_box(image, track.face.box, cover=cover)
        for track in drawable:
            conceal_polygon(image, inner_face(track.face), cover=cover)
        return image

    def _draw(
        self, seen: TrackedFrame, drawable: Sequence[Track], plan: Mapping[int, Choice], settings: Settings
    ) -> Rendered:
        """Return the frame with every track concealed, and synthetic faces over those that are `drawable`."""
        assert self.drawer is not None
        start, is_usual = time.perf_counter(), self.drawer.knows(drawable)
        fresh = self.budget.fresh(len(drawable)) if self.budget else len(drawable)
        steady = [self.drawer.steady(track, seen.frame.seconds) for track in drawable]
        drawn = self._compared(seen, steady, settings, fresh=fresh)
        for track in steady:
            if plan[track.id].opacity < 1.0:  # only now: what was compared is the face in full
                fade_in(drawn.image, track.face, plan[track.id].opacity, cover=settings.cover)
        for track in drawn.alike:
            log.warning("frame %d: track %d is covered: %s", seen.frame.index, track.id, TOO_ALIKE)
            conceal_box(drawn.image, track.face.box, cover=settings.cover)
        if self.budget and is_usual:
            self.budget.spent(len(drawable), drawn.made, time.perf_counter() - start)
        covered = {track.id: Choice(settings.cover, TOO_ALIKE) for track in drawn.alike}
        return Rendered(drawn.image, dict(plan) | covered, drawn.guard)

    def _compared(self, seen: TrackedFrame, drawable: Sequence[Track], settings: Settings, *, fresh: int) -> _Drawn:
        """Draw until the guard takes nobody for the person, or strangers are used up."""
        guard = self.guard if settings.beta == 0 else None  # above 0 likeness is asked for, not watched
        report = GuardReport()
        for limit in guard.limits if guard else (1.0,):
            drawn = self._drawn(seen, drawable, settings, fresh=fresh)
            if guard is None:
                return drawn
            found = guard.check(seen.frame.image, drawn.image, drawable, seconds=seen.frame.seconds, limit=limit)
            report += found.report
            drawn = replace(drawn, alike=found.alike, guard=report)
            if not found.alike:
                break
            self._become_others(found.alike)
        return drawn

    def _drawn(self, seen: TrackedFrame, drawable: Sequence[Track], settings: Settings, *, fresh: int) -> _Drawn:
        assert self.drawer is not None
        frame, ids = seen.frame, {track.id for track in drawable}
        covered = [track for track in seen.tracks if track.id not in ids]
        image = self._conceal(frame.image, seen.tracks, drawable, settings.cover)  # no face pixel survives this line
        made = self.drawer.draw(
            image, frame.image, drawable, frame.seconds, beta=settings.beta, fresh=fresh, covered=covered,
            expression=settings.expression,
        )  # fmt: skip
        return _Drawn(image, (), made, GuardReport())

    def _become_others(self, tracks: Sequence[Track]) -> None:
        assert self.drawer is not None
        self.drawer.replace([track.id for track in tracks])
