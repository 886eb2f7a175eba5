"""Train `linear-refined`: its linear part is fitted in closed form, then its refiner against a discriminator.

`train` yields a `TrainStep` now and then, for ever or for `steps`, and resumes exactly
from the checkpoint that it keeps in its run folder.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.dataset import FaceDataset, open_dataset, to_crops, unpack_valid
from models.discriminator import PatchDiscriminator
from models.face_model import Template
from models.fit_linear import fit
from models.identity import MobileFaceNet, load_mobilefacenet
from models.linear_refined import LinearRefined, LinearRefinedConfig


@dataclass(frozen=True)
class LinearTrainConfig:
    """What to train on, and how.

    Attributes:
        data: Folder of prepared faces (`models.dataset`).
        recognizer: MobileFaceNet state dict, for the identity directions and Eq. 3.
        run: Folder for checkpoints.
        model: Sizes of the model; `linear_values` is set by the data.
        rim_directions: How many directions of hairline, forehead and jaw are kept from the person.
        steps: Last step; 0 ends after the fit.
        batch: Crops a step: half are reconstructed, half become strangers.
        learning_rate, critic_learning_rate: Adam. A slower critic stayed at chance.
        adversarial, feature_matching, identity, low_pass: Weights of the losses beside a masked L1 of weight 1.
        r1: Gradient penalty on real crops (Mescheder et al. 2018), every 16th step.
        ema: Decay of the averaged weights, which are the ones kept.
        seed: Of the data order and of the strangers.
    """

    data: Path
    recognizer: Path
    run: Path
    model: LinearRefinedConfig = field(default_factory=LinearRefinedConfig)
    rim_directions: int = 24
    steps: int = 100_000
    batch: int = 16
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    adversarial: float = 0.15
    feature_matching: float = 1.0
    identity: float = 0.3
    low_pass: float = 1.0
    r1: float = 0.02
    ema: float = 0.998
    seed: int = 0


@dataclass(frozen=True)
class TrainStep:
    """Where training is: losses by name, averaged since the last report, and the model with averaged weights."""

    step: int
    losses: dict[str, float]
    model: LinearRefined


def train(config: LinearTrainConfig, report_every: int = 100) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield every `report_every` steps, after the checkpoint is written."""
    dataset = open_dataset(config.data)
    recognizer = load_mobilefacenet(config.recognizer)
    trainer = _resume(config) or _start(dataset, recognizer, config)
    trainer.save()
    yield TrainStep(trainer.step, {}, trainer.average)
    while trainer.step < config.steps:
        totals: dict[str, float] = {}
        for _ in range(report_every):
            for name, value in trainer.train_step(dataset, recognizer).items():
                totals[name] = totals.get(name, 0.0) + value / report_every
        trainer.save()
        yield TrainStep(trainer.step, totals, trainer.average)


