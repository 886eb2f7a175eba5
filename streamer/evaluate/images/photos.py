"""Finds the photos of an evaluation in folders and tars, with their labels, and pairs them with another tool's outputs.

Photos are named, never held: twenty thousand of them are a list of names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from streamer.errors import SourceError
from streamer.evaluate.figures import Problem
from streamer.evaluate.images.labels import LABEL_FILES, Labels, collection_of, from_name, is_tight, read_labels
from streamer.types import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
TARS = "eval-*.tar"  # of a folder with training data beside, only what is to be measured on
TIGHT_MARGIN = 0.3  # of the longer side, repeated around a crop that cuts forehead and chin: MediaPipe needs it


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo that has not been read.

    Attributes:
        name: Folder and file, such as "lfw/AJ_Lamas_0001.jpg"; unique in a run.
        person: Who it shows; the name itself where that is unknown, so that every photo is a person of its own.
        groups: What it came with and who it shows, such as ("utk", "female", "asian", "age 30-59").
        path: The file, or the tar that holds it.
        start, size: Where it lies in the tar, in bytes; a size of -1 is a file of its own.
        margin: How much of its border is repeated around it, as a share of its longer side.
    """

    name: str
    person: str
    groups: tuple[str, ...]
    path: Path
    start: int = 0
    size: int = -1
    margin: float = 0.0

    def read(self) -> Image:
        """Return the photo, `(H, W, 3)` uint8 RGB, upright, what was transparent opaque.

        Raises:
            SourceError: If it cannot be read; the message names it.
        """
        try:
            with PIL.Image.open(io.BytesIO(_content(self))) as file:
                picture = np.asarray(PIL.ImageOps.exif_transpose(file).convert("RGB"))
        except OSError as error:  # of the file system; and what pillow says is not a picture, or cut short
            raise SourceError(f"cannot read {self.name}: {error.strerror or 'not a picture, or damaged'}") from error
        except (ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise SourceError(f"cannot read {self.name}: not a picture, or damaged") from error
        side = round(self.margin * max(picture.shape[:2]))
        return np.asarray(cv2.copyMakeBorder(picture, side, side, side, side, cv2.BORDER_REPLICATE), np.uint8)

    def sha256(self) -> str:
        """Return the hash of the file as it lies there, in hex.

        Raises:
            SourceError: If it cannot be read.
        """
        try:
            return hashlib.sha256(_content(self)).hexdigest()
        except OSError as error:
            raise SourceError(f"cannot read {self.name}: {error.strerror}") from error

    def fingerprint(self) -> str:
        """Return names, labels and hash of the photo as one text; of one that cannot be read, no hash."""
        words = repr((self.name, self.person, self.groups, self.margin))
        try:
            return f"{words} {self.sha256()}"
        except SourceError:
            return words


@dataclass(frozen=True, slots=True)
class Pair:
    """A photo and what another tool made of it."""

    before: PhotoFile
    after: PhotoFile


def find_photos(where: Path, *, limit: int | None = None) -> list[PhotoFile]:
    """Return the photos in a folder (to any depth), in its `eval-*.tar`, or in one tar; in the order of their names.

    People and groups are those of a `labels.csv` (columns file, person and any groups) or of CelebA's text files;
    without, those in the names of LFW and UTKFace; without, every photo shows a person of its own.

    Args:
        where: Folder or tar. Tars are read in place, nothing is unpacked.
        limit: At most this many of each collection, evenly spread.

    Raises:
        SourceError: If there is none, or labels are damaged.
    """
    entries = list(_entries(where))
    labels = _labels([entry for entry in entries if PurePosixPath(entry.relative).name in LABEL_FILES])
    pictures = [entry for entry in entries if PurePosixPath(entry.relative).suffix.lower() in SUFFIXES]
    if not pictures:
        raise SourceError(f"no photo in {where}; expected {' '.join(sorted(SUFFIXES))}, in folders or {TARS}")
    photos = sorted((_photo(entry, labels) for entry in pictures), key=lambda photo: photo.name)
    twice = [name for name, count in Counter(photo.name for photo in photos).items() if count > 1]
    if twice:
        raise SourceError(f"{len(twice)} photos of {where} have the name of another, such as {twice[0]}")
    return spread(photos, limit)


def pair_with(photos: Sequence[PhotoFile], outputs: Path) -> tuple[list[Pair], list[Problem]]:
    """Return the photos that have an output of the same name in `outputs`, and what is missing or left over.

    The suffix may be another. Folders count where the file's name alone does not tell photos apart.

    Raises:
        SourceError: If there is no output at all.
    """
    found = find_photos(outputs)
    by_path, by_stem = _index(found, _path_of), _index(found, _stem_of)
    own_stems = Counter(map(_stem_of, photos))
    pairs: list[Pair] = []
    missing: list[str] = []
    ambiguous: list[str] = []
    for photo in photos:
        same = by_path[_path_of(photo)] or (by_stem[_stem_of(photo)] if own_stems[_stem_of(photo)] == 1 else [])
        if len(same) == 1:
            pairs.append(Pair(photo, dataclasses.replace(same[0], margin=photo.margin)))
        else:
            (ambiguous if same else missing).append(photo.name)
    used = {pair.after.name for pair in pairs}
    left = [file.name for file in found if file.name not in used]
    return pairs, problems_of(
        {"originals without an output": missing, "several outputs": ambiguous, "output of no original": left}
    )


def problems_of(names: dict[str, list[str]]) -> list[Problem]:
    """Return a problem for each kind that happened to any photo."""
    return [Problem(what, tuple(which)) for what, which in names.items() if which]


def spread(photos: Sequence[PhotoFile], limit: int | None) -> list[PhotoFile]:
    """Return at most `limit` photos of each collection, evenly spread; all without a limit."""
    if limit is None:
        return list(photos)
    collections: dict[str, list[PhotoFile]] = defaultdict(list)
    for photo in photos:
        collections[photo.groups[0]].append(photo)
    return [photo for each in collections.values() for photo in _every(each, limit)]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of a collection: its path beneath what was searched (whose name is `root`), and where its bytes are."""

    relative: str
    root: str
    path: Path
    start: int = 0
    size: int = -1


def _entries(where: Path) -> Iterator[_Entry]:
    """Yield the pictures and label files."""
    if where.is_file():
        yield from _in_tar(where)
        return
    root = where.resolve().name
    for file in sorted(where.rglob("*")):
        relative = file.relative_to(where).as_posix()
        if not any(part.startswith(".") for part in PurePosixPath(relative).parts) and _is_wanted(relative):
            yield _Entry(relative, root, file)
    for tar in sorted(where.glob(TARS)):
        yield from _in_tar(tar)


def _in_tar(path: Path) -> Iterator[_Entry]:
    root = path.name.partition(".")[0].removeprefix("eval-")
    try:
        with tarfile.open(path, "r:") as tar:  # not a compressed one: its files cannot be reached one by one
            for member in tar:
                if member.isfile() and _is_wanted(member.name):
                    yield _Entry(member.name, root, path, member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise SourceError(f"cannot read {path}: expected a folder of photos or an uncompressed tar") from error


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES or path.name in LABEL_FILES


def _labels(entries: Iterable[_Entry]) -> dict[str, Labels]:
    try:
        return read_labels({entry.relative: _content(entry).decode() for entry in entries})
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot use the labels: {error}") from error


def _content(file: PhotoFile | _Entry) -> bytes:
    with file.path.open("rb") as opened:
        opened.seek(file.start)
        return opened.read(file.size)


def _photo(entry: _Entry, labels: dict[str, Labels]) -> PhotoFile:
    path = PurePosixPath(entry.relative)
    name = entry.relative if len(path.parts) > 1 else f"{entry.root}/{entry.relative}"
    collection = collection_of(entry.relative, entry.root)
    person, groups = from_name(name, collection)
    if given := labels.get(entry.relative) or labels.get(path.name):
        person, groups = given[0] or name, (collection, *given[1])
    margin = TIGHT_MARGIN if is_tight(name) else 0.0
    return PhotoFile(name, person, groups, entry.path, entry.start, entry.size, margin)


def _every(photos: list[PhotoFile], limit: int) -> list[PhotoFile]:
    if len(photos) <= limit:
        return photos
    return [photos[(2 * n + 1) * len(photos) // (2 * limit)] for n in range(limit)]


def _index(photos: Iterable[PhotoFile], key: Callable[[PhotoFile], str]) -> dict[str, list[PhotoFile]]:
    index: dict[str, list[PhotoFile]] = defaultdict(list)
    for photo in photos:
        index[key(photo)].append(photo)
    return index


def _path_of(photo: PhotoFile) -> str:
    return str(PurePosixPath(photo.name).with_suffix(""))


def _stem_of(photo: PhotoFile) -> str:
    return PurePosixPath(photo.name).stem
