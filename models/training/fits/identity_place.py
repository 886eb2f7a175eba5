"""Strangers in the place of people while an encoder still learns: what it cannot hide there it learns to hide."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from models.checkpoint_errors import CheckpointError
from models.identity.recognizer import IDENTITY_CROP_SIZE, FaceRecognizer
from models.private_encoder.latent_strangers import LatentStrangers
from models.private_encoder.private_encoder import PrivateEncoder
from models.training.fits.fit_strangers import TOGETHER, find_identity
from models.training.inputs.dataset import CropSet
from models.training.ranks import Draws

PLACE_KIND = "identity-place"  # of the checkpoint
PLACE_FILE = "identity-place.safetensors"


class IdentityPlace(nn.Module):
    """Where identity lies in the latents of a model in training; until it is found, nothing that is moved there moves.

    Args:
        directions: k.
        values: V, numbers in the latents of one face.
        embedding: E, numbers in a recogniser's embedding.
        people: N, whose coordinates strangers are made of.
    """

    faces: Tensor  # (k, E): what a coordinate adds to an embedding

    def __init__(self, directions: int, values: int, embedding: int, people: int) -> None:
        super().__init__()
        self.part = LatentStrangers(directions, values, people)
        self.register_buffer("faces", torch.zeros(directions, embedding))

    def find(self, model: PrivateEncoder, crops: CropSet, recognizer: FaceRecognizer) -> None:
        """Look for it in the latents of `model`."""
        found = find_identity(model, crops, recognizer, directions=len(self.faces))
        self.part.load_state_dict(found.part.state_dict())
        self.faces.copy_(found.faces)

    def drawn(self, draws: Draws) -> Tensor:
        """Return coordinates of strangers, `(N, k)`: sums of those of two people, by chance."""
        people = self.part.strangers
        chosen = torch.stack([people[draws.integers(len(people))] for _ in range(TOGETHER)])  # (TOGETHER, N, k)
        mixed: Tensor = chosen.sum(dim=0) / TOGETHER**0.5
        return mixed

    def unlikeness(self, embeddings: Tensor, coordinates: Tensor) -> Tensor:
        """Return `(N,)`: 1 less the cosine of embeddings `(N, E)` and what these coordinates `(N, k)` add to any."""
        unlike: Tensor = 1 - F.cosine_similarity(embeddings, coordinates @ self.faces, dim=1)
        return unlike


def embedding_size(recognizer: FaceRecognizer) -> int:
    """Return E, the numbers in an embedding."""
    weight = next(recognizer.parameters())
    return int(recognizer(weight.new_zeros(1, 3, IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE)).shape[1])


def write_place(place: IdentityPlace, path: Path) -> None:
    """Write where identity lies, for `read_place`."""
    write_checkpoint(Checkpoint(PLACE_KIND, {}, {}, place.state_dict()), path)


def read_place(path: Path) -> LatentStrangers:
    """Return the directions of the latents that the run of an encoder found, and where people lie along them.

    Raises:
        CheckpointError: If the file cannot be used.
    """
    stored = read_checkpoint(path)
    if stored.kind != PLACE_KIND:
        raise CheckpointError(f"{path}: holds a {stored.kind}, not where identity lies in latents")
    (people, directions), values = stored.tensors["part.strangers"].shape, stored.tensors["part.read"].shape[1]
    place = IdentityPlace(directions, values, stored.tensors["faces"].shape[1], people)
    place.load_state_dict(stored.tensors)
    return place.part
