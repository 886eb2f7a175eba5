"""Distil the refiner of a trained `linear-refined` into a thinner one, which draws the same faces in half of the time.

The linear part stays as it is. Writes `linear-refined.safetensors`, with averaged weights.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import file_sha256
from models.linear_refined import LinearRefined, Refiner
from models.registry import load_as
from models.training.inputs.dataset import FaceDataset, open_dataset, to_crops
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, follow, update_average
from models.training.losses.losses import edge_loss
from models.training.precision import mixed_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main

SHIPPED = "linear-refined.safetensors"
CHUNK = 64  # crops projected at once
SAMPLES = 8  # columns: what the teacher draws, and what the student does
WIRES = {  # what the convolutions outside of residual blocks read and write
    "enter": ("", "fine"), "down1": ("fine", "middle"), "down2": ("middle", "coarse"),
    "up2": ("coarse", "middle"), "up1": ("middle", "fine"), "detail": ("fine", "detail"), "to_rgb": ("detail", "rgb"),
}  # fmt: skip
OWN = 0.25  # share of the faces that keep some of the person; the others are strangers, as at beta 0


@dataclass(frozen=True, kw_only=True)
class RefinerTrainConfig(RunConfig):
    """A run of the thinner refiner.

    Attributes:
        data: Folders of prepared faces (`models.training.inputs.dataset`).
        teacher: Checkpoint of `linear-refined`.
        widths: Channels at linear_size, half and a quarter of it.
        detail: Channels at crop_size.
        steps: Last step; the learning rate falls to zero there along a half cosine.
        learning_rate: Adam.
        edges: Weight of the steps from a pixel to the next, beside that of the pixels, 1.
        ema: Decay of the averaged weights, which are the ones kept.
    """

    data: tuple[Path, ...]
    teacher: Path
    widths: tuple[int, int, int] = (24, 48, 64)
    detail: int = 16
    steps: int = 3000
    batch: int = 8
    learning_rate: float = 1e-3
    edges: float = 2.0
    ema: float = 0.995


def train(config: RefinerTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % ranks.size:
            raise ValueError(f"batch must be a multiple of the {ranks.size} processes, got {config.batch}")
        yield from follow(RefinerTrainer(config, [open_dataset(path) for path in config.data], ranks), config, ranks)


class RefinerTrainer:
    """Teacher, student, its average and its optimiser; the latents of all faces and of their mirror images."""

    def __init__(self, config: RefinerTrainConfig, datasets: Sequence[FaceDataset], ranks: Ranks) -> None:
        self.config, self.ranks, self.device = config, ranks, ranks.device
        names = hashlib.sha256(repr([(d.crops.shape, d.names) for d in datasets]).encode()).hexdigest()
        self.data_digest = f"{names} {file_sha256(config.teacher)}"
        self.teacher = load_as(LinearRefined, config.teacher).eval().requires_grad_(False).to(self.device)
        self.model = thinned(self.teacher, config.widths, detail=config.detail).to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        for refiner in (self.teacher.refiner, self.model.refiner):
            refiner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.Adam(self.model.refiner.parameters(), config.learning_rate, betas=(0.9, 0.99))
        self.latents = torch.cat([self._latents(dataset) for dataset in datasets])

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards what the teacher draws."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * draws.step / self.config.steps))
        pictures = self.teacher.decode(self._drawn_latents(draws))
        with torch.no_grad(), mixed_precision(self.device):
            wanted = self.teacher.refiner(pictures)
        with mixed_precision(self.device):
            made = self.model.refiner(pictures)
        pixels, edges = F.l1_loss(made, wanted), edge_loss(made, wanted).mean()
        self.ranks.descend(pixels + self.config.edges * edges, self.optimizer)
        decay = min(self.config.ema, (2 + draws.step) / (11 + draws.step))
        update_average(self.average.refiner, self.model.refiner, decay)
        return {"pixels": pixels, "edges": edges}

    def ship(self, folder: Path) -> None:
        """Write the model with averaged weights."""
        self.average.save(folder / SHIPPED)

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a row of what the teacher draws and a row of what the student does."""
        rows = torch.linspace(0, len(self.latents) - 1, SAMPLES, device=self.device).round().long()
        others = torch.linspace(0, len(self.teacher.strangers) - 1, SAMPLES, device=self.device).round().long()
        latents = self.teacher.replace_identity(self.latents[rows], torch.zeros(SAMPLES, device=self.device), others)
        return grid(torch.cat([model.generate(latents[:, None]) for model in (self.teacher, self.average)]), SAMPLES)

    def _drawn_latents(self, draws: Draws) -> Tensor:
        """Return latents `(N, K)` of faces of the data, most of them as somebody else."""
        rows, others = draws.integers(len(self.latents)), draws.integers(len(self.teacher.strangers))
        beta = torch.where(draws.uniform() < OWN, draws.uniform(), 0.0)
        return self.teacher.replace_identity(self.latents[rows], beta, others)

    @torch.no_grad()
    def _latents(self, dataset: FaceDataset) -> Tensor:
        found = []
        for start in range(0, len(dataset), CHUNK):
            crops = to_crops(dataset.crops[start : start + CHUNK]).to(self.device)
            found += [self.teacher.project(crops), self.teacher.project(crops.flip(3))]
        return torch.cat(found)


@torch.no_grad()
def thinned(teacher: LinearRefined, widths: tuple[int, int, int], *, detail: int) -> LinearRefined:
    """Return `teacher` with a refiner of the strongest channels of its own (filter pruning, Li et al. 2017)."""
    config = replace(teacher.config, widths=widths, detail=detail)
    student = LinearRefined(config, teacher.template)
    rest = {name: value for name, value in teacher.state_dict().items() if not name.startswith("refiner.")}
    student.load_state_dict(rest, strict=False)
    _copy_strongest(teacher.refiner, student.refiner)
    return student


def _copy_strongest(old: Refiner, new: Refiner) -> None:
    """Copy the channels of `old` with the largest weights to where `new` has as many."""
    wide, thin = _convolutions(old), _convolutions(new)
    strength: dict[str, Tensor] = {}
    for name, conv in wide.items():
        norms = conv.weight.flatten(1).norm(dim=1)
        strength[_wires(name)[1]] = strength.get(_wires(name)[1], 0.0) + norms
    kept = {"": torch.arange(0)}
    for name, conv in thin.items():
        wire = _wires(name)[1]
        kept[wire] = strength[wire].topk(conv.out_channels).indices.sort().values
    for name, conv in thin.items():
        reads, writes = (kept[wire] for wire in _wires(name))
        rows = wide[name].weight[writes]
        conv.weight.copy_(rows[:, reads] if len(reads) else rows)
        conv.bias.copy_(wide[name].bias[writes])  # type: ignore[union-attr, index]  # all have one
    new.place.copy_(old.place)


def _convolutions(refiner: Refiner) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in refiner.named_modules() if isinstance(module, nn.Conv2d)}


def _wires(name: str) -> tuple[str, str]:
    """Return which features a convolution reads and writes: "" for the picture, a stream's, or those inside a block."""
    if name in WIRES:
        return WIRES[name]
    block, _, place = name.rpartition(".")
    stream = block.partition(".")[0].partition("_")[0]
    return (stream, block) if place == "first" else (block, stream)


if __name__ == "__main__":
    main(RefinerTrainConfig, train)
