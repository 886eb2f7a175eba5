"""Sex, age, skin tone and ancestry of a face: what a stranger that suits is chosen by.

The first three are told from the whole crop, hair included; ancestry from the features alone, as pictures with labels
show little else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import load_tensors, weights_path
from models.face_model import ANCESTRIES, Attributes
from models.identity.recognizer import COMPACT_WIDTHS, thin_trunk
from models.pretrained.imported import read_published

ATTRIBUTE_CROP_SIZE = 128  # pixels of a crop that nothing is lost of
SEEN_SIZE = 80  # pixels that either half of the network sees; larger ones are averaged, smaller ones enlarged
FEATURES = (0.25, 0.875), (0.1875, 0.8125)  # of the crop's side: rows and columns of the features
AGES = 20  # bins of age ...
AGE_STEP = 5.0  # ... and the years from the middle of one to the middle of the next, from 0
MOST_SURE = 4.0  # of a logit of one look: no look outweighs three others
SKIN_SCALE = 30.0  # degrees; about the deviation over people


class Reader(nn.Module):
    """Reads `outputs` values from pictures of `SEEN_SIZE`; 0.45 M parameters."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*thin_trunk(COMPACT_WIDTHS))  # begins as that of `CompactRecognizer`
        self.head = nn.Sequential(nn.Conv2d(128, 256, 1), nn.ReLU6(inplace=True))
        self.read = nn.Linear(256, outputs)

    def forward(self, crops: Tensor) -> Tensor:
        """Return `(N, outputs)` of `(N, 3, S, S)`."""
        features: Tensor = self.head(self.trunk(_resized(crops)))
        read: Tensor = self.read(features.mean(dim=(2, 3)))
        return read


class AttributeNet(nn.Module):
    """0.9 M parameters: one half sees the whole crop, the other the features."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = Reader(2 + AGES)  # sex, skin, ages
        self.features = Reader(len(ANCESTRIES))

    def logits(self, crops: Tensor) -> Tensor:
        """Return `(N, 2 + AGES + 4)`: logit of sex, skin in deviations, logits of the bins of age and of `ANCESTRIES`.

        Args:
            crops: `(N, 3, S, S)` RGB in [-1, 1], aligned to `DEFAULT_TEMPLATE`.

        Raises:
            ValueError: If `crops` has another shape.
        """
        if crops.ndim != 4 or crops.shape[1] != 3 or crops.shape[2] != crops.shape[3]:
            raise ValueError(f"crops must be (N, 3, S, S), got {tuple(crops.shape)}")
        rows, columns = (slice(round(low * crops.shape[-1]), round(high * crops.shape[-1])) for low, high in FEATURES)
        return torch.cat([self.whole(crops), self.features(crops[:, :, rows, columns])], dim=1)

    def forward(self, crops: Tensor) -> Attributes:
        """Return what the faces look like; `crops` as of `logits`."""
        read = self.logits(crops).float()
        ages, ancestries = read[:, 2 : 2 + AGES], read[:, 2 + AGES :]
        return Attributes(read[:, 0], mean_age(ages), SKIN_SCALE * read[:, 1], ancestries.softmax(dim=1))


class AttributeMean:
    """Running mean of what a track's face looks like; one look is wrong more often than several together."""

    def __init__(self) -> None:
        self._sums = np.zeros(3 + len(ANCESTRIES))
        self.looks = 0

    def add(self, sex: float, age: float, skin: float, *ancestry: float) -> None:
        """Count one more look, as of `Attributes`; one that is no number is not counted."""
        look = np.array([np.clip(sex, -MOST_SURE, MOST_SURE), age, skin, *ancestry])
        if np.isfinite(look).all():
            self._sums += look
            self.looks += 1

    @property
    def mean(self) -> tuple[float, ...]:
        """Sex, age, skin and each ancestry so far; there has been at least one look."""
        return tuple((self._sums / self.looks).tolist())


def load_attributes(name_or_path: Path | str = "attributes") -> AttributeNet:
    """Return the network: in eval mode, weights frozen, on the CPU.

    Raises:
        CheckpointError: If the file cannot be used.
    """
    path = weights_path(name_or_path)
    model = AttributeNet()
    tensors = {name: value for name, value in read_published(path).items() if isinstance(value, Tensor)}
    load_tensors(model, tensors, path)
    return model.eval().requires_grad_(False)


def _resized(crops: Tensor) -> Tensor:
    size = crops.shape[-1]
    if size == SEEN_SIZE:
        return crops
    if size > SEEN_SIZE:
        return F.adaptive_avg_pool2d(crops, SEEN_SIZE)
    return F.interpolate(crops, size=SEEN_SIZE, mode="bilinear", align_corners=False)


def mean_age(logits: Tensor) -> Tensor:
    """Return the expected age in years `(N,)` of logits of the bins `(N, AGES)` (Rothe et al. 2018, DEX)."""
    middles = AGE_STEP * torch.arange(AGES, device=logits.device)
    return (logits.softmax(dim=1) * middles).sum(dim=1)
