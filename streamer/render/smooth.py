"""Keep what is measured per frame steady in time, without lag in fast motion. Works in seconds, never in frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from streamer.types import Floats


@dataclass(frozen=True)
class OneEuroConfig:
    """Parameters of the 1-Euro filter.

    Attributes:
        min_cutoff: Hz, at rest; lower is steadier.
        speed_gain: Hz of cutoff gained per unit of speed (units of the value a second); higher lags less.
        speed_cutoff: Hz, of the filter on the speed itself.
        forget_seconds: A gap longer than this starts anew.
    """

    min_cutoff: float
    speed_gain: float
    speed_cutoff: float = 2.0
    forget_seconds: float = 0.5


@dataclass
class _State:
    value: Floats
    speed: Floats
    seconds: float


@dataclass
class OneEuro:
    """The 1-Euro filter (Casiez et al. 2012, eq. 1-6), one state per track id.

        value^ = a value + (1 - a) value^',  a = 1 / (1 + 1 / (2 pi cutoff dt)),  cutoff = min_cutoff + gain |speed^|

    The speed of each row is the length of its vector, so that a point is filtered alike in x and y.
    """

    config: OneEuroConfig
    _states: dict[int, _State] = field(default_factory=dict)

    def update(self, track_id: int, value: Floats, seconds: float, *, unit: float = 1.0) -> Floats:
        """Return the filtered `value`, `(..., D)`; time that does not advance, or a long gap, starts anew.

        Args:
            unit: What speeds are measured in, such as the size of a face in pixels. The value itself is not divided by
                it: a size that trembles would shake all of it.
        """
        state = self._states.get(track_id)
        step = seconds - state.seconds if state else 0.0
        if state is None or not 0.0 < step <= self.config.forget_seconds or state.value.shape != value.shape:
            self._states[track_id] = _State(value.copy(), np.zeros_like(value), seconds)
            return value.copy()
        keep = _smoothing(np.float32(self.config.speed_cutoff), step)
        state.speed += keep * ((value - state.value) / step - state.speed)
        speed = np.linalg.norm(state.speed, axis=-1, keepdims=True) / unit
        state.value = state.value + _smoothing(self.config.min_cutoff + self.config.speed_gain * speed, step) * (
            value - state.value
        )
        state.seconds = seconds
        return state.value.copy()

    def forget(self, track_ids: Iterable[int]) -> None:
        """Start those tracks anew."""
        for track_id in track_ids:
            self._states.pop(track_id, None)

    def keep_only(self, track_ids: set[int]) -> None:
        """Forget every other track, so that memory does not grow with the stream."""
        self.forget(self._states.keys() - track_ids)


def _smoothing(cutoff: Floats | np.float32, step: float) -> Floats:
    return np.asarray(1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff * step)), np.float32)
