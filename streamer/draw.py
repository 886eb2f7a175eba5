"""Draw a synthetic face over each concealed one: align =crop=> encode -> smooth -> generate =crop=> paste.

The only stage that runs a network, and the only one that loads torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from models.face_model import FaceModel
from streamer.align import Aligner, MeshAligner, SimilarityAligner
from streamer.blend import paste, soften
from streamer.errors import AnonymizerError
from streamer.pseudonym import Pseudonyms
from streamer.smooth import OneEuro, OneEuroConfig
from streamer.types import Face, Floats, Image, Track

MAX_MESH_LAG = 0.02  # of the face's size; a smoothed mesh is never further from the measured one
MESH_FILTER = OneEuroConfig(min_cutoff=1.5, speed_gain=25.0)  # points, in face sizes a second
LATENT_FILTER = OneEuroConfig(min_cutoff=1.0, speed_gain=0.05)  # whitened coordinates a second
REUSE_SECONDS = 0.2  # for so long a made face may be drawn again: five frames at 25 a second; its mesh moves on


@dataclass(frozen=True, slots=True)
class _Made:
    """What the network made of a track: when, at which beta, the crop `(S, S, 3)` uint8, and who it is."""

    seconds: float
    beta: float
    crop: Image
    other: torch.Tensor


class FaceDrawer:
    """Draws the faces of one stream, and remembers who they have become.

    Args:
        model: Prepared, on `device`.
        device: Where crops go.
        pseudonyms: Who becomes whom, for this stream alone.
    """

    def __init__(self, model: FaceModel, device: torch.device, *, pseudonyms: Pseudonyms) -> None:
        self._model, self._device, self._pseudonyms = model, device, pseudonyms
        self._aligner = aligner_of(model)
        self.reset(0)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run the network once: its first run is slow."""
        side = self._model.crop_size
        one = torch.zeros(1, device=self._device)
        self._model.generate(self._model.encode(torch.zeros(1, 3, side, side, device=self._device), one, one.long()))

    def reset(self, stream: int) -> None:
        """Forget everyone; the next stream is number `stream` among those of the process."""
        self._meshes, self._latents = OneEuro(MESH_FILTER), OneEuro(LATENT_FILTER)
        self._made: dict[int, _Made] = {}
        self._pseudonyms.reset(stream)

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._meshes.keep_only(alive)
        self._latents.keep_only(alive)
        self._pseudonyms.keep_only(alive)
        self._made = {track: made for track, made in self._made.items() if track in alive}

    def replace(self, tracks: Sequence[int]) -> None:
        """Make others of tracks, from the next frame on."""
        self._latents.forget(tracks)
        self._pseudonyms.reject(tracks)
        for track in tracks:
            self._made.pop(track, None)

    def knows(self, tracks: Sequence[Track]) -> bool:
        """Return whether all of them were drawn before: the first time takes longer."""
        return all(track.id in self._made for track in tracks)

    def steady(self, track: Track, seconds: float) -> Track:
        """Return the track with its mesh smoothed, never further from the measured one than `MAX_MESH_LAG`."""
        mesh, size = _mesh(track), track.face.size
        smooth = self._meshes.update(track.id, mesh, seconds, unit=size)
        lag = smooth - mesh
        length = np.linalg.norm(lag, axis=1, keepdims=True)
        mesh = mesh + lag * np.minimum(1.0, MAX_MESH_LAG * size / np.maximum(length, 1e-6))
        face = Face(track.face.box, track.face.landmarks, mesh.astype(np.float32), track.face.score)
        return Track(track.id, face, track.missed_seconds)

    def draw(
        self, image: Image, original: Image, tracks: Sequence[Track], seconds: float, *, beta: float, fresh: int
    ) -> int:
        """Draw a synthetic face over each of `tracks`; return how many were made anew, all in one batch.

        Args:
            image: `(H, W, 3)` uint8 RGB, changed in place; the faces in it are concealed already.
            original: The frame before.
            tracks: With meshes.
            seconds: Presentation time.
            beta: See `streamer.settings.Settings`.
            fresh: How many to make anew; the others, if made less than `REUSE_SECONDS` ago, are drawn as they were, on
                their meshes of now.

        Raises:
            FloatingPointError: If the network returns what is no picture.
        """
        stale = self._stale(tracks, seconds, beta=beta, fresh=fresh)
        if stale:
            self._make(original, stale, seconds, beta=beta)
        for track, mesh in zip(tracks, self._reshaped(tracks, beta), strict=True):
            drawn, crop = replace(track.face, mesh=mesh), self._made[track.id].crop
            paste(image, original, crop, face=track.face, drawn=drawn, aligner=self._aligner)
        return len(stale)

    def _stale(self, tracks: Sequence[Track], seconds: float, *, beta: float, fresh: int) -> list[Track]:
        """Return the tracks to make anew: those that must be, and up to `fresh` with them the oldest."""
        made = {track.id: self._made[track.id] for track in tracks if track.id in self._made}
        # Of another beta, a face may show more of the person than is asked for now.
        ages = {n: seconds - one.seconds for n, one in made.items() if one.beta == beta}
        overdue = [track for track in tracks if not 0 <= ages.get(track.id, -1) <= REUSE_SECONDS]
        must = {track.id for track in overdue}
        others = sorted((t for t in tracks if t.id not in must), key=lambda t: ages[t.id], reverse=True)
        return overdue + others[: max(0, fresh - len(overdue))]

    @torch.inference_mode()
    def _make(self, image: Image, tracks: Sequence[Track], seconds: float, *, beta: float) -> None:
        """Make a synthetic crop of each track."""
        cut = np.stack([self._aligner.whole(image, track.face) for track in tracks])  # (N, S, S, 3)
        crops = torch.from_numpy(cut).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        others = self._pseudonyms.of(image, tracks, crops, self._meshes_of(tracks))
        betas = torch.full((len(tracks),), float(beta), device=self._device)
        latents = self._model.encode(crops, betas, others)  # (N, L, D)
        steady = [
            self._latents.update(track.id, value, seconds)
            for track, value in zip(tracks, latents.float().cpu().numpy(), strict=True)
        ]
        made = self._model.generate(torch.from_numpy(np.stack(steady)).to(self._device)).float()
        if not torch.isfinite(made).all():
            raise FloatingPointError("the model returned values that are not finite")
        drawn = ((made + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        for track, new, old, other in zip(tracks, drawn, cut, others, strict=True):
            self._made[track.id] = _Made(seconds, beta, soften(new, old), other)

    @torch.inference_mode()
    def _reshaped(self, tracks: Sequence[Track], beta: float) -> npt.NDArray[np.float32]:
        """Return the meshes `(N, 468, 3)` to draw the made faces on."""
        others = torch.stack([self._made[track.id].other for track in tracks])
        betas = torch.full((len(tracks),), float(beta), device=self._device)
        reshaped = self._model.reshape(self._meshes_of(tracks), betas, others)
        if not torch.isfinite(reshaped).all():
            raise FloatingPointError("the model returned values that are not finite")
        return reshaped.cpu().numpy()

    def _meshes_of(self, tracks: Sequence[Track]) -> torch.Tensor:
        return torch.from_numpy(np.stack([_mesh(track) for track in tracks])).to(self._device)


def _mesh(track: Track) -> Floats:
    if track.face.mesh is None:
        raise ValueError("a face without a mesh is not drawn")
    return track.face.mesh


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        ValueError: If `name` is none of them.
        AnonymizerError: If CUDA is asked for and absent.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise AnonymizerError("device 'cuda' was asked for, but torch finds no CUDA GPU; use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def aligner_of(model: FaceModel) -> Aligner:
    """Return what cuts crops as the model's template says."""
    points: Floats = np.array(model.template.points, np.float32)
    make = MeshAligner if model.template.kind == "mesh" else SimilarityAligner
    return make(points, model.crop_size)
