"""Where identity lies in W+, and the strangers that take its place.

A few directions of the latents tell a recogniser who somebody is (`models.training.fits.fit_strangers`). Along them a
face is moved to a stranger's place, so that nothing of the person is left there, whatever the encoder has learnt.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FARTHEST = 8  # one in so many strangers, those least like a person, are whom they may become


class LatentStrangers(nn.Module):
    """Identity coordinates of latents, and those of strangers.

    Args:
        directions: k, how many carry identity.
        values: V, numbers in the latents of one face.
        strangers: B.
    """

    centre: Tensor  # (V,), the mean of latents
    read: Tensor  # (k, V): latents less the centre to coordinates of unit variance
    write: Tensor  # (k, V): coordinates to what they move in latents; read @ write.T is the identity
    strangers: Tensor  # (B, k)

    def __init__(self, directions: int, values: int, strangers: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(values))
        self.register_buffer("read", torch.zeros(directions, values))
        self.register_buffer("write", torch.zeros(directions, values))
        self.register_buffer("strangers", torch.zeros(strangers, directions))

    def coordinates(self, latents: Tensor) -> Tensor:
        """Return the identity coordinates `(N, k)` of `latents` `(N, L, D)`."""
        return (latents.flatten(1) - self.centre) @ self.read.T

    def forward(self, latents: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return `(N, L, D)` latents with a stranger's coordinates at beta 0 and their own at beta 1.

        Args:
            latents: `(N, L, D)`.
            beta: `(N,)` in [0, 1].
            pseudonyms: `(N,)` int64 below B.
        """
        return self.moved(latents, beta, self.strangers[pseudonyms])

    def moved(self, latents: Tensor, beta: Tensor, coordinates: Tensor) -> Tensor:
        """Return `(N, L, D)` latents as `forward` does, with `coordinates` `(N, k)` in a stranger's place."""
        change = (1 - beta)[:, None] * (coordinates - self.coordinates(latents))
        return latents + (change @ self.write).view_as(latents)

    def unlike(self, coordinates: Tensor, seeds: Tensor) -> Tensor:
        """Return a stranger `(N,)` int64 for each seed: one of those least like `coordinates` `(N, k)` or `(1, k)`."""
        likeness = F.normalize(coordinates, dim=1) @ F.normalize(self.strangers, dim=1).T  # (N, B)
        pools = likeness.topk(max(1, len(self.strangers) // FARTHEST), dim=1, largest=False).indices
        return pools.expand(len(seeds), -1).gather(1, (seeds % pools.shape[1])[:, None])[:, 0]

    def nearest(self, coordinates: Tensor) -> Tensor:
        """Return the strangers `(N,)` int64 in the direction of `coordinates` `(N, k)`."""
        return (coordinates @ F.normalize(self.strangers, dim=1).T).argmax(dim=1)
