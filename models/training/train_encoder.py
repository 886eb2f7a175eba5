"""Train a Private-Encoder for a generator that is there (Zhao et al. 2022, doi 10.1002/cpe.6548, section 3).

Eq. 4 with the generator fixed, for all privacy levels at once: beta is drawn for each face and told to the encoder.
Writes `private-encoder.safetensors`, which `veil run --model` takes. Beyond the paper, each off by default: what the
paste does not show counts less, views of one face get near latents, and generator and encoder are fine-tuned together.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import (
    Checkpoint,
    config_from_json,
    file_sha256,
    load_tensors,
    read_checkpoint,
    weights_path,
    write_checkpoint,
)
from models.face_model import Template
from models.identity.identity_crop import identity_crops
from models.pretrained.imported import load_generator, load_recognizer
from models.private_encoder.discriminator import STDDEV_GROUP, Discriminator
from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.training.inputs.augment import as_a_frame_later
from models.training.inputs.dataset import CropSet, open_crops
from models.training.inputs.principal_codes import read_codes
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, average_decay, follow, update_average
from models.training.losses.losses import (
    discriminator_loss,
    generator_loss,
    identity_loss,
    masked_pixel_loss,
    perceptual_loss,
    r1_penalty,
    temporal_loss,
)
from models.training.losses.lpips import embed_with_features, load_lpips
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks, joined_ranks, sync_batch_norms
from models.training.train_command import main
from models.training.train_generator import R1_EVERY, average_latent

SAMPLES, SAMPLE_BETAS = 8, (0.0, 0.5, 1.0)
MIN_INPUT_SIZE, MAX_INPUT_SIZE = 32, 256  # pixels; the latter is the paper's

Perceptual = Callable[[Tensor, Tensor], Tensor]  # two batches of crops -> distances (N,)


@dataclass(frozen=True, kw_only=True)
class EncoderTrainConfig(RunConfig):
    """A run of the encoder.

    Attributes:
        data: Tars and folders of crops aligned to the generator's template
            (`models.training.inputs.dataset.open_crops`).
        generator: Checkpoint of `veil train generator`, or the name of an imported one.
        recognizers: Files or names of face recognisers; the identity loss is the mean of theirs.
        discriminator: Checkpoint of `veil train generator`. Its features tell how alike two pictures look, unless
            LPIPS is given; without either, the first recogniser's do. Joint training needs it.
        lpips_heads, lpips_backbone: Published weights of LPIPS 0.1 and of its network; both or none.
        width: Channels of the encoder's first stage.
        stage_blocks: Residual blocks of its four stages.
        learning_rate: RAdam, which is the paper's Ranger without Lookahead.
        pixel, perceptual, identity: Weights of Eq. 4, lambda 1 to 3; the paper's.
        beta_zero: Share of faces with a beta of exactly 0, the default of `veil run`; the others' are uniform.
        outside: Weight of the pixels outside the oval that the paste shows; 1 as in the paper.
        temporal: Weight of the distance between latents of one face in two views.
        codes: What the generator's reconstruction drew crops again from: then there are latents to follow.
        codes_until: Step until which the encoder follows only these, which costs a fifth: no picture is made.
        joint_from: Step from which the generator trains too, against the discriminator; never by default.
        adversarial: Weight of the discriminator then.
        joint_learning_rate: Of generator and discriminator then (Adam): they are trained already.
        gamma: Weight of R1 then, at 256 px; less in proportion to the pixels.
        half_life: Images after which a weight counts half in the average.
    """

    data: tuple[Path, ...]
    generator: Path
    recognizers: tuple[Path, ...]
    discriminator: Path | None = None
    lpips_heads: Path | None = None
    lpips_backbone: Path | None = None
    width: int = 24
    stage_blocks: tuple[int, int, int, int] = (2, 2, 4, 2)
    batch: int = 16
    learning_rate: float = 1e-3
    pixel: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.1
    beta_zero: float = 0.25
    outside: float = 1.0
    temporal: float = 0.0
    codes: Path | None = None
    codes_until: int = 0
    joint_from: int | None = None
    adversarial: float = 0.05
    joint_learning_rate: float = 2e-4
    gamma: float = 1.0
    half_life: float = 10_000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch % STDDEV_GROUP:
            raise ValueError(f"batch must be a multiple of {STDDEV_GROUP}, got {self.batch}")
        if (self.lpips_heads is None) != (self.lpips_backbone is None):
            raise ValueError("LPIPS needs both lpips_heads and lpips_backbone")
        if self.joint_from is not None and self.discriminator is None:
            raise ValueError("joint_from needs the discriminator that the generator was trained against")
        if self.codes_until and self.codes is None:
            raise ValueError("codes_until needs the codes that the generator was trained with")
        if not self.recognizers:
            raise ValueError("recognizers must name at least one")

    @property
    def networks(self) -> list[Path]:
        """The files of the networks that the encoder is trained with."""
        given = (self.discriminator, self.codes, self.lpips_heads, self.lpips_backbone)
        named = [weights_path(str(name)) for name in (self.generator, *self.recognizers)]
        return named + [path for path in given if path is not None]


def train(config: EncoderTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % (STDDEV_GROUP * ranks.size):
            raise ValueError(f"batch must be a multiple of {STDDEV_GROUP} in each of {ranks.size} processes")
        model = untrained(config)
        crops = open_crops(config.data, model.crop_size)
        yield from follow(EncoderTrainer(config, model, crops, ranks), config, ranks)


def untrained(config: EncoderTrainConfig) -> PrivateEncoder:
    """Return the model of a run before its first step: the generator as it is, the encoder at random.

    Raises:
        CheckpointError: If the generator cannot be used.
    """
    generator, latent_avg = load_generator(str(config.generator))
    # Of published files, which do not say how their crops are aligned, only imported ones will do.
    stored = read_checkpoint(weights_path(str(config.generator)), named="latent_avg")
    torch.manual_seed(config.seed)  # the same weights in each process
    encoder = EncoderConfig(
        input_size=max(MIN_INPUT_SIZE, min(generator.config.resolution // 2, MAX_INPUT_SIZE)),
        latents=generator.config.latents,
        latent_size=generator.config.latent_size,
        stage_blocks=config.stage_blocks,
        width=config.width,
    )
    model = PrivateEncoder(PrivateEncoderConfig(encoder, generator.config), config_from_json(Template, stored.template))
    model.generator = generator
    model.latent_avg.copy_(average_latent(generator) if latent_avg is None else latent_avg)
    return model


class EncoderTrainer:
    """Model, its average, what judges them, and optimisers."""

    def __init__(self, config: EncoderTrainConfig, model: PrivateEncoder, crops: CropSet, ranks: Ranks) -> None:
        self.config, self.ranks, self.template = config, ranks, model.template
        self.data_digest = " ".join([crops.digest, *map(file_sha256, config.networks)])
        self.crops = crops.to(ranks.device)
        self.average = copy.deepcopy(model).to(ranks.device).eval().requires_grad_(False)
        sync_batch_norms(model.encoder, ranks)
        self.model = model.to(ranks.device)
        self.model.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.recognizers = [load_recognizer(str(path)).to(ranks.device) for path in config.recognizers]
        self.discriminator = Discriminator(model.generator.config)
        if config.discriminator is not None:
            load_tensors(self.discriminator, read_checkpoint(config.discriminator).tensors, config.discriminator)
        self.discriminator.to(ranks.device)
        self.codes = None if config.codes is None else read_codes(config.codes).to(ranks.device)
        self.perceptual = self._perceptual()
        self.shown = config.outside + (1 - config.outside) * face_oval(self.template, model.crop_size).to(ranks.device)
        self.optimizer = torch.optim.RAdam(model.encoder.parameters(), config.learning_rate, betas=(0.9, 0.99))
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network.parameters(), config.joint_learning_rate, betas=(0.0, 0.99))
            for network in (model.generator, self.discriminator)
        )

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {
            "model": self.model,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step of the encoder, and from `joint_from` on of generator and discriminator."""
        joint = self.config.joint_from is not None and draws.step >= self.config.joint_from
        crops, known = self.crops.draw(draws)
        beta = draws.uniform() * (draws.uniform() >= self.config.beta_zero)
        self.model.encoder.train()
        self.model.generator.requires_grad_(joint)
        if self.codes is not None and draws.step < self.config.codes_until:
            return self._follow_codes(self.codes(crops), crops, beta=beta, draws=draws)
        with mixed_precision(self.ranks.device):
            latents = self.model.encoder(crops, beta) + self.model.latent_avg
            made = self.model.generator(latents)
            terms = self._terms(crops, made, known=known, beta=beta)
            if self.config.temporal:
                terms["temporal"] = self._temporal(crops, latents, beta=beta, draws=draws)
            if joint:
                terms["adversarial"] = self._adversarial(made * known)
        total = torch.stack([getattr(self.config, name) * term for name, term in terms.items()]).sum()
        self.ranks.descend(total, self.optimizer, *([self.generator_optimizer] if joint else []))
        if joint:
            terms |= self._discriminator_step(crops, (made * known).detach(), draws)
        self._average(draws)
        return terms

    def _follow_codes(self, codes: Tensor, crops: Tensor, *, beta: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards the latents that the generator draws crops again from, whatever beta asks for."""
        with mixed_precision(self.ranks.device):
            latents = self.model.encoder(crops, beta) + self.model.latent_avg
        with torch.no_grad():
            wanted = self.model.generator.map(codes)[:, None].expand_as(latents)
        loss = (latents - wanted).square().mean()
        self.ranks.descend(loss, self.optimizer)
        self._average(draws)
        return {"codes": loss}

    def _average(self, draws: Draws) -> None:
        decay = average_decay(self.config.half_life, batch=self.config.batch, step=draws.step + 1)
        update_average(self.average, self.model, decay)

    def _perceptual(self) -> Perceptual:
        """Return how different crops look: by LPIPS, a discriminator or a recogniser, the best of what there is.

        A discriminator's features come before a recogniser's, which hold the identity that is to change.
        """
        config = self.config
        if config.lpips_heads is not None and config.lpips_backbone is not None:
            lpips: nn.Module = load_lpips(config.lpips_heads, config.lpips_backbone)
            return lpips.to(self.ranks.device)
        if config.discriminator is not None:
            judge = copy.deepcopy(self.discriminator).requires_grad_(False)  # joint training moves the other
            return lambda crops, made: layer_mean(judge.features(crops), judge.features(made))
        return self._recognized

    def _recognized(self, crops: Tensor, made: Tensor) -> Tensor:
        """Return how different crops look to the first recogniser, `(N,)`."""
        both = (identity_crops(pictures, self.template) for pictures in (crops, made))
        features, made_features = (embed_with_features(self.recognizers[0], crop)[1] for crop in both)
        return layer_mean(features, made_features)

    def _terms(self, crops: Tensor, made: Tensor, *, known: Tensor, beta: Tensor) -> dict[str, Tensor]:
        """Return the terms of Eq. 4; unknown pixels are 0 in `crops`, and made so in the others."""
        made = made * known
        return {
            "pixel": masked_pixel_loss(crops, made, weight=known * self.shown).mean(),
            "perceptual": self.perceptual(crops, made).mean(),
            "identity": self._identity(crops, made, beta=beta).mean(),
        }

    def _identity(self, crops: Tensor, made: Tensor, *, beta: Tensor) -> Tensor:
        """Eq. 3, a mean over the recognisers, `(N,)`."""
        source, result = identity_crops(crops, self.template), identity_crops(made, self.template)
        losses = []
        for recognizer in self.recognizers:
            with torch.no_grad():
                before = recognizer(source)
            losses.append(identity_loss(before, recognizer(result), beta))
        return torch.stack(losses).mean(dim=0)

    def _temporal(self, crops: Tensor, latents: Tensor, *, beta: Tensor, draws: Draws) -> Tensor:
        later = self.model.encoder(as_a_frame_later(crops, draws), beta) + self.model.latent_avg
        return temporal_loss(latents, later).mean()

    def _adversarial(self, made: Tensor) -> Tensor:
        self.discriminator.requires_grad_(False)
        return generator_loss(self.discriminator(made)).mean()

    def _discriminator_step(self, real: Tensor, fake: Tensor, draws: Draws) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(True)
        regularised = draws.step % R1_EVERY == 0
        real = real.detach().requires_grad_(regularised)
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        losses = {"discriminator": discriminator_loss(real_logits, fake_logits).mean()}
        total = losses["discriminator"]
        if regularised:
            losses["r1"] = r1_penalty(real, real_logits).mean()
            weight = self.config.gamma * (self.model.crop_size / 256) ** 2
            total = total + R1_EVERY * weight / 2 * losses["r1"]
        self.ranks.descend(total, self.discriminator_optimizer)
        return losses

    def ship(self, folder: Path) -> None:
        """Write the averaged model; filters in half precision, which is exact to 0.05 % and half the size."""
        tensors = {
            name: tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor
            for name, tensor in self.average.state_dict().items()
        }
        config, template = dataclasses.asdict(self.average.config), dataclasses.asdict(self.template)
        checkpoint = Checkpoint(PrivateEncoder.kind, config, template, tensors)
        write_checkpoint(checkpoint, folder / "private-encoder.safetensors")

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a row of crops, and a row of what the averaged model makes of them at beta 0, .5 and 1."""
        rows = torch.linspace(0, len(self.crops) - 1, SAMPLES).round().long().to(self.ranks.device)
        crops = self.crops.images[rows].float() / 127.5 - 1
        sheet = [crops]
        for beta in SAMPLE_BETAS:
            latents = self.average.encoder(crops, torch.full((SAMPLES,), beta, device=crops.device))
            sheet.append(self.average.generator(latents + self.average.latent_avg))
        return grid(torch.cat(sheet), SAMPLES)


def layer_mean(features: list[Tensor], made_features: list[Tensor]) -> Tensor:
    """Return the perceptual loss per layer, `(N,)`: about as large as LPIPS, which the paper's weight is for."""
    return perceptual_loss(features, made_features) / len(features)


def face_oval(template: Template, size: int) -> Tensor:
    """Return where the face of a template is, about as the paste shows it: `(1, 1, size, size)` in {0, 1}.

    The mean oval of a face mesh is 2.2 times as wide and 2.6 times as high as the eyes are apart, and its middle half
    that distance below them; a paste fades a little outside of it.
    """
    left, right = template.landmarks[:2]
    across = float(np.hypot(*(right - left)))
    x, y = (left + right) / 2 + np.array([0.0, 0.5 * across])
    place = (torch.arange(size) + 0.5) / size
    down = ((place - y) / (1.4 * across)).square()[:, None]
    inside: Tensor = down + ((place - x) / (1.2 * across)).square() <= 1
    return inside.float()[None, None]


if __name__ == "__main__":
    main(EncoderTrainConfig, train)
