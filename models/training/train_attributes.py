"""Train `AttributeNet` on aligned crops whose sex, age and ancestry are known; skin tone is measured from each itself.

Writes `attributes.safetensors`. The crops are shown as bad cameras show them; what is to be said of them is that of the
good picture.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from models.attributes.attributes import AGE_STEP, AGES, ATTRIBUTE_CROP_SIZE, SKIN_SCALE, AttributeNet, mean_age
from models.attributes.skin_tone import typology_angle
from models.checkpoint import file_sha256
from models.checkpoint_errors import CheckpointError
from models.face_model import ANCESTRIES
from models.identity.recognizer import CompactRecognizer
from models.pretrained.imported import load_recognizer
from models.training.inputs.augment import as_in_poor_video, as_in_video
from models.training.inputs.dataset import open_crops
from models.training.loop import RunConfig, Stateful, TrainStep, follow, update_average, write_whole
from models.training.precision import half_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main

SHIPPED = "attributes.safetensors"
POOR = 0.6  # share of the crops that are shown as a bad camera shows them, the others as a good one does
AGE_SPREAD = 4.0  # years, deviation of what is wanted around an age: neighbouring bins are not wrong


@dataclass(frozen=True, kw_only=True)
class AttributeTrainConfig(RunConfig):
    """A run of the classifier.

    Attributes:
        data: Tars and folders of crops aligned to the default template.
        labels: CSV file of `file,sex,age,ancestry`: a crop's name, 1 for male or 0 for female, years, one of
            `ANCESTRIES`; empty where unknown.
        recognizer: Of `models.training.train_identity`, whose layers the network begins with.
        steps: Last step; the learning rate falls to zero there along a half cosine.
        learning_rate: AdamW.
        warm_up: Steps in which it rises to that.
    """

    data: tuple[Path, ...]
    labels: Path
    recognizer: Path
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 30


def train(config: AttributeTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % ranks.size:
            raise ValueError(f"batch must be a multiple of the {ranks.size} processes, got {config.batch}")
        crops = open_crops(config.data, ATTRIBUTE_CROP_SIZE)
        labels = read_labels(config.labels, crops.names)
        yield from follow(AttributeTrainer(config, crops.images, labels, ranks=ranks), config, ranks)


def read_labels(path: Path, names: tuple[str, ...]) -> Tensor:
    """Return sex, age and number of the ancestry of each crop `(N, 3)`, not a number where they are unknown.

    Raises:
        ValueError: If the file has other columns or words, or knows none of the crops.
    """
    numbers = {name: float(number) for number, name in enumerate(ANCESTRIES)} | {"": math.nan}
    known: dict[str, tuple[float, float, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                sex, age = (float(row[column] or "nan") for column in ("sex", "age"))
                known[row["file"]] = sex, age, numbers[row["ancestry"]]
            except (KeyError, TypeError, ValueError) as error:
                expected = f"file,sex,age,ancestry with numbers, and one of {', '.join(ANCESTRIES)}"
                raise ValueError(f"{path}: expected {expected}, got {row}") from error
    found = [known.get(name, (math.nan,) * 3) for name in names]
    if not any(name in known for name in names):
        raise ValueError(f"{path}: names none of the {len(names)} crops, such as {names[0]}")
    return torch.tensor(found)


def trunk_of(path: Path) -> dict[str, Tensor]:
    """Return the weights of the trunk of the recogniser at `path`.

    Raises:
        CheckpointError: If it is none of ours.
    """
    recognizer = load_recognizer(path)
    if not isinstance(recognizer, CompactRecognizer):
        raise CheckpointError(f"{path}: a {recognizer.network}; the classifier begins as one of `veil train identity`")
    return recognizer.layers[:-3].state_dict()


class AttributeTrainer:
    """Network, its average, optimiser, crops and what is known of them."""

    def __init__(self, config: AttributeTrainConfig, images: Tensor, labels: Tensor, *, ranks: Ranks) -> None:
        torch.manual_seed(config.seed)  # the same weights in each process
        self.config, self.ranks = config, ranks
        self.data_digest = f"{hashlib.sha256(labels.numpy().tobytes()).hexdigest()} {file_sha256(config.recognizer)}"
        self.images, self.labels = images.to(ranks.device), labels.to(ranks.device)
        self.frequencies = _frequencies(self.labels[:, 2])
        self.model = AttributeNet().to(ranks.device)
        trunk = trunk_of(config.recognizer)
        for reader in (self.model.whole, self.model.features):
            reader.trunk.load_state_dict(trunk)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.average = AttributeNet().to(ranks.device)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), config.learning_rate, weight_decay=0.02)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards the labels, on crops as video has them."""
        rows = draws.integers(len(self.images))
        clean = self.images[rows].float() / 127.5 - 1
        sex, age, ancestry = self.labels[rows].unbind(dim=1)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(draws.step)
        poor = (draws.uniform() < POOR)[:, None, None, None]
        seen = torch.where(poor, as_in_poor_video(clean, draws), as_in_video(clean, draws))
        with half_precision(self.ranks.device):
            read = self.model.logits(seen)
        losses = {
            "sex": _sex_loss(read[:, 0].float(), sex),
            "age": _age_loss(read[:, 2 : 2 + AGES].float(), age),
            "ancestry": self._ancestry_loss(read[:, 2 + AGES :].float(), ancestry),
            "skin": F.smooth_l1_loss(read[:, 1].float(), typology_angle(clean) / SKIN_SCALE),
        }
        loss = 2 * losses["sex"] + losses["age"] / 3 + losses["skin"] + losses["ancestry"]
        self.ranks.descend(loss, self.optimizer)
        update_average(self.average, self.model, min(0.99, (2 + draws.step) / (11 + draws.step)))
        return losses

    def ship(self, folder: Path) -> None:
        """Write the network with averaged weights, in half precision."""
        tensors = {name: value.half().contiguous().cpu() for name, value in self.average.state_dict().items()}
        write_whole(folder / SHIPPED, safetensors.torch.save(tensors))

    def samples(self) -> None:
        """Return nothing: there is nothing to look at."""

    def _ancestry_loss(self, logits: Tensor, ancestry: Tensor) -> Tensor:
        """Return cross-entropy by which no ancestry is likelier for being frequent (Menon et al. 2021, eq. 10)."""
        adjusted = logits + self.frequencies.log()
        entropy = F.cross_entropy(adjusted, ancestry.nan_to_num().long(), reduction="none")
        return _mean_known(entropy, ancestry)

    def _learning_rate(self, step: int) -> float:
        warm_up = min(1.0, (step + 1) / self.config.warm_up)
        return self.config.learning_rate * warm_up * (0.5 + 0.5 * math.cos(math.pi * step / self.config.steps))


