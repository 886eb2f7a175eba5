"""What is seen between lips or lids as a strip: its upper edge is the upper one, its lower edge the lower one."""

from __future__ import annotations

import cv2
import numpy as np

from streamer.types import Floats, Image

Edges = tuple[tuple[int, ...], tuple[int, ...]]  # points of a mesh, of the upper and the lower edge, image-left first
ENDS = 0.04  # of the way between the edges, that is theirs


def read(image: Image, mesh: Floats, edges: Edges, size: tuple[int, int]) -> Image:
    """Return what `image` shows between two edges of `mesh`, from corner to corner, `(h, w, 3)` for `size` (w, h)."""
    width, height = size
    across = np.linspace(0, 1, width, dtype=np.float32)
    upper, lower = (_curve(mesh[list(edge), :2], across) for edge in edges)
    down = np.linspace(ENDS, 1 - ENDS, height, dtype=np.float32)[:, None, None]
    where = np.asarray(upper + down * (lower - upper), np.float32)  # (height, width, 2)
    return np.asarray(cv2.remap(image, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def shares(mesh: Floats, edges: Edges, roi: tuple[int, int, int, int]) -> Floats:
    """Return where in the strip each pixel of `roi` (x1, y1, x2, y2) lies, `(h, w, 2)`, in its width and height."""
    points = [mesh[list(edge), :2] for edge in edges]
    start, along = points[0][0], points[0][-1] - points[0][0]
    width = max(float(np.linalg.norm(along)), 1e-6)
    along = along / width
    x, y = np.meshgrid(np.arange(roi[0], roi[2], dtype=np.float32), np.arange(roi[1], roi[3], dtype=np.float32))
    x, y = x - start[0], y - start[1]
    across, down = x * along[0] + y * along[1], y * along[0] - x * along[1]
    heights = []
    for edge in points:
        turned = (edge - start) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
        order = np.argsort(turned[:, 0])
        heights.append(np.interp(across, turned[order, 0], turned[order, 1]))
    upper, lower = heights
    share = (down - upper) / np.maximum(lower - upper, 0.5)
    return np.asarray(np.stack([across / width, np.clip(share, 0.0, 1.0)], axis=-1), np.float32)


def at(strip: Floats, shares: Floats) -> Floats:
    """Return the values of a strip `(h, w)` or `(h, w, 3)` at the places that `shares` tells."""
    where = np.asarray(shares * np.array(strip.shape[1::-1], np.float32) - 0.5, np.float32)
    return np.asarray(cv2.remap(strip, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def smooth_polygon(corners: Floats, size: tuple[int, int]) -> Floats:
    """Return how much of each pixel lies within a polygon, `(h, w)` in [0, 1]."""
    mask = np.zeros((size[1] * 4, size[0] * 4), np.uint8)
    cv2.fillPoly(mask, [np.round(((corners + 0.5) * 4 - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0)


def _curve(points: Floats, across: Floats) -> Floats:
    """Return points along an edge, `(n, 2)`, at shares `across` of the way from its first point to its last."""
    along = points[-1] - points[0]
    place = np.maximum.accumulate((points - points[0]) @ along / max(float(along @ along), 1e-6))
    return np.stack([np.interp(across, place, points[:, axis]) for axis in range(2)], axis=-1).astype(np.float32)
