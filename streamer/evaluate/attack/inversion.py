"""The attacker who undoes: a network that learns, from public faces covered by the same method, what was beneath.

After Hukkelås et al. and Todt et al. 2022 (Fantômas), who found 11 of 15 anonymisers partly reversible. Knows crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face_model import DEFAULT_TEMPLATE
from models.identity.identity_crop import identity_crops
from models.identity.recognizer import FaceRecognizer
from streamer.evaluate.attack.linear_map import cosines, described
from streamer.evaluate.attack.linear_undo import LinearUndo
from streamer.evaluate.covered.evidence import Cast, Views, described_crop
from streamer.evaluate.measures.chance import Scores
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.types import Floats, Image

FOLD = 4  # pixels a side that become channels: the network works at 32 px, and a step takes a third of a second
IDENTITY_WEIGHT = 0.5  # of the recogniser's 1 - cosine, beside the mean absolute difference of [-1, 1]
CHUNK = 64  # crops inverted at once


@dataclass(frozen=True, slots=True)
class InversionConfig:
    """How an inverter is trained.

    Attributes:
        steps: Of Adam; the learning rate falls to zero along a half cosine.
        batch: Crops a step.
        learning_rate: At the start.
        width: Channels at 32 px; twice as many at 16 and at 8.
        seed: Of weights and batches.
    """

    steps: int = 100
    batch: int = 8
    learning_rate: float = 1e-3
    width: int = 48
    seed: int = 0


class Inverter(nn.Module):
    """A small U-Net; at initialisation it returns what `LinearUndo` does, so that a weak blur begins half undone.

    Args:
        width: Channels at 32 px; twice as many at 16 and at 8.
        rank: Of the linear part.
    """

    def __init__(self, width: int, rank: int = 0) -> None:
        super().__init__()
        pixels = 3 * FOLD**2
        self.linear = LinearUndo(rank)
        self.enter = _block(2 * pixels, width)
        self.down1 = _block(width, 2 * width, stride=2)
        self.down2 = _block(2 * width, 2 * width, stride=2)
        self.coarse = _block(2 * width, 2 * width)
        self.middle = _block(4 * width, 2 * width)
        self.fine = _block(3 * width, width)
        self.leave = nn.Conv2d(width, pixels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]  # a convolution has one unless told otherwise

    def forward(self, crops: Tensor) -> Tensor:
        """Return what was there before, `(N, 3, S, S)`, of `crops` `(N, 3, S, S)` in [-1, 1]; S a multiple of 16."""
        begun: Tensor = self.linear(crops)
        fine = self.enter(F.pixel_unshuffle(torch.cat([crops, begun], dim=1), FOLD))  # (N, W, S / 4, S / 4)
        middle = self.down1(fine)
        coarse = self.coarse(self.down2(middle))  # (N, 2 W, S / 16, S / 16)
        middle = self.middle(torch.cat([middle, _double(coarse)], dim=1))
        fine = self.fine(torch.cat([fine, _double(middle)], dim=1))
        return begun + F.pixel_shuffle(self.leave(fine), FOLD)


def train_inverter(after: Image, before: Image, *, recognizer: FaceRecognizer, config: InversionConfig) -> Inverter:
    """Return an inverter, trained.

    loss = |x - x'| + IDENTITY_WEIGHT (1 - cos(r(x), r(x')))

    Args:
        after: `(N, S, S, 3)` uint8 RGB, crops aligned to `DEFAULT_TEMPLATE` of what the method made.
        before: The same of the originals, pixel for pixel.
        recognizer: r, frozen.
        config: The run.

    Raises:
        ValueError: If the shapes differ, or there are fewer crops than a batch.
    """
    if after.shape != before.shape or len(after) < config.batch:
        raise ValueError(f"need {config.batch} crops before and after, got {before.shape} and {after.shape}")
    draws = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inverter = Inverter(config.width)
        inverter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    targets = embedded(before, recognizer)
    optimizer = torch.optim.Adam(inverter.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        rows = torch.randint(len(after), (config.batch,), generator=draws).numpy()
        step = -1 if torch.rand((), generator=draws) < 0.5 else 1  # half of the time mirrored
        given, wanted = (tensor_of(pictures[rows, :, ::step].copy()) for pictures in (after, before))
        pixels, unlike = loss_parts(inverter(given), wanted, targets[rows], recognizer=recognizer)
        optimizer.zero_grad()
        (pixels + IDENTITY_WEIGHT * unlike).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return inverter


@torch.inference_mode()
def invert(inverter: Inverter, crops: Image) -> Image:
    """Return what the inverter takes `crops`, `(N, S, S, 3)` uint8 RGB, to have been."""
    made = [inverter(chunk).clamp(-1, 1) for chunk in torch.split(tensor_of(crops), CHUNK)]
    pictures = ((torch.cat(made) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return np.ascontiguousarray(pictures.numpy())


def undo(
    before: Views,
    after: Views,
    cast: Cast,
    *,
    recognizer: FaceRecognizer,
    judges: Sequence[Recognizer],
    config: InversionConfig,
    trained: Inverter | None,
) -> dict[str, Scores]:
    """Return the scores `(K, K)` of what an inverter makes of probes with known people's photos, attempt by attempt.

    Args:
        before: Of the photos.
        after: Of the same, covered; the inverter learns from the public's alone.
        cast: Who plays which part.
        recognizer: Whom the inverter's pictures are to convince in training.
        judges: Who then name them.
        config: The run.
        trained: An inverter that learned to undo this method from thousands of others; it is used as it is.
    """
    learned = cast.public
    inverter = trained or train_inverter(
        after.crops[learned], before.crops[learned], recognizer=recognizer, config=config
    )
    rows = np.concatenate([cast.probes, cast.known])
    seen = [described_crop(crop, judges) for crop in invert(inverter, after.crops[rows])]
    undone = {judge.name: np.stack([each[judge.name] for each in seen]) for judge in judges}
    known, count = before.rows(cast.known).embeddings, len(cast.probes)
    with_photos = _likeness({name: (undone[name][:count], known[name]) for name in undone})
    with_undone = _likeness({name: (undone[name][:count], undone[name][count:]) for name in undone})
    tries = {"U-Net": with_photos, "U-Net on both": with_undone, "together": with_photos + with_undone}
    return {name: cast.by_person(scores) for name, scores in tries.items()}


def _likeness(pairs: dict[str, tuple[Floats, Floats]]) -> Scores:
    """Return how alike `(P, D)` and `(M, D)` embeddings are to all recognisers together, `(P, M)`."""
    rows = described({name: np.concatenate(pair) for name, pair in pairs.items()})
    count = len(next(iter(pairs.values()))[0])
    return cosines(rows[:count], rows[count:])


@torch.no_grad()
def embedded(crops: Image, recognizer: FaceRecognizer) -> Tensor:
    """Return what the recogniser sees of crops `(N, S, S, 3)` uint8 RGB, `(N, D)`, on its device."""
    place = next(recognizer.parameters()).device
    chunks = torch.split(torch.from_numpy(crops), CHUNK)
    return torch.cat([recognizer(identity_crops(tensor_of(c.numpy()).to(place), DEFAULT_TEMPLATE)) for c in chunks])


def loss_parts(made: Tensor, wanted: Tensor, targets: Tensor, *, recognizer: FaceRecognizer) -> tuple[Tensor, Tensor]:
    """Return the mean difference of pixels, and the recogniser's mean 1 - cosine.

    Args:
        made, wanted: `(N, 3, S, S)` in [-1, 1].
        targets: `(N, D)` unit embeddings of `wanted`; of its mirror image they are about the same.
        recognizer: Frozen.
    """
    seen = recognizer(identity_crops(made, DEFAULT_TEMPLATE))
    return (made - wanted).abs().mean(), (1 - (seen * targets).sum(dim=1)).mean()


def tensor_of(crops: Image) -> Tensor:
    """Return crops `(N, S, S, 3)` uint8 as `(N, 3, S, S)` in [-1, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def _block(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(0.2),
    )  # fmt: skip


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
