"""`veil train inverter`: an attacker of real strength, who has thousands of photos, covers them and learns to undo.

What `veil evaluate attack` trains by itself is the same network with a few hundred photos and a minute. Writes
`inverter.safetensors`, to be given to that command.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import Checkpoint, load_tensors, read_checkpoint, write_checkpoint
from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE
from models.identity.recognizer import FaceRecognizer
from models.training.inputs.samples import grid
from models.training.loop import RunConfig, Stateful, TrainStep, follow
from models.training.ranks import Draws, Ranks, joined_ranks
from streamer.errors import SourceError
from streamer.evaluate.attack.inversion import Inverter, embedded, loss_parts, tensor_of
from streamer.evaluate.covered.covers import Cover, covers_of
from streamer.evaluate.covered.evidence import BEFORE, CROP, Sitting
from streamer.evaluate.images.photos import PhotoFile, find_photos
from streamer.evaluate.kept import Arrays, Kept
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Image

KIND = "inverter"
SHIPPED = "inverter.safetensors"
SAMPLES = 8  # columns: covered, what was made of them, and the photos
CHUNK = 100  # photos covered between two saves
FEWEST = 20  # faces: as many as the linear part needs to choose its penalty


@dataclass(frozen=True, kw_only=True)
class InverterTrainConfig(RunConfig):
    """A run of the inverter.

    Attributes:
        cover: What it undoes: the name of one of `covers_of`.
        width: Channels at 32 px; twice as many at 16 and at 8.
        rank: Of the linear part, which comes first and takes a minute.
        steps: Last step; the learning rate falls to zero there along a half cosine.
        learning_rate: Adam.
        identity: Weight of the recogniser's 1 - cosine, beside that of the pixels, 1.
    """

    cover: str
    width: int = 48
    rank: int = 400
    steps: int = 2600
    batch: int = 16
    learning_rate: float = 1e-3
    identity: float = 0.5


def train(config: InverterTrainConfig, after: Image, before: Image, recognizer: FaceRecognizer) -> Iterator[TrainStep]:
    """Train from where the run folder stands; yield as `follow` does.

    Args:
        config: The run.
        after, before: `(N, 128, 128, 3)` uint8 RGB, as `prepared` returns them.
        recognizer: Whom the pictures are to convince; frozen.
    """
    with joined_ranks() as ranks:
        yield from follow(InverterTrainer(config, after, before, recognizer, ranks), config, ranks)


class InverterTrainer:
    """The inverter, its optimiser, and all crops."""

    def __init__(
        self, config: InverterTrainConfig, after: Image, before: Image, recognizer: FaceRecognizer, ranks: Ranks
    ) -> None:
        self.config, self.ranks = config, ranks
        self.data_digest = hashlib.sha256(after.tobytes()).hexdigest()
        self._after, self._before = after, before
        self._recognizer = recognizer.to(ranks.device)
        self._targets = embedded(before, self._recognizer)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = Inverter(config.width, min(config.rank, len(after))).to(ranks.device)
        self.model.linear.fit(after, before)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate)

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training."""
        return {"model": self.model, "optimizer": self.optimizer}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step towards the photos; half of them mirrored."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * draws.step / self.config.steps))
        rows, mirrored = draws.integers(len(self._after)).cpu().numpy(), draws.uniform() < 0.5
        given, wanted = (self._drawn(pictures[rows], mirrored) for pictures in (self._after, self._before))
        pixels, unlike = loss_parts(self.model(given), wanted, self._targets[rows], recognizer=self._recognizer)
        self.ranks.descend(pixels + self.config.identity * unlike, self.optimizer)
        return {"pixels": pixels, "unlike": unlike}

    def ship(self, folder: Path) -> None:
        """Write the inverter."""
        config = {"cover": self.config.cover, "width": self.config.width, "rank": len(self.model.linear.write)}
        template = dataclasses.asdict(DEFAULT_TEMPLATE)
        write_checkpoint(Checkpoint(KIND, config, template, self.model.state_dict()), folder / SHIPPED)

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a row of covered crops, one of what was made of them, and one of the photos."""
        rows = np.linspace(0, len(self._after) - 1, SAMPLES).round().astype(int)
        given, wanted = (tensor_of(pictures[rows]) for pictures in (self._after, self._before))
        return grid(torch.cat([given, self.model(given.to(self.ranks.device)).cpu(), wanted]), SAMPLES)

    def _drawn(self, pictures: Image, mirrored: Tensor) -> Tensor:
        crops = tensor_of(pictures).to(self.ranks.device)
        return torch.where(mirrored[:, None, None, None], crops.flip(3), crops)


def read_inverter(path: Path) -> tuple[str, Inverter]:
    """Return the name of the cover that an inverter undoes, and the inverter.

    Raises:
        CheckpointError: If the file is missing, damaged, or of something else.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.kind != KIND:
        raise CheckpointError(f"{path}: weights of a {checkpoint.kind}; expected what `veil train inverter` writes")
    inverter = Inverter(int(checkpoint.config["width"]), int(checkpoint.config["rank"]))
    load_tensors(inverter, checkpoint.tensors, path)
    return str(checkpoint.config["cover"]), inverter.eval()


def prepared(
    folders: Sequence[Path],
    config: InverterTrainConfig,
    anonymizer: Anonymizer,
    *,
    most: int,
    progress: Callable[[int, int], None],
) -> tuple[Image, Image]:
    """Return crops covered and as they were, `(N, 128, 128, 3)` uint8 RGB; kept in the run's folder.

    Photos that show no face or cannot be read are left out.

    Args:
        folders: Or tars, as `find_photos` takes them.
        config: The run.
        anonymizer: Ours, for covers of that kind.
        most: At most this many photos, drawn from all.
        progress: Told how many of how many photos are done.

    Raises:
        SourceError: If there are no photos, or too few faces.
        ValueError: If there is no such cover.
    """
    covers = {cover.name: cover for cover in covers_of(anonymizer, seed=config.seed)}
    if config.cover not in covers:
        raise ValueError(f"no cover is called {config.cover}; expected one of {', '.join(covers)}")
    photos = [photo for folder in folders for photo in find_photos(folder)]
    np.random.default_rng(config.seed).shuffle(photos)  # type: ignore[arg-type]  # a list will do
    photos, kept, sitting = photos[:most], Kept(config.run / "crops", f"{config.cover} {config.seed}"), Sitting(())
    chunks = []
    for start in range(0, len(photos), CHUNK):
        make = partial(_chunk, photos[start : start + CHUNK], covers[config.cover], sitting, start)
        chunks.append(kept.once(" ".join(photo.name for photo in photos[start : start + CHUNK]), make))
        progress(min(start + CHUNK, len(photos)), len(photos))
    after, before = (np.concatenate([chunk[name] for chunk in chunks]) for name in ("after", "before"))
    if len(after) < FEWEST:
        raise SourceError(f"need {FEWEST} photos with a face to learn from, found {len(after)}")
    return after, before


def _chunk(photos: Sequence[PhotoFile], cover: Cover, sitting: Sitting, start: int) -> Arrays:
    before, after = [], []
    for number, photo in enumerate(photos, start):
        try:
            taken = sitting.taken(photo, [cover], number)
        except SourceError:
            continue
        if taken:
            before.append(taken[f"crop {BEFORE}"])
            after.append(taken[f"crop {cover.name}"])
    empty = np.zeros((0, CROP, CROP, 3), np.uint8)
    return {"before": np.stack(before) if before else empty, "after": np.stack(after) if after else empty}
