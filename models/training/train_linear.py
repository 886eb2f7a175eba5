"""Train `linear-refined`: its linear part is fitted in closed form, then its refiner against a discriminator.

Writes `linear-refined.safetensors`, with averaged weights.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_model import Sighting
from models.identity.recognizer import MobileFaceNet, load_mobilefacenet
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.pretrained.imported import load_recognizer
from models.private_encoder.discriminator import PatchDiscriminator
from models.registry import load_as
from models.training.fits.fit_linear import fit
from models.training.inputs.dataset import FaceDataset, open_dataset, to_crops, unpack_valid
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, follow, update_average
from models.training.losses.adversary import R1_EVERY
from models.training.losses.losses import discriminator_loss, generator_loss, r1_penalty
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main

SHIPPED = "linear-refined.safetensors"
SAMPLES = 8  # columns: a crop, the same drawn again, and as a stranger


@dataclass(frozen=True, kw_only=True)
class LinearTrainConfig(RunConfig):
    """A run of `linear-refined`.

    Attributes:
        data: Folder of prepared faces (`models.training.inputs.dataset`).
        recognizer: MobileFaceNet state dict, for the identity directions and Eq. 3.
        model: Sizes of the model; `linear_values` is set by the data.
        rim_directions: How many directions of hairline, forehead and jaw are kept from the person.
        steps: Last step; 0 ends after the fit.
        batch: Crops a step, of all processes together: half are reconstructed, half become strangers.
        learning_rate, critic_learning_rate: Adam. A slower critic stayed at chance.
        adversarial, feature_matching, identity, low_pass: Weights of the losses beside a masked L1 of weight 1.
        r1: Gradient penalty on real crops (Mescheder et al. 2018), every 16th step.
        ema: Decay of the averaged weights, which are the ones kept.
    """

    data: Path
    recognizer: Path
    model: LinearRefinedConfig = field(default_factory=LinearRefinedConfig)
    rim_directions: int = 24
    batch: int = 16
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    adversarial: float = 0.15
    feature_matching: float = 1.0
    identity: float = 0.3
    low_pass: float = 1.0
    r1: float = 0.02
    ema: float = 0.998


def train(config: LinearTrainConfig) -> Iterator[TrainStep]:
    """Fit, or take up from where the run folder stands, and train; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % (4 * ranks.size):
            raise ValueError(f"batch must be a multiple of 4 in each of {ranks.size} processes, got {config.batch}")
        dataset = open_dataset(config.data)
        yield from follow(LinearTrainer(config, dataset, ranks), config, ranks)


