"""Replaces or covers the faces of one frame: conceal -> draw -> guard. Knows neither who agreed nor who was missed.

The pixels of every face are destroyed first: what fails after that shows a cover.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.faces.track import START_SCORE
from streamer.pipeline.assembly import drawer_of, guard_of
from streamer.pipeline.budget import DrawingBudget
from streamer.pipeline.tiers import BEFORE_FOUND, Choice, TierLadder
from streamer.render.align import turn
from streamer.render.blend import fade_in, inner_face
from streamer.render.conceal import conceal_box, conceal_polygon
from streamer.settings import Settings
from streamer.types import GuardReport, Image, Seen, Track

if TYPE_CHECKING:
    from streamer.pipeline.anonymizer import Anonymizer

log = logging.getLogger(__name__)

MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_TURN = 1.12  # of the oval's width, where the nose tip may lie; nearer to profile a real nose reaches past its mesh
TOO_ALIKE = "too like the source"  # the guard's reason


@dataclass(frozen=True, slots=True)
class Rendered:
    """A frame without its faces.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        choices: What replaced each track, by id.
        guard: What was compared.
    """

    image: Image
    choices: dict[int, Choice]
    guard: GuardReport


class Renderer:
    """Hides the faces of one stream, and remembers who they have become; for one thread at a time."""

    def __init__(self, anonymizer: Anonymizer, frame_seconds: float | None = None) -> None:
        """Begin a stream; with `frame_seconds` between its frames it is live, and draws what it has time for."""
        self._anonymizer = anonymizer
        self._budget = DrawingBudget(frame_seconds) if frame_seconds else None
        self.drawer, self.guard = drawer_of(anonymizer), guard_of(anonymizer)
        self.forget(None)

    @property
    def _settings(self) -> Settings:
        return self._anonymizer.settings

    def forget(self, stream: str | None) -> None:
        """Forget who has become whom; the next stream has this name, or one that follows from what it shows first."""
        self._ladder = TierLadder(self._settings.cover)
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

    def __call__(self, seen: Seen) -> Rendered:
        """Return the frame with every track replaced or covered."""
        self._keep_only({track.id for track in seen.tracks})
        choices = self._choices(seen)
        image = self._draw_or_cover(seen, choices)
        return Rendered(image, choices, self.guard.take_report() if self.guard else GuardReport())

    def _draw_or_cover(self, seen: Seen, choices: dict[int, Choice]) -> Image:
        try:
            return self._draw(seen, choices)
        except Exception as error:  # whatever it was: a face that was not drawn is covered
            log.warning("frame %d: faces are covered, not drawn: %s", seen.frame.index, type(error).__name__)
            self._cover(choices, [t for t in seen.tracks if choices[t.id].tier == "generated"], "model failed", seen)
            return self._conceal(seen.frame.image, seen.tracks, [])

    def _keep_only(self, alive: set[int]) -> None:
        self._ladder.keep_only(alive)
        if self.drawer:
            self.drawer.keep_only(alive)
        if self.guard:
            self.guard.keep_only(alive)

    def _choices(self, seen: Seen) -> dict[int, Choice]:
        reasons = {track.id: self._why_not_drawn(track) for track in seen.tracks}
        drawable = sorted((t for t in seen.tracks if not reasons[t.id]), key=lambda t: t.face.size, reverse=True)
        if self._budget and drawable:
            reasons |= {track.id: "overload" for track in drawable[self._budget.affordable(len(drawable)) :]}
        seconds = seen.frame.seconds
        return {n: self._ladder.choose(n, r, seconds=seconds, is_first=seen.is_first) for n, r in reasons.items()}

    def _why_not_drawn(self, track: Track) -> str:
        if self.drawer is None or self._settings.mode == "cover":
            return "mode"
        if track.missed_seconds < 0:
            return BEFORE_FOUND
        if track.face.mesh is None:
            return "coasting" if track.missed_seconds > 0 else "no mesh"
        if track.face.score < START_SCORE:
            return "doubtful"
        if track.face.size < MIN_FACE_SIZE:
            return "small"
        return "turned" if turn(track.face.mesh) > MAX_TURN else ""

    def _cover(self, choices: dict[int, Choice], tracks: Sequence[Track], reason: str, seen: Seen) -> None:
        """Choose anew for tracks that were to be drawn and must not be."""
        for track in tracks:
            choices[track.id] = self._ladder.choose(track.id, reason, seconds=seen.frame.seconds, is_first=False)

    def _conceal(self, image: Image, tracks: Sequence[Track], drawable: Sequence[Track]) -> Image:
        image, drawn = image.copy(), {track.id for track in drawable}
        for track in tracks:
            if track.id not in drawn:
                conceal_box(image, track.face.box, cover=self._settings.cover)
        for track in drawable:
            conceal_polygon(image, inner_face(track.face), cover=self._settings.cover)
        return image

    def _draw(self, seen: Seen, choices: dict[int, Choice]) -> Image:
        """Return the frame with every track concealed, and synthetic faces over those chosen for it."""
        frame, drawable = seen.frame, [t for t in seen.tracks if choices[t.id].tier == "generated"]
        if self.drawer is None or not drawable:
            return self._conceal(frame.image, seen.tracks, [])
        start, is_usual = time.perf_counter(), self.drawer.knows(drawable)
        fresh = self._budget.fresh(len(drawable)) if self._budget else len(drawable)
        drawable = [self.drawer.steady(track, frame.seconds) for track in drawable]
        opacities = [choices[track.id].opacity for track in drawable]
        image, alike, fresh = self._drawn(seen, drawable, opacities, fresh=fresh)
        for track in alike:
            log.warning("frame %d: track %d is covered: %s", frame.index, track.id, TOO_ALIKE)
            conceal_box(image, track.face.box, cover=self._settings.cover)
        self._cover(choices, alike, TOO_ALIKE, seen)
        if self._budget and is_usual:
            self._budget.spent(len(drawable), fresh, time.perf_counter() - start)
        return image

    def _drawn(
        self, seen: Seen, drawable: Sequence[Track], opacities: Sequence[float], *, fresh: int
    ) -> tuple[Image, list[Track], int]:
        """Return the frame with synthetic faces, tracks whose every stranger was too like them, how many are new."""
        assert self.drawer is not None
        frame, alike, beta = seen.frame, list[Track](), self._settings.beta
        guard = self.guard if beta == 0 else None  # above 0 likeness is asked for, not watched
        drawn = {track.id for track in drawable}
        covered = [track for track in seen.tracks if track.id not in drawn]
        for limit in guard.limits if guard else (1.0,):
            image = self._conceal(frame.image, seen.tracks, drawable)  # no original face pixel survives this line
            made = self.drawer.draw(
                image, frame.image, drawable, frame.seconds, beta=beta, fresh=fresh, covered=covered
            )
            if guard:
                alike = guard.check(frame.image, image, drawable, seconds=frame.seconds, limit=limit)
            if not alike:
                break
            self.drawer.replace([track.id for track in alike])
        for track, opacity in zip(drawable, opacities, strict=True):
            if opacity < 1.0:  # only now: what was compared is the face in full
                fade_in(image, track.face, opacity, cover=self._settings.cover)
        return image, alike, made
