"""Find where identity lies in the latents of a trained Private-Encoder, and give it strangers, in closed form."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from models.face_shape import FaceShape
from models.identity.identity_crop import identity_crops
from models.identity.recognizer import FaceRecognizer
from models.private_encoder.latent_strangers import LatentStrangers
from models.private_encoder.private_encoder import PrivateEncoder
from models.training.fits.fit_shape import ridge
from models.training.inputs.dataset import CropSet

ENOUGH = 8_000  # crops that are looked at
BATCH = 32
COMPONENTS, OVERSAMPLING = 256, 16  # of the latents: beyond, the regression follows chance
TOGETHER = 2  # people of whom a stranger is made: nobody's own coordinates are handed out


def with_strangers(
    model: PrivateEncoder,
    crops: CropSet,
    recognizer: FaceRecognizer,
    *,
    directions: int,
    strangers: int,
    shape: FaceShape | None,
    seed: int,
) -> PrivateEncoder:
    """Return a copy of `model` that makes somebody else of each person, at beta 0 along all identity directions.

    Ridge regression from whitened latents at beta 1 to the recogniser's embedding; the singular directions of its
    weights carry the identity. Strangers are sums of two people's coordinates, scaled to unit variance.

    Args:
        model: Trained.
        crops: Of real or generated faces, aligned as the model's.
        recognizer: What identity is measured with.
        directions: k.
        strangers: B.
        shape: Where identity lies in the mesh, and shapes to draw from; None leaves shapes as they are.
        seed: Of who is mixed with whom.

    Raises:
        ValueError: If the crops are aligned otherwise or too few, or the model has strangers.
    """
    if model.config.strangers:
        raise ValueError("the model has strangers already; take the one that `veil train encoder` wrote")
    if crops.template != model.template:
        raise ValueError("the crops are not aligned as those that the model was trained on")
    if not 1 <= directions <= min(COMPONENTS, len(crops) // 2):
        raise ValueError(f"{directions} directions need at least {2 * directions} crops, got {len(crops)}")
    generator = torch.Generator().manual_seed(seed)
    latents, embeddings = _seen(model, crops, recognizer)
    shapes = 0 if shape is None else len(shape.read)
    config = replace(model.config, strangers=strangers, identity_directions=directions, shape_directions=shapes)
    made = PrivateEncoder(config, model.template)
    made.load_state_dict(copy.deepcopy(model.state_dict()), strict=False)  # all but the strangers
    assert made.strangers is not None
    coordinates = _fit(made.strangers, latents, embeddings)
    made.strangers.strangers.copy_(_mixed(coordinates, strangers, generator))
    if shape is not None and made.shape is not None:
        for name in ("mean", "read", "write", "freedom"):
            getattr(made.shape, name).copy_(getattr(shape, name))
        rows = torch.randint(len(shape.strangers), (strangers,), generator=generator)
        made.shape.strangers.copy_(shape.strangers[rows])
    return made.eval()


@torch.no_grad()
def _seen(model: PrivateEncoder, crops: CropSet, recognizer: FaceRecognizer) -> tuple[Tensor, Tensor]:
    """Return latents `(N, L * D)` at beta 1 and embeddings `(N, E)` of the crops, evenly drawn from all."""
    rows = torch.linspace(0, len(crops) - 1, min(len(crops), ENOUGH)).round().long()
    latents, embeddings = [], []
    for chunk in torch.split(rows, BATCH):
        pictures = crops.images[chunk].float() / 127.5 - 1
        own = model.encode(pictures, torch.ones(len(chunk)), torch.zeros(len(chunk), dtype=torch.int64))
        latents.append(own.flatten(1))
        embeddings.append(recognizer(identity_crops(pictures, model.template)))
    return torch.cat(latents), torch.cat(embeddings)


def _fit(part: LatentStrangers, latents: Tensor, embeddings: Tensor) -> Tensor:
    """Fill where identity lies in the latents; return the coordinates `(N, k)` of the faces."""
    centre = latents.mean(dim=0)
    count = min(COMPONENTS, len(latents) - 1, latents.shape[1])
    spare = min(OVERSAMPLING, min(latents.shape) - count)
    torch.manual_seed(0)  # of the sketch
    _, singular, basis = torch.pca_lowrank(latents - centre, q=count + spare, center=False, niter=3)
    basis, deviation = basis[:, :count], (singular[:count] / len(latents) ** 0.5).clamp(min=1e-6)
    white = (latents - centre) @ basis / deviation  # (N, K)
    found = torch.linalg.svd(ridge(white, embeddings), full_matrices=False).U[:, : len(part.read)]  # (K, k)
    part.centre.copy_(centre)
    part.read.copy_(found.T @ (basis / deviation).T)
    part.write.copy_(found.T @ (basis * deviation).T)
    coordinates: Tensor = white @ found
    return coordinates


def _mixed(coordinates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `(count, k)` sums of the coordinates of people drawn by chance."""
    rows = torch.randint(len(coordinates), (count, TOGETHER), generator=generator)
    mixed: Tensor = coordinates[rows].sum(dim=1) / TOGETHER**0.5
    return mixed
