"""Train the harmonizer of `textures`: what to add to a drawn face so that it belongs to the picture around it.

It learns from people who were drawn as themselves, made ready as strangers are: of them a photograph is known.
Strangers it leaves as they are, but for what a critic tells from photographs. Writes `textures.safetensors`: the given
checkpoint with averaged weights of this network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoint import WEIGHTS, Checkpoint, file_sha256, read_checkpoint, write_checkpoint
from models.training.inputs.drawn_pairs import DrawnPairs, PairBatch, open_pairs
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, follow, update_average
from models.training.losses.losses import edge_loss
from models.training.losses.patch_critic import PatchAdversary
from models.training.precision import half_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main
from models.unets.harmonizer import Harmonizer

SHIPPED = "textures.safetensors"
PART = "harmonizer."  # of the checkpoint: what the names of its weights begin with
SAMPLES = 8  # columns: the photo, the person drawn as themselves, that harmonized, a stranger, that harmonized
COARSE = 4  # pixels of a side that are one, where colours and shades are compared


@dataclass(frozen=True, kw_only=True)
class HarmonizerTrainConfig(RunConfig):
    """A run of the harmonizer.

    Attributes:
        data: Files of `veil extract --align drawn`.
        textures: Checkpoint of `textures`, whose harmonizer is replaced.
        steps: Last step.
        learning_rate: Adam.
        critic_rate: Adam, of the critic.
        coarse: Weight of colours and shades, beside that of the pixels where a face is drawn, 1.
        edges: Weight of the steps from a pixel to the next.
        keep: Weight of what is added to strangers.
        adversarial: Weight of what the critic says.
        r1: gamma of the critic's gradient penalty.
        ema: Decay of the averaged weights, which are the ones kept.
    """

    data: tuple[Path, ...]
    textures: Path = WEIGHTS / SHIPPED
    steps: int = 20_000
    batch: int = 8
    learning_rate: float = 4e-4
    critic_rate: float = 5e-4
    coarse: float = 3.0
    edges: float = 3.3
    keep: float = 0.5
    adversarial: float = 0.02
    r1: float = 1.0
    ema: float = 0.995


def train(config: HarmonizerTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % ranks.size:
            raise ValueError(f"batch must be a multiple of the {ranks.size} processes, got {config.batch}")
        yield from follow(HarmonizerTrainer(config, open_pairs(config.data), ranks), config, ranks)


class HarmonizerTrainer:
    """Network, its average, its optimiser and its critic; the pairs, and the checkpoint it is for."""

    def __init__(self, config: HarmonizerTrainConfig, pairs: DrawnPairs, ranks: Ranks) -> None:
        torch.manual_seed(config.seed)  # the same weights in each process
        self.config, self.ranks = config, ranks
        self.base = read_checkpoint(config.textures)
        if self.base.kind != "textures":
            raise ValueError(f"{config.textures}: holds a {self.base.kind} model; only textures are harmonized")
        self.data_digest = f"{pairs.digest} {file_sha256(config.textures)}"
        self.pairs = pairs.to(ranks.device)
        self.model = Harmonizer().to(ranks.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.adversary = PatchAdversary(ranks, learning_rate=config.critic_rate, r1_weight=config.r1)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        critic = self.adversary.parts()
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer, **critic}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step of the critic and one of the network."""
        batch = self.pairs.draw(draws)
        with half_precision(self.ranks.device):
            made = batch.drawn + self.model(batch.drawn, batch.strength)
        both = torch.cat([batch.photo, batch.photo])
        critic = self.adversary.step(both, made.detach(), batch.strength, step=draws.step)
        losses = self._losses(batch, made) | {"adversarial": self.adversary.loss(made, batch.strength)}
        weights = {"pixels": 1.0} | {name: getattr(self.config, name) for name in losses if name != "pixels"}
        self.ranks.descend(torch.stack([weights[name] * losses[name] for name in losses]).sum(), self.optimizer)
        update_average(self.average, self.model, min(self.config.ema, (2 + draws.step) / (11 + draws.step)))
        return losses | critic

    def ship(self, folder: Path) -> None:
        """Write the checkpoint with averaged weights, these in half precision."""
        ours = {PART + name: value.half() for name, value in self.average.state_dict().items()}
        tensors = {name: value for name, value in self.base.tensors.items() if not name.startswith(PART)}
        write_checkpoint(
            Checkpoint(self.base.kind, self.base.config, self.base.template, tensors | ours), folder / SHIPPED
        )

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return rows of photos, people drawn as themselves, these harmonized, strangers, and these harmonized."""
        batch = self.pairs.spread(SAMPLES)
        own, stranger = batch.drawn.chunk(2)
        harmonized, other = (batch.drawn + self.average(batch.drawn, batch.strength)).chunk(2)
        return grid(torch.cat([batch.photo, own, harmonized, stranger, other]), SAMPLES)

    def _losses(self, batch: PairBatch, made: Tensor) -> dict[str, Tensor]:
        """Return how far people are from their photos, where they are drawn, and strangers from what they were."""
        drawn = batch.strength.chunk(2)[0]
        own = made.chunk(2)[0]
        added = (batch.strength * (made - batch.drawn)).chunk(2)[1]
        apart = drawn * (own - batch.photo)
        share = drawn.mean(dim=(1, 2, 3), keepdim=True) + 1e-3  # however large a face is, it counts as much
        return {
            "pixels": (apart.abs() / share).mean(),
            "coarse": F.avg_pool2d(apart, COARSE).abs().mean(),
            "edges": edge_loss(apart, torch.zeros_like(apart)).mean(),
            "keep": added.abs().mean(),
        }


if __name__ == "__main__":
    main(HarmonizerTrainConfig, train)
