"""Train a StyleGAN2 generator from scratch on aligned crops (Karras et al. 2020, arXiv 1912.04958 and 2006.06676).

Writes `generator.safetensors` (averaged weights and average latent), which `models.training.train_encoder` builds on,
and `discriminator.safetensors`; with a reconstruction `principal-codes.safetensors`, too.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, write_checkpoint
from models.pretrained.formats import GENERATOR_KIND
from models.private_encoder.discriminator import STDDEV_GROUP, Discriminator
from models.private_encoder.generator import Generator, GeneratorConfig
from models.training.inputs.dataset import CropSet, open_crops
from models.training.inputs.principal_codes import CODES_KIND, principal_codes
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, average_decay, follow, update_average
from models.training.losses.adversary import Adversary, adam
from models.training.losses.losses import pyramid_loss
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main

DISCRIMINATOR_KIND = "stylegan2-discriminator"
ALONE_RATE = 4.0  # times the learning rate, while there is no adversary that it could outrun
MIXING = 0.9  # of the pictures are made of two latents (StyleGAN, section 3.1)
SAMPLES, SAMPLE_COLUMNS = 32, 8
AVERAGED_LATENTS = 10_000


@dataclass(frozen=True, kw_only=True)
class GeneratorTrainConfig(RunConfig):
    """A run of the generator.

    Attributes:
        data: Tars and folders of crops aligned to one template (`models.training.inputs.dataset.open_crops`).
        size: Side of the pictures in pixels: 64, 128 or 256.
        width: Channels at full size; twice as many at each half of it ...
        channel_max: ... up to this. The discriminator is alike.
        latent_size: Of z and w. A quarter of the paper's: an encoder's size grows with its square.
        learning_rate: Adam, of both networks (ADA's for less than 1024 px).
        gamma: Weight of R1; by default 1 at 256 px and less in proportion to the pixels, which it sums over.
        half_life: Images after which a weight counts half in the average.
        mapping_layers: Between z and w.
        mapping_rate: Their learning rate, as a share of the rest's.
        reconstruction: Weight of drawing half of the pictures like those whose principal components were their z; 0 as
            in the paper. A generator that knows where faces lie needs far fewer pictures to learn what they look like.
        adversarial_from: Step until which only that is learnt, at .4 of the cost and four times the rate.
    """

    data: tuple[Path, ...]
    size: int = 128
    width: int = 64
    channel_max: int = 256
    latent_size: int = 128
    steps: int = 150_000
    learning_rate: float = 0.0025
    gamma: float | None = None
    half_life: float = 10_000.0
    mapping_layers: int = 8
    mapping_rate: float = 0.01
    reconstruction: float = 0.0
    adversarial_from: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch % STDDEV_GROUP:
            raise ValueError(f"batch must be a multiple of {STDDEV_GROUP}, got {self.batch}")
        if self.adversarial_from and not self.reconstruction:
            raise ValueError("adversarial_from needs a reconstruction to learn until then")

    @property
    def network(self) -> GeneratorConfig:
        """The shape of the generator."""
        return GeneratorConfig(
            resolution=self.size,
            latent_size=self.latent_size,
            mapping_layers=self.mapping_layers,
            mapping_lr_multiplier=self.mapping_rate,
            channel_base=self.width * self.size,
            channel_max=self.channel_max,
        )

    @property
    def r1_weight(self) -> float:
        """What `gamma` is, or by default means."""
        return (self.size / 256) ** 2 if self.gamma is None else self.gamma


def train(config: GeneratorTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % (STDDEV_GROUP * ranks.size):
            raise ValueError(f"batch must be a multiple of {STDDEV_GROUP} in each of {ranks.size} processes")
        crops = open_crops(config.data, config.size)
        yield from follow(GeneratorTrainer(config, crops, ranks), config, ranks)


class GeneratorTrainer:
    """Generator, its average and its adversary."""

    def __init__(self, config: GeneratorTrainConfig, crops: CropSet, ranks: Ranks) -> None:
        torch.manual_seed(config.seed)  # the same weights in each process
        self.config, self.ranks = config, ranks
        self.data_digest, self.crops = crops.digest, crops.to(ranks.device)
        self.generator = Generator(config.network).to(ranks.device)
        discriminator = Discriminator(config.network)
        discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.codes = principal_codes(crops, config.latent_size).to(ranks.device) if config.reconstruction else None
        self.optimizer = adam(self.generator, config.learning_rate, ranks.device)
        self.adversary = Adversary(discriminator, ranks, learning_rate=config.learning_rate, r1_weight=config.r1_weight)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training, and the codes, which another library finds a little else."""
        parts: dict[str, Stateful] = {
            "generator": self.generator,
            "average": self.average,
            "generator_optimizer": self.optimizer,
            **self.adversary.parts(),
        }
        if self.codes is not None:
            parts["codes"] = self.codes
        return parts

    def kind_of(self, step: int) -> tuple[bool, bool]:
        """Return whether there is an adversary at `step`, and whether it is regularised."""
        return step >= self.config.adversarial_from, self.adversary.is_regularised(step)

    def prepare(self, step: int) -> None:
        """Do nothing before a step."""

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step of both networks, on the same fakes: that saves a forward of the generator."""
        real, known = self.crops.draw(draws)
        adversarial = draws.step >= self.config.adversarial_from
        # Pictures that are drawn again from their own codes: none, half, or all of them.
        again = 0 if self.codes is None else len(real) // 2 if adversarial else len(real)
        latents = self._mixed_latents(draws)
        if self.codes is not None:
            own = self.generator.map(self.codes(real[:again]))[:, None].expand(-1, latents.shape[1], -1)
            latents = torch.cat([own, latents[again:]])
        with mixed_precision(self.ranks.device):
            fake = self.generator(latents, self._noises(draws))
        # A fake is seen through the mask of a real, so that the mask itself tells nothing.
        fake = fake * known
        losses = self.adversary.step(real, fake.detach(), draws) if adversarial else {}
        return losses | self._generator_step(fake, draws, adversarial=adversarial, drawn_again=real[:again])

    def conclude(self, step: int) -> None:
        """Move the averaged weights."""
        decay = average_decay(self.config.half_life, batch=self.config.batch, step=step + 1)
        update_average(self.average, self.generator, decay)

    def _mixed_latents(self, draws: Draws) -> Tensor:
        """Return w+ `(N, L, D)`, most of them of one w up to some layer and of another from there."""
        size, layers = self.config.latent_size, self.config.network.latents
        first, second = self.generator.map(draws.normal(2, size).flatten(0, 1)).view(-1, 2, 1, size).unbind(1)
        crossover = torch.where(draws.uniform() < MIXING, 1 + draws.integers(layers - 1), layers)
        of_first = torch.arange(layers, device=first.device) < crossover[:, None]  # (N, L)
        return torch.where(of_first[:, :, None], first, second)

    def _noises(self, draws: Draws) -> list[Tensor]:
        return [draws.normal(*noise.shape[1:]) for noise in self.generator.noises.in_order()]

    def _generator_step(
        self, fake: Tensor, draws: Draws, *, adversarial: bool, drawn_again: Tensor
    ) -> dict[str, Tensor]:
        losses = {}
        rate = self.config.learning_rate * (1.0 if adversarial else ALONE_RATE)
        self.optimizer.param_groups[0]["lr"] = rate
        if adversarial:
            losses["generator"] = self.adversary.loss(fake, draws)
        total = losses.get("generator", fake.new_zeros(()))
        if len(drawn_again):
            losses["reconstruction"] = pyramid_loss(drawn_again, fake[: len(drawn_again)]).mean()
            total = total + self.config.reconstruction * losses["reconstruction"]
        self.ranks.descend(total, self.optimizer)
        return losses

    @torch.no_grad()
    def ship(self, folder: Path) -> None:
        """Write both networks, the generator with its average latent `(D,)`, and the codes if there are any."""
        latent_avg = average_latent(self.average)
        self._write(self.average.state_dict() | {"latent_avg": latent_avg}, GENERATOR_KIND, folder / "generator")
        self._write(self.adversary.network.state_dict(), DISCRIMINATOR_KIND, folder / "discriminator")
        if self.codes is not None:
            self._write(self.codes.state_dict(), CODES_KIND, folder / CODES_KIND)

    def _write(self, tensors: Mapping[str, Tensor], kind: str, path: Path) -> None:
        config, template = dataclasses.asdict(self.config.network), dataclasses.asdict(self.crops.template)
        write_checkpoint(Checkpoint(kind, config, template, tensors), path.with_suffix(".safetensors"))

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return pictures of the averaged weights, always of the same latents."""
        z = torch.randn(SAMPLES, self.config.latent_size, generator=torch.Generator().manual_seed(0))
        w = self.average.map(z.to(self.ranks.device))[:, None]
        return grid(self.average(w.expand(-1, self.config.network.latents, -1)), SAMPLE_COLUMNS)


@torch.no_grad()
def average_latent(generator: Generator) -> Tensor:
    """Return the mean w `(D,)` of 10,000 z."""
    size = generator.config.latent_size
    z = torch.randn(AVERAGED_LATENTS, size, generator=torch.Generator().manual_seed(0))
    return generator.map(z.to(next(generator.parameters()).device)).mean(dim=0)


if __name__ == "__main__":
    main(GeneratorTrainConfig, train)
