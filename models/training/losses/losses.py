"""The training losses, one pure function per equation: the paper's (Zhao et al. 2022), StyleGAN2's, and what we add.

Each returns one value a face, so that a caller can weigh faces before it takes the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_pixel_loss(crops: Tensor, generated: Tensor, *, weight: Tensor) -> Tensor:
    """Return how far the pixels moved that are looked at, `(N,)` (eq. 1).

        L2(x) = ||x - x^||_2

    As the code the paper builds on computes it (Richardson et al. 2021), and as its weight of 1 means it: the norm
    squared, over the number of values; here a weighted mean over pixels.

    Args:
        crops: `(N, C, H, W)`, x.
        generated: `(N, C, H, W)`, x^.
        weight: `(N, 1, H, W)`, at least 0: how much the paste shows of a pixel. A face of which nothing is shown
            has no loss.

    Raises:
        ValueError: If the shapes do not fit.
    """
    _check_alike("crops and generated", crops, generated)
    expected = (len(crops), 1, *crops.shape[2:])
    if weight.shape != expected:
        raise ValueError(f"weight must be {expected}, got {tuple(weight.shape)}")
    moved = (crops - generated).square().mean(dim=1, keepdim=True)  # (N, 1, H, W)
    total = weight.flatten(1).sum(dim=1)
    return (weight * moved).flatten(1).sum(dim=1) / total.clamp(min=1e-6)


def pyramid_loss(crops: Tensor, generated: Tensor) -> Tensor:
    """Return how far pixels moved, `(N,)`: mean absolute differences at full, half and a quarter of the size.

    The coarser ones do not mind what a critic wants to be seen at the finer ones.

    Args:
        crops: `(N, C, H, W)`.
        generated: `(N, C, H, W)`.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike("crops and generated", crops, generated)
    moved = crops - generated
    scales = [moved, F.avg_pool2d(moved, 2), F.avg_pool2d(moved, 4)]
    return torch.stack([_mean_of_each(scale.abs()) for scale in scales]).mean(dim=0)


def edge_loss(crops: Tensor, generated: Tensor) -> Tensor:
    """Return how far the steps from each pixel to the next differ, `(N,)`: what is soft by a little is seen.

    Mean absolute differences, of steps down and of steps across, added.

    Args:
        crops: `(N, C, H, W)`.
        generated: `(N, C, H, W)`.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike("crops and generated", crops, generated)
    moved = crops - generated
    return torch.stack([_mean_of_each(moved.diff(dim=axis).abs()) for axis in (2, 3)]).sum(dim=0)


def perceptual_loss(features: Sequence[Tensor], generated_features: Sequence[Tensor]) -> Tensor:
    """Return how different two faces look to a network, `(N,)` (eq. 2, with L any network's features).

        LPIPS(x) = sum_l 1 / (H_l W_l) sum_hw || y_hw^l - y^_hw^l ||^2

    which is Zhang et al. 2018, eq. 1, with every channel's weight 1: features of each place are brought to unit
    length first. `models.training.losses.lpips.Lpips` has the learned weights.

    Args:
        features: `(N, C_l, H_l, W_l)` of x, a layer each.
        generated_features: The same of x^.

    Raises:
        ValueError: If there are none, or the shapes of a layer differ.
    """
    if not features or len(features) != len(generated_features):
        raise ValueError(f"need features of the same layers, got {len(features)} and {len(generated_features)}")
    for layer, generated in zip(features, generated_features, strict=True):
        _check_alike("features of a layer", layer, generated)
    pairs = zip(features, generated_features, strict=True)
    distances = [(unit_channels(real) - unit_channels(made)).square().sum(dim=1) for real, made in pairs]  # (N, H, W)
    return torch.stack([_mean_of_each(distance) for distance in distances]).sum(dim=0)


def unit_channels(features: Tensor) -> Tensor:
    """Return `(N, C, H, W)` features whose vector of channels has length 1 at each place, or 0 where it was 0."""
    return F.normalize(features, dim=1, eps=1e-10)  # eps: of the published code


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


def temporal_loss(latents: Tensor, other_latents: Tensor) -> Tensor:
    """Return how far apart the latents of two views of one face lie, `(N,)`, a mean of squares.

    The views are neighbouring frames, or one crop under two small changes of place and light that are no one's
    expression or pose.

    Args:
        latents: `(N, L, D)` of one view.
        other_latents: `(N, L, D)` of the other.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike("latents of two views", latents, other_latents)
    return _mean_of_each((latents - other_latents).square())


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return how surely made faces are told from real ones, `(N,)`: the non-saturating loss.

        -log sigmoid(D(G(z)))

    (Goodfellow et al. 2014, section 3, in logits.)

    Args:
        fake_logits: `(N,)` or `(N, M)`, higher for real; several a face are averaged.
    """
    return _mean_of_each(F.softplus(-fake_logits))


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return how badly real and made faces are told apart, `(N,)`.

        -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))

    (Goodfellow et al. 2014, eq. 1, in logits.)

    Args:
        real_logits: `(N,)` or `(N, M)`, higher for real; several a face are averaged.
        fake_logits: As many.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike("real and fake logits", real_logits, fake_logits)
    return _mean_of_each(F.softplus(-real_logits) + F.softplus(fake_logits))


def r1_penalty(crops: Tensor, real_logits: Tensor) -> Tensor:
    """Return how steep the discriminator is at real faces, `(N,)`, differentiable in its weights.

        ||grad_x D(x)||^2

    (Mescheder et al. 2018, eq. 9, without gamma / 2; a caller that takes it every k-th step weighs it by k gamma / 2.)

    Args:
        crops: `(N, C, H, W)` real, that `real_logits` were computed from; they require a gradient.
        real_logits: `(N,)` or `(N, M)`; several a face are averaged.
    """
    (gradient,) = torch.autograd.grad(_mean_of_each(real_logits).sum(), crops, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def _mean_of_each(values: Tensor) -> Tensor:
    """Return the mean of each row, `(N,)`, of `(N, ...)` values."""
    return values.reshape(len(values), -1).mean(dim=1)


def _check_alike(names: str, first: Tensor, second: Tensor) -> None:
    """Raise a ValueError if two tensors would only broadcast."""
    if first.shape != second.shape:
        raise ValueError(f"{names} must have one shape, got {tuple(first.shape)}, {tuple(second.shape)}")
