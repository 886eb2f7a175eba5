"""The heart: frames in, safe frames out. The only module that makes a `SafeFrame`.

    see: detect -> track        look ahead        hide: conceal -> draw -> guard

What fails after `conceal` shows a covered face; what fails before it shows nothing of the frame.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Self

import numpy as np

from models.privacy import PrivacyAccountant, new_key
from streamer.align import turn
from streamer.assembly import drawer_of, guard_of, keeper_of, mechanism_of
from streamer.blend import fade_in, inner_face
from streamer.conceal import conceal_box, conceal_frame, conceal_polygon
from streamer.detect import LEAST_SCORE, FaceDetector
from streamer.errors import AnonymizerError
from streamer.lookahead import LookAhead
from streamer.overload import DrawingBudget
from streamer.settings import DEFAULT_DELAY, DEFAULT_DELTA, Settings
from streamer.tiers import BEFORE_FOUND, Choice, TierLadder
from streamer.track import START_SCORE, FaceTracker
from streamer.types import (
    Cover,
    FaceReport,
    Frame,
    GuardReport,
    Image,
    Mode,
    Policy,
    SafeFrame,
    Seen,
    Track,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

    from models.face_model import FaceModel
    from models.identity import FaceRecognizer
    from streamer.keep import Keeping

log = logging.getLogger(__name__)

MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_TURN = 1.12  # of the oval's width, where the nose tip may lie; nearer to profile a real nose reaches past its mesh
MAX_FAILURES = 100  # frames in a row that could not be searched; then something is broken for good
TOO_ALIKE = "too like the source"  # the guard's reason


class Anonymizer:
    """Weights and settings, shared by any number of streams."""

    def __init__(
        self,
        model: FaceModel | None,
        device: torch.device | None,
        settings: Settings,
        recognizer: FaceRecognizer | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        """Take a prepared model and its device, without which faces are only covered, and who may stay visible.

        Raises:
            ValueError: If differential privacy is asked of a model that does not know what identity is.
        """
        self.model, self.device, self.settings, self.recognizer = model, device, settings, recognizer
        self.keeping = keeping
        self.key = settings.key or new_key()
        self.accountant = PrivacyAccountant()
        self.mechanism = mechanism_of(model, settings)
        self._stills: FaceAnonymizer | None = None

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
        keeping: Keeping | None = None,
    ) -> Self:
        """Load weights by name or path.

        Args:
            model: "default", a name that `veil doctor` lists, or the path of a checkpoint.
            beta, mode, cover, key, epsilon, delta, policy, delay_seconds: See `Settings`.
            device: "auto", "cpu" or "cuda".
            keeping: Who stays visible (`streamer.keep`).

        Raises:
            ValueError: If a setting is out of range.
            CheckpointError: If the weights are missing, damaged or of another version.
            AnonymizerError: If CUDA is asked for and absent.
        """
        settings = Settings(beta, mode, cover, key, epsilon, delta, policy, delay_seconds)
        if mode == "cover" and device in ("auto", "cpu"):
            return cls(None, None, settings, keeping=keeping)  # torch takes longer to load than a short clip to cover
        from models.face_model import load_face_model, prepare
        from models.pretrained import load_recognizer
        from streamer.draw import choose_device

        place = choose_device(device)
        if mode == "cover":
            return cls(None, place, settings, keeping=keeping)
        network = prepare(load_face_model(model, place), place)
        return cls(network, place, settings, prepare(load_recognizer("identity"), place), keeping)

    def image(self, rgb: Image) -> Image:
        """Return a copy of the `(H, W, 3)` uint8 RGB picture without its faces."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
        safe = self.picture(Frame(rgb, index=0, pts=0, time_base=Fraction(1)))
        if safe.failed:
            raise AnonymizerError(safe.failed)
        return safe.image

    def picture(self, frame: Frame) -> SafeFrame:
        """Return one frame that has nothing to do with the one before it."""
        if self._stills is None:
            self._stills = FaceAnonymizer(self)
        self._stills.reset()
        return self._stills(frame)

    def frames(self, frames: Iterable[Frame]) -> Iterator[SafeFrame]:
        """Yield the safe frames of one stream, in order, one for one, each `delay_seconds` late."""
        stream = FaceAnonymizer(self)
        try:
            yield from map(stream.hide, stream.ahead(frames))
        finally:
            stream.close()


