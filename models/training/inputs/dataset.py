"""What the trainers read: folders of prepared faces (memory-mapped arrays), and tars or folders of aligned crops.

Both are written by `veil extract`. Prepared faces are aligned to a mesh, crops to any `Template`.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import logging
import math
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoint import config_from_json
from models.face_model import DEFAULT_TEMPLATE, Template
from models.training.inputs.augment import mirrored
from models.training.ranks import Draws

log = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
TEMPLATE_FILE = "template.json"  # in a tar or a folder of crops: how they are aligned
ATTRIBUTES_FILE = "attributes.csv"  # likewise: what is known of the faces
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


@dataclass(frozen=True)
class CropSet:
    """N aligned crops in memory.

    Attributes:
        images: `(N, 3, S, S)` uint8 RGB; 0 where unknown.
        valid: `(N, 1, S, S)` bool: pixels that are known; None where all are.
        names: N names, of folder and file.
        template: How the crops are aligned.
        attributes: `(N, A)` float32, what is known of the faces (sex, age ...), in any unit; NaN where it is not.
    """

    images: Tensor
    valid: Tensor | None
    names: tuple[str, ...]
    template: Template = DEFAULT_TEMPLATE
    attributes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 of the names and of the crops' size: what tells one set from another."""
        return hashlib.sha256(json.dumps([list(self.images.shape), self.names]).encode()).hexdigest()

    def draw(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return crops `(N, 3, S, S)` in [-1, 1], half of them mirrored, and which pixels are known.

        The latter is `(N, 1, S, S)` float32 in {0, 1}; what is unknown is 0 in the crops.
        """
        rows = draws.integers(len(self))
        pictures = self.images[rows].float() / 127.5 - 1
        known = torch.ones_like(pictures[:, :1]) if self.valid is None else self.valid[rows].float()
        both = mirrored(torch.cat([pictures * known, known], dim=1), draws)
        return both[:, :3], both[:, 3:]

    def to(self, device: torch.device) -> CropSet:
        """Return the same crops on `device`: there a batch costs one indexing, and needs no loader."""
        valid = None if self.valid is None else self.valid.to(device)
        return dataclasses.replace(self, images=self.images.to(device), valid=valid)


def open_crops(paths: Iterable[Path], size: int) -> CropSet:
    """Return the crops in tars and folders, at `size` pixels a side.

    Pictures are webp, png or jpg, square, and averaged over areas where they are larger; where they are transparent
    they are unknown. One that cannot be read is left out, with a warning that names it. How they are aligned is in
    `template.json` beside them; where there is none, to the default template. What is known of the faces is in
    `attributes.csv`: a line `name,...` and numbers under any further headings, empty where unknown. Needs pillow.

    Args:
        paths: Tar files and folders, in this order; a folder is searched to any depth.
        size: S.

    Raises:
        FileNotFoundError: If there is no such tar or folder.
        ValueError: If one is not a tar, no crop is left, not all are aligned alike, or an attribute is no number.
    """
    paths = list(paths)
    template = _common_template(paths)
    files = [entry for path in paths for entry in _files(path, PICTURES)]
    images = torch.zeros(len(files), 3, size, size, dtype=torch.uint8)
    valid = torch.ones(len(files), 1, size, size, dtype=torch.bool)
    names: list[str] = []
    broken: list[str] = []
    with ThreadPoolExecutor() as pool:  # pillow decodes without holding the interpreter
        for (name, _), read in zip(files, pool.map(lambda file: _read(file[1], size), files), strict=True):
            if read is None:
                broken.append(name)
                continue
            images[len(names)], valid[len(names)] = read
            names.append(name)
    if broken:
        log.warning("%d of %d pictures cannot be used and are left out: %s", len(broken), len(files), ", ".join(broken))
    if not names:
        raise ValueError(f"no crops in {', '.join(map(str, paths))}; expected square pictures in a tar or a folder")
    images, valid = images[: len(names)], valid[: len(names)]
    return CropSet(images, None if bool(valid.all()) else valid, tuple(names), template, _attributes(paths, names))


def _attributes(paths: Sequence[Path], names: Sequence[str]) -> Tensor | None:
    """Return what the tars and folders say of the faces of these names, `(N, A)`, or None where they say nothing."""
    known: dict[str, dict[str, float]] = {}
    for path in paths:
        for _, content in _files(path, (ATTRIBUTES_FILE,)):
            for row in csv.DictReader(io.StringIO(content.decode())):
                name = row.pop("name", "")
                known[name] = {heading: float(value) for heading, value in row.items() if value}
    headings = sorted({heading for row in known.values() for heading in row})
    if not headings:
        return None
    nothing: dict[str, float] = {}
    rows = [[known.get(name, nothing).get(heading, math.nan) for heading in headings] for name in names]
    return torch.tensor(rows, dtype=torch.float32)


def _common_template(paths: Sequence[Path]) -> Template:
    templates = {_template(path) for path in paths}
    if len(templates) > 1:
        raise ValueError(f"the crops in {', '.join(map(str, paths))} are not all aligned to one template")
    return templates.pop() if templates else DEFAULT_TEMPLATE


def _template(path: Path) -> Template:
    """Return how the crops of a tar or a folder are aligned."""
    stored = next((content for _, content in _files(path, (TEMPLATE_FILE,))), None)
    try:
        return DEFAULT_TEMPLATE if stored is None else config_from_json(Template, json.loads(stored))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its {TEMPLATE_FILE} is damaged: {error}") from error


def _files(path: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a tar or a folder whose names end so."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.name.lower().endswith(endings):
                yield f"{path.name}/{file.relative_to(path)}", file.read_bytes()
        return
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name.lower().endswith(endings) else None
                if content is not None:
                    yield member.name, content.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not a tar file, or damaged: {error}") from error


def _read(content: bytes, size: int) -> tuple[Tensor, Tensor] | None:
    """Return a picture as `(3, size, size)` uint8 and where it is known, or None if it cannot be used."""
    from PIL import Image  # here, for training only

    try:
        with Image.open(io.BytesIO(content)) as file:
            picture = file.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # pillow's ways to say that a file is broken
    if picture.width != picture.height:
        return None
    # Pillow weights colours by alpha, so what is unknown does not bleed into what is known.
    method = Image.Resampling.BOX if picture.width > size else Image.Resampling.BICUBIC
    pixels = torch.from_numpy(np.array(picture.resize((size, size), method))).permute(2, 0, 1)  # (4, S, S)
    known = pixels[3:] == 255
    return pixels[:3] * known, known
