"""The inside of an open mouth, drawn between the lips and nowhere else.

What shows there, teeth, tongue or the dark, is as in the person's mouth, so coarsely that no tooth of theirs can be
told; where it is teeth, they are a stranger's, made up (`models.teeth`). A mouth's inside is held as a strip
whose upper edge is the upper lip and whose lower edge the lower one, from corner to corner.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from models.teeth import DOWN, FRONT, HEIGHT, WIDTH, Teeth
from streamer.types import Floats, Image

STRIP = (WIDTH, 40)  # pixels, width and height of a strip
UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # the inner lips, image-left first
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
SHUT = (0.02, 0.05)  # of the mouth's width: below, lips touch; from the second on all between them is drawn
LIP = 0.008  # of the texture's side: how far from the edge of a lip its colour is taken
PARTING = 0.018  # of the mouth's width, how thick the line between closed lips is
PARTED = np.array([0.4, 0.55, 0.52], np.float32)  # how dark it is: lips are red there, too
COARSE = (5, 6)  # colours of the person's mouth that are read, across and down: two teeth or more share one
TEETH = (0.4, 0.7)  # brightness over that of skin, below which no teeth show, and from which on they do
PALE = (0.55, 0.75)  # the least channel by the most: likewise; lips and tongue are red
LESS_RED = (0.97, 1.1)  # times as red over green skin is: likewise, whatever the light
BEHIND = 0.6  # times as dark as it is read is what is no tooth: colours of so few places mix with those of lips
DEEP = np.array([0.33, 0.2, 0.2], np.float32)  # times as bright as skin, what lies behind where nothing but teeth shows
LENGTH = 0.19  # of the mouth's width, of front teeth; longer ones are drawn where more of white is seen
HIDDEN = 0.2  # of their length, that the lower lip covers of teeth that reach down to it
UNDER_LIP = 0.2  # of their length, that the upper lip covers where the lower one covers their edges
ENDING = (0.7, 0.82)  # of the way down: edges of teeth are seen if these end before, and not if they end after
FILLING = (0.7, 1.0)  # times `LENGTH`: likewise, of white that is so tall they are seen in any case
CLEAR = (0.2, 0.6)  # the whitest of a column, up to which it shows no teeth, and from which on it does
LEAST_WHITE = 0.3  # rows, below which nothing tells where teeth are
TOP = 0.08  # of the way down, in which teeth begin
AT_LIP = (0.2, 0.4)  # of the way down: teeth seen to begin before the first reach the upper lip, from the second on not
ALONG = 0.4  # of how unevenly white begins and ends along a mouth that is drawn: some of it is light and shadow
SIDES, SIDES_DARK = 0.58, 0.5  # of the way to the corners, from where on it is darker there, and by how much at them
ABOVE, ABOVE_DARK = 0.35, 0.3  # of the way down, as far as the upper lip throws a shadow, and how dark it begins
BELOW, BELOW_DARK = 0.25, 0.3  # likewise of the lower lip, upwards: a tongue or teeth lie deeper than lips


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


def inside(coarse: Floats, teeth: Teeth, *, skin: Floats, gap: float) -> Floats:
    """Return the inside of a mouth, `(40, 96, 3)` float32 RGB; nothing of one that is shut.

    Args:
        coarse: As `coarse` returns it.
        teeth: Of whoever is drawn.
        skin: `(3,)` RGB of the skin around: teeth are as bright, and less red.
        gap: How far the lips are apart, in widths of the mouth.
    """
    if gap <= SHUT[0]:
        return np.zeros((*STRIP[::-1], 3), np.float32)
    white = _white(coarse, skin)
    behind = _behind(coarse, white, float(skin.mean()))
    shade, covers = _placed(teeth, white, gap)
    clear = _across(_step(white.max(axis=0), CLEAR)[None])
    colours = _across(_tooth_colours(coarse, white)[None]) * np.exp(shade)[..., None]
    shown = behind + (covers * clear)[..., None] * (colours - behind)
    return np.asarray(shown * _depth()[..., None], np.float32)


def _white(coarse: Floats, skin: Floats) -> Floats:
    """Return where teeth show, `(6, 5)` in [0, 1]: what is bright, and pale or, in warm light, less red than skin."""
    bright = _step(coarse.min(axis=2) / max(float(skin.min()), 1.0), TEETH)
    red, of_skin = (colours[..., 0] / np.maximum(colours[..., 1], 1.0) for colours in (coarse, skin))
    return np.asarray(bright * np.maximum(_pale(coarse), _step(of_skin / np.maximum(red, 1e-3), LESS_RED)))


def _tooth_colours(coarse: Floats, white: Floats) -> Floats:
    """Return the colour of the teeth in each column of a mouth, `(5, 3)`: where few are seen, that of all."""
    seen = white[..., None]
    of_all = (coarse * seen).sum(axis=(0, 1)) / max(float(white.sum()), 1e-3)
    own = (coarse * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1e-3)
    return np.asarray(of_all + np.minimum(seen.sum(axis=0), 1.0) * (own - of_all), np.float32)


def _behind(coarse: Floats, white: Floats, skin: float) -> Floats:
    """Return what a mouth shows but teeth, `(40, 96, 3)`: behind these lies what is seen beside them."""
    other = (1.0 - white)[..., None]
    near = cv2.GaussianBlur(np.concatenate([coarse * other, other], axis=2), (0, 0), 1.0)
    known = _step(near[..., 3:], (0.0, 0.35))
    beside = DEEP * skin + known * (near[..., :3] / np.maximum(near[..., 3:], 1e-3) - DEEP * skin)
    filled = (beside + other * (coarse - beside)).astype(np.float32)
    return np.asarray(BEHIND * np.clip(cv2.resize(filled, STRIP, interpolation=cv2.INTER_CUBIC), 0.0, 255.0))


def _placed(teeth: Teeth, white: Floats, gap: float) -> tuple[Floats, Floats]:
    """Return shade and cover of teeth where a mouth is `white` `(6, 5)`, `(40, 96)` each.

    If they end above the lower lip, they hang from there; else the lips cover both of their ends.
    """
    first, last = _white_rows(white)
    first = first * _step(first, AT_LIP)
    down = ((np.arange(STRIP[1], dtype=np.float32) + 0.5) / STRIP[1])[:, None]
    tall = (last - first) * gap
    length = np.maximum(LENGTH, tall)
    reaching = _step(last, ENDING)
    ends = np.maximum(1.0 - reaching, _step(tall / LENGTH, FILLING))
    hanging = 1.0 - HIDDEN * reaching - (last - down) * gap / length
    place = hanging + (1.0 - ends) * (UNDER_LIP + (down - first) * gap / length - hanging)
    rows = np.clip(place, 0.0, DOWN) / DOWN * HEIGHT - 0.5
    columns = np.broadcast_to(np.arange(WIDTH, dtype=np.float32), rows.shape)
    where = np.stack([columns, rows], axis=-1).astype(np.float32)
    shade, covers = (
        cv2.remap(of, where, None, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for of in (teeth.shade, teeth.covers)
    )
    return shade, covers * np.clip((down - first) / TOP + 1.0, 0.0, 1.0)


def _white_rows(white: Floats) -> tuple[Floats, Floats]:
    """Return where in each column of a strip white begins and ends, `(96,)` each, of the way down."""
    amount = white.sum(axis=0)
    if amount.max() < LEAST_WHITE:
        return np.zeros(STRIP[0], np.float32), np.ones(STRIP[0], np.float32)
    middle = ((np.arange(len(white)) + 0.5) @ white) / np.maximum(amount, 1e-3)
    edges = np.clip(np.stack([middle - amount / 2, middle + amount / 2]) / len(white), 0.0, 1.0)
    sure = np.minimum(amount, 1.0)
    usual = (edges * sure).sum(axis=1, keepdims=True) / sure.sum()
    edges = _across(usual + sure * (edges - usual))
    sigma = STRIP[0] / COARSE[0] / 2
    edges = cv2.GaussianBlur(edges, (6 * int(sigma) + 1, 1), sigma, borderType=cv2.BORDER_REPLICATE)
    middle = edges[:, FRONT].mean(axis=1, keepdims=True)
    first, last = middle + np.float32(ALONG) * (edges - middle)
    return first, last


def _across(columns: Floats) -> Floats:
    """Return the values of columns of a mouth `(r, 5)` or `(r, 5, 3)` at each of a strip, `(r, 96)` or `(r, 96, 3)`."""
    wide = cv2.resize(columns.astype(np.float32), (STRIP[0], len(columns)), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide)


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


def gap(mesh: Floats) -> float:
    """Return how far the lips of a mesh `(468, 2 or 3)` are apart in their middle, in widths of the mouth."""
    along = mesh[308, :2] - mesh[78, :2]
    down = float((mesh[14, :2] - mesh[13, :2]) @ [-along[1], along[0]])
    return max(0.0, down / max(float(along @ along), 1e-12))


def draw(patch: Floats, mesh: Floats, inside: Floats, *, start: Floats) -> None:
    """Draw a mouth's inside between the lips of `mesh`, in place.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        mesh: `(468, 2 or 3)` of the new face, in pixels of the frame.
        inside: `(40, 96, 3)` float32 RGB, in the light of the patch.
        start: `(2,)`, where in the frame the patch begins.
    """
    across = mesh[308, :2] - mesh[78, :2]
    width = float(np.linalg.norm(across))
    across = across / max(width, 1e-6)
    shown = (gap(mesh) - SHUT[0]) / (SHUT[1] - SHUT[0])
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
    high = gap(mesh) * width
    size = (round(min(STRIP[0], max(width, 8.0))), round(min(STRIP[1], max(high, 4.0))))  # gaps of teeth must not alias
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