def _frequencies(ancestry: Tensor) -> Tensor:
    """Return the share of each ancestry among those that are known, `(4,)`."""
    counts = torch.stack([(ancestry == number).sum() for number in range(len(ANCESTRIES))]).float()
    return (counts + 1) / (counts + 1).sum()


def _sex_loss(logits: Tensor, sex: Tensor) -> Tensor:
    return _mean_known(F.binary_cross_entropy_with_logits(logits, sex.nan_to_num(), reduction="none"), sex)


def _age_loss(logits: Tensor, age: Tensor) -> Tensor:
    """Return cross-entropy with a bell around each known age, plus how far the mean age is off, in bins."""
    known = age.nan_to_num()
    middles = AGE_STEP * torch.arange(AGES, device=age.device)
    wanted = (-((middles - known[:, None]) / AGE_SPREAD).square() / 2).softmax(dim=1)
    entropy = -(wanted * logits.log_softmax(dim=1)).sum(dim=1)
    return _mean_known(entropy + (mean_age(logits) - known).abs() / AGE_STEP, age)


def _mean_known(losses: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the losses `(N,)` whose labels are known; 0 if none is."""
    known = ~labels.isnan()
    return (losses * known).sum() / known.sum().clamp(min=1)


if __name__ == "__main__":
    main(AttributeTrainConfig, train)
