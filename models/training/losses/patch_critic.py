"""Tells photographs of faces from drawn ones at three scales: a patch critic (Isola et al. 2017, arXiv 1611.07004)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.training.loop import Stateful
from models.training.losses.losses import discriminator_loss, generator_loss, r1_penalty
from models.training.precision import half_precision
from models.training.ranks import Ranks
from models.unets.unet import SLOPE, active

WIDTHS = (32, 64, 96, 128)  # channels at a half, a quarter, an eighth and a sixteenth of the side
QUIET = 0.3  # times the usual weights of the last layers: a fresh critic is sure of nothing
R1_EVERY = 8  # steps: lazy regularisation (StyleGAN2, section 3.1)


class PatchCritic(nn.Module):
    """The network; 0.5 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        a, b, coarse, coarsest = WIDTHS
        self.fine = nn.ModuleList([_halving(4, a), _halving(a, b), _halving(b, coarse)])
        self.coarse = nn.ModuleList([_halving(coarse, coarsest), nn.Conv2d(coarsest, coarsest, 3, padding=1)])
        self.fine_logit, self.coarse_logit = nn.Conv2d(coarse, 1, 3, padding=1), nn.Conv2d(coarsest, 1, 3, padding=1)
        self.logit = nn.Linear(coarsest, 1)
        last = (self.fine_logit, self.coarse_logit, self.logit)
        for layer in (*self.fine, *self.coarse, *last):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for layer in last:
                layer.weight *= QUIET

    def forward(self, pictures: Tensor, drawn: Tensor) -> list[Tensor]:
        """Return logits, higher for photographs: of small patches, of larger ones and of the whole, `(N, K)` each.

        Args:
            pictures: `(N, 3, S, S)` RGB in [-1, 1].
            drawn: `(N, 1, S, S)` in [0, 1], where a face is drawn, or would be.
        """
        features = torch.cat([pictures, 2 * drawn - 1], dim=1)
        for layer in self.fine:
            features = active(layer(features))
        patches = self.fine_logit(features)
        for layer in self.coarse:
            features = active(layer(features))
        larger, whole = self.coarse_logit(features), self.logit(features.mean(dim=(2, 3)))
        return [patches.flatten(1).float(), larger.flatten(1).float(), whole.float()]


class PatchAdversary:
    """A patch critic with its optimiser.

    Args:
        ranks: The processes that share the training.
        learning_rate: Adam.
        r1_weight: gamma of R1.
    """

    def __init__(self, ranks: Ranks, *, learning_rate: float, r1_weight: float) -> None:
        self.ranks, self.r1_weight = ranks, r1_weight
        self.network = PatchCritic().to(ranks.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, betas=(0.5, 0.99))

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"critic": self.network, "critic_optimizer": self.optimizer}

    def loss(self, made: Tensor, drawn: Tensor) -> Tensor:
        """Return the mean generator loss of pictures; the critic learns nothing from it."""
        self.network.requires_grad_(False)
        return _mean([generator_loss(logits) for logits in self._logits(made, drawn)])

    def step(self, real: Tensor, fake: Tensor, drawn: Tensor, *, step: int) -> dict[str, Tensor]:
        """Let the critic learn, with R1 on the real pictures every `R1_EVERY` steps; return losses.

        Args:
            real: `(N, 3, S, S)` photographs.
            fake: The same people, drawn.
            drawn: `(N, 1, S, S)`, how strongly.
            step: Of the run.
        """
        self.network.requires_grad_(True)
        pairs = zip(self._logits(real, drawn), self._logits(fake, drawn), strict=True)
        loss = _mean([discriminator_loss(ours, theirs) for ours, theirs in pairs])
        total = loss
        if step % R1_EVERY == 0:
            total = loss + R1_EVERY * self.r1_weight / 2 * self._steepness(real, drawn)
        self.ranks.descend(total, self.optimizer)
        return {"critic": loss.detach()}

    def _logits(self, pictures: Tensor, drawn: Tensor) -> list[Tensor]:
        with half_precision(self.ranks.device):
            logits: list[Tensor] = self.network(pictures, drawn)
        return logits

    def _steepness(self, real: Tensor, drawn: Tensor) -> Tensor:
        """Return R1 of the sum of the three scales, in single precision: second derivatives are fragile."""
        real = real.detach().clone().requires_grad_(True)
        scores = torch.stack([logits.mean(dim=1) for logits in self.network(real, drawn)]).sum(dim=0)
        return r1_penalty(real, scores).mean()


def _halving(entering: int, leaving: int) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, 4, stride=2, padding=1)


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(losses)).mean()
