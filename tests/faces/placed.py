"""Photographs put where tests want them, and what is sure of what is found there."""

from __future__ import annotations

import numpy as np

from streamer.types import Face, Image


def sure(faces: list[Face]) -> list[Face]:
    return [face for face in faces if face.score >= 0.5]


def place(image: Image, *, width: int, height: int, at: tuple[int, int]) -> Image:
    canvas = np.full((height, width, 3), 128, np.uint8)
    x, y = at
    canvas[y : y + image.shape[0], x : x + image.shape[1]] = image[: height - y, : width - x]
    return canvas
