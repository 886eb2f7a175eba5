"""A discriminator in training, and what it says of pictures: StyleGAN2's logistic loss with R1 (arXiv 1912.04958)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.private_encoder.discriminator import Discriminator
from models.training.inputs.augment import AdaptiveAugment
from models.training.loop import Stateful
from models.training.losses.losses import discriminator_loss, generator_loss, r1_penalty
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks

R1_EVERY = 16  # steps: lazy regularisation (StyleGAN2, section 3.1)


class Adversary:
    """A discriminator with its augmentation and its optimiser.

    Args:
        network: The discriminator; moved to the device of `ranks`.
        ranks: The processes that share the training.
        learning_rate: Adam.
        r1_weight: gamma of R1.
    """

    def __init__(self, network: Discriminator, ranks: Ranks, *, learning_rate: float, r1_weight: float) -> None:
        self.network, self.ranks, self.r1_weight = network.to(ranks.device), ranks, r1_weight
        self.augment = AdaptiveAugment().to(ranks.device)
        self.optimizer = adam(network, learning_rate, ranks.device)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"discriminator": self.network, "augment": self.augment, "discriminator_optimizer": self.optimizer}

    def is_regularised(self, step: int) -> bool:
        """Return whether R1 is due at `step`."""
        return step % R1_EVERY == 0

    def loss(self, made: Tensor, draws: Draws) -> Tensor:
        """Return the mean generator loss of pictures `(N, 3, S, S)`; the discriminator learns nothing from it."""
        self.network.requires_grad_(False)
        with mixed_precision(self.ranks.device):
            return generator_loss(self.network(self.augment(made, draws))).mean()

    def step(self, real: Tensor, fake: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Let the discriminator learn, with R1 on the real pictures if it is due; return losses and mean logits.

        Args:
            real: `(N, 3, S, S)`, as `fake`; both are augmented first.
            draws: Of the step.
        """
        self.network.requires_grad_(True)
        regularised = self.is_regularised(draws.step)
        real = self.augment(real, draws).requires_grad_(regularised)
        if regularised:
            real_logits = self.network(real)  # all float32: second derivatives are fragile
        else:
            with mixed_precision(self.ranks.device):
                real_logits = self.network(real)
        with mixed_precision(self.ranks.device):
            fake_logits = self.network(self.augment(fake, draws))
        losses = {"discriminator": discriminator_loss(real_logits, fake_logits).mean()}
        total = losses["discriminator"]
        if regularised:
            losses["r1"] = r1_penalty(real, real_logits).mean()
            total = total + R1_EVERY * self.r1_weight / 2 * losses["r1"]
        self.ranks.descend(total, self.optimizer)
        self.augment.observe(real_logits, images=len(real) * self.ranks.size, ranks=self.ranks)
        logits = {"real_logits": real_logits.mean(), "fake_logits": fake_logits.mean()}
        return losses | logits | {"augment": self.augment.probability.clone()}


def adam(network: torch.nn.Module, learning_rate: float, device: torch.device) -> torch.optim.Adam:
    """Return StyleGAN2's optimiser of a network that is on `device`."""
    on_gpu = device.type == "cuda"
    return torch.optim.Adam(network.parameters(), learning_rate, betas=(0.0, 0.99), fused=on_gpu, capturable=on_gpu)
