"""What a source gives, and where its corner is red."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.sources.file_source import open_source
from streamer.types import Frame
from tests.clips import RED

JPEG_EXIF = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0"


def read(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


def red_corner(frame: Frame) -> str:
    """Return where the red quarter of a `picture` is: "top left" as it was drawn."""
    height, width = frame.image.shape[:2]
    corners = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}
    distance = {
        name: np.abs(frame.image[height * (1 + 2 * y) // 4, width * (1 + 2 * x) // 4] - np.array(RED)).sum()
        for name, (y, x) in corners.items()
    }
    return min(distance, key=lambda name: distance[name])
