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
from models.training.fits.fit_strangers import ENOUGH
from models.training.fits.identity_place import PLACE_FILE, IdentityPlace, embedding_size, write_place
from models.training.inputs.augment import MAX_SHIFT, as_a_frame_later, jolted
from models.training.inputs.dataset import CropSet, open_crops
from models.training.inputs.face_parts import eyes_and_mouth, face_oval
from models.training.inputs.principal_codes import read_codes
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, average_decay, follow, update_average
from models.training.losses.adversary import Adversary, adam
from models.training.losses.losses import identity_loss, masked_pixel_loss, perceptual_loss, temporal_loss
from models.training.losses.lpips import embed_with_features, load_lpips
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks, joined_ranks, sync_batch_norms
from models.training.train_command import main
from models.training.train_generator import average_latent

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
        input_size: Pixels a side that the encoder sees; by default half the generator's, no more than the paper's 256.
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
        strangers_from: Step at which identity is looked for in the latents; from there on every face is moved to some
            stranger's place, as far as its beta asks for. Never by default.
        directions: Of the latents, that strangers' values then take.
        stranger: Weight, then, of how unlike the stranger a face is that is to be that stranger's.
        eyes_and_mouth: Weight of the pixels there, besides that of all.
    """

    data: tuple[Path, ...]
    generator: Path
    recognizers: tuple[Path, ...]
    discriminator: Path | None = None
    lpips_heads: Path | None = None
    lpips_backbone: Path | None = None
    input_size: int | None = None
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
    strangers_from: int | None = None
    directions: int = 60
    stranger: float = 0.1
    eyes_and_mouth: float = 0.0

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
        input_size=config.input_size or max(MIN_INPUT_SIZE, min(generator.config.resolution // 2, MAX_INPUT_SIZE)),
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
    """Model, its average, what judges them, and its optimisers."""

    def __init__(self, config: EncoderTrainConfig, model: PrivateEncoder, crops: CropSet, ranks: Ranks) -> None:
        self.config, self.ranks, self.template = config, ranks, model.template
        self.data_digest = " ".join([crops.digest, *map(file_sha256, config.networks)])
        self.crops = crops.to(ranks.device)
        self.average = copy.deepcopy(model).to(ranks.device).eval().requires_grad_(False)
        sync_batch_norms(model.encoder, ranks)
        self.model = model.to(ranks.device)
        self.model.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.recognizers = [load_recognizer(str(path)).to(ranks.device) for path in config.recognizers]
        for network in self.recognizers:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as above
        discriminator = Discriminator(model.generator.config)
        if config.discriminator is not None:
            load_tensors(discriminator, read_checkpoint(config.discriminator).tensors, config.discriminator)
        weight = config.gamma * (model.crop_size / 256) ** 2
        self.adversary = Adversary(discriminator, ranks, learning_rate=config.joint_learning_rate, r1_weight=weight)
        self.codes = None if config.codes is None else read_codes(config.codes).to(ranks.device)
        self.perceptual = self._perceptual()
        oval, features = face_oval(self.template, model.crop_size), eyes_and_mouth(self.template, model.crop_size)
        shown = config.outside + (1 - config.outside) * oval + config.eyes_and_mouth * features
        self.shown = shown.to(ranks.device)
        sizes = model.latent_avg.numel(), embedding_size(self.recognizers[0])
        self.place = IdentityPlace(config.directions, *sizes, min(len(crops), ENOUGH))
        self.place.to(ranks.device)
        on_gpu = ranks.device.type == "cuda"
        self.optimizer = torch.optim.RAdam(
            model.encoder.parameters(), config.learning_rate, betas=(0.9, 0.99), capturable=on_gpu
        )
        self.generator_optimizer = adam(model.generator, config.joint_learning_rate, ranks.device)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {
            "model": self.model,
            "average": self.average,
            "place": self.place,
            "optimizer": self.optimizer,
            "generator_optimizer": self.generator_optimizer,
            **self.adversary.parts(),
        }

    def kind_of(self, step: int) -> tuple[bool, bool, bool, bool]:
        """Return whether codes are followed at `step`, all learn, there are strangers, and R1 is due."""
        config = self.config
        follows = self.codes is not None and step < config.codes_until
        joint = config.joint_from is not None and step >= config.joint_from
        moved = config.strangers_from is not None and step >= config.strangers_from
        return follows, joint, moved, self.adversary.is_regularised(step)

    def prepare(self, step: int) -> None:
        """Look for identity in the latents, when it is time."""
        if step == self.config.strangers_from:
            self.place.find(self.average, self.crops, self.recognizers[0])

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step of the encoder, and from `joint_from` on of generator and discriminator."""
        config = self.config
        follows, joint, moved, _ = self.kind_of(draws.step)
        crops, known = self.crops.draw(draws)
        beta = draws.uniform() * (draws.uniform() >= self.config.beta_zero)
        self.model.encoder.train()
        self.model.generator.requires_grad_(joint)
        if follows and self.codes is not None:
            return self._follow_codes(self.codes(crops), crops, beta=beta, draws=draws)
        with mixed_precision(self.ranks.device):
            latents = self.model.encoder(crops, beta).float() + self.model.latent_avg
            strangers = self.place.drawn(draws) if moved else None
            used = latents if strangers is None else self.place.part.moved(latents, beta, strangers)
            made = self.model.generator(used)
            terms = self._terms(crops, made, known=known, beta=beta, strangers=strangers, draws=draws)
            if config.temporal:
                terms["temporal"] = self._temporal(crops, latents, beta=beta, draws=draws)
            if joint:
                terms["adversarial"] = self.adversary.loss(made * known, draws)
        total = torch.stack([getattr(self.config, name) * term for name, term in terms.items()]).sum()
        self.ranks.descend(total, self.optimizer, *([self.generator_optimizer] if joint else []))
        if joint:
            terms |= self.adversary.step(crops, (made * known).detach(), draws)
        return terms

    def _follow_codes(self, codes: Tensor, crops: Tensor, *, beta: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards the latents that the generator draws crops again from, whatever beta asks for."""
        with mixed_precision(self.ranks.device):
            latents = self.model.encoder(crops, beta).float() + self.model.latent_avg
        with torch.no_grad():
            wanted = self.model.generator.map(codes)[:, None].expand_as(latents)
        loss = (latents - wanted).square().mean()
        self.ranks.descend(loss, self.optimizer)
        return {"codes": loss}

    def conclude(self, step: int) -> None:
        """Move the averaged weights."""
        decay = average_decay(self.config.half_life, batch=self.config.batch, step=step + 1)
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
            judge = copy.deepcopy(self.adversary.network).requires_grad_(False)  # joint training moves the other
            return lambda crops, made: layer_mean(judge.features(crops), judge.features(made))
        return self._recognized

    def _recognized(self, crops: Tensor, made: Tensor) -> Tensor:
        """Return how different crops look to the first recogniser, `(N,)`."""
        both = (identity_crops(pictures, self.template) for pictures in (crops, made))
        features, made_features = (embed_with_features(self.recognizers[0], crop)[1] for crop in both)
        return layer_mean(features, made_features)

    def _terms(
        self, crops: Tensor, made: Tensor, *, known: Tensor, beta: Tensor, strangers: Tensor | None, draws: Draws
    ) -> dict[str, Tensor]:
        """Return the terms of Eq. 4 and that of strangers; unknown pixels are 0 in `crops`, and made so in others."""
        made = made * known
        both = torch.cat([identity_crops(each, self.template) for each in (crops, made)], dim=1)  # moved alike
        source, result = jolted(both, draws, reach=MAX_SHIFT).chunk(2, dim=1)
        with torch.no_grad():
            before = [recognizer(source) for recognizer in self.recognizers]
        after = [recognizer(result) for recognizer in self.recognizers]  # Eq. 3, a mean over the recognisers
        likeness = [identity_loss(old, new, beta) for old, new in zip(before, after, strict=True)]
        terms = {
            "pixel": masked_pixel_loss(crops, made, weight=known * self.shown).mean(),
            "perceptual": self.perceptual(crops, made).mean(),
            "identity": torch.stack(likeness).mean(),
        }
        if strangers is not None:
            terms["stranger"] = ((1 - beta) * self.place.unlikeness(after[0], strangers)).mean()
        return terms

    def _temporal(self, crops: Tensor, latents: Tensor, *, beta: Tensor, draws: Draws) -> Tensor:
        later = self.model.encoder(as_a_frame_later(crops, draws), beta).float() + self.model.latent_avg
        return temporal_loss(latents, later).mean()

    def ship(self, folder: Path) -> None:
        """Write the averaged model, and where identity lies in its latents if that was looked for."""
        write_halved(self.average, folder / "private-encoder.safetensors")
        if self.config.strangers_from is not None:
            write_place(self.place, folder / PLACE_FILE)

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a row of crops, and a row of what the averaged model makes of them at beta 0, .5 and 1.

        Strangers are, in each row, the people of the columns in turn.
        """
        rows = torch.linspace(0, len(self.crops) - 1, SAMPLES).round().long().to(self.ranks.device)
        crops = self.crops.images[rows].float() / 127.5 - 1
        sheet = [crops]
        for turn, beta in enumerate(SAMPLE_BETAS, 1):
            asked = torch.full((SAMPLES,), beta, device=crops.device)
            latents = self.average.encoder(crops, asked) + self.average.latent_avg
            others = self.place.part.coordinates(latents).roll(turn, 0)
            sheet.append(self.average.generator(self.place.part.moved(latents, asked, others)))
        return grid(torch.cat(sheet), SAMPLES)


def write_halved(model: PrivateEncoder, path: Path) -> None:
    """Write a model with its filters in half precision, which is exact to 0.05 % and half the size."""
    tensors = {
        name: tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    config, template = dataclasses.asdict(model.config), dataclasses.asdict(model.template)
    write_checkpoint(Checkpoint(model.kind, config, template, tensors), path)


def layer_mean(features: list[Tensor], made_features: list[Tensor]) -> Tensor:
    """Return the perceptual loss per layer, `(N,)`: about as large as LPIPS, which the paper's weight is for."""
    return perceptual_loss(features, made_features) / len(features)


if __name__ == "__main__":
    main(EncoderTrainConfig, train)