class LinearTrainer:
    """Model, its average, critic and optimisers; what they are trained on."""

    def __init__(self, config: LinearTrainConfig, dataset: FaceDataset, ranks: Ranks) -> None:
        self.config, self.dataset, self.ranks, self.device = config, dataset, ranks, ranks.device
        self.data_digest = hashlib.sha256(repr((dataset.crops.shape, dataset.names)).encode()).hexdigest()
        recognizer = load_mobilefacenet(config.recognizer)
        self.model = fitted(config, dataset, recognizer).to(self.device)
        self.recognizer = recognizer.to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.critic = PatchDiscriminator(self.model.crop_size).to(self.device)
        self.model.refiner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.model.refiner.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), config.critic_learning_rate, betas=(0.0, 0.99)
        )

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {
            "model": self.model,
            "average": self.average,
            "critic": self.critic,
            "optimizer": self.optimizer,
            "critic_optimizer": self.critic_optimizer,
        }

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step of both networks."""
        rng = np.random.default_rng((self.config.seed, draws.step))
        batch = _Batch.draw(self.dataset, rng, self.config.batch, self.ranks)
        latents, beta = self._latents(batch, rng)
        linear = self.model.decode(latents)
        with mixed_precision(self.device):
            fake = self.model.refiner(linear).float()
        losses = self._critic_step(batch, fake.detach(), regularised=draws.step % R1_EVERY == 0)
        losses |= self._refiner_step(batch, fake, linear, beta=beta)
        decay = min(self.config.ema, (2 + draws.step) / (11 + draws.step))
        update_average(self.average.refiner, self.model.refiner, decay)
        return losses

    def _latents(self, batch: _Batch, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return latents of which the second half are other people's, and their beta."""
        count, mine = self.config.batch, slice(self.ranks.rank, None, self.ranks.size)
        betas = np.ones(count, np.float32)
        betas[count // 2 :] = np.where(rng.random(count - count // 2) < 0.6, 0, rng.random(count - count // 2))
        seeds = torch.from_numpy(rng.integers(0, 2**31, count)[mine]).to(self.device)
        beta = torch.from_numpy(betas[mine]).to(self.device)
        with torch.no_grad():
            others = self.model.pseudonyms(Sighting(batch.crops), seeds)
            return self.model.replace_identity(self.model.project(batch.crops), beta, others), beta

    def _critic_step(self, batch: _Batch, fake: Tensor, *, regularised: bool) -> dict[str, Tensor]:
        real = batch.crops.detach().requires_grad_(regularised)
        with mixed_precision(self.device):
            real_logits, _ = self.critic(real * batch.valid)
            fake_logits, _ = self.critic(fake * batch.valid)
        loss = discriminator_loss(real_logits.float(), fake_logits.float()).mean()
        if regularised:
            loss = loss + R1_EVERY * self.config.r1 / 2 * r1_penalty(real, real_logits.float()).mean()
        self.ranks.descend(loss, self.critic_optimizer)
        return {"critic_real": real_logits.mean(), "critic_fake": fake_logits.mean()}

    def _refiner_step(self, batch: _Batch, fake: Tensor, linear: Tensor, *, beta: Tensor) -> dict[str, Tensor]:
        half = len(fake) // 2
        self.critic.requires_grad_(False)
        with mixed_precision(self.device):
            logits, features = self.critic(fake * batch.valid)
            with torch.no_grad():
                _, targets = self.critic((batch.crops * batch.valid)[:half])
        self.critic.requires_grad_(True)
        pairs = zip(features, targets, strict=True)
        losses = {
            "l1": ((fake - batch.crops) * batch.valid)[:half].abs().sum() / (3 * batch.valid[:half].sum()),
            "features": torch.stack([F.l1_loss(f[:half].float(), t.float()) for f, t in pairs]).mean(),
            "adversarial": generator_loss(logits.float()).mean(),
            "low_pass": (_coarse(fake * batch.inside) - _coarse(_enlarge(linear, fake) * batch.inside)).abs().mean(),
            "identity": self._identity_loss(batch, fake, beta),
        }
        weights = {
            "l1": 1.0,
            "features": self.config.feature_matching,
            "adversarial": self.config.adversarial,
            "low_pass": self.config.low_pass,
            "identity": self.config.identity,
        }
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.ranks.descend(total, self.optimizer)
        return losses

    def _identity_loss(self, batch: _Batch, fake: Tensor, beta: Tensor) -> Tensor:
        """Eq. 3 on strangers pasted into their photos: |beta - cos|, a quarter of the batch."""
        part = slice(-(len(fake) // 4), None)
        where, photo = batch.grids[part], batch.photos[part]
        lit = relight(fake[part], batch.crops[part], batch.valid[part])
        inside = (where.abs().amax(dim=-1) <= 1)[:, None]
        pasted = torch.where(inside, F.grid_sample(lit, where, align_corners=False), photo)
        with mixed_precision(self.device):
            with torch.no_grad():
                before = self.recognizer(photo)
            after = self.recognizer(pasted)
        cosine: Tensor = (before.float() * after.float()).sum(dim=1)
        return (beta[part] - cosine).abs().mean()

    def ship(self, folder: Path) -> None:
        """Write the model with averaged weights."""
        self.average.save(folder / SHIPPED)

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a row of crops, a row of the same drawn again, and a row of strangers in their place."""
        rows = np.linspace(0, len(self.dataset) - 1, SAMPLES).round().astype(int)
        crops = to_crops(self.dataset.crops[rows]).to(self.device)
        others = self.average.pseudonyms(Sighting(crops), torch.arange(SAMPLES, device=self.device))
        drawn = [
            self.average.generate(self.average.encode(crops, torch.full((SAMPLES,), beta, device=self.device), others))
            for beta in (1.0, 0.0)
        ]
        return grid(torch.cat([crops, *drawn]), SAMPLES)


def fitted(config: LinearTrainConfig, dataset: FaceDataset, recognizer: MobileFaceNet) -> LinearRefined:
    """Return the model whose refiner a run trains: of the run folder, or fitted if the run begins."""
    if (config.run / "state.pt").exists():
        return load_as(LinearRefined, config.run / SHIPPED)
    guard = load_recognizer("identity")
    return fit(dataset, recognizer, config.model, guard=guard, rim_directions=config.rim_directions, seed=config.seed)


@dataclass(frozen=True)
class _Batch:
    """Tensors of a batch: crops, photos in [-1, 1], valid and inside `(N, 1, S, S)` in {0, 1}, grids."""

    crops: Tensor
    valid: Tensor
    inside: Tensor
    photos: Tensor
    grids: Tensor

    @classmethod
    def draw(cls, dataset: FaceDataset, rng: np.random.Generator, count: int, ranks: Ranks) -> _Batch:
        """Draw the batch of all processes, and keep what is this one's."""
        rows = np.sort(rng.choice(len(dataset), count, replace=False))
        rows = rows[rng.permutation(count)]
        crops, photos = to_crops(dataset.crops[rows]), to_crops(dataset.photos[rows])
        valid = unpack_valid(dataset.valid[rows], dataset.crop_size)
        grids = torch.from_numpy(dataset.grids[rows].astype(np.float32))
        if rng.random() < 0.5:  # faces are seen in the mirror half of the time; a template is symmetric
            crops, photos, valid = crops.flip(3), photos.flip(3), valid.flip(3)
            grids = grids.flip(2) * torch.tensor([-1.0, 1.0])
        inside = valid.amax(dim=0, keepdim=True).to(ranks.device)
        crops, valid, photos, grids = (
            tensor[ranks.rank :: ranks.size].to(ranks.device) for tensor in (crops, valid, photos, grids)
        )
        return cls(crops, valid, inside, photos, grids)


def relight(made: Tensor, source: Tensor, valid: Tensor) -> Tensor:
    """Return `made` with the light and colour of `source` in 6 x 6 cells, as the paste does at run time."""
    cells = F.adaptive_avg_pool2d((source - made) * valid, 6) / F.adaptive_avg_pool2d(valid, 6).clamp(min=0.02)
    return made + F.interpolate(cells, size=made.shape[-2:], mode="bilinear", align_corners=False)


def _coarse(crops: Tensor) -> Tensor:
    return F.avg_pool2d(crops, 16)


def _enlarge(linear: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(linear, size=like.shape[-2:], mode="bilinear", align_corners=False)


if __name__ == "__main__":
    main(LinearTrainConfig, train)