class _Trainer:
    """Networks, optimisers and counters of a run; everything that a checkpoint holds."""

    def __init__(self, model: LinearRefined, config: LinearTrainConfig) -> None:
        self.config, self.model, self.step = config, model, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.critic = PatchDiscriminator(model.crop_size).to(self.device)
        self.model.refiner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(model.refiner.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), config.critic_learning_rate, betas=(0.0, 0.99)
        )

    def train_step(self, dataset: FaceDataset, recognizer: MobileFaceNet) -> dict[str, float]:
        """Take one step of both networks; return the losses."""
        rng = np.random.default_rng((self.config.seed, self.step))
        batch = _Batch.draw(dataset, rng, self.config.batch, self.device)
        latents, beta = self._latents(batch, rng)
        linear = self.model.decode(latents)
        with self.autocast():
            fake = self.model.refiner(linear).float()
        losses = self._critic_step(batch, fake.detach()) | self._refiner_step(batch, fake, linear, beta, recognizer)
        self.step += 1
        with torch.no_grad():
            decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
            for mean, value in zip(self.average.refiner.parameters(), self.model.refiner.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return losses

    def _latents(self, batch: _Batch, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return latents of which the second half are other people's, and their beta."""
        with torch.no_grad():
            latents = self.model.project(batch.crops)
            count = len(latents)
            beta = torch.ones(count, device=self.device)
            beta[count // 2 :] = torch.from_numpy(
                np.where(rng.random(count - count // 2) < 0.6, 0, rng.random(count - count // 2)).astype(np.float32)
            )
            seeds = torch.from_numpy(rng.integers(0, 2**31, count))
            others = self.model.pseudonyms(batch.crops, seeds.to(self.device))
            return self.model.replace_identity(latents, beta, others), beta

    def _critic_step(self, batch: _Batch, fake: Tensor) -> dict[str, float]:
        real = batch.crops.requires_grad_(self.step % 16 == 0)
        with self.autocast():
            real_logits, _ = self.critic(real * batch.valid)
            fake_logits, _ = self.critic(fake * batch.valid)
        loss = F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()
        if self.step % 16 == 0:
            (gradient,) = torch.autograd.grad(real_logits.float().mean(1).sum(), real, create_graph=True)
            loss = loss + 16 * self.config.r1 / 2 * gradient.float().square().sum((1, 2, 3)).mean()
        _descend(self.critic_optimizer, loss)
        batch.crops.requires_grad_(False)
        return {"critic_real": real_logits.mean().item(), "critic_fake": fake_logits.mean().item()}

    def _refiner_step(
        self, batch: _Batch, fake: Tensor, linear: Tensor, beta: Tensor, recognizer: MobileFaceNet
    ) -> dict[str, float]:
        half = len(fake) // 2
        self.critic.requires_grad_(False)
        with self.autocast():
            logits, features = self.critic(fake * batch.valid)
            with torch.no_grad():
                _, targets = self.critic((batch.crops * batch.valid)[:half])
        self.critic.requires_grad_(True)
        pairs = zip(features, targets, strict=True)
        losses = {
            "l1": ((fake - batch.crops) * batch.valid)[:half].abs().sum() / (3 * batch.valid[:half].sum()),
            "features": torch.stack([F.l1_loss(f[:half].float(), t.float()) for f, t in pairs]).mean(),
            "adversarial": F.softplus(-logits.float()).mean(),
            "low_pass": (_coarse(fake * batch.inside) - _coarse(_enlarge(linear, fake) * batch.inside)).abs().mean(),
            "identity": self._identity_loss(batch, fake, beta, recognizer),
        }
        weights = {
            "l1": 1.0,
            "features": self.config.feature_matching,
            "adversarial": self.config.adversarial,
            "low_pass": self.config.low_pass,
            "identity": self.config.identity,
        }
        _descend(self.optimizer, torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())
        return {name: loss.item() for name, loss in losses.items()}

    def _identity_loss(self, batch: _Batch, fake: Tensor, beta: Tensor, recognizer: MobileFaceNet) -> Tensor:
        """Eq. 3 on strangers pasted into their photos: |beta - cos|, a quarter of the batch."""
        part = slice(-(len(fake) // 4), None)
        grid, photo = batch.grids[part], batch.photos[part]
        lit = relight(fake[part], batch.crops[part], batch.valid[part])
        inside = (grid.abs().amax(dim=-1) <= 1)[:, None]
        pasted = torch.where(inside, F.grid_sample(lit, grid, align_corners=False), photo)
        with self.autocast():
            with torch.no_grad():
                before = recognizer(photo)
            after = recognizer(pasted)
        cosine: Tensor = (before.float() * after.float()).sum(dim=1)
        return (beta[part] - cosine).abs().mean()

    def autocast(self) -> torch.autocast:
        """Return bf16 on a GPU; on CPUs it only costs (measured: 554 against 398 ms a batch of 16)."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def save(self) -> None:
        """Write the run's state and the shippable model, each whole or not at all."""
        self.config.run.mkdir(parents=True, exist_ok=True)
        state = {name: getattr(self, name).state_dict() for name in _STATES} | {"step": self.step}
        state |= {"config": self.model.config, "template": self.model.template}
        partial = self.config.run / "state.part.pt"
        torch.save(state, partial)
        partial.replace(self.config.run / "state.pt")
        self.average.save(self.config.run / "linear-refined.safetensors")


_STATES = ("model", "average", "critic", "optimizer", "critic_optimizer")


def _start(dataset: FaceDataset, recognizer: MobileFaceNet, config: LinearTrainConfig) -> _Trainer:
    model = fit(dataset, recognizer, config.model, rim_directions=config.rim_directions, seed=config.seed)
    return _Trainer(model, config)


def _resume(config: LinearTrainConfig) -> _Trainer | None:
    path = config.run / "state.pt"
    if not path.exists():
        return None
    torch.serialization.add_safe_globals([LinearRefinedConfig, Template])
    state = torch.load(path, map_location="cpu", weights_only=True)
    trainer = _Trainer(LinearRefined(state["config"], state["template"]), config)
    for name in _STATES:
        getattr(trainer, name).load_state_dict(state[name])
    trainer.step = state["step"]
    return trainer


@dataclass(frozen=True)
class _Batch:
    """Tensors of a batch: crops, photos in [-1, 1], valid and inside `(N, 1, S, S)` in {0, 1}, grids."""

    crops: Tensor
    valid: Tensor
    inside: Tensor
    photos: Tensor
    grids: Tensor

    @classmethod
    def draw(cls, dataset: FaceDataset, rng: np.random.Generator, count: int, device: torch.device) -> _Batch:
        rows = np.sort(rng.choice(len(dataset), count, replace=False))
        rows = rows[rng.permutation(count)]
        crops, photos = to_crops(dataset.crops[rows]), to_crops(dataset.photos[rows])
        valid = unpack_valid(dataset.valid[rows], dataset.crop_size)
        grids = torch.from_numpy(dataset.grids[rows].astype(np.float32))
        if rng.random() < 0.5:  # faces are seen in the mirror half of the time; a template is symmetric
            crops, photos, valid = crops.flip(3), photos.flip(3), valid.flip(3)
            grids = grids.flip(2) * torch.tensor([-1.0, 1.0])
        inside = valid.amax(dim=0, keepdim=True)
        return cls(*(tensor.to(device) for tensor in (crops, valid, inside, photos, grids)))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def relight(made: Tensor, source: Tensor, valid: Tensor) -> Tensor:
    """Return `made` with the light and colour of `source` in 6 x 6 cells, as the paste does at run time."""
    cells = F.adaptive_avg_pool2d((source - made) * valid, 6) / F.adaptive_avg_pool2d(valid, 6).clamp(min=0.02)
    return made + F.interpolate(cells, size=made.shape[-2:], mode="bilinear", align_corners=False)


def _coarse(crops: Tensor) -> Tensor:
    return F.avg_pool2d(crops, 16)


def _enlarge(linear: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(linear, size=like.shape[-2:], mode="bilinear", align_corners=False)