class FaceAnonymizer:
    """The state of one stream: who is where, and who they have become.

    `see` and `hide` share nothing, so that each may run in a thread of its own; each takes the frames in order.
    """

    _numbers = itertools.count()

    def __init__(self, anonymizer: Anonymizer, frame_seconds: float | None = None) -> None:
        """Begin a stream; with `frame_seconds` between its frames it is live, and draws what it has time for."""
        self._anonymizer = anonymizer
        self._budget = DrawingBudget(frame_seconds) if frame_seconds else None
        self.detector = FaceDetector()
        self._drawer, self._guard = drawer_of(anonymizer), guard_of(anonymizer)
        self._keeping = anonymizer.keeping
        self._failures = 0
        self.reset()

    @property
    def settings(self) -> Settings:
        """What the anonymizer's settings are now: beta and mode count from the next frame on."""
        return self._anonymizer.settings

    def reset(self) -> None:
        """Forget everyone, as before an unrelated picture."""
        self.tracker = FaceTracker(LEAST_SCORE if self.settings.policy == "strict" else START_SCORE)
        self._ladder = TierLadder(self.settings.cover)
        self._keeper = keeper_of(self._keeping)
        number = next(FaceAnonymizer._numbers)
        if self._drawer:
            self._drawer.reset(number)
        if self._guard:
            self._guard.keep_only(set())

    def warm_up(self) -> None:
        """Run every network once: their first run is slow."""
        self.detector(np.zeros((64, 64, 3), np.uint8))
        if self._drawer:
            self._drawer.warm_up()
        if self._guard:
            self._guard.warm_up()

    def close(self) -> None:
        """Release the detector."""
        self.detector.close()

    def __call__(self, frame: Frame) -> SafeFrame:
        """Return `frame` with every face that it shows by itself replaced or covered; see `see` for errors."""
        return self.hide(self.see(frame))

    def ahead(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """Yield the frames searched, each with the faces that the frames of the next moment reveal."""
        return LookAhead(self.settings.delay_seconds, self.settings.policy)(map(self.see, frames))

    def see(self, frame: Frame) -> Seen:
        """Return where the faces of `frame` are; a frame that could not be searched says so.

        Raises:
            AnonymizerError: If `MAX_FAILURES` frames in a row could not be searched for faces.
        """
        try:
            tracks = self.tracker.update(self.detector(frame.image), frame.seconds, frame.image)
        except Exception as error:  # whatever it was: a frame that was not searched is not shown
            return Seen(frame, (), is_first=False, failed=self._failure(frame, error))
        self._failures = 0
        return Seen(frame, tuple(tracks), self.tracker.is_first)

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
        if seen.failed:
            return self._slate(frame, seen.failed)
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
        self._keep_only({track.id for track in seen.tracks})
        choices = self._choices(seen)
        image = self._draw_or_cover(seen, choices)
        guard = self._guard.take_report() if self._guard else GuardReport()
        choices |= {track.id: Choice("kept", "") for track in kept}
        reports = _reports([*seen.tracks, *kept], choices)
        return SafeFrame(image, frame.index, frame.pts, frame.time_base, reports, guard=guard)

    def _visible(self, seen: Seen) -> set[int]:
        """Return the tracks of those who agreed to be seen; nobody, where that cannot be told."""
        if self._keeper is None:
            return set()
        try:
            return self._keeper.visible(seen.frame.image, seen.tracks, seen.frame.seconds)
        except Exception as error:  # whatever it was: in doubt a face is covered
            log.warning("frame %d: nobody stays visible: %s", seen.frame.index, type(error).__name__)
            return set()

    def _slate(self, frame: Frame, reason: str) -> SafeFrame:
        return SafeFrame(conceal_frame(frame.image), frame.index, frame.pts, frame.time_base, failed=reason)

    def _draw_or_cover(self, seen: Seen, choices: dict[int, Choice]) -> Image:
        try:
            return self._draw(seen, choices)
        except Exception as error:  # whatever it was: a face that was not drawn is covered
            log.warning("frame %d: faces are covered, not drawn: %s", seen.frame.index, type(error).__name__)
            self._cover(choices, [t for t in seen.tracks if choices[t.id].tier == "generated"], "model failed", seen)
            return self._conceal(seen.frame.image, seen.tracks, [])

    def _keep_only(self, alive: set[int]) -> None:
        self._ladder.keep_only(alive)
        if self._drawer:
            self._drawer.keep_only(alive)
        if self._guard:
            self._guard.keep_only(alive)

    def _choices(self, seen: Seen) -> dict[int, Choice]:
        reasons = {track.id: self._why_not_drawn(track) for track in seen.tracks}
        drawable = sorted((t for t in seen.tracks if not reasons[t.id]), key=lambda t: t.face.size, reverse=True)
        if self._budget and drawable:
            reasons |= {track.id: "overload" for track in drawable[self._budget.affordable(len(drawable)) :]}
        seconds = seen.frame.seconds
        return {n: self._ladder.choose(n, r, seconds=seconds, is_first=seen.is_first) for n, r in reasons.items()}

    def _why_not_drawn(self, track: Track) -> str:
        if self._drawer is None or self.settings.mode == "cover":
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
                conceal_box(image, track.face.box, cover=self.settings.cover)
        for track in drawable:
            conceal_polygon(image, inner_face(track.face), cover=self.settings.cover)
        return image

    def _draw(self, seen: Seen, choices: dict[int, Choice]) -> Image:
        """Return the frame with every track concealed, and synthetic faces over those chosen for it."""
        frame, drawable = seen.frame, [t for t in seen.tracks if choices[t.id].tier == "generated"]
        if self._drawer is None or not drawable:
            return self._conceal(frame.image, seen.tracks, [])
        start, is_usual = time.perf_counter(), self._drawer.knows(drawable)
        fresh = self._budget.fresh(len(drawable)) if self._budget else len(drawable)
        drawable = [self._drawer.steady(track, frame.seconds) for track in drawable]
        opacities = [choices[track.id].opacity for track in drawable]
        image, alike, fresh = self._drawn(seen, drawable, opacities, fresh=fresh)
        for track in alike:
            log.warning("frame %d: track %d is covered: %s", frame.index, track.id, TOO_ALIKE)
            conceal_box(image, track.face.box, cover=self.settings.cover)
        self._cover(choices, alike, TOO_ALIKE, seen)
        if self._budget and is_usual:
            self._budget.spent(len(drawable), fresh, time.perf_counter() - start)
        return image

    def _drawn(
        self, seen: Seen, drawable: Sequence[Track], opacities: Sequence[float], *, fresh: int
    ) -> tuple[Image, list[Track], int]:
        """Return the frame with synthetic faces, tracks whose every stranger was too like them, how many are new."""
        assert self._drawer is not None
        frame, alike, beta = seen.frame, list[Track](), self.settings.beta
        guard = self._guard if beta == 0 else None  # above 0 likeness is asked for, not watched
        for limit in guard.limits if guard else (1.0,):
            image = self._conceal(frame.image, seen.tracks, drawable)  # no original face pixel survives this line
            made = self._drawer.draw(image, frame.image, drawable, frame.seconds, beta=beta, fresh=fresh)
            if guard:
                alike = guard.check(frame.image, image, drawable, seconds=frame.seconds, limit=limit)
            if not alike:
                break
            self._drawer.replace([track.id for track in alike])
        for track, opacity in zip(drawable, opacities, strict=True):
            if opacity < 1.0:  # only now: what was compared is the face in full
                fade_in(image, track.face, opacity, cover=self.settings.cover)
        return image, alike, made


def _reports(tracks: Iterable[Track], choices: dict[int, Choice]) -> tuple[FaceReport, ...]:
    return tuple(FaceReport(t.id, choices[t.id].tier, choices[t.id].reason, t.face.box) for t in tracks)
