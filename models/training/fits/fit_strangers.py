"""Find where identity lies in the latents of a trained Private-Encoder, and give it strangers, in closed form."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

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
# Times unit variance, so far out strangers lie, in latents and in shape. Of 100 people of LFW a recogniser found 14 by
# rank with both at 1, and 7 so; further out faces look drawn.
FAR_OUT, FAR_OUT_IN_SHAPE = 1.2, 1.5


@dataclass(frozen=True)
class Found:
    """Where identity lies in latents, of some faces.

    Attributes:
        part: Directions of the latents, and where the faces lie along them.
        faces: `(k, E)`: what a coordinate adds to a recogniser's embedding.
    """

    part: LatentStrangers
    faces: Tensor


def with_strangers(
    model: PrivateEncoder,
    crops: CropSet,
    recognizer: FaceRecognizer,
    *,
    directions: int,
    strangers: int,
    shape: FaceShape | None,
    seed: int,
    trained: LatentStrangers | None = None,
) -> PrivateEncoder:
    """Return a copy of `model` that makes somebody else of each person, at beta 0 along all identity directions.

    Strangers are sums of two people's coordinates, scaled to unit variance and a little more.

    Args:
        model: Trained.
        crops: Of real or generated faces, aligned as the model's.
        recognizer: What identity is measured with.
        directions: k.
        strangers: B.
        shape: Where identity lies in the mesh, and shapes to draw from; None leaves shapes as they are.
        seed: Of who is mixed with whom.
        trained: Directions along which the model learnt to draw strangers, and the people they were made of; found
            anew by default.

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
    part = trained or find_identity(model, crops, recognizer, directions=directions).part
    shapes = 0 if shape is None else len(shape.read)
    config = replace(
        model.config,
        strangers=strangers,
        identity_directions=directions,
        shape_directions=shapes,
        strangers_trained=trained is not None,
    )
    made = PrivateEncoder(config, model.template)
    made.load_state_dict(copy.deepcopy(model.state_dict()), strict=False)  # all but the strangers
    assert made.strangers is not None
    for name in ("centre", "read", "write"):
        getattr(made.strangers, name).copy_(getattr(part, name))
    made.strangers.strangers.copy_(FAR_OUT * _mixed(part.strangers, strangers, generator))
    if shape is not None and made.shape is not None:
        for name in ("mean", "read", "write", "freedom"):
            getattr(made.shape, name).copy_(getattr(shape, name))
        rows = torch.randint(len(shape.strangers), (strangers,), generator=generator)
        made.shape.strangers.copy_(FAR_OUT_IN_SHAPE * shape.strangers[rows])
    return made.eval()


@torch.no_grad()
def find_identity(model: PrivateEncoder, crops: CropSet, recognizer: FaceRecognizer, *, directions: int) -> Found:
    """Return where identity lies in the latents of `model` at beta 1.

    Ridge regression from whitened latents to the recogniser's embedding; the singular directions of its weights carry
    the identity. What is known of the faces (sex, age ...) is left out of them: a stranger suits whoever becomes it.

    Args:
        model: Without strangers.
        crops: On the model's device.
        recognizer: There, too.
        directions: k.
    """
    latents, embeddings = _seen(model, crops, recognizer)
    rows = _rows(crops)
    centre = latents.mean(dim=0)
    count = min(COMPONENTS, len(latents) - 1, latents.shape[1])
    spare = min(OVERSAMPLING, min(latents.shape) - count)
    torch.manual_seed(0)  # of the sketch
    _, singular, basis = torch.pca_lowrank(latents - centre, q=count + spare, center=False, niter=3)
    basis, deviation = basis[:, :count], (singular[:count] / len(latents) ** 0.5).clamp(min=1e-6)
    white = (latents - centre) @ basis / deviation  # (N, K)
    if crops.attributes is not None:
        kept = _attribute_directions(white, crops.attributes[rows].to(white))
        white = white - white @ kept @ kept.T
    turned, strengths, back = torch.linalg.svd(ridge(white, embeddings), full_matrices=False)
    found = turned[:, :directions]  # (K, k)
    part = LatentStrangers(directions, latents.shape[1], len(latents)).to(latents.device)
    part.centre.copy_(centre)
    part.read.copy_(found.T @ (basis / deviation).T)
    part.write.copy_(found.T @ (basis * deviation).T)
    part.strangers.copy_(white @ found)
    return Found(part, strengths[:directions, None] * back[:directions])


def _rows(crops: CropSet) -> Tensor:
    """Return which crops are looked at, evenly drawn from all."""
    return torch.linspace(0, len(crops) - 1, min(len(crops), ENOUGH)).round().long()


@torch.no_grad()
def _seen(model: PrivateEncoder, crops: CropSet, recognizer: FaceRecognizer) -> tuple[Tensor, Tensor]:
    """Return latents `(N, L * D)` at beta 1 and embeddings `(N, E)` of the crops that are looked at."""
    latents, embeddings = [], []
    for chunk in torch.split(_rows(crops).to(crops.images.device), BATCH):
        pictures = crops.images[chunk].float() / 127.5 - 1
        one = torch.ones(len(chunk), device=pictures.device)
        own = model.encode(pictures, one, torch.zeros_like(one, dtype=torch.int64))
        latents.append(own.flatten(1))
        embeddings.append(recognizer(identity_crops(pictures, model.template)))
    return torch.cat(latents), torch.cat(embeddings)


def _attribute_directions(white: Tensor, attributes: Tensor) -> Tensor:
    """Return `(K, A)` orthonormal directions of `(N, K)` whitened latents that tell the `(N, A)` attributes."""
    directions = []
    for values in attributes.unbind(dim=1):
        known = values.isfinite()
        if known.sum() > 1:
            directions.append(ridge(white[known], values[known, None]))
    return torch.linalg.qr(torch.cat(directions, dim=1)).Q if directions else white.new_zeros(white.shape[1], 0)


def _mixed(coordinates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `(count, k)` sums of the coordinates of people drawn by chance."""
    rows = torch.randint(len(coordinates), (count, TOGETHER), generator=generator)
    sums: Tensor = coordinates[rows].sum(dim=1) / TOGETHER**0.5
    return sums
