"""Clips to measure with: a given number of faces in a picture of a given size, moving a little; of one photograph."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sin
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.types import Image

RATE = 30
SHARE = 0.8  # of the picture's height that a lone portrait takes; its face is a third of that
GREY = 110


def write_scene(path: Path, photo: Image, *, size: tuple[int, int], faces: int, frames: int) -> None:
    """Write an H.264 clip of `faces` copies of a portrait side by side.

    Args:
        path: Where to.
        photo: `(H, W, 3)` uint8 RGB.
        size: Width and height, even.
        faces: How many.
        frames: How many, at 30 a second.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "superfast"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for image in _images(photo, size, faces=faces, frames=frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())


def _images(photo: Image, size: tuple[int, int], *, faces: int, frames: int) -> Iterator[Image]:
    width, height = size
    columns, side = _grid(photo, size, faces)
    tile = cv2.resize(photo, (round(side * photo.shape[1] / photo.shape[0]), side), interpolation=cv2.INTER_AREA)
    rows = ceil(faces / columns)
    for step in range(frames):
        image = np.full((height, width, 3), GREY, np.uint8)
        for n in range(faces):
            row, column = divmod(n, columns)
            x = (column + 0.5) * width / columns + 0.02 * side * sin(0.15 * step + n)
            y = (row + 0.5) * height / rows + 0.02 * side * sin(0.11 * step + 2 * n)
            matrix = np.array([[1, 0, x - tile.shape[1] / 2], [0, 1, y - side / 2]], np.float32)
            cv2.warpAffine(tile, matrix, size, dst=image, borderMode=cv2.BORDER_TRANSPARENT)
        yield image


def _grid(photo: Image, size: tuple[int, int], faces: int) -> tuple[int, int]:
    """Return how many columns let the portraits be largest, and their height in pixels."""
    width, height = size
    aspect = photo.shape[1] / photo.shape[0]

    def side(columns: int) -> float:
        return min(height * SHARE / ceil(faces / columns), 0.95 * width / columns / aspect)

    best = max(range(1, faces + 1), key=side)
    return best, round(side(best))
