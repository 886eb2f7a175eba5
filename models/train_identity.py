"""Distil `CompactRecognizer` from a recogniser that may not be shipped: its embeddings are the targets.

`train` yields a `TrainStep` now and then, and resumes exactly from the checkpoint that it keeps in its run folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from models.dataset import FaceDataset, open_dataset, to_crops
from models.fit_linear import embed
from models.identity import CompactRecognizer, load_mobilefacenet

MAX_SHIFT = 4  # pixels, by which a crop is moved: landmarks of video are no better


@dataclass(frozen=True)
class IdentityTrainConfig:
    """What to train on, and how.

    Attributes:
        data: Folder of prepared faces (`models.dataset`).
        teacher: MobileFaceNet state dict.
        run: Folder for checkpoints.
        steps: Last step; the learning rate falls to zero there along a half cosine.
        batch: Crops a step.
        learning_rate: AdamW.
        warm_up: Steps in which it rises to that.
        seed: Of the data order and of what is done to the crops.
    """

    data: Path
    teacher: Path
    run: Path
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 4e-3
    warm_up: int = 200
    seed: int = 0


@dataclass(frozen=True)
class TrainStep:
    """Where training is: the mean of 1 - cosine to the teacher since the last report, and the student."""

    step: int
    loss: float
    model: CompactRecognizer


def train(config: IdentityTrainConfig, report_every: int = 100) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield every `report_every` steps, after the checkpoint is written."""
    dataset = open_dataset(config.data)
    trainer = _Trainer(config)
    trainer.resume()
    targets = _targets(config, dataset)
    while trainer.step < config.steps:
        count = min(report_every, config.steps - trainer.step)
        loss = sum(trainer.train_step(dataset, targets) for _ in range(count)) / count
        trainer.save()
        yield TrainStep(trainer.step, loss, trainer.model)


def _targets(config: IdentityTrainConfig, dataset: FaceDataset) -> Tensor:
    """Return the teacher's embeddings `(N, 128)`; computed once a run, which takes minutes."""
    path = config.run / "targets.pt"
    if not path.exists():
        config.run.mkdir(parents=True, exist_ok=True)
        partial = config.run / "targets.part.pt"
        torch.save(embed(dataset, load_mobilefacenet(config.teacher)), partial)
        partial.replace(path)
    targets: Tensor = torch.load(path, weights_only=True)
    if len(targets) != len(dataset):
        raise ValueError(f"{path} belongs to other data: {len(targets)} faces, not {len(dataset)}; choose another run")
    return targets


class _Trainer:
    """Student, optimiser and step of a run."""

    def __init__(self, config: IdentityTrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.step = config, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = CompactRecognizer().to(self.device)
        self.model.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.AdamW(self.model.parameters(), config.learning_rate, weight_decay=0.02)

    def train_step(self, dataset: FaceDataset, targets: Tensor) -> float:
        """Take one step; return the loss."""
        rng = np.random.default_rng((self.config.seed, self.step))
        rows = np.sort(rng.choice(len(dataset), self.config.batch, replace=False))
        crops = augmented(to_crops(dataset.photos[rows]).to(self.device), rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.model.train()
        loss = (1 - (self.model(crops) * targets[rows].to(self.device)).sum(dim=1)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _learning_rate(self) -> float:
        warm_up = min(1.0, (self.step + 1) / self.config.warm_up)
        return float(self.config.learning_rate * warm_up * (0.5 + 0.5 * np.cos(np.pi * self.step / self.config.steps)))

    def save(self) -> None:
        """Write the run's state and the recogniser, each whole or not at all."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        partial = self.config.run / "state.part.pt"
        torch.save(state, partial)
        partial.replace(self.config.run / "state.pt")
        partial = self.config.run / "identity.part"
        save_file({name: value.contiguous().cpu() for name, value in self.model.state_dict().items()}, partial)
        partial.replace(self.config.run / "identity.safetensors")

    def resume(self) -> None:
        """Take up the state that the run folder holds, if any."""
        path = self.config.run / "state.pt"
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]


def augmented(crops: Tensor, rng: np.random.Generator) -> Tensor:
    """Return `(N, 3, S, S)` crops moved, mirrored, softened and relit, as a guard meets them in video."""
    if rng.random() < 0.5:
        crops = crops.flip(3)
    dx, dy = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, 2).tolist()
    pad = F.pad(crops, (MAX_SHIFT,) * 4, mode="replicate")
    size = crops.shape[-1]
    crops = pad[..., MAX_SHIFT + dy : MAX_SHIFT + dy + size, MAX_SHIFT + dx : MAX_SHIFT + dx + size]
    if rng.random() < 0.25:
        small = F.interpolate(crops, scale_factor=float(rng.uniform(0.3, 0.8)), mode="area")
        crops = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    count = len(crops)
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (count, 1, 1, 1)).astype(np.float32)).to(crops.device)
    shift = torch.from_numpy(rng.uniform(-0.2, 0.2, (count, 3, 1, 1)).astype(np.float32)).to(crops.device)
    return (crops * gain + shift).clamp(-1, 1)
