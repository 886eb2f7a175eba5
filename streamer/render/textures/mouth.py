"""The inside of an open mouth, teeth and tongue of nobody, drawn between the lips and nowhere else.

A mouth's inside is kept as a strip whose upper edge is the upper lip and whose lower edge the lower one, from corner to
corner. Drawn is the one that was about as far open, as wide, and showed as much of the teeth; where that changes, both
for a moment.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamer.types import Floats, Image

STRIP = (96, 40)  # pixels, width and height of a strip
UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # the inner lips, image-left first
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
SHUT = (0.02, 0.05)  # of the mouth's width: below, lips touch; from the second on all between them is drawn
LIP = 0.008  # of the texture's side: how far from the edge of a lip its colour is taken
PARTING, PARTED = 0.018, 0.42  # of the mouth's width, how thick the line between closed lips is, and how dark
WIDTH_WEIGHT, TEETH_WEIGHT = 0.5, 0.15  # eye distances of opening that a unit of width, or of teeth, counts for
TEETH = (0.48, 0.78)  # brightness over that of skin, below which no teeth show, and from which on they do
BRIGHTER = (0.6, 1.4)  # times as bright over skin as they are kept teeth are drawn, as those of the person are
TEETH_HUES = (0.88, 1.14)  # times as much of each channel as the light makes expect
UPPER_TEETH = (slice(4, 20), slice(28, 68))  # rows and columns of a strip that they are seen in
SHADE = 0.3  # how much darker it is beneath the upper lip
SHADED = 0.3  # of the opening, how far down


def opening(mesh: Floats) -> Floats:
    """Return how far open and how wide a mouth is, `(2,)`, in distances of the eyes' outer corners."""
    unit = max(float(np.linalg.norm(mesh[33, :2] - mesh[263, :2])), 1e-6)
    pairs = mesh[[13, 78], :2] - mesh[[14, 308], :2]
    return np.asarray(np.linalg.norm(pairs, axis=1) / unit, np.float32)


def whiteness(strip: Image, skin: float) -> float:
    """Return how bright teeth are in the inside of a mouth, over the grey level of the skin; low where none show."""
    white = strip[UPPER_TEETH].min(axis=2)  # lips and tongue are red
    return float(np.quantile(white, 0.7)) / max(skin, 1.0)


def hue(strip: Image) -> Floats:
    """Return the hue of the teeth in the inside of a mouth, `(3,)` of mean 1."""
    pixels = strip[UPPER_TEETH].reshape(-1, 3).astype(np.float32) + 1.0
    white = pixels.min(axis=1)
    colour = pixels[white >= np.quantile(white, 0.7)].mean(axis=0)
    return np.asarray(colour / colour.mean(), np.float32)


def teeth(whiteness: float) -> float:
    """Return how much of the teeth a mouth shows, in [0, 1]."""
    low, high = TEETH
    return float(np.clip((whiteness - low) / (high - low), 0.0, 1.0))


