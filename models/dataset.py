"""Prepared faces on disk: memory-mapped arrays that `streamer.extract` writes and the trainers read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ARRAYS = ("crops", "valid", "photos", "grids", "meshes")


@dataclass(frozen=True)
class FaceDataset:
    """N faces, in one folder, one `.npy` file an array; nothing is loaded before it is used.

    Attributes:
        names: N file names; a set's labels are in them (LFW: the person; UTK: age and sex).
        crops: `(N, S, S, 3)` uint8 RGB, aligned to `template`.
        valid: `(N, S * S / 8)` uint8, packed bits: crop pixels that lie inside the photo and the mesh.
        photos: `(N, 112, 112, 3)` uint8 RGB, aligned as recognisers want it (ArcFace).
        grids: `(N, 112, 112, 2)` float16: where each photo pixel lies in the crop, in [-1, 1]; beyond it where outside.
        meshes: `(N, 468, 3)` float32 in shares of the photo's width.
        template: `(468, 2)` float32 in the unit square.
    """

    names: list[str]
    crops: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.uint8]
    photos: npt.NDArray[np.uint8]
    grids: npt.NDArray[np.float16]
    meshes: npt.NDArray[np.float32]
    template: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def crop_size(self) -> int:
        """Pixels, the side of a crop."""
        return int(self.crops.shape[1])


def open_dataset(folder: Path) -> FaceDataset:
    """Open the prepared faces in `folder`.

    Raises:
        FileNotFoundError: If `folder` does not hold them.
        ValueError: If its arrays differ in length.
    """
    names = json.loads((folder / "names.json").read_text())
    arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    lengths = {name: len(array) for name, array in arrays.items()}
    if set(lengths.values()) != {len(names)}:
        raise ValueError(f"{folder}: {len(names)} names, but {lengths}; prepare the folder again")
    return FaceDataset(names=names, template=np.load(folder / "template.npy"), **arrays)


def to_crops(images: npt.NDArray[Any]) -> Tensor:
    """Return `(N, H, W, 3)` uint8 images as `(N, 3, H, W)` float32 in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def unpack_valid(bits: npt.NDArray[Any], size: int) -> Tensor:
    """Return `(N, size * size / 8)` packed bits as `(N, 1, size, size)` float32 in {0, 1}."""
    return torch.from_numpy(np.unpackbits(np.asarray(bits), axis=1)).view(-1, 1, size, size).float()
