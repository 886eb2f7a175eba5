"""Draw a synthetic face over each concealed one: align =crop=> encode -> smooth -> generate =crop=> paste.

The way of models whose faces a network makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from models.face_model import FaceModel
from streamer.errors import AnonymizerError
from streamer.render.blend import paste, soften
from streamer.render.cutter import aligner_of, crop_cutter
from streamer.render.drawer import Drawer, Made, mesh_of
from streamer.render.pseudonym import Pseudonyms
from streamer.render.smooth import OneEuro, OneEuroConfig
from streamer.types import Image, Track

LATENT_FILTER = OneEuroConfig(min_cutoff=1.0, speed_gain=0.05)  # whitened coordinates a second


class _Source(NamedTuple):
    """What the network itself made: of latents `(L, D)` a crop `(3, S, S)`."""

    latents: torch.Tensor
    crop: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Crop(Made):
    """What was made of a track: the crop `(S, S, 3)` uint8, of what the network made for it last."""

    crop: Image
    source: _Source


class FaceDrawer(Drawer[_Crop]):
    """Draws the faces of one stream with a network."""

    def __init__(self, model: FaceModel, device: torch.device, *, pseudonyms: Pseudonyms) -> None:
        self._aligner = aligner_of(model.template, model.crop_size)
        self._cut = crop_cutter(model.template, model.crop_size)
        super().__init__(model, device, pseudonyms=pseudonyms)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run the network once: its first run is slow."""
        side = self._model.crop_size
        one = torch.zeros(1, device=self._device)
        self._model.generate(self._model.encode(torch.zeros(1, 3, side, side, device=self._device), one, one.long()))

    def reset(self, stream: str | None) -> None:
        """Forget everyone; the next stream has this name, or one that follows from the first picture with a face."""
        super().reset(stream)
        self._latents = OneEuro(LATENT_FILTER)

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        super().keep_only(alive)
        self._latents.keep_only(alive)

    def replace(self, tracks: Sequence[int]) -> None:
        """Make others of tracks, from the next frame on."""
        super().replace(tracks)
        self._latents.forget(tracks)

    def draw(
        self,
        image: Image,
        original: Image,
        tracks: Sequence[Track],
        seconds: float,
        *,
        beta: float,
        fresh: int,
        covered: Sequence[Track] = (),
        expression: float = 1.0,
    ) -> int:
        """See `Drawer.draw`; those made anew are made in one batch, and of what is `covered` nothing is read."""
        stale = self._stale(tracks, seconds, beta=beta, fresh=fresh)
        if stale:
            self._make(original, stale, seconds, beta=beta)
        own = self._damped([mesh_of(track) for track in tracks], tracks, seconds, expression)
        for track, mesh in zip(tracks, self._reshaped(own, tracks, beta), strict=True):
            drawn, crop = replace(track.face, mesh=mesh), self._made[track.id].crop
            paste(image, original, crop, face=track.face, drawn=drawn, aligner=self._aligner)
        return len(stale)

    @torch.inference_mode()
    def _make(self, image: Image, tracks: Sequence[Track], seconds: float, *, beta: float) -> None:
        """Make a synthetic crop of each track."""
        cut = np.stack([self._cut(image, track.face) for track in tracks])  # (N, S, S, 3)
        crops = torch.from_numpy(cut).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        meshes = torch.from_numpy(np.stack([mesh_of(track) for track in tracks])).to(self._device)
        others = self._others(image, tracks, crops, meshes)
        betas = torch.full((len(tracks),), float(beta), device=self._device)
        latents = self._model.encode(crops, betas, others)  # (N, L, D)
        steady = [
            self._latents.update(track.id, value, seconds)
            for track, value in zip(tracks, latents.float().cpu().numpy(), strict=True)
        ]
        sources = self._sources(tracks, torch.from_numpy(np.stack(steady)).to(self._device), others, beta)
        for track, (source, crop), old, other in zip(tracks, sources, cut, others, strict=True):
            self._made[track.id] = _Crop(seconds, beta, other, self._softened(as_image(crop), old), source)

    def _sources(
        self, tracks: Sequence[Track], latents: torch.Tensor, others: torch.Tensor, beta: float
    ) -> list[tuple[_Source, torch.Tensor]]:
        """Return the crop `(3, S, S)` of each track and what it follows from; only some need the network."""
        carried = [self._carried(*one, beta) for one in zip(tracks, latents, others, strict=True)]
        rows = [row for row, one in enumerate(carried) if one is None]
        fresh = map(_Source, latents[rows], self._generated(latents[rows]) if rows else ())
        return [one or (source := next(fresh), source.crop) for one in carried]

    def _carried(
        self, track: Track, latents: torch.Tensor, other: torch.Tensor, beta: float
    ) -> tuple[_Source, torch.Tensor] | None:
        """Return them of a track that needs no network this time; None if it does."""
        made = self._made.get(track.id)
        if made is None or made.beta != beta or made.other != other:
            return None
        crop = self._model.carried(made.source.crop, made.source.latents, latents)
        return None if crop is None else (made.source, crop)

    def _softened(self, new: Image, old: Image) -> Image:
        return soften(new, old)

    def _generated(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the crops `(N, 3, S, S)` of latents."""
        return self._model.generate(latents).float()

    def _others(self, image: Image, tracks: Sequence[Track], crops: torch.Tensor, meshes: torch.Tensor) -> torch.Tensor:
        """Return who each track becomes, `(N,)` int64; arguments as of `Pseudonyms.assign`."""
        return self._pseudonyms.assign(image, tracks, crops, meshes)


def as_image(crop: torch.Tensor) -> Image:
    """Return a crop `(3, S, S)` in [-1, 1] as `(S, S, 3)` uint8.

    Raises:
        FloatingPointError: If it has values that are not finite.
    """
    if not torch.isfinite(crop).all():
        raise FloatingPointError("the model returned values that are not finite")
    return ((crop + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        ValueError: If `name` is none of them.
        AnonymizerError: If CUDA is asked for and absent.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise AnonymizerError("device 'cuda' was asked for, but torch finds no CUDA GPU; pass device='auto'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
