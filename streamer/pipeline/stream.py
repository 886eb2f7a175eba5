"""The heart: frames in, safe frames out. The only module that makes a `SafeFrame`.

    detect: find -> track       look ahead        plan (`tiers`), then render: conceal -> draw -> guard (`renderer`)

What fails after `conceal` shows a covered face; what fails before it shows nothing of the frame.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import AnonymizerError
from streamer.faces.center_face import CenterFace
from streamer.faces.detect import LEAST_SCORE, SURE, FaceDetector, Scanned
from streamer.faces.disguise import Disguises, stretched
from streamer.faces.following import Following
from streamer.faces.rounds import Rounds
from streamer.faces.second_look import SecondLook
from streamer.faces.small_faces import SmallFaces, joined
from streamer.faces.track import START_SCORE, FaceTracker, alone
from streamer.pipeline.always import AlwaysCovered
from streamer.pipeline.assembly import Loaded, keeper_of, traits_of
from streamer.pipeline.kept_detections import KeptDetections
from streamer.pipeline.lookahead import LookAhead
from streamer.pipeline.renderer import Renderer
from streamer.pipeline.tiers import Choice, TierLadder, plan
from streamer.render.conceal import conceal_frame
from streamer.settings import Settings
from streamer.types import Cover, Face, FaceReport, Frame, KnownPerson, SafeFrame, Track, TrackedFrame

if TYPE_CHECKING:
    from streamer.render.traits import TraitReader

log = logging.getLogger(__name__)

BUSY_ROUNDS = 2  # in a row, from which on the next frame is taken to need one, too
DAMAGED = "damaged"  # the reason why a frame is not searched
MAX_FAILURES = 100  # frames in a row that could not be searched; then something is broken for good


class FaceAnonymizer:
    """The state of one stream: who is where, and who they have become.

    `detect` and `render` share nothing, so that each may run in a thread of its own; each takes the frames in order.
    Nothing else may be done with one by two threads at a time.
    """

    def __init__(
        self,
        loaded: Loaded,
        settings: Callable[[], Settings],
        frame_seconds: float | None = None,
        *,
        stream: str | None = None,
        known: Sequence[KnownPerson] = (),
    ) -> None:
        """Begin a stream of this name (`streamer.pipeline.anonymizer.Anonymizer.begin_stream`).

        `settings` is asked before each frame. With `frame_seconds` between its frames it is live, and draws what it
        has time for.
        """
        self._current_settings, self._loaded, self._frame_seconds = settings, loaded, frame_seconds
        self._known = known
        self._preparing = threading.Lock()
        self._renderer: Renderer | None = None
        self._traits: TraitReader | None = None
        self.detector, self._network = FaceDetector(loaded.turns.detectors), CenterFace(loaded.turns.small_faces)
        self._small = SmallFaces(loaded.search, self._network, frame_seconds)
        self._look_again = SecondLook(self._network)
        self._disguises = Disguises(self._network)
        self.tracker = FaceTracker(self._start_score)
        self._keeper = keeper_of(loaded)
        self._rounds, self._following = Rounds(0.0), Following()
        self._failures = 0
        self._rounds_in_a_row = 0
        self._glanced = -math.inf  # when it was last looked for who came all of a sudden, in seconds
        self._forget(stream)

    @property
    def settings(self) -> Settings:
        """What the settings are now: beta and mode count from the next frame on."""
        return self._current_settings()

    def prepare(self) -> None:
        """Wait for the networks if they load still, and build what hides faces with them, once.

        Raises:
            Exception: What loading them raised: the stream ends with it.
        """
        with self._preparing:
            if self._renderer is None:
                self._traits, renderer = (
                    traits_of(self._loaded),
                    Renderer(self._loaded, self._frame_seconds, known=self._known),
                )
                renderer.forget(self._stream)
                self._renderer = renderer

    @property
    def renderer(self) -> Renderer:
        """What hides faces; see `prepare` for errors."""
        self.prepare()
        assert self._renderer is not None
        return self._renderer

    @property
    def _start_score(self) -> float:
        return LEAST_SCORE if self.settings.policy == "strict" else START_SCORE

    def warm_up(self) -> None:
        """Run every network once: their first run is slow."""
        self.detector(np.zeros((64, 64, 3), np.uint8))
        self.renderer.warm_up()

    def close(self) -> None:
        """Release what finds faces and what draws them."""
        self.stop_searching()
        self.stop_drawing()

    def stop_searching(self) -> None:
        """Release what finds faces; what was found may still be rendered."""
        self.detector.close()
        self._network.close()

    def stop_drawing(self) -> None:
        """Release what draws, and what tells who stays visible."""
        if self._renderer is not None:
            self._renderer.close()
        if self._keeper is not None:
            self._keeper.close()

    def __call__(self, frame: Frame) -> SafeFrame:
        """Return `frame` with every face that it shows by itself replaced or covered; see `detect` for errors."""
        return self.render(self.detect(frame))

    def ahead(self, frames: Iterable[Frame], kept: KeptDetections | None = None) -> Iterator[TrackedFrame]:
        """Yield the frames searched, each with the faces that the frames of the next moment reveal.

        Args:
            frames: With their times.
            kept: Where earlier searches are, which are not done again, and where this one is to be.
        """
        delay, policy = self.settings.delay_seconds, self.settings.policy
        if policy != "strict" and self._keeper is None:  # who stays visible is to be seen in every frame
            self._rounds = Rounds(delay)
        searched = LookAhead(delay, policy, self._described)(self._found(frames, kept))
        return (seen for seen in searched if not seen.frame.is_context)

    def _found(self, frames: Iterable[Frame], kept: KeptDetections | None) -> Iterator[TrackedFrame]:
        if kept is None:
            return self._in_rounds(frames)
        replayed = kept.replayed(frames, self.settings)
        return kept.noted(self._in_rounds(frames), self.settings) if replayed is None else replayed

    def _in_rounds(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Yield the frames searched; the last one of a scene or of all twice, if it was searched in part at first."""
        last: tuple[Frame, Settings] | None = None
        try:
            for frame, asked, scanned in self._scanned(frames):
                if frame.is_damaged:  # what was searched in part before it is searched whole, as at the end
                    if last is not None and self._rounds.is_open:
                        yield self._searched(*last, self._look_everywhere)
                    last, self._rounds.last = None, -math.inf
                    yield self._searched(frame, asked, self._follow)
                    continue
                if self._rounds.leaves(frame.image, frame.seconds) and last is not None:
                    yield self._searched(*last, self._look_everywhere)
                last = frame, asked
                yield self._searched(*last, partial(self._follow, scanned=scanned))
        except Exception:
            if last is not None and self._rounds.is_open:
                yield self._searched(*last, self._look_everywhere)
            raise
        if last is not None and self._rounds.is_open:
            yield self._searched(*last, self._look_everywhere)

    def _scanned(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Settings, Future[Scanned] | None]]:
        """Yield the frames, with what was asked as they came; those of a busy scene are scanned a frame ahead.

        Each is held back until the next is there: not of a live stream, nor where frames are not late anyway.
        """
        if self._frame_seconds is not None or not self.settings.delay_seconds:
            yield from ((frame, self.settings, None) for frame in frames)
            return
        before: tuple[Frame, Settings, Future[Scanned] | None] | None = None
        with ThreadPoolExecutor(1) as helper:
            try:
                for frame in frames:
                    asked = self.settings
                    is_busy = self._rounds_in_a_row >= BUSY_ROUNDS and not frame.is_damaged
                    scanned = helper.submit(self.detector.scan, stretched(frame.image)) if is_busy else None
                    if before is not None:
                        yield before
                    before = frame, asked, scanned
            except Exception:
                if before is not None:
                    yield before
                raise
            if before is not None:
                yield before

    def detect(self, frame: Frame) -> TrackedFrame:
        """Return where the faces of `frame` are; a frame that could not be searched says so.

        Raises:
            AnonymizerError: If `MAX_FAILURES` frames in a row could not be searched for faces.
        """
        return self._described(self._searched(frame, self.settings, self._follow))

    def still(self, frame: Frame, stream: str | None = None) -> SafeFrame:
        """Return a frame that has nothing to do with others: nobody is followed, known from before or kept visible.

        Raises:
            AnonymizerError: As `detect`.
        """
        self._forget(stream)
        if self._keeper is not None:
            self._keeper.close()
        self._keeper = None  # a look at one picture is not enough to show somebody
        return self.render(self._described(self._searched(frame, self.settings, self._look)))

    def _forget(self, stream: str | None) -> None:
        self._ladder, self._always = TierLadder(is_live=self._frame_seconds is not None), AlwaysCovered()
        self._stream = stream
        if self._traits:
            self._traits.forget()
        if self._renderer:
            self._renderer.forget(stream)

    def _searched(self, frame: Frame, asked: Settings, search: Callable[[Frame], TrackedFrame]) -> TrackedFrame:
        if frame.is_damaged:
            return TrackedFrame(frame, (), starts_scene=False, failed=DAMAGED)
        try:
            seen = search(replace(frame, image=stretched(frame.image), is_own=True))
            return replace(seen, frame=frame, asked=asked)
        except Exception as error:  # whatever it was: a frame that was not searched is not shown
            self._rounds.last = -math.inf
            return TrackedFrame(frame, (), starts_scene=False, failed=self._failure(frame, error))

    def _follow(self, frame: Frame, scanned: Future[Scanned] | None = None) -> TrackedFrame:
        image, seconds, since = frame.image, frame.seconds, self._rounds.last
        known, doubted = self.tracker.verified(seconds), self.tracker.doubted(seconds, since=since)
        due = self._rounds.due(image, seconds, known=known, doubted=doubted)
        scan: Callable[[], Scanned] | None = scanned.result if scanned else None
        if due is not None and self._rounds.is_startled and abs(seconds - self._glanced) > self._rounds.rest:
            found = scan() if scan else self.detector.scan(image)
            scan, self._glanced = lambda: found, seconds
            due = None if _came(found, [*known, *doubted]) else due
        self._rounds_in_a_row = self._rounds_in_a_row + 1 if due is None else 0
        followed = self.tracker.steady(seconds, since=since)
        if due is not None and self._draws:  # a drawn face needs its mesh in every frame
            faces = self._following(image, self.detector, len(followed)) if not due else None
            if faces is not None:
                return self._tracked(frame, self._small.in_frame(image, partial(list, faces), seconds=seconds))
        if due is None or self._draws:
            self._rounds.last, begun = seconds, time.perf_counter()
            seen = self._look_everywhere(frame, scan)
            if self._frame_seconds is not None:  # live: at most half of the time goes into looking
                self._rounds.rest = 2 * (time.perf_counter() - begun)
            self._following.begin(seen.tracks)
            return seen
        search = partial(self.detector, image, due, scan and scan()) if due else list[Face]
        return self._tracked(frame, self._small.in_frame(image, search, followed=followed, seconds=seconds))

    def _look_everywhere(self, frame: Frame, scanned: Callable[[], Scanned] | None = None) -> TrackedFrame:
        def search() -> list[Face]:
            return self.detector(frame.image, scanned=scanned()) if scanned else self.detector(frame.image)

        faces = self._small.in_frame(frame.image, search, seconds=frame.seconds)
        return self._tracked(frame, faces, is_everywhere=True)

    def _tracked(self, frame: Frame, faces: list[Face], *, is_everywhere: bool = False) -> TrackedFrame:
        if self.settings.policy != "strict":  # which covers what may be a face, whatever else says
            known = self.tracker.verified(frame.seconds)
            faces = self._look_again(frame.image, faces, known=known, seconds=frame.seconds)
        if is_everywhere:  # or known faces would be found once more, in worse places
            faces = self._disguises.in_frame(frame.image, faces, self.detector, seconds=frame.seconds)
        tracks = self.tracker.update(faces, frame.seconds, frame.image)
        return TrackedFrame(frame, tuple(tracks), self.tracker.starts_scene)

    @property
    def _draws(self) -> bool:
        return self._loaded.draws and self.settings.mode != "cover"

    def _look(self, frame: Frame) -> TrackedFrame:
        faces = self._small.in_picture(frame.image, self.detector(frame.image), self.detector)
        faces = self._look_again.in_picture(frame.image, faces)
        faces = self._disguises.in_picture(frame.image, faces, self.detector)
        return TrackedFrame(frame, tuple(alone(faces, self._start_score)), starts_scene=True)

    def _described(self, seen: TrackedFrame) -> TrackedFrame:
        """Return the frame with what kind of person each of its tracks is, where that is asked for.

        Raises:
            AnonymizerError: As `detect`; or see `prepare`.
        """
        self.prepare()
        if seen.failed:
            return seen
        if self._traits is not None and self._draws:
            frame = seen.frame
            try:
                seen = replace(seen, tracks=tuple(self._traits(frame.image, seen.tracks, frame.seconds)))
            except Exception as error:  # whatever it was: a frame that was not searched is not shown
                return replace(seen, failed=self._failure(frame, error))
        self._failures = 0
        return seen

    def _failure(self, frame: Frame, error: Exception) -> str:
        # Of other errors only the type: their message may quote the data, and the data are faces.
        reason = f"AnonymizerError: {error}" if isinstance(error, AnonymizerError) else type(error).__name__
        self._failures += 1
        if self._failures > MAX_FAILURES:
            raise AnonymizerError(f"{MAX_FAILURES} frames in a row could not be searched for faces: {reason}")
        log.error("frame %d is covered whole: %s", frame.index, reason)
        return reason

    def render(self, seen: TrackedFrame) -> SafeFrame:
        """Return the frame with every track replaced or covered, or covered whole; see `prepare` for errors.

        What is asked now counts, and what was asked when the frame came: of the two, what shows less.
        """
        self.prepare()
        frame, settings = seen.frame, self.settings
        if seen.asked is not None and seen.asked is not settings:
            settings = settings.stricter(seen.asked)
        misfit = self._always.misfit(frame, settings)
        if reason := DAMAGED if frame.is_damaged else seen.failed or misfit:
            return self._slate(frame, reason)
        try:
            return self._hidden(seen, settings)
        except Exception as error:  # whatever it was: a face that could not even be covered is not shown
            log.error("frame %d is covered whole: %s", frame.index, type(error).__name__)
            return self._slate(frame, type(error).__name__)

    def _hidden(self, seen: TrackedFrame, settings: Settings) -> SafeFrame:
        frame = seen.frame
        seen = replace(seen, tracks=tuple(track for track in seen.tracks if track.is_confirmed))
        visible = self._visible(seen)
        kept = [track for track in seen.tracks if track.id in visible]
        seen = replace(seen, tracks=tuple(track for track in seen.tracks if track.id not in visible))
        rendered = self.renderer(seen, self._plan(seen, settings), settings)
        self._ladder.record(rendered.outcomes, frame.seconds)
        self._always.cover(rendered.image, settings)
        outcomes = rendered.outcomes | {track.id: Choice("kept", "") for track in kept}
        reports = _reports([*seen.tracks, *kept], outcomes, settings.cover)
        return SafeFrame(rendered.image, frame.index, frame.pts, frame.time_base, reports, guard=rendered.guard)

    def _plan(self, seen: TrackedFrame, settings: Settings) -> dict[int, Choice]:
        mode, affordable = settings.mode if self.renderer.drawer else "cover", self.renderer.affordable
        return plan(seen, self._ladder, mode=mode, cover=settings.cover, affordable=affordable)

    def _visible(self, seen: TrackedFrame) -> set[int]:
        """Return the tracks of those who agreed to be seen; nobody, where that cannot be told.

        A face at whose place another one may be stays covered: what is covered only with it would be shown with it.
        """
        if self._keeper is None:
            return set()
        try:
            agreed = self._keeper.visible(seen.frame.image, seen.tracks, seen.frame.seconds)
            return agreed - {track.id for track in seen.tracks if track.hides}
        except Exception as error:  # whatever it was: in doubt a face is covered
            log.warning("frame %d: nobody stays visible: %s", seen.frame.index, type(error).__name__)
            return set()

    def _slate(self, frame: Frame, reason: str) -> SafeFrame:
        return SafeFrame(conceal_frame(frame.image), frame.index, frame.pts, frame.time_base, failed=reason)


def _reports(tracks: Iterable[Track], choices: dict[int, Choice], cover: Cover) -> tuple[FaceReport, ...]:
    """Return what is seen in the place of each track: of a face that is drawn under its cover, that."""
    shown = {n: cover if one.tier == "generated" and one.reason else one.tier for n, one in choices.items()}
    return tuple(FaceReport(t.id, shown[t.id], choices[t.id].reason, t.face.box) for t in tracks)


def _came(scanned: Scanned, there: Sequence[Face]) -> bool:
    """Return whether somebody is surely seen who is none of `there`; what is in doubt can wait for the next round."""
    _, new = joined(there, [one for some in scanned.values() for one in some])
    return any(one.score >= SURE for one in new)
