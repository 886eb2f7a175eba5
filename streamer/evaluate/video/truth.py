"""Where the faces of a clip are: annotations as a small JSON file, without a pixel. Knows no detector and no output.

    {"clip": "street.mp4", "sha256": "...", "width": 1920, "height": 1080,
     "frames": [0, 2, 4, 7],
     "columns": ["frame", "x1", "y1", "x2", "y2", "yaw", "checked"],
     "faces": [[0, 812, 301, 868, 367, 25, 1], [2, 815, 300, 872, 367, null, 0]]}

`frames` are all that were looked at, those without a face too; no other frame says anything. A box reaches from brow to
chin and from ear to ear, in pixels of the upright frame. `yaw` is how far the face is turned sideways in degrees, 90 in
profile, whichever side; null where nobody knows. `checked` is 1 for a face that somebody saw or two detectors agree on,
0 for a doubtful one, which is counted apart.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import SourceError
from streamer.types import Floats

COLUMNS = ("frame", "x1", "y1", "x2", "y2", "yaw", "checked")


@dataclass(frozen=True, slots=True)
class TrueFace:
    """One face of one frame.

    Attributes:
        box: `(4,)` float32 `x1, y1, x2, y2` in pixels; brow to chin, ear to ear; may reach outside the frame.
        yaw: Degrees sideways from the camera, in [0, 180]; nan where unknown.
        checked: Whether somebody saw it or two detectors agree; a doubtful face is counted apart.
    """

    box: Floats
    yaw: float = math.nan
    checked: bool = True

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True, slots=True)
class Truth:
    """The faces of one clip.

    Attributes:
        clip: The clip's file name.
        sha256: Of its bytes, in hexadecimal.
        width, height: Of its upright frames, in pixels.
        frames: The faces of every frame that was looked at, by its index; none for a frame without.
    """

    clip: str
    sha256: str
    width: int
    height: int
    frames: Mapping[int, tuple[TrueFace, ...]]


def read_truth(path: Path) -> Truth:
    """Return the annotations in a JSON file.

    Raises:
        SourceError: If it cannot be read or is not what this module describes.
    """
    try:
        data = json.loads(path.read_text())
        frames: dict[int, list[TrueFace]] = {int(index): [] for index in data["frames"]}
        if tuple(data["columns"]) != COLUMNS:
            raise SourceError(f"annotations {path}: the columns must be {', '.join(COLUMNS)}")
        for row in data["faces"]:
            frames[int(row[0])].append(_face(row))
        size = int(data["width"]), int(data["height"])
        return Truth(str(data["clip"]), str(data["sha256"]), *size, {k: tuple(v) for k, v in frames.items()})
    except OSError as error:
        raise SourceError(f"cannot read the annotations {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise SourceError(f"annotations {path}: not as described: {type(error).__name__} {error}") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _face(row: list[Any]) -> TrueFace:
    _, x1, y1, x2, y2, yaw, checked = row
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"frame {row[0]} has a box without an inside: {row[1:5]}")
    return TrueFace(np.array([x1, y1, x2, y2], np.float32), math.nan if yaw is None else float(yaw), bool(checked))
