"""What every way of drawing faces has in common: steady meshes, who becomes whom, and what need not be made anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from models.face_model import FaceModel
from streamer.render.expression import ExpressionDamper
from streamer.render.pseudonym import Pseudonyms
from streamer.render.smooth import OneEuro, OneEuroConfig
from streamer.types import Face, Floats, Image, Track

MAX_MESH_LAG = 0.02  # of the face's size; a smoothed mesh is never further from the measured one
MESH_FILTER = OneEuroConfig(min_cutoff=1.5, speed_gain=25.0)  # points, in face sizes a second
REUSE_SECONDS = 0.2  # for so long a made face may be drawn again: five frames at 25 a second; its mesh moves on


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of a track: when, at which beta, and who it is."""

    seconds: float
    beta: float
    other: torch.Tensor


AnyMade = TypeVar("AnyMade", bound=Made)


class Drawer(ABC, Generic[AnyMade]):
    """Draws the faces of one stream, and remembers who they have become.

    Args:
        model: Prepared, on `device`.
        device: Where its tensors are.
        pseudonyms: Who becomes whom, for this stream alone.
    """

    def __init__(self, model: FaceModel, device: torch.device, *, pseudonyms: Pseudonyms) -> None:
        self._model, self._device, self._pseudonyms = model, device, pseudonyms
        self.reset(None)

    @abstractmethod
    def warm_up(self) -> None:
        """Run every network once: their first run is slow."""

    def close(self) -> None:
        """Release what has to be."""

    @abstractmethod
    def draw(
        self,
        image: Image,
        original: Image,
        tracks: Sequence[Track],
        seconds: float,
        *,
        beta: float,
        fresh: int,
        covered: Sequence[Track],
        expression: float = 1.0,
    ) -> int:
        """Draw a synthetic face over each of `tracks`; return how many were made anew.

        Args:
            image: `(H, W, 3)` uint8 RGB, changed in place; the faces in it are concealed already.
            original: The frame before.
            tracks: With meshes.
            seconds: Presentation time.
            beta: See `streamer.settings.Settings`.
            fresh: How many to make anew; the others, if made less than `REUSE_SECONDS` ago, are drawn as they were, on
                their meshes of now.
            covered: The other faces of the frame, which are covered and stay so.
            expression: See `streamer.settings.Settings`.

        Raises:
            FloatingPointError: If the model returns what is no picture.
        """

    def reset(self, stream: str | None) -> None:
        """Forget everyone; the next stream has this name, or one that follows from the first picture with a face."""
        self._meshes = OneEuro(MESH_FILTER)
        self._damper = ExpressionDamper()
        self._made: dict[int, AnyMade] = {}
        self._pseudonyms.reset(stream)

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._meshes.keep_only(alive)
        self._damper.keep_only(alive)
        self._pseudonyms.keep_only(alive)
        self._made = {track: made for track, made in self._made.items() if track in alive}

    def replace(self, tracks: Sequence[int]) -> None:
        """Make others of tracks, from the next frame on."""
        self._pseudonyms.reject(tracks)
        for track in tracks:
            self._made.pop(track, None)

    def knows(self, tracks: Sequence[Track]) -> bool:
        """Return whether all of them were drawn before: the first time takes longer."""
        return all(track.id in self._made for track in tracks)

    def stranger_of(self, track: int) -> int | None:
        """Return who a track was drawn as last; None if it was not."""
        return int(self._made[track].other) if track in self._made else None

    def steady(self, track: Track, seconds: float) -> Track:
        """Return the track with its mesh smoothed, never further from the measured one than `MAX_MESH_LAG`."""
        mesh, size = mesh_of(track), track.face.size
        smooth = self._meshes.update(track.id, mesh, seconds, unit=size)
        lag = smooth - mesh
        length = np.linalg.norm(lag, axis=1, keepdims=True)
        mesh = mesh + lag * np.minimum(1.0, MAX_MESH_LAG * size / np.maximum(length, 1e-6))
        face = Face(track.face.box, track.face.landmarks, mesh.astype(np.float32), track.face.score)
        return replace(track, face=face)

    def _stale(self, tracks: Sequence[Track], seconds: float, *, beta: float, fresh: int) -> list[Track]:
        """Return the tracks to make anew: those that must be, and up to `fresh` with them the oldest."""
        made = {track.id: self._made[track.id] for track in tracks if track.id in self._made}
        # Of another beta, a face may show more of the person than is asked for now.
        ages = {n: seconds - one.seconds for n, one in made.items() if one.beta == beta}
        overdue = [track for track in tracks if not 0 <= ages.get(track.id, -1) <= REUSE_SECONDS]
        must = {track.id for track in overdue}
        others = sorted((t for t in tracks if t.id not in must), key=lambda t: ages[t.id], reverse=True)
        return overdue + others[: max(0, fresh - len(overdue))]

    def _damped(self, meshes: Sequence[Floats], tracks: Sequence[Track], seconds: float, share: float) -> list[Floats]:
        """Return meshes that move by a share of how the persons' do."""
        return [self._damper(track.id, mesh, seconds, share=share) for track, mesh in zip(tracks, meshes, strict=True)]

    @torch.inference_mode()
    def _reshaped(self, meshes: Sequence[Floats], tracks: Sequence[Track], beta: float) -> npt.NDArray[np.float32]:
        """Return the meshes `(N, 468, 3)` to draw the made faces on, of the persons' own."""
        others = torch.stack([self._made[track.id].other for track in tracks])
        betas = torch.full((len(tracks),), float(beta), device=self._device)
        reshaped = self._model.reshape(torch.from_numpy(np.stack(meshes)).to(self._device), betas, others)
        if not torch.isfinite(reshaped).all():
            raise FloatingPointError("the model returned values that are not finite")
        return reshaped.cpu().numpy()


def mesh_of(track: Track) -> Floats:
    """Return the mesh of a track that is to be drawn.

    Raises:
        ValueError: If it has none.
    """
    if track.face.mesh is None:
        raise ValueError("a face without a mesh is not drawn")
    return track.face.mesh
