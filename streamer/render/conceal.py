"""Destroy the pixels of faces. The first thing done to a frame; everything else is drawn over it."""

from __future__ import annotations

import cv2
import numpy as np

from streamer.types import Cover, Floats, Image

MOSAIC_CELLS = 6  # across the longer side of a face: recognisers are at chance there (see docs/results.md)
HEAD_MARGIN = 0.35  # of the box's side, past each edge: hair, chin and ears, and a box that is a little off


def conceal_box(image: Image, box: Floats, *, cover: Cover, margin: float = HEAD_MARGIN) -> None:
    """Cover, in place, the head around `box`.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        box: `(4,)` `x1, y1, x2, y2` in pixels; may reach outside the image.
        cover: "solid" fills with black, "mosaic" with a few flat cells.
        margin: How far to reach past each side, as a share of its length.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    corners = np.array([[x1 - dx, y1 - dy], [x2 + dx, y1 - dy], [x2 + dx, y2 + dy], [x1 - dx, y2 + dy]], np.float32)
    conceal_polygon(image, corners, cover=cover)


def conceal_polygon(image: Image, polygon: Floats, *, cover: Cover) -> None:
    """Cover, in place, what lies inside `polygon`, `(N, 2)` in pixels; it may reach outside the image."""
    bounds = clip_to(image, polygon)
    if bounds is None:
        return
    x1, y1, x2, y2 = bounds
    patch = image[y1:y2, x1:x2]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round((polygon - np.array([x1, y1], np.float32)) * 16).astype(np.int32)], 1, shift=4)
    size = float(np.ptp(polygon, axis=0).max())
    covered = np.zeros_like(patch) if cover == "solid" else mosaic(patch, cell=size / MOSAIC_CELLS)
    patch[:] = cv2.copyTo(covered, mask, patch)  # indexing by the mask takes a hundred times as long


def conceal_frame(image: Image) -> Image:
    """Return what is shown for a frame that could not be searched for faces: nothing of it, dark grey."""
    return np.full_like(image, 24)


def mosaic(image: Image, *, cell: float) -> Image:
    """Return `image` as flat cells of about `cell` pixels, each the mean of what it covers."""
    height, width = image.shape[:2]
    cells = (max(1, round(width / cell)), max(1, round(height / cell)))
    small = cv2.resize(image, cells, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def clip_to(image: Image, points: Floats) -> tuple[int, int, int, int] | None:
    """Return the bounds `x1, y1, x2, y2` of `(N, 2)` points within `image`, or None when they lie outside it."""
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    x1, y1 = (max(0, int(v)) for v in low)
    x2, y2 = min(image.shape[1], int(high[0])), min(image.shape[0], int(high[1]))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
