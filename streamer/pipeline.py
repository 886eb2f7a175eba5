"""The heart: frames in, safe frames out. The only module that makes a `SafeFrame`.

    detect -> track -> conceal -> draw

What fails after `conceal` shows a covered face; what fails before it shows nothing of the frame.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from models.privacy import GaussianMechanism, PrivacyAccountant, new_key
from streamer.blend import inner_face
from streamer.conceal import conceal_box, conceal_frame, conceal_polygon
from streamer.detect import FaceDetector
from streamer.errors import AnonymizerError
from streamer.track import START_SCORE, FaceTracker
from streamer.types import Cover, FaceReport, Floats, Frame, Image, Mode, SafeFrame, Source, Tier, Track

if TYPE_CHECKING:
    import torch

    from models.face_model import FaceModel
    from models.identity import FaceRecognizer
    from streamer.draw import FaceDrawer

log = logging.getLogger(__name__)

MIN_FACE_SIZE = 24.0  # pixels; a smaller face is only covered: drawn, it flickers, and nobody would see who it is
MAX_TURN = 1.12  # of the oval's width, where the nose tip may lie; nearer to profile a real nose reaches past its mesh
MAX_FAILURES = 100  # frames in a row that could not be searched; then something is broken for good
DEFAULT_DELTA = 1e-5  # well below one over the people of any recording
QUEUE_LENGTH = 8  # frames between two threads: enough to overlap, and all the memory there is


@dataclass(frozen=True, slots=True)
class Settings:
    """What is done to faces.

    Attributes:
        beta: 0 (most private) to 1 (most like the person); Private-Encoder, eq. 3.
        mode: "generate" draws a synthetic face; "cover" stops at the cover, which is fast.
        cover: What lies under a generated face, and is shown where none is drawn.
        key: Whoever holds it gets the same strangers again; None draws one for this process.
        epsilon: Differential privacy of the identity coordinates, per track (`models.privacy`); None for strangers
            that suit the person, and come back with them.
        delta: With what chance that may fail.
    """

    beta: float = 0.0
    mode: Mode = "generate"
    cover: Cover = "mosaic"
    key: bytes | None = field(default=None, repr=False)  # a secret: a log must not show it
    epsilon: float | None = None
    delta: float = DEFAULT_DELTA

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta <= 1.0:
            raise ValueError(f"beta must be in [0, 1], got {self.beta}")
        if self.mode not in ("generate", "cover"):
            raise ValueError(f"mode must be 'generate' or 'cover', got {self.mode!r}")
        if self.cover not in ("solid", "mosaic"):
            raise ValueError(f"cover must be 'solid' or 'mosaic', got {self.cover!r}")
        if self.epsilon is not None and (self.beta > 0 or self.mode == "cover"):
            raise ValueError("epsilon needs mode 'generate' and beta 0: above 0 the person shows, whatever the noise")


class Anonymizer:
    """Weights and settings, shared by any number of streams."""

    def __init__(
        self,
        model: FaceModel | None,
        device: torch.device | None,
        settings: Settings,
        recognizer: FaceRecognizer | None = None,
    ) -> None:
        """Take a prepared model and the device it is on; without both, faces are only covered.

        Raises:
            ValueError: If differential privacy is asked of a model that does not know what identity is.
        """
        self.model, self.device, self.settings, self.recognizer = model, device, settings, recognizer
        self.key = settings.key or new_key()
        self.accountant = PrivacyAccountant()
        self.mechanism = _mechanism_of(model, settings)
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
    ) -> Self:
        """Load weights by name or path.

        Args:
            model: "default", a name that `veil doctor` lists, or the path of a checkpoint.
            beta, mode, cover, key, epsilon, delta: See `Settings`.
            device: "auto", "cpu" or "cuda".

        Raises:
            ValueError: If a setting is out of range.
            CheckpointError: If the weights are missing, damaged or of another version.
            AnonymizerError: If CUDA is asked for and absent.
        """
        settings = Settings(beta=beta, mode=mode, cover=cover, key=key, epsilon=epsilon, delta=delta)
        if mode == "cover" and device in ("auto", "cpu"):
            return cls(None, None, settings)  # torch takes longer to load than a short clip to cover
        from models.face_model import load_face_model, prepare
        from models.pretrained import load_recognizer
        from streamer.draw import choose_device

        place = choose_device(device)
        if mode == "cover":
            return cls(None, place, settings)
        network = prepare(load_face_model(model, place), place)
        recognizer = prepare(load_recognizer("identity"), place) if network.identity_size else None
        return cls(network, place, settings, recognizer)

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
        """Yield the safe frames of one stream, in order, one for one."""
        stream = FaceAnonymizer(self)
        try:
            for frame in frames:
                yield stream(frame)
        finally:
            stream.close()


class FaceAnonymizer:
    """The state of one stream: who is where, and who they have become."""

    _numbers = itertools.count()

    def __init__(self, anonymizer: Anonymizer) -> None:
        self.settings = anonymizer.settings
        self.detector = FaceDetector()
        self._drawer = _drawer_of(anonymizer)
        self._failures = 0
        self.reset()

    def reset(self) -> None:
        """Forget everyone, as before an unrelated picture."""
        self.tracker = FaceTracker()
        number = next(FaceAnonymizer._numbers)
        if self._drawer:
            self._drawer.reset(number)

    def close(self) -> None:
        """Release the detector."""
        self.detector.close()

    def __call__(self, frame: Frame) -> SafeFrame:
        """Return `frame` with every face replaced or covered.

        Raises:
            AnonymizerError: If `MAX_FAILURES` frames in a row could not be searched for faces.
        """
        try:
            tracks = self.tracker.update(self.detector(frame.image), frame.seconds, frame.image)
        except Exception as error:  # whatever it was: a frame that was not searched is not shown
            return self._slate(frame, error)
        self._failures = 0
        if self._drawer:
            self._drawer.keep_only({track.id for track in tracks})
        reasons = {track.id: self._why_not_drawn(track) for track in tracks}
        drawable = [track for track in tracks if not reasons[track.id]]
        try:
            image = self._draw(frame, tracks, drawable)
        except Exception as error:  # whatever it was: a face that was not drawn is covered
            log.warning("frame %d: faces are covered, not drawn: %s", frame.index, type(error).__name__)
            image = self._conceal(frame.image, tracks, [])
            reasons |= {track.id: "model failed" for track in drawable}
        return SafeFrame(image, frame.index, frame.pts, frame.time_base, self._reports(tracks, reasons))

    def _slate(self, frame: Frame, error: Exception) -> SafeFrame:
        # Of other errors only the type: their message may quote the data, and the data are faces.
        reason = f"AnonymizerError: {error}" if isinstance(error, AnonymizerError) else type(error).__name__
        self._failures += 1
        if self._failures > MAX_FAILURES:
            raise AnonymizerError(f"{MAX_FAILURES} frames in a row could not be searched for faces: {reason}")
        log.error("frame %d is covered whole: %s", frame.index, reason)
        image = conceal_frame(frame.image)
        return SafeFrame(image, frame.index, frame.pts, frame.time_base, failed=reason)

    def _why_not_drawn(self, track: Track) -> str:
        if self._drawer is None:
            return "mode"
        if track.missed_seconds > 0:
            return "coasting"
        if track.face.mesh is None:
            return "no mesh"
        if track.face.score < START_SCORE:
            return "doubtful"
        if track.face.size < MIN_FACE_SIZE:
            return "small"
        return "turned" if turn(track.face.mesh) > MAX_TURN else ""

    def _conceal(self, image: Image, tracks: list[Track], drawable: list[Track]) -> Image:
        image, drawn = image.copy(), {track.id for track in drawable}
        for track in tracks:
            if track.id not in drawn:
                conceal_box(image, track.face.box, cover=self.settings.cover)
        for track in drawable:
            conceal_polygon(image, inner_face(track.face), cover=self.settings.cover)
        return image

    def _draw(self, frame: Frame, tracks: list[Track], drawable: list[Track]) -> Image:
        """Return the frame with every track concealed, and synthetic faces over the drawable ones."""
        if self._drawer is None or not drawable:
            return self._conceal(frame.image, tracks, [])
        drawable = [self._drawer.steady(track, frame.seconds) for track in drawable]
        image = self._conceal(frame.image, tracks, drawable)  # no original face pixel survives this line
        self._drawer.draw(image, frame.image, drawable, frame.seconds)
        return image

    def _reports(self, tracks: list[Track], reasons: dict[int, str]) -> tuple[FaceReport, ...]:
        def tier(reason: str) -> Tier:
            return self.settings.cover if reason else "generated"

        return tuple(FaceReport(t.id, tier(reasons[t.id]), reasons[t.id], t.face.box) for t in tracks)


def protect(source: Source, anonymizer: Anonymizer) -> Iterator[SafeFrame]:
    """Yield the safe frames of `source`, in order; it is read in one thread and anonymised in another.

    Raises:
        SourceError, AnonymizerError: Whatever ended either; frames before it have been yielded.
    """
    stop = threading.Event()
    frames = _ahead(source, stop)
    unrelated = bool(source.info.names)  # pictures of a folder
    safe = _ahead(map(anonymizer.picture, frames) if unrelated else anonymizer.frames(frames), stop)
    try:
        yield from safe
    finally:
        stop.set()


def _drawer_of(anonymizer: Anonymizer) -> FaceDrawer | None:
    if anonymizer.model is None or anonymizer.device is None:
        return None
    from streamer.draw import FaceDrawer
    from streamer.pseudonym import Pseudonyms

    pseudonyms = Pseudonyms(
        anonymizer.model,
        anonymizer.device,
        key=anonymizer.key,
        recognizer=anonymizer.recognizer,
        mechanism=anonymizer.mechanism,
        accountant=anonymizer.accountant,
    )
    return FaceDrawer(anonymizer.model, anonymizer.device, beta=anonymizer.settings.beta, pseudonyms=pseudonyms)


def _mechanism_of(model: FaceModel | None, settings: Settings) -> GaussianMechanism | None:
    """Return the mechanism of the settings' epsilon; coordinates of unit variance are clipped to their mean norm."""
    if model is None or settings.epsilon is None:
        return None
    if not model.identity_size:
        raise ValueError(f"epsilon needs a model that knows what identity is; a {model.kind} model does not")
    return GaussianMechanism(settings.epsilon, settings.delta, bound=math.sqrt(model.identity_size))


def turn(mesh: Floats) -> float:
    """Return where the nose tip lies across the face's oval: .5 facing the camera, towards 1 in profile."""
    left, right, nose = mesh[234, :2], mesh[454, :2], mesh[1, :2]
    across = right - left
    share = float((nose - left) @ across / max(float(across @ across), 1e-6))
    return max(share, 1.0 - share)


def _ahead(items: Iterable[Any], stop: threading.Event) -> Iterator[Any]:
    """Yield `items`, taken by a thread of their own that runs at most `QUEUE_LENGTH` ahead and ends at `stop`."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(QUEUE_LENGTH)
    end = object()

    def put(item: object, error: BaseException | None = None) -> bool:
        while not stop.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(end)
        except BaseException as error:  # handed to the consumer, which raises it
            put(end, error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not stop.is_set():
        try:
            item, error = ready.get(timeout=0.1)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        if item is end:
            return
        yield item
