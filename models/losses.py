"""The training losses of the Private-Encoder paper (Zhao et al. 2022), one pure function per equation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pixel_loss(crops: Tensor, generated: Tensor) -> Tensor:
    """Return how far pixels moved, `(N,)` (eq. 1).

        L2(x) = ||x - x^||_2

    As the code the paper builds on computes it (Richardson et al. 2021), and as its weight of 1 means it: the norm
    squared, over the number of values.

    Args:
        crops: `(N, C, H, W)`, x.
        generated: `(N, C, H, W)`, x^.

    Raises:
        ValueError: If the shapes differ.
    """
    if crops.shape != generated.shape:
        raise ValueError(f"crops and generated must have one shape, got {tuple(crops.shape)}, {tuple(generated.shape)}")
    return (crops - generated).square().flatten(1).mean(dim=1)


def identity_loss(embeddings: Tensor, generated_embeddings: Tensor, beta: Tensor) -> Tensor:
    """Return how far each face is from the likeness asked for, `(N,)` (eq. 3).

        ID(x) = |beta - cos(Arc(x), Arc(x^))|

    Args:
        embeddings: `(N, D)`, Arc(x), of any length.
        generated_embeddings: `(N, D)`, Arc(x^).
        beta: `(N,)` in [0, 1]: 0 asks for a stranger, 1 for the person.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if embeddings.shape != generated_embeddings.shape or embeddings.ndim != 2:
        shapes = tuple(embeddings.shape), tuple(generated_embeddings.shape)
        raise ValueError(f"embeddings must be (N, D) in one shape, got {shapes[0]} and {shapes[1]}")
    if beta.shape != embeddings.shape[:1]:
        raise ValueError(f"beta must be ({len(embeddings)},), got {tuple(beta.shape)}")
    return (beta - F.cosine_similarity(embeddings, generated_embeddings, dim=1)).abs()
