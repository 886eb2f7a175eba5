"""Let faces move less than the people did: who somebody is shows in how they move, whatever face it is drawn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.types import Floats

REST_SECONDS = 8.0  # over which the expression at rest is averaged
CUTOFF = 3.0  # Hz of what is left of movement at a share just below 1; at half of it half: speech has 2 to 5 Hz
FORGET_SECONDS = 0.5  # a gap longer than this starts anew


@dataclass(slots=True)
class _State:
    """Of one track: the face at rest `(468, 3)` where its first mesh was, how it differs, and what was drawn."""

    rest: Floats
    moved: Floats
    drawn: Floats
    seconds: float
    age: float = 0.0


class ExpressionDamper:
    """Keeps a share of how faces move about their rest, and of how fast; head movements stay. A state per track id."""

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}

    def __call__(self, track_id: int, mesh: Floats, seconds: float, *, share: float) -> Floats:
        """Return the mesh `(468, 3)` to draw a face on; time that goes back, or a long gap, starts anew.

        A frame may be drawn more than once, each time the same.

        Args:
            track_id: Whose.
            mesh: In pixels.
            seconds: Presentation time.
            share: Of the movement that is kept: 1 returns the mesh as it is, 0 the face at rest.
        """
        if share >= 1.0:
            self._states.pop(track_id, None)
            return mesh
        state = self._states.get(track_id)
        step = seconds - state.seconds if state else 0.0
        if state is None or not 0.0 <= step <= FORGET_SECONDS:
            self._states[track_id] = _State(mesh, np.zeros_like(mesh), mesh, seconds)
            return mesh
        if step == 0.0:
            return state.drawn
        centre, to_rest = _pose(mesh, state.rest)
        origin = state.rest.mean(axis=0)
        aligned = (mesh - centre) @ to_rest + origin
        state.age, state.seconds = state.age + step, seconds
        settle = step / min(state.age + step, REST_SECONDS)  # at first the mean of all there was
        state.rest = state.rest + np.float32(settle) * (aligned - state.rest)
        follow = 1.0 - np.exp(-2.0 * np.pi * CUTOFF * share * step)
        state.moved = state.moved + np.float32(follow) * (aligned - state.rest - state.moved)
        drawn = state.rest + np.float32(share) * state.moved
        state.drawn = np.asarray((drawn - origin) @ np.linalg.inv(to_rest) + centre, np.float32)
        return state.drawn

    def keep_only(self, track_ids: set[int]) -> None:
        """Forget every other track."""
        self._states = {track: state for track, state in self._states.items() if track in track_ids}


def _pose(mesh: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """Return the centre `(3,)` and the turn and scale `(3, 3)` that carry a mesh nearest to another about its middle.

    argmin ||s (x - c) R - (y - mean y)||^2   (Umeyama 1991, eq. 39 to 42)
    """
    centre = mesh.mean(axis=0)
    centred, wanted = mesh - centre, rest - rest.mean(axis=0)
    u, singular, vt = np.linalg.svd(centred.T @ wanted)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))], np.float32)
    scale = float((singular * sign).sum()) / max(float(np.square(centred).sum()), 1e-12)
    return centre, np.asarray(scale * (u * sign) @ vt, np.float32)