def strip(image: Image, mesh: Floats) -> Image:
    """Return the inside of the mouth in `image` as a strip, `(40, 96, 3)` uint8 RGB."""
    width, height = STRIP
    across = np.linspace(0, 1, width, dtype=np.float32)
    upper, lower = _curves(mesh, across)
    down = np.linspace(0.04, 0.96, height, dtype=np.float32)[:, None, None]
    where = upper + down * (lower - upper)  # (height, width, 2)
    return np.asarray(
        cv2.remap(image, where.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def closed(texture: Image, points: Floats) -> Image:
    """Return a texture `(S, S, 3)` with lips between its lips, in whose template `points` they are apart.

    Where a mouth is closed, what lies between the lips is drawn thin, and must not be teeth.
    """
    side = len(texture)
    mesh = points * side
    left, right = int(np.ceil(mesh[78, 0])), int(np.floor(mesh[308, 0]))
    x = np.arange(left, right + 1, dtype=np.float32)
    upper, lower = (np.interp(x, *mesh[list(edge)].T) for edge in (UPPER, LOWER))
    y = np.arange(side, dtype=np.float32)[:, None]
    share = np.clip((y - upper) / np.maximum(lower - upper, 1.0), 0.0, 1.0)[..., None]
    lips = [_along(texture, x, edge + sign * LIP * side) for edge, sign in ((upper, -1.0), (lower, 1.0))]
    between = lips[0] + share * (lips[1] - lips[0])
    alpha = np.clip(np.minimum(y - upper, lower - y) + 1.0, 0.0, 1.0)[..., None]
    result = texture.copy()
    part = result[:, left : right + 1]
    part[:] = np.asarray(part + alpha * (between - part) + 0.5, np.uint8)
    return result


def _along(texture: Image, x: Floats, y: Floats) -> Floats:
    """Return the colours of a texture along a curve, `(1, n, 3)`, smooth."""
    where = np.stack([x, y], axis=-1)[None].astype(np.float32)
    return np.asarray(cv2.blur(cv2.remap(texture, where, None, cv2.INTER_LINEAR).astype(np.float32), (5, 1)))


def nearest(mouths: Floats, wanted: Floats) -> int:
    """Return which of the mouths `(M, 3)` is most like `wanted` `(3,)`: how open, how wide, how much of the teeth."""
    apart = (mouths - wanted) * np.array([1.0, WIDTH_WEIGHT, TEETH_WEIGHT], np.float32)
    return int(np.square(apart).sum(axis=1).argmin())


def draw(patch: Floats, mesh: Floats, inside: Floats, *, start: Floats) -> None:
    """Draw a mouth's inside between the lips of `mesh`, in place.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        mesh: `(468, 2 or 3)` of the new face, in pixels of the frame.
        inside: `(40, 96, 3)` float32 RGB, in the light of the patch.
        start: `(2,)`, where in the frame the patch begins.
    """
    left, right = mesh[78, :2] - start, mesh[308, :2] - start
    along = right - left
    width = float(np.linalg.norm(along))
    gap = float(np.linalg.norm(mesh[13, :2] - mesh[14, :2]))
    shown = (gap / max(width, 1e-6) - SHUT[0]) / (SHUT[1] - SHUT[0])
    if width < 4.0:
        return
    if shown < 1.0:
        _draw_parting(patch, (mesh[list(UPPER), :2] + mesh[list(LOWER), :2]) / 2 - start, width)
    if shown <= 0.0:
        return
    lips = np.concatenate([mesh[list(UPPER), :2], mesh[list(LOWER[::-1]), :2]]) - start
    x1, y1 = np.maximum(np.floor(lips.min(axis=0)).astype(int) - 1, 0)
    x2, y2 = np.minimum(np.ceil(lips.max(axis=0)).astype(int) + 2, patch.shape[1::-1])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    size = (round(min(STRIP[0], max(width, 8.0))), round(min(STRIP[1], max(gap, 4.0))))  # gaps of teeth must not alias
    inside = np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_AREA))
    share = _to_strip(mesh[:, :2] - start, (x1, y1, x2, y2), along / width, width)
    where = (share * np.array(size, np.float32) - 0.5).astype(np.float32)
    colours = cv2.remap(inside, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    depth = share[..., 1]
    colours *= (1.0 - SHADE * np.clip(1.0 - depth / SHADED, 0.0, 1.0))[..., None]
    alpha = smooth_polygon(lips - np.array([x1, y1], np.float32), (x2 - x1, y2 - y1))[..., None] * min(1.0, shown)
    part = patch[y1:y2, x1:x2]
    part += alpha * (colours - part)


def _draw_parting(patch: Floats, line: Floats, width: float) -> None:
    """Darken where closed lips meet, along `line` `(n, 2)`, in place."""
    reach = int(np.ceil(2 * PARTING * width)) + 1
    x1, y1 = np.maximum(np.floor(line.min(axis=0)).astype(int) - reach, 0)
    x2, y2 = np.minimum(np.ceil(line.max(axis=0)).astype(int) + reach + 1, patch.shape[1::-1])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    drawn = np.zeros((y2 - y1, x2 - x1), np.uint8)
    inner = np.round((line[1:-1] - [x1, y1]) * 16).astype(np.int32)
    cv2.polylines(drawn, [inner], False, 255, max(1, round(PARTING * width)), cv2.LINE_AA, 4)
    dark = cv2.GaussianBlur(drawn.astype(np.float32) / 255.0, (0, 0), max(0.6, 0.6 * PARTING * width))
    patch[y1:y2, x1:x2] *= (1.0 - PARTED * dark)[..., None]


def _to_strip(mesh: Floats, roi: tuple[int, int, int, int], along: Floats, width: float) -> Floats:
    """Return where in the strip each pixel of `roi` lies, `(h, w, 2)` as shares of its width and height."""
    x, y = np.meshgrid(np.arange(roi[0], roi[2], dtype=np.float32), np.arange(roi[1], roi[3], dtype=np.float32))
    x, y = x - mesh[78, 0], y - mesh[78, 1]
    across, down = x * along[0] + y * along[1], y * along[0] - x * along[1]
    edges = []
    for indices in (UPPER, LOWER):
        points = (mesh[list(indices)] - mesh[78]) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
        order = np.argsort(points[:, 0])
        edges.append(np.interp(across, points[order, 0], points[order, 1]))
    upper, lower = edges
    share = (down - upper) / np.maximum(lower - upper, 0.5)
    return np.asarray(np.stack([across / width, np.clip(share, 0.0, 1.0)], axis=-1), np.float32)


def smooth_polygon(corners: Floats, size: tuple[int, int]) -> Floats:
    """Return how much of each pixel lies within a polygon, `(h, w)` in [0, 1]."""
    mask = np.zeros((size[1] * 4, size[0] * 4), np.uint8)
    cv2.fillPoly(mask, [np.round(((corners + 0.5) * 4 - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0)


def _curves(mesh: Floats, across: Floats) -> tuple[Floats, Floats]:
    """Return points along the inner lips, `(n, 2)` each, at shares `across` of the way from corner to corner."""
    curves = []
    for indices in (UPPER, LOWER):
        points = mesh[list(indices), :2]
        along = points[-1] - points[0]
        place = np.maximum.accumulate((points - points[0]) @ along / max(float(along @ along), 1e-6))
        curves.append(np.stack([np.interp(across, place, points[:, axis]) for axis in range(2)], axis=-1))
    return curves[0], curves[1]
