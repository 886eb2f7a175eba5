"""Gives the faces of a stream the finish of their frames, and remembers it from one frame to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.render.textures import finish, paint
from streamer.render.textures.finish import Finish
from streamer.types import Floats

FINISH_SECONDS = 0.5  # between two looks at how soft and noisy the frame is
STEADY = 0.6  # of softness, noise and unevenness that stays at each look
UNSEEN = 5e-4  # logarithm: mottles that are fainter are none


@dataclass(frozen=True, slots=True)
class _Known:
    """What a track was given last.

    Attributes:
        seconds: Presentation time of the look that told it.
        finish: How it is finished.
        mottles: Of its skin, as `finish.mottles` makes them, `(S, S, 3)`; None where there are none.
    """

    seconds: float
    finish: Finish
    mottles: Floats | None


Measure = Callable[[Floats, Floats, npt.NDArray[np.bool_]], Finish]  # as `finish.measure`


class Finisher:
    """Makes what is drawn in one stream as soft, pale, noisy and uneven as its frames.

    Args:
        measure: Tells how soft, pale and noisy a frame is.
        is_mottled: Whether skin is made as uneven as that of the frame, too.
    """

    def __init__(self, measure: Measure = finish.measure, *, is_mottled: bool = False) -> None:
        self._measure, self._is_mottled = measure, is_mottled
        self._noise = finish.noise_tiles()
        self._known: dict[int, _Known] = {}

    def reset(self) -> None:
        """Forget everyone: another stream begins."""
        self._known = {}

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._known = {track: known for track, known in self._known.items() if track in alive}

    def __call__(self, track: int, canvas: paint.Canvas, patch: Floats, lit: Floats, seconds: float) -> Floats:
        """Return `patch`, `(h, w, 3)` float32 RGB of a track on its canvas, finished as the frame is.

        Args:
            track: Its number.
            canvas: Where it is painted.
            patch: The new face.
            lit: As `paint.expected` tells it.
            seconds: Presentation time.
        """
        known = self._known.get(track)
        if known is not None and 0.0 <= seconds - known.seconds < FINISH_SECONDS:
            result = self._applied(track, canvas, patch, lit, seconds, known.finish)
        else:
            result = self._looked(track, canvas, patch, lit, seconds)
        mottles = self._known[track].mottles
        return result if mottles is None else np.asarray(cv2.multiply(result, 1.0 + paint.warped(mottles, canvas)))

    def _looked(self, track: int, canvas: paint.Canvas, patch: Floats, lit: Floats, seconds: float) -> Floats:
        """Look at the frame, and return `patch` with the finish that it is to have from now on."""
        before = self._known.get(track)
        below, inside = canvas.below.astype(np.float32), canvas.inside & canvas.known
        now = self._measure(below, patch, inside)
        now = now if before is None else before.finish.between(now, 1.0 - STEADY)
        result = self._applied(track, canvas, patch, lit, seconds, now)
        mottles = None
        if self._is_mottled:
            missing = finish.missing_mottles(below, result, inside, canvas.width)
            mottles = _steady(finish.mottles(missing, finish.mottle_tiles()), before)
        self._known[track] = _Known(seconds, now, mottles)
        return result

    def _applied(
        self, track: int, canvas: paint.Canvas, patch: Floats, lit: Floats, seconds: float, wanted: Finish
    ) -> Floats:
        """Return `patch` with that finish."""
        seed = round(seconds * 90_000) + track
        y, x = ((a + b) // 2 for a, b in zip(canvas.roi[1::-1], canvas.roi[3:1:-1], strict=True))
        start = (canvas.roi[1] - y, canvas.roi[0] - x)
        return finish.apply(patch, paint.plain(lit), wanted, noise=self._noise, seed=seed, start=start)


def _steady(mottles: Floats, before: _Known | None) -> Floats | None:
    """Return `mottles` on the way from those `before`; None where they are not seen."""
    if before is not None:
        mottles = (1.0 - STEADY) * mottles + (0.0 if before.mottles is None else STEADY * before.mottles)
    return mottles if np.abs(mottles).max() > UNSEEN else None
