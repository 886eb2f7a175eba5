"""The inside of an open mouth, drawn between the lips and nowhere else.

What shows there, teeth, tongue or the dark, is as in the person's mouth, so coarsely that no tooth of theirs can be
told; where it is teeth, they are a stranger's. A mouth's inside is held as a strip whose upper edge is the upper lip
and whose lower edge the lower one, from corner to corner.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from streamer.render.textures.light import DARK
from streamer.types import Floats, Image

STRIP = (96, 40)  # pixels, width and height of a strip
UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # the inner lips, image-left first
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
SHUT = (0.02, 0.05)  # of the mouth's width: below, lips touch; from the second on all between them is drawn
LIP = 0.008  # of the texture's side: how far from the edge of a lip its colour is taken
PARTING = 0.018  # of the mouth's width, how thick the line between closed lips is
PARTED = np.array([0.4, 0.55, 0.52], np.float32)  # how dark it is: lips are red there, too
COARSE = (5, 6)  # colours of the person's mouth that are read, across and down: two teeth or more share one
TEETH = (0.4, 0.7)  # brightness over that of skin, below which no teeth show, and from which on they do
PALE = (0.55, 0.75)  # the least channel by the most: likewise; lips and tongue are red
TOOTH = 0.6  # power of the ratio in which columns of teeth are shown: dark lines, seen small, are a comb; none, a bar
MIDDLE = slice(28, 68)  # columns of a strip whose teeth stand in front
FEWEST, EVENLY = 8, 0.8  # rows of a strip with teeth, which are about as bright as its brightest
WHITE, GREY = 75.0, 0.65  # grey level of teeth in a donor's picture, at least, and their least channel by their most
SIDES, SIDES_DARK = 0.58, 0.7  # of the way to the corners, from where on it is darker there, and by how much at them
ABOVE, ABOVE_DARK = 0.35, 0.3  # of the way down, as far as the upper lip throws a shadow, and how dark it begins
BELOW, BELOW_DARK = 0.25, 0.3  # likewise of the lower lip, upwards: a tongue or teeth lie deeper than lips
BESIDE = 0.5  # logarithm: what is darker than teeth by more is none


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


def coarse(image: Image, mesh: Floats) -> Floats:
    """Return what can be seen in the mouth in `image`, `(6, 5, 3)` RGB, with no gap in a row of teeth."""
    seen = np.asarray(cv2.resize(strip(image, mesh), COARSE, interpolation=cv2.INTER_AREA), np.float32)
    closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones((1, 3)))
    return np.asarray(seen + _pale(closed)[..., None] * (closed - seen), np.float32)


def inside(coarse: Floats, teeth: Floats, skin: float) -> Floats:
    """Return the inside of a mouth, `(40, 96, 3)` float32 RGB.

    Args:
        coarse: As `coarse` returns it.
        teeth: `(96,)`, as `teeth_in` returns them, of whoever is drawn.
        skin: Grey level of the skin around, over which teeth are white.
    """
    smooth = np.clip(cv2.resize(coarse, STRIP, interpolation=cv2.INTER_CUBIC), 0.0, 255.0)
    white = _step(smooth.min(axis=2) / max(skin, 1.0), TEETH) * _pale(smooth)
    return np.asarray(smooth * (_depth() * (1.0 + white * (teeth**TOOTH - 1.0)))[..., None], np.float32)


@functools.cache
def _depth() -> Floats:
    """Return how much light reaches each place of a strip, `(40, 96)`: none of a mouth is as light as its middle."""
    width, height = STRIP
    aside = _step(np.abs(np.linspace(-1.0, 1.0, width, dtype=np.float32)), (SIDES, 1.0))
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)
    above, below = (_step(way, (0.0, reach)) for way, reach in ((down, ABOVE), (1.0 - down, BELOW)))
    rows = (1.0 - ABOVE_DARK * (1.0 - above)) * (1.0 - BELOW_DARK * (1.0 - below))
    return np.asarray(rows[:, None] * (1.0 - SIDES_DARK * aside**2 * (3.0 - 2.0 * aside)), np.float32)


def _pale(colours: Floats) -> Floats:
    return _step(colours.min(axis=-1) / np.maximum(colours.max(axis=-1), 1.0), PALE)


def _step(values: Floats, ends: tuple[float, float]) -> Floats:
    return np.asarray(np.clip((values - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0))


def teeth_in(strip: Image) -> Floats | None:
    """Return how bright each column of a row of teeth is by what is around it, `(96,)`; None where none are seen."""
    least, most = (channel(strip, axis=2).astype(np.float32) for channel in (np.min, np.max))
    rows, greys = (np.median(part[:, MIDDLE], axis=1) for part in (least, least / np.maximum(most, 1.0)))
    seen = (rows > max(WHITE, EVENLY * float(rows.max()))) & (greys > GREY)
    if seen.sum() < FEWEST:
        return None
    columns = np.log(least[seen] + DARK).mean(axis=0)[None]
    columns = np.maximum(columns, np.median(columns[:, MIDDLE]) - BESIDE)  # beside the teeth is nothing to see
    around = cv2.GaussianBlur(columns, (0, 0), STRIP[0] / COARSE[0] / 2, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.exp(columns - around)[0], np.float32)


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


def draw(patch: Floats, mesh: Floats, inside: Floats, *, start: Floats) -> None:
    """Draw a mouth's inside between the lips of `mesh`, in place.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        mesh: `(468, 2 or 3)` of the new face, in pixels of the frame.
        inside: `(40, 96, 3)` float32 RGB, in the light of the patch.
        start: `(2,)`, where in the frame the patch begins.
    """
    left, right = mesh[78, :2] - start, mesh[308, :2] - start
    width = float(np.linalg.norm(right - left))
    across = (right - left) / max(width, 1e-6)
    gap = max(0.0, float((mesh[14, :2] - mesh[13, :2]) @ [-across[1], across[0]]))
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
    share = _to_strip(mesh[:, :2] - start, (x1, y1, x2, y2), across, width)
    where = (share * np.array(size, np.float32) - 0.5).astype(np.float32)
    colours = cv2.remap(inside, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = min(1.0, shown) * smooth_polygon(lips - np.array([x1, y1], np.float32), (x2 - x1, y2 - y1))
    part = patch[y1:y2, x1:x2]
    part += alpha[..., None] * (colours - part)


def _draw_parting(patch: Floats, line: Floats, width: float) -> None:
    """Darken where closed lips meet, along `line` `(n, 2)`, in place."""
    reach = int(np.ceil(2 * PARTING * width)) + 1
    x1, y1 = np.maximum(np.floor(line.min(axis=0)).astype(int) - reach, 0)
    x2, y2 = np.minimum(np.ceil(line.max(axis=0)).astype(int) + reach + 1, patch.shape[1::-1])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    drawn = np.zeros((y2 - y1, x2 - x1), np.uint8)
    inner = np.round((line - [x1, y1]) * 16).astype(np.int32)
    cv2.polylines(drawn, [inner], False, 255, max(1, round(PARTING * width)), cv2.LINE_AA, 4)
    dark = cv2.GaussianBlur(drawn.astype(np.float32) / 255.0, (0, 0), max(0.6, 0.6 * PARTING * width))
    patch[y1:y2, x1:x2] *= 1.0 - PARTED * dark[..., None]


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
