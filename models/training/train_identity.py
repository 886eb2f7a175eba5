"""Distil `CompactRecognizer` from a recogniser that may not be shipped.

Writes `identity.safetensors`, which says of a bad picture what the teacher says of the good one, or
`reranker.safetensors`, the wider one, which says of any picture just what the teacher says of that very picture; but
for what strangers share (`models.training.fits.shared`), which is taken out of what is written.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoint import file_sha256
from models.face_model import DEFAULT_TEMPLATE
from models.identity.identity_crop import identity_crops
from models.identity.recognizer import (
    COMPACT_WIDTHS,
    RERANKER_WIDTHS,
    FaceRecognizer,
    load_mobilefacenet,
)
from models.training.fits.shared import shared_directions, without
from models.training.fits.thinning import folded, thinned
from models.training.inputs.augment import as_in_poor_video
from models.training.inputs.dataset import open_crops, open_dataset
from models.training.loop import RunConfig, Stateful, TrainStep, follow, write_whole
from models.training.precision import half_precision
from models.training.ranks import Draws, Ranks, joined_ranks
from models.training.train_command import main

CROP_SIZE = 128  # pixels of our crop that show a face as large as a recogniser's 112 do
CHUNK = 64  # crops embedded at once
THINNED_ON = 300  # crops to which the first weights are fitted
SHARED_ON = 2400  # that tell what strangers share
FINE_PACE = 0.3  # of the learning rate: the wider one starts so near to the teacher that more would spoil what it knows


@dataclass(frozen=True, kw_only=True)
class IdentityTrainConfig(RunConfig):
    """A run of the recogniser.

    Attributes:
        data: Folders of prepared faces, and tars and folders of crops aligned to the default template.
        teacher: MobileFaceNet state dict.
        steps: Last step; the learning rate falls to zero there along a half cosine.
        learning_rate: AdamW; the wider one gets `FINE_PACE` of it.
        warm_up: Steps in which it rises to that.
        fine: Whether it gets `RERANKER_WIDTHS`, not `COMPACT_WIDTHS`, and imitates the teacher picture by picture.
    """

    data: tuple[Path, ...]
    teacher: Path
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 50
    fine: bool = False

    @property
    def shipped(self) -> str:
        """The name of the file that is made."""
        return "reranker.safetensors" if self.fine else "identity.safetensors"


def train(config: IdentityTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does."""
    with joined_ranks() as ranks:
        if config.batch % ranks.size:
            raise ValueError(f"batch must be a multiple of the {ranks.size} processes, got {config.batch}")
        photos, names = open_photos(config.data)
        yield from follow(IdentityTrainer(config, photos, names, ranks=ranks), config, ranks)


def open_photos(paths: tuple[Path, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Return faces as recognisers are shown them, `(N, 3, 112, 112)` uint8, and their names."""
    photos: list[Tensor] = []
    names: list[str] = []
    for path in paths:
        if (path / "names.json").exists():
            dataset = open_dataset(path)
            photos.append(torch.tensor(dataset.photos).permute(0, 3, 1, 2))
            names += dataset.names
            continue
        crops = open_crops([path], CROP_SIZE)
        chunks = (identity_crops(chunk.float(), DEFAULT_TEMPLATE) for chunk in torch.split(crops.images, CHUNK))
        photos.append(torch.cat([chunk.round().to(torch.uint8) for chunk in chunks]))
        names += crops.names
    return torch.cat(photos), tuple(names)


class IdentityTrainer:
    """Student, optimiser, and what the teacher says."""

    def __init__(self, config: IdentityTrainConfig, photos: Tensor, names: tuple[str, ...], *, ranks: Ranks) -> None:
        torch.manual_seed(config.seed)  # the same weights in each process
        self.config, self.ranks = config, ranks
        self.data_digest = f"{hashlib.sha256(repr(names).encode()).hexdigest()} {file_sha256(config.teacher)}"
        self.photos = photos.to(ranks.device)
        self.teacher = folded(load_mobilefacenet(config.teacher)).to(ranks.device)
        self.teacher.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as below
        self.targets = None if config.fine else self._targets().to(ranks.device)
        few = self.photos[:: max(1, len(photos) // THINNED_ON)].float() / 127.5 - 1
        self.model = thinned(self.teacher, RERANKER_WIDTHS if config.fine else COMPACT_WIDTHS, few)
        self.model.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.AdamW(self.model.parameters(), config.learning_rate, weight_decay=1e-3)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"model": self.model, "optimizer": self.optimizer}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards the teacher's embeddings, on crops as video has them."""
        rows = draws.integers(len(self.photos))
        crops = as_in_poor_video(self.photos[rows].float() / 127.5 - 1, draws)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(draws.step)
        self.model.train()
        with half_precision(self.ranks.device):
            embeddings = self.model(crops)
        targets = self.teacher(crops) if self.targets is None else self.targets[rows]
        cosine = (embeddings.float() * targets).sum(dim=1)
        loss = (1 - cosine).mean()
        self.ranks.descend(loss, self.optimizer)
        return {"one_minus_cosine": loss}

    def ship(self, folder: Path) -> None:
        """Write the recogniser without what strangers share, in half precision."""
        self.model.eval()
        some = self.photos[:: max(1, len(self.photos) // SHARED_ON)]
        made = without(shared_directions(mirror_embeddings(some, self.model)), self.model)
        tensors = {name: value.half().contiguous().cpu() for name, value in made.state_dict().items()}
        write_whole(folder / self.config.shipped, safetensors.torch.save(tensors))

    def samples(self) -> None:
        """Return nothing: there is nothing to look at."""

    def _learning_rate(self, step: int) -> float:
        warm_up = min(1.0, (step + 1) / self.config.warm_up)
        pace = FINE_PACE if self.config.fine else 1.0
        return self.config.learning_rate * pace * warm_up * (0.5 + 0.5 * math.cos(math.pi * step / self.config.steps))

    def _targets(self) -> Tensor:
        """Return what the teacher says of each face, `(N, 128)`; computed once a run, which takes minutes on a CPU."""
        path = self.config.run / "targets.pt"
        if path.exists():
            kept = torch.load(path, map_location="cpu", weights_only=True)
            if kept["data"] != self.data_digest:
                raise ValueError(f"{path} belongs to other data or networks; choose another run folder")
            targets: Tensor = kept["targets"]
            return targets
        targets = mirror_embeddings(self.photos, self.teacher).cpu()
        if self.ranks.rank == 0:
            content = io.BytesIO()
            torch.save({"data": self.data_digest, "targets": targets}, content)
            self.config.run.mkdir(parents=True, exist_ok=True)
            write_whole(path, content.getbuffer())
        return targets


@torch.no_grad()
def mirror_embeddings(photos: Tensor, recognizer: FaceRecognizer) -> Tensor:
    """Return unit embeddings `(N, D)` of faces together with their mirror images: what of one is chance, cancels.

    Args:
        photos: `(N, 3, 112, 112)` uint8.
        recognizer: Whose embeddings.
    """
    sums = []
    for chunk in torch.split(photos, CHUNK):
        crops = chunk.float() / 127.5 - 1
        sums.append(recognizer(crops) + recognizer(crops.flip(3)))
    return F.normalize(torch.cat(sums), dim=1)


if __name__ == "__main__":
    main(IdentityTrainConfig, train)
