"""Gives the faces of a stream the finish of their frames, and remembers it from one frame to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from streamer.render.textures import finish, paint
from streamer.render.textures.finish import Finish
from streamer.types import Floats

FINISH_SECONDS = 0.5  # between two looks at how soft and noisy the frame is
STEADY = 0.6  # of softness and noise that stays at each look

Measure = Callable[[Floats, Floats, npt.NDArray[np.bool_]], Finish]  # as `finish.measure`


class Finisher:
    """Makes what is drawn in one stream as soft, pale and noisy as its frames.

    Args:
        measure: Tells how soft, pale and noisy a frame is.
    """

    def __init__(self, measure: Measure = finish.measure) -> None:
        self._measure = measure
        self._noise = finish.noise_tiles()
        self._known: dict[int, tuple[float, Finish]] = {}

    def reset(self) -> None:
        """Forget everyone: another stream begins."""
        self._known = {}

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._known = {track: value for track, value in self._known.items() if track in alive}

    def __call__(self, track: int, canvas: paint.Canvas, patch: Floats, lit: Floats, seconds: float) -> Floats:
        """Return `patch`, `(h, w, 3)` float32 RGB of a track on its canvas, as soft, pale and noisy as the frame.

        Args:
            track: Its number.
            canvas: Where it is painted.
            patch: The new face.
            lit: As `paint.expected` tells it.
            seconds: Presentation time.
        """
        wanted = self._finish(track, canvas, patch, seconds)
        seed = round(seconds * 90_000) + track
        y, x = ((a + b) // 2 for a, b in zip(canvas.roi[1::-1], canvas.roi[3:1:-1], strict=True))
        start = (canvas.roi[1] - y, canvas.roi[0] - x)
        return finish.apply(patch, paint.plain(lit), wanted, noise=self._noise, seed=seed, start=start)

    def _finish(self, track: int, canvas: paint.Canvas, patch: Floats, seconds: float) -> Finish:
        """Return how soft and noisy to draw a track, looked at anew now and then."""
        when, before = self._known.get(track, (-1.0, None))
        if before is not None and 0.0 <= seconds - when < FINISH_SECONDS:
            return before
        now = self._measure(canvas.below.astype(np.float32), patch, canvas.inside & canvas.known)
        if before is not None:
            now = before.between(now, 1.0 - STEADY)
        self._known[track] = seconds, now
        return now
