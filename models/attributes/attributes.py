"""Sex, age and skin tone of a face, from the whole crop, hair included: what a stranger that suits is chosen by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import load_tensors, weights_path
from models.face_model import Attributes
from models.identity.recognizer import COMPACT_WIDTHS, thin_trunk
from models.pretrained.imported import read_published

ATTRIBUTE_CROP_SIZE = 80  # pixels that the network sees; larger crops are averaged, smaller ones enlarged
AGES = 20  # bins of age ...
AGE_STEP = 5.0  # ... and the years from the middle of one to the middle of the next, from 0
MOST_SURE = 4.0  # of a logit of one look: no look outweighs three others
SKIN_SCALE = 30.0  # degrees; about the deviation over people


class AttributeNet(nn.Module):
    """0.45 M parameters, of which the trunk began as that of `CompactRecognizer`."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*thin_trunk(COMPACT_WIDTHS))
        self.head = nn.Sequential(nn.Conv2d(128, 256, 1), nn.ReLU6(inplace=True))
        self.read = nn.Linear(256, 2 + AGES)  # sex, skin, ages

    def logits(self, crops: Tensor) -> Tensor:
        """Return `(N, 2 + AGES)`: logit of sex, skin in deviations, logits of the bins of age.

        Args:
            crops: `(N, 3, S, S)` RGB in [-1, 1], aligned to `DEFAULT_TEMPLATE`.

        Raises:
            ValueError: If `crops` has another shape.
        """
        if crops.ndim != 4 or crops.shape[1] != 3 or crops.shape[2] != crops.shape[3]:
            raise ValueError(f"crops must be (N, 3, S, S), got {tuple(crops.shape)}")
        features: Tensor = self.head(self.trunk(resized(crops)))
        read: Tensor = self.read(features.mean(dim=(2, 3)))
        return read

    def forward(self, crops: Tensor) -> Attributes:
        """Return what the faces look like; `crops` as of `logits`."""
        read = self.logits(crops).float()
        return Attributes(read[:, 0], mean_age(read[:, 2:]), SKIN_SCALE * read[:, 1])


class AttributeMean:
    """Running mean of what a track's face looks like; one look is wrong more often than several together."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)
        self.looks = 0

    def add(self, sex: float, age: float, skin: float) -> None:
        """Count one more look, as of `Attributes`; one that is no number is not counted."""
        look = np.array([np.clip(sex, -MOST_SURE, MOST_SURE), age, skin])
        if np.isfinite(look).all():
            self._sums += look
            self.looks += 1

    @property
    def mean(self) -> tuple[float, float, float]:
        """Sex, age and skin so far; there has been at least one look."""
        sex, age, skin = (self._sums / self.looks).tolist()
        return sex, age, skin


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


def resized(crops: Tensor) -> Tensor:
    """Return crops of `ATTRIBUTE_CROP_SIZE`."""
    size = crops.shape[-1]
    if size == ATTRIBUTE_CROP_SIZE:
        return crops
    if size > ATTRIBUTE_CROP_SIZE:
        return F.adaptive_avg_pool2d(crops, ATTRIBUTE_CROP_SIZE)
    return F.interpolate(crops, size=ATTRIBUTE_CROP_SIZE, mode="bilinear", align_corners=False)


def mean_age(logits: Tensor) -> Tensor:
    """Return the expected age in years `(N,)` of logits of the bins `(N, AGES)` (Rothe et al. 2018, DEX)."""
    middles = AGE_STEP * torch.arange(AGES, device=logits.device)
    return (logits.softmax(dim=1) * middles).sum(dim=1)
