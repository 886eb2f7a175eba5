"""Who is in a photo and which groups they belong to, from what data sets write beside pictures or into their names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

Labels = tuple[str, tuple[str, ...]]  # person and groups

LABEL_FILE = "labels.csv"
CELEBA_IDENTITIES, CELEBA_ATTRIBUTES = "identity_CelebA.txt", "list_attr_celeba.txt"
LABEL_FILES = (LABEL_FILE, CELEBA_IDENTITIES, CELEBA_ATTRIBUTES)

_LFW = re.compile(r"(.+)_\d{4}")  # Aaron_Eckhart_0001
_UTK = re.compile(r"(\d{1,3})_([01])_([0-4])_\d{14,17}")  # age, sex, race, the time it was collected
_KNOWN = re.compile(r"(?<![a-z])(lfw|ffhq|celeba)(?![a-z])")  # a folder: lfw-deepfunneled, img_align_celeba
_SEXES = ("male", "female")
_RACES = ("white", "black", "asian", "indian", "other race")
_AGES = ((0, 12), (13, 29), (30, 59), (60, 999))
_CELEBA_GROUPS = {"Male": ("female", "male"), "Young": ("not young", "young"), "Eyeglasses": ("no glasses", "glasses")}


def from_name(name: str, collection: str) -> Labels:
    """Return the labels that the name of a photo carries, as LFW's and UTKFace's do; without, it is its own person.

    Args:
        name: Of folder and file, such as "lfw/Abba_Eban_0001.jpg"; unique.
        collection: What the photo came with, such as "lfw".
    """
    path = PurePosixPath(name)
    stem = path.name.partition(".")[0]
    numbered, aged = _LFW.fullmatch(stem), _UTK.fullmatch(stem)
    # A camera numbers its pictures as LFW does, so the name alone is not enough: IMG_0001 and IMG_0002 are two people.
    if numbered and (collection == "lfw" or path.parent.name == numbered[1]):
        return f"{collection}/{numbered[1]}", (collection,)
    if aged:
        age, sex, race = (int(part) for part in aged.groups())
        return name, (collection, _SEXES[sex], _RACES[race], age_group(age))
    return name, (collection,)


def is_tight(name: str) -> bool:
    """Return whether a photo is a crop that cuts forehead and chin, as UTKFace's are: detectors need more around it."""
    return bool(_UTK.fullmatch(PurePosixPath(name).name.partition(".")[0]))


def age_group(age: int) -> str:
    """Return the group of an age in years, such as "age 30-59"."""
    low, high = next((low, high) for low, high in _AGES if age <= high)
    return f"age {low}-{high}" if high < 999 else f"age {low}+"


def from_table(text: str) -> dict[str, Labels]:
    """Return labels by file of a `labels.csv`: columns `file`, `person` (may be empty) and any groups.

    A group is named for its column and value: column `skin`, value `V` is "skin V".

    Raises:
        ValueError: If the column `file` is missing.
    """
    rows = csv.DictReader(io.StringIO(text))
    if "file" not in (rows.fieldnames or ()):
        raise ValueError(f"needs a column `file`, has {', '.join(rows.fieldnames or ()) or 'none'}")
    columns = [name for name in rows.fieldnames or () if name not in ("file", "person")]
    return {
        row["file"]: (row.get("person") or "", tuple(f"{name} {row[name]}" for name in columns if row[name]))
        for row in rows
    }


def from_celeba(identities: str, attributes: str) -> dict[str, Labels]:
    """Return labels by file of CelebA's two text files; either may be empty."""
    people = dict(line.split()[:2] for line in identities.splitlines() if line.strip())
    groups = dict(_celeba_groups(attributes.splitlines()))
    return {file: (people.get(file, ""), groups.get(file, ())) for file in people.keys() | groups.keys()}


def _celeba_groups(lines: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield file and groups; the first line is a count, the second the names of the columns, values are 1 and -1."""
    columns = lines[1].split() if len(lines) > 1 else []
    wanted = [(columns.index(name), names) for name, names in _CELEBA_GROUPS.items() if name in columns]
    for line in lines[2:]:
        file, *values = line.split()
        yield file, tuple(names[values[at] == "1"] for at, names in wanted)


def read_labels(files: Mapping[str, str]) -> dict[str, Labels]:
    """Return labels by path of photo (of CelebA: by file), of all label files of a collection.

    Args:
        files: The text of each, by its path beside the photos', such as "lfw/labels.csv".

    Raises:
        ValueError: If one is not what it should be; the message names it.
    """
    found: dict[str, Labels] = {}
    for name, text in files.items():
        path = PurePosixPath(name)
        if path.name == LABEL_FILE:
            found |= {str(path.parent / file): labels for file, labels in _checked(name, text).items()}
    return found | _celeba({PurePosixPath(name).name: text for name, text in files.items()})


def _checked(name: str, text: str) -> dict[str, Labels]:
    try:
        return from_table(text)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{name}: {error}") from error


def _celeba(files: Mapping[str, str]) -> dict[str, Labels]:
    try:
        return from_celeba(files.get(CELEBA_IDENTITIES, ""), files.get(CELEBA_ATTRIBUTES, ""))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{CELEBA_IDENTITIES} or {CELEBA_ATTRIBUTES} is damaged: {error}") from error


def collection_of(path: str, root: str) -> str:
    """Return what a photo came with: "lfw", "ffhq", "celeba", or the folder that holds it.

    Args:
        path: Beneath what was searched.
        root: The name of the folder or tar searched.
    """
    folders = PurePosixPath(path).parts[:-1]
    for part in (*folders, root):
        if known := _KNOWN.search(part.lower()):
            return known[0]
    return folders[0] if folders else root
