"""Faces as they are and as they are drawn, by which drawing learns to be like a photograph; one file."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoint import file_sha256
from models.training.inputs.augment import mirrored
from models.training.loop import write_whole
from models.training.ranks import Draws
from models.unets.harmonizer import HARMONIZED_SIZE

PICTURES = ("photo", "own", "stranger")  # (N, S, S, 3) uint8 RGB
MASKS = ("drawn_own", "drawn_stranger")  # (N, S, S) uint8, how strongly the two were drawn over the photo
MAX_SHIFT = 6  # pixels of 128, by which pictures are moved
GAINS = (0.85, 1.1)  # of each colour, for another light


@dataclass(frozen=True, slots=True)
class PairBatch:
    """N people.

    Attributes:
        photo: `(N, 3, S, S)` RGB in about [-1, 1]: as a camera showed them.
        drawn: `(2N, 3, S, S)`: drawn as themselves, made ready as strangers are, then as strangers.
        strength: `(2N, 1, S, S)` in [0, 1]: how strongly these were drawn over the photo.
    """

    photo: Tensor
    drawn: Tensor
    strength: Tensor


@dataclass(frozen=True)
class DrawnPairs:
    """N people in memory.

    Attributes:
        planes: `(N, 11, S, S)` uint8: the colours of `PICTURES`, then `MASKS`.
        digest: What tells these files from others.
    """

    planes: Tensor
    digest: str

    def __len__(self) -> int:
        return len(self.planes)

    def draw(self, draws: Draws) -> PairBatch:
        """Return some of them, half mirrored, moved by up to `MAX_SHIFT` and under other light."""
        planes = self.planes[draws.integers(len(self))]
        batch = _batch(_rolled(mirrored(planes, draws), draws))
        low, high = GAINS
        gain = (low + (high - low) * draws.uniform(3))[:, :, None, None]
        return PairBatch((batch.photo + 1) * gain - 1, (batch.drawn + 1) * gain.repeat(2, 1, 1, 1) - 1, batch.strength)

    def spread(self, count: int) -> PairBatch:
        """Return `count` of them as they are, from the first to the last."""
        return _batch(self.planes[torch.linspace(0, len(self) - 1, count).round().long()])

    def to(self, device: torch.device) -> DrawnPairs:
        """Return the same on `device`."""
        return DrawnPairs(self.planes.to(device), self.digest)


def write_pairs(path: Path, columns: Mapping[str, Sequence[npt.NDArray[np.uint8]]]) -> None:
    """Write the file `path` of one person a row, whole or not at all; its folder is made if missing.

    Args:
        path: An `npz` of numpy.
        columns: By the names of `PICTURES` and `MASKS`.

    Raises:
        OSError: If it cannot be written.
    """
    content = io.BytesIO()
    np.savez(content, **{name: np.stack(columns[name]) for name in (*PICTURES, *MASKS)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getbuffer())


def open_pairs(paths: Sequence[Path]) -> DrawnPairs:
    """Return the people in the files that `write_pairs` wrote, one after the other.

    Raises:
        OSError: If one cannot be read.
        ValueError: If one is no such file.
    """
    digest = hashlib.sha256(" ".join(map(file_sha256, paths)).encode()).hexdigest()
    return DrawnPairs(torch.cat([_planes(path) for path in paths]), digest)


def _planes(path: Path) -> Tensor:
    """Return `(N, 11, S, S)` of a file."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in (*PICTURES, *MASKS)}
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:  # numpy's, of what is no npz of ours
        raise ValueError(f"{path}: not a file of `veil extract --align drawn`: {error}") from error
    side = (HARMONIZED_SIZE, HARMONIZED_SIZE)
    count = len(arrays["photo"])
    for name, array in arrays.items():
        expected = (count, *side, 3) if name in PICTURES else (count, *side)
        if array.shape != expected or array.dtype != np.uint8 or not count:
            raise ValueError(
                f"{path}: {name} must be {expected} uint8, of one or more, got {array.shape} {array.dtype}"
            )
    planes = [arrays[name].transpose(0, 3, 1, 2) for name in PICTURES] + [arrays[name][:, None] for name in MASKS]
    return torch.from_numpy(np.concatenate(planes, axis=1))


def _batch(planes: Tensor) -> PairBatch:
    photo, own, stranger = (planes[:, start : start + 3].float() / 127.5 - 1 for start in (0, 3, 6))
    strength = torch.cat([planes[:, 9:10], planes[:, 10:11]]).float() / 255
    return PairBatch(photo, torch.cat([own, stranger]), strength)


def _rolled(planes: Tensor, draws: Draws) -> Tensor:
    """Return `(N, C, S, S)`, each moved by some whole pixels; what leaves on one side enters on the other."""
    side, place = planes.shape[-1], torch.arange(planes.shape[-1], device=planes.device)
    down, across = ((place + draws.integers(2 * MAX_SHIFT + 1)[:, None] - MAX_SHIFT) % side for _ in range(2))
    moved = planes.gather(2, down[:, None, :, None].expand_as(planes))
    return moved.gather(3, across[:, None, None, :].expand_as(planes))
