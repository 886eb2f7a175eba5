"""A stream that a program feeds frame by frame: one picture in, the safe one out, at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Self, TypeVar, cast

from streamer.api.forms import Order, Picture, taken_apart
from streamer.errors import AnonymizerError
from streamer.pipeline.stream import FaceAnonymizer
from streamer.types import FaceReport, Frame

if TYPE_CHECKING:
    from streamer.pipeline.anonymizer import Anonymizer

TIME_BASE = Fraction(1, 1_000_000)

AnyPicture = TypeVar("AnyPicture", bound=Picture)


class FrameStream:
    """Takes the frames of one camera or call, in order, and returns each without its faces.

    Whoever is in it stays the same stranger. Nothing is held back, so a face that is found late shows until then: where
    half a second of delay is allowed, `Anonymizer.frames` covers it before. Calls from several threads take turns.

    Attributes:
        faces: How each face of the last frame was covered.
        failed: Why the last frame was covered whole, or "".
    """

    def __init__(self, anonymizer: Anonymizer, *, order: Order, name: str | None) -> None:
        self.faces: tuple[FaceReport, ...] = ()
        self.failed = ""
        self._order, self._index = order, 0
        self._lock = threading.Lock()
        self._clock: Callable[[], float] = time.monotonic
        self._last = -1
        self._one: FaceAnonymizer | None = anonymizer.begin_stream(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, picture: AnyPicture, *, seconds: float | None = None) -> AnyPicture:
        """Return the next frame without its faces, in the form it came in; one that cannot be searched, covered whole.

        Args:
            picture: As of `Anonymizer.image`, but without alpha.
            seconds: When it was taken; by default now. Times increase.

        Raises:
            ValueError: If it is no such picture.
            AnonymizerError: If this is closed, or too many frames in a row cannot be searched.
        """
        given = taken_apart(picture, self._order)
        if given.alpha is not None:
            raise ValueError("a frame of a stream has no alpha; pass its colours, or use Anonymizer.image")
        with self._lock:
            if self._one is None:
                raise AnonymizerError("this stream is closed; Anonymizer.stream() begins another")
            now = round((self._clock() if seconds is None else seconds) / TIME_BASE)
            self._last = max(now, self._last + 1)
            safe = self._one(Frame(given.rgb, self._index, self._last, TIME_BASE))
            self._index += 1
            self.faces, self.failed = safe.faces, safe.failed
        return cast(AnyPicture, given.back(safe.image, None))

    def close(self) -> None:
        """Free its detectors; later frames are refused."""
        with self._lock:
            one, self._one = self._one, None
        if one is not None:
            one.close()
