"""The heart: frames in, safe frames out. The only module that makes a `SafeFrame`.

    see: detect -> track        look ahead        hide: conceal -> draw -> guard (`streamer.pipeline.renderer`)

What fails after `conceal` shows a covered face; what fails before it shows nothing of the frame.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Self

import numpy as np

from models.privacy import PrivacyAccountant, new_key
from streamer.errors import AnonymizerError
from streamer.faces.detect import LEAST_SCORE, FaceDetector
from streamer.faces.small_faces import Search, SmallFaces
from streamer.faces.track import START_SCORE, FaceTracker, alone
from streamer.pipeline.always import AlwaysCovered
from streamer.pipeline.assembly import keeper_of, mechanism_of, traits_of
from streamer.pipeline.lookahead import LookAhead
from streamer.pipeline.pool import Pool
from streamer.pipeline.renderer import Renderer
from streamer.pipeline.tiers import Choice
from streamer.region import AnyRegion, regions_of
from streamer.render.conceal import conceal_frame
from streamer.settings import DEFAULT_DELAY, DEFAULT_DELTA, Settings
from streamer.types import (
    Cover,
    FaceReport,
    Frame,
    Image,
    Mode,
    Policy,
    SafeFrame,
    Seen,
    Track,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

    from models.attributes.attributes import AttributeNet
    from models.face_model import FaceModel
    from models.identity.recognizer import FaceRecognizer
    from streamer.consent.filter import Keeping

log = logging.getLogger(__name__)

MAX_FAILURES = 100  # frames in a row that could not be searched; then something is broken for good
MAX_STILLS = min(4, os.cpu_count() or 1)  # single pictures at the same time; each takes a detector of its own


class Anonymizer:
    """Weights and settings, shared by any number of streams; any thread may use it at any time.

    `image` and `picture` can be called from as many threads as one likes: `MAX_STILLS` work at the same time, the
    others wait. What `frames` returns is one stream, for one thread at a time. `settings` may be replaced while others
    use it. Load it in the process that uses it, not before a fork: threads do not survive that.
    """

    def __init__(
        self,
        model: FaceModel | None,
        device: torch.device | None,
        settings: Settings,
        recognizer: FaceRecognizer | None = None,
        keeping: Keeping | None = None,
        attributes: AttributeNet | None = None,
    ) -> None:
        """Take prepared networks and their device, without which faces are only covered, and who may stay visible.

        Raises:
            ValueError: If differential privacy is asked of a model that does not know what identity is.
        """
        self.model, self.device, self.recognizer = model, device, recognizer
        self._settings = settings
        self.keeping, self.attributes = keeping, attributes
        self.key = settings.key or new_key()
        self.accountant = PrivacyAccountant()
        self.search = Search(settings.min_face)
        self.mechanism = mechanism_of(model, settings)
        if self.mechanism and settings.key:
            log.warning("epsilon draws strangers by noise of its own; the key has no effect")
        self._stills = Pool(lambda: FaceAnonymizer(self), limit=MAX_STILLS)

    @property
    def settings(self) -> Settings:
        """What is done to faces; another one counts from the next frame on, and may not change key or privacy.

        Raises:
            ValueError: If it does: who becomes whom was decided by those from the start.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        old = self._settings
        if (settings.key, settings.epsilon, settings.delta) != (old.key, old.epsilon, old.delta):
            raise ValueError("key, epsilon and delta cannot be changed; make another Anonymizer")
        self._settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what single pictures need; those at work are finished, later ones raise `AnonymizerError`."""
        self._stills.close()

    @property
    def privacy(self) -> str:
        """What differential privacy has been spent, in words; "" where none was asked for."""
        if self.mechanism is None:
            return ""
        spent = self.accountant.spent(self.mechanism.delta)
        return (
            f"epsilon {self.mechanism.epsilon:g} a track at delta {self.mechanism.delta:g}, "
            f"{spent:.3g} if all {self.accountant.releases} tracks were one person"
        )

    @classmethod
    def load(
        cls,
        model: str = "default",
        *,
        beta: float = 0.0,
        device: str = "auto",
        mode: Mode = "generate",
        cover: Cover = "mosaic",
        key: bytes | None = None,
        epsilon: float | None = None,
        delta: float = DEFAULT_DELTA,
        policy: Policy = "balanced",
        delay_seconds: float = DEFAULT_DELAY,
        min_face: float | None = None,
        keeping: Keeping | None = None,
        always: Iterable[AnyRegion] = (),
    ) -> Self:
        """Load weights by name or path.

        Args:
            model: "default", a name that `veil doctor` lists, or the path of a checkpoint.
            beta, mode, cover, key, epsilon, delta, policy, delay_seconds, min_face: See `Settings`.
            device: "auto", "cpu" or "cuda".
            keeping: Who stays visible (`streamer.consent.filter`).
            always: Regions that are covered in every frame, each `(x, y, width, height)` in pixels of the upright
                picture, or in percent of it: "10%,0%,25%,100%".

        Raises:
            ValueError: If a setting is out of range.
            CheckpointError: If the weights are missing, damaged or of another version.
            AnonymizerError: If CUDA is asked for and absent.
        """
        regions = regions_of(always)
        settings = Settings(beta, mode, cover, key, epsilon, delta, policy, delay_seconds, min_face, regions)
        if mode == "cover" and device in ("auto", "cpu"):
            return cls(None, None, settings, keeping=keeping)  # torch takes longer to load than a short clip to cover
        from models.attributes.attributes import load_attributes
        from models.face_model import prepare
        from models.pretrained.imported import load_recognizer
        from models.registry import load_face_model
        from streamer.render.draw import choose_device

        place = choose_device(device)
        if mode == "cover":
            return cls(None, place, settings, keeping=keeping)
        network = prepare(load_face_model(model, place), place)
        recognizer, attributes = prepare(load_recognizer("identity"), place), prepare(load_attributes(), place)
        return cls(network, place, settings, recognizer, keeping, attributes)

    def with_settings(self, settings: Settings) -> Self:
        """Return another one with the same weights, and with this one's key unless `settings` has one."""
        other = type(self)(self.model, self.device, settings, self.recognizer, self.keeping, self.attributes)
        other.key = settings.key or self.key
        return other

    def image(self, rgb: Image, *, stream: str | None = None) -> Image:
        """Return a copy of the `(H, W, 3)` uint8 RGB picture without its faces; for any thread.

        The same picture, under the same key, gets the same faces, whatever came before it (but not with epsilon).

        Args:
            stream: As of `frames`.

        Raises:
            ValueError: If it is no such picture.
            AnonymizerError: If it could not be searched for faces, or this is closed.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
        safe = self.picture(Frame(rgb, index=0, pts=0, time_base=Fraction(1)), stream=stream)
        if safe.failed:
            raise AnonymizerError(safe.failed)
        return safe.image

    def picture(self, frame: Frame, *, stream: str | None = None) -> SafeFrame:
        """Return one frame that has nothing to do with any other; for any thread.

        Args:
            stream: As of `frames`.

        Raises:
            AnonymizerError: If this is closed, or pictures fail one after another (`FaceAnonymizer.see`).
        """
        with self._stills.borrowed() as stills:
            return stills.still(frame, stream)

    def frames(self, frames: Iterable[Frame], *, stream: str | None = None) -> Iterator[SafeFrame]:
        """Yield the safe frames of one stream, in order, one for one, each `delay_seconds` late; for one thread.

        Args:
            frames: With their times.
            stream: Its name. Under one key and name the same pictures get the same strangers, under another name
                others. Without one, the first picture with a face to be drawn stands for it.
        """
        one = FaceAnonymizer(self, stream=stream)
        try:
            yield from map(one.hide, one.ahead(frames))
        finally:
            one.close()


class FaceAnonymizer:
    """The state of one stream: who is where, and who they have become.

    `see` and `hide` share nothing, so that each may run in a thread of its own; each takes the frames in order. Nothing
    else may be done with one by two threads at a time.
    """

    def __init__(
        self, anonymizer: Anonymizer, frame_seconds: float | None = None, *, stream: str | None = None
    ) -> None:
        """Begin a stream of this name (`Anonymizer.frames`).

        With `frame_seconds` between its frames it is live, and draws what it has time for.
        """
        self._anonymizer = anonymizer
        self.renderer = Renderer(anonymizer, frame_seconds)
        self.detector, self._small = FaceDetector(), SmallFaces(anonymizer.search)
        self.tracker = FaceTracker(self._start_score)
        self._keeper, self._traits = keeper_of(anonymizer.keeping), traits_of(anonymizer)
        self._failures, self._always = 0, AlwaysCovered()
        self.renderer.forget(stream)

    @property
    def settings(self) -> Settings:
        """What the anonymizer's settings are now: beta and mode count from the next frame on."""
        return self._anonymizer.settings

    @property
    def _start_score(self) -> float:
        return LEAST_SCORE if self.settings.policy == "strict" else START_SCORE

    def warm_up(self) -> None:
        """Run every network once: their first run is slow."""
        self.detector(np.zeros((64, 64, 3), np.uint8))
        self.renderer.warm_up()

    def close(self) -> None:
        """Release the detector and what draws."""
        self.detector.close()
        self.renderer.close()

    def __call__(self, frame: Frame) -> SafeFrame:
        """Return `frame` with every face that it shows by itself replaced or covered; see `see` for errors."""
        return self.hide(self.see(frame))

    def ahead(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """Yield the frames searched, each with the faces that the frames of the next moment reveal."""
        searched = LookAhead(self.settings.delay_seconds, self.settings.policy)(map(self.see, frames))
        return (seen for seen in searched if not seen.frame.is_context)

    def see(self, frame: Frame) -> Seen:
        """Return where the faces of `frame` are; a frame that could not be searched says so.

        Raises:
            AnonymizerError: If `MAX_FAILURES` frames in a row could not be searched for faces.
        """
        return self._searched(frame, self._follow)

    def still(self, frame: Frame, stream: str | None = None) -> SafeFrame:
        """Return a frame that has nothing to do with others: nobody is followed, known from before or kept visible.

        Raises:
            AnonymizerError: As `see`.
        """
        self.renderer.forget(stream)
        self._always = AlwaysCovered()
        self._keeper = None  # a look at one picture is not enough to show somebody
        return self.hide(self._searched(frame, self._look))

    def _searched(self, frame: Frame, search: Callable[[Frame], Seen]) -> Seen:
        try:
            seen = search(frame)
        except Exception as error:  # whatever it was: a frame that was not searched is not shown
            return Seen(frame, (), is_first=False, failed=self._failure(frame, error))
        self._failures = 0
        return seen

    def _follow(self, frame: Frame) -> Seen:
        faces = self._small.in_frame(frame.image, self.detector(frame.image), seconds=frame.seconds)
        tracks = self.tracker.update(faces, frame.seconds, frame.image)
        return Seen(frame, self._described(frame, tracks), self.tracker.is_first)

    def _look(self, frame: Frame) -> Seen:
        faces = self._small.in_picture(frame.image, self.detector(frame.image), self.detector)
        if self._traits:
            self._traits.forget()
        return Seen(frame, self._described(frame, alone(faces, self._start_score)), is_first=True)

    def _described(self, frame: Frame, tracks: list[Track]) -> tuple[Track, ...]:
        """Return the tracks with what kind of person each is, where that is asked for."""
        if self._traits is None or self.settings.mode == "cover":
            return tuple(tracks)
        return tuple(self._traits(frame.image, tracks, frame.seconds))

    def _failure(self, frame: Frame, error: Exception) -> str:
        # Of other errors only the type: their message may quote the data, and the data are faces.
        reason = f"AnonymizerError: {error}" if isinstance(error, AnonymizerError) else type(error).__name__
        self._failures += 1
        if self._failures > MAX_FAILURES:
            raise AnonymizerError(f"{MAX_FAILURES} frames in a row could not be searched for faces: {reason}")
        log.error("frame %d is covered whole: %s", frame.index, reason)
        return reason

    def hide(self, seen: Seen) -> SafeFrame:
        """Return the frame with every track replaced or covered, or covered whole."""
        frame = seen.frame
        if reason := seen.failed or self._always.misfit(frame, self.settings):
            return self._slate(frame, reason)
        try:
            return self._hidden(seen)
        except Exception as error:  # whatever it was: a face that could not even be covered is not shown
            log.error("frame %d is covered whole: %s", frame.index, type(error).__name__)
            return self._slate(frame, type(error).__name__)

    def _hidden(self, seen: Seen) -> SafeFrame:
        frame = seen.frame
        seen = replace(seen, tracks=tuple(track for track in seen.tracks if track.is_sure))
        visible = self._visible(seen)
        kept = [track for track in seen.tracks if track.id in visible]
        seen = replace(seen, tracks=tuple(track for track in seen.tracks if track.id not in visible))
        rendered = self.renderer(seen)
        self._always.cover(rendered.image, self.settings)
        choices = rendered.choices | {track.id: Choice("kept", "") for track in kept}
        reports = _reports([*seen.tracks, *kept], choices)
        return SafeFrame(rendered.image, frame.index, frame.pts, frame.time_base, reports, guard=rendered.guard)

    def _visible(self, seen: Seen) -> set[int]:
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


def _reports(tracks: Iterable[Track], choices: dict[int, Choice]) -> tuple[FaceReport, ...]:
    return tuple(FaceReport(t.id, choices[t.id].tier, choices[t.id].reason, t.face.box) for t in tracks)
