"""Read pictures of people who do not exist, or who agreed: what strangers are made of (`veil train textures`)."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from models.attributes.attributes import ATTRIBUTE_CROP_SIZE, AttributeNet
from models.face_model import ANCESTRIES, DEFAULT_TEMPLATE
from streamer.errors import SourceError
from streamer.faces.detect import FaceDetector, five_points
from streamer.faces.fine_mesh import FineMesh
from streamer.render.align import MeshAligner, SimilarityAligner
from streamer.types import Face, Floats, Image

PICTURES = (".webp", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
PARTS = "uls"  # of a face: eyes and brows, nose and mouth, the skin around
MARGIN = 0.17  # of the picture's side, mirrored around it: a head that fills its picture is found, too
PHOTO_SIZE = 256  # pixels, the longer side of what is kept of a picture to draw strangers on


@dataclass(frozen=True)
class Label:
    """What is known of a donor.

    Attributes:
        female: In [0, 1].
        age: Years.
        ancestry: Probability of each of `ANCESTRIES`; None where neither is told.
        unfit: What is not to be used: "u" eyes and brows, "l" nose and mouth, "s" the skin.
        fit: Letters of those that are, whatever is measured.
        person: Who it is, where others show the same; of them is learnt what faces do.
    """

    female: float
    age: float
    ancestry: tuple[float, ...] | None = None
    unfit: str = ""
    fit: str = ""
    person: str = ""


@dataclass(frozen=True)
class Donor:
    """A face in a picture.

    Attributes:
        name: Folder or tar, and file.
        picture: `(H, W, 3)` uint8 RGB, with a mirrored margin.
        face: In it.
        fine: `(468, 3)`, the face's mesh with lids and lips as they are drawn.
        crop: `(S, S, 3)` uint8 RGB in the mesh template, by `fine`.
    """

    name: str
    label: Label
    picture: Image = field(repr=False)
    face: Face = field(repr=False)
    fine: Floats = field(repr=False)
    crop: Image = field(repr=False)


def read_labels(path: Path) -> dict[str, Label]:
    """Return the labels of a CSV file `file,sex,age,ancestry,unfit,fit,person`, by file.

    Raises:
        SourceError: If it cannot be read, or a line is not understood.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror or error}") from error
    labels = {}
    for number, row in enumerate(rows, 2):
        try:
            female = {"female": 1.0, "male": 0.0}[row["sex"]]
            unfit, fit, person = (row.get(column) or "" for column in ("unfit", "fit", "person"))
            if not set(unfit + fit) <= set(PARTS):
                raise ValueError(f"{unfit}, {fit}: no parts")
            ancestry = _ancestry(row.get("ancestry") or "")
            labels[row["file"]] = Label(female, float(row["age"]), ancestry, unfit, fit, person)
        except (KeyError, ValueError, TypeError) as error:
            raise SourceError(
                f"{path}: line {number} is not file,sex,age,ancestry,unfit,fit,person "
                f"with sex female or male, age in years, an ancestry of {', '.join(ANCESTRIES)}, and parts of {PARTS}"
            ) from error
    return labels


def _ancestry(name: str) -> tuple[float, ...] | None:
    return tuple(float(number == ANCESTRIES.index(name)) for number in range(len(ANCESTRIES))) if name else None


def read_donors(
    sources: Iterable[Path], labels: dict[str, Label], *, network: AttributeNet, points: Floats, size: int
) -> Iterator[Donor | None]:
    """Yield the donor of each picture in folders and tars, by name; None for one without a face.

    Args:
        sources: Folders and tars.
        labels: By file, as folder and name, or by name.
        network: Estimates the labels of the others.
        points: `(468, 2)` of the mesh template, in the unit square.
        size: S, of the crops, in pixels.

    Raises:
        SourceError: If a source cannot be read or holds no picture.
    """
    aligner = MeshAligner(points, size)
    with FaceDetector() as detector, closing(FineMesh()) as fine:
        for name, content in pictures(sources):
            found = _found(content, detector, fine)
            if found is None:
                yield None
                continue
            picture, face, mesh = found
            label = labels.get(name) or labels.get(Path(name).name)
            if label is None or label.ancestry is None:
                seen = estimated(picture, face, network)
                label = replace(label, ancestry=seen.ancestry) if label else seen
            yield Donor(name, label, picture, face, mesh, aligner.crop(picture, replace(face, mesh=mesh)))


def pictures(sources: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield folder and name, and content, of each picture in folders and tars, in the order of their names.

    Raises:
        SourceError: If a source cannot be read or holds no picture.
    """
    for source in sources:
        count = 0
        try:
            for name, content in _in_folder(source) if source.is_dir() else _in_tar(source):
                count += 1
                yield name, content
        except (OSError, tarfile.TarError) as error:
            raise SourceError(f"cannot open {source}: {getattr(error, 'strerror', None) or error}") from error
        if not count:
            raise SourceError(f"{source}: no picture in it; a folder or a tar of {', '.join(PICTURES)} is expected")


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file():
            yield f"{path.parent.name}/{path.name}", path.read_bytes()


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and Path(m.name).suffix.lower() in PICTURES]
        for member in sorted(members, key=lambda member: member.name):
            file = tar.extractfile(member)
            assert file is not None  # a plain file has content
            yield "/".join(Path(member.name).parts[-2:]), file.read()


def _found(content: bytes, detector: FaceDetector, fine: FineMesh) -> tuple[Image, Face, Floats] | None:
    """Return a picture, its largest face, and the mesh of that with finer lids and lips; None where there is none."""
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        return None
    picture = np.ascontiguousarray(decoded[..., ::-1])
    margin = round(MARGIN * max(picture.shape[:2]))
    wide = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    face = max((face for face in detector(wide) if face.mesh is not None), key=lambda face: face.size, default=None)
    if face is None or face.mesh is None:
        return None
    return wide, face, fine(wide, face.mesh)[: len(face.mesh)]


@torch.inference_mode()
def estimated(picture: Image, face: Face, network: AttributeNet) -> Label:
    """Return what the network takes a face for."""
    aligner = SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), ATTRIBUTE_CROP_SIZE)
    crop = torch.from_numpy(aligner.crop(picture, face))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    seen = network(crop)
    assert seen.ancestry is not None  # the network tells it
    return Label(float(torch.sigmoid(-seen.sex[0])), float(seen.age[0]), tuple(seen.ancestry[0].tolist()))


def photo(donor: Donor) -> tuple[Image, Face]:
    """Return the picture of a donor no larger than `PHOTO_SIZE`, and the face in it."""
    assert donor.face.mesh is not None
    scale = min(1.0, PHOTO_SIZE / max(donor.picture.shape[:2]))
    small = cv2.resize(donor.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mesh = donor.face.mesh * np.float32(scale)
    return small, Face(donor.face.box * scale, five_points(mesh), mesh, donor.face.score)
