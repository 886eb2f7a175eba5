"""Eyeballs of nobody, turned to where the person looks and drawn between the lids, so that lids close over them.

Of the person's eyes six numbers are read: where the iris lies, across and down, how far the lids are apart, and how
bright it is between them, how much that varies, which in the shade of a brow or in a soft frame is little, and how
bright the light is that mirrors there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from streamer.render.textures.mouth import smooth_polygon
from streamer.types import Floats, Image

# fmt: off
LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466))
# fmt: on
CORNERS = ((33, 133), (362, 263))  # image-left corner first
HEIGHTS = ((159, 145), (386, 374))  # the middles of upper and lower lid
IRISES = (slice(468, 473), slice(473, 478))
SIDE, RADIUS = 72, 10.0  # pixels of a kept eyeball, and of its iris
REACH = SIDE / 2 / RADIUS
APART = 0.06  # widths of the eye: irises of who looks ahead lie so much nearer to the outer corners, as the mesh has it
SQUINT, EXACT = 0.12, 40.0  # how much else irises lie apart at most, in eyes of so many pixels; less in smaller ones
IRIS_SHARE = (0.19, 0.215)  # radius of an iris over the width of the eye, in faces as they are
RINGS = np.arange(0.0, 1.3, 0.1, dtype=np.float32)  # radii at which an iris' colour is kept
CHEEKS = (50, 280, 117, 346)  # points whose colour tells how fair somebody is
WHITE, WHITES, WHITE_HUE = (40.0, 0.56), (72.0, 142.0), (1.02, 1.0, 0.98)  # grey level of an eye's white, by the skin's
FAIR = (150.0, 190.0)  # grey level of skin, from which on irises may be light, and from which on they are as they are
BROWN, DARK_IRIS, LIGHT_IRIS = (1.3, 0.95, 0.75), 0.3, 0.45  # hue, and brightness over that of the white, at most
MUTED = 0.6  # of the hue of an iris: seen small, a vivid one stares
PUPIL, PUPIL_EDGE, PUPIL_GREY = 0.38, 0.12, 18.0  # radius and soft edge in irises, and grey level
BROWNED = 0.68  # of its radius: about there an iris tells how bright it is
ROUNDNESS = 0.38  # how much darker the white is towards the corners
THREADS, BOWL = 0.2, 0.3  # how much lighter and darker an iris' threads are, and its lower half, which light falls on
LIMBUS = 0.3  # how much darker the ring around an iris is
GLINT = (0.3, -0.34, 0.2)  # where light mirrors in an eye: across, if it comes from a side, down; how large; in irises
GLINTING = 0.85  # how much of it is seen
BRIGHTEST = 0.998  # quantile of the grey levels between lids, that is what mirrors the light, or else white, ...
BRIGHTER = 2.0  # ... below which at least so many pixels are: one alone is noise
BESIDE = 0.55  # cosine: only what lies beside the pupil tells the iris' colours; lids and lashes lie over the rest
SHUT = (0.06, 0.11)  # height over width of an eye: below, it is closed; from the second on its ball is all drawn
LEAST_WIDTH = 7.0  # pixels; a smaller eye is as it is in the texture
COVERED = 0.14  # of its radius, that the upper lid covers of an iris
MOST_RAISED = 0.3  # of its radius, that an iris is drawn higher for it
SHADE, SHADED = 0.5, 0.13  # how dark it is beneath the upper lid, and how far down, in widths of the eye
LASHES = 0.035  # of the eye's width: how thick the line of closed lashes is
LASHED, LASH_GREY = 0.65, 0.4  # how much of it is seen, and how dark it is, in colours of the lid
LEAST_SEEN = 6.0  # pixels between the lids of both eyes together that tell how bright these are
DIMMER, FLATTER = (0.45, 1.1), (0.4, 1.05)  # times as bright, and as rich in contrast, as they would be eyes are drawn
AROUND, GROWN = 1.25, 0.012  # times as large as between its lids is what counts to an eye, and widths of the face more
SOFT, SOFTEST = 0.0045, (0.2, 0.6)  # of the face's width, the blur of eyes once they are drawn; its limits in pixels
CORNER = 0.1  # of the eye's width: there it is the texture's own, with its caruncle


@dataclass(frozen=True, slots=True)
class Eyeball:
    """An eyeball as if without lids.

    Attributes:
        ball: `(SIDE, SIDE, 3)` float32 RGB, the iris in its middle.
        share: Radius of the iris over the width of the eye.
    """

    ball: Floats
    share: float


@dataclass(frozen=True, slots=True)
class _Glint:
    """The light that mirrors in an eye: its colour `(3,)`, and from which side it comes, from -1 to 1."""

    colour: Floats
    side: float


def gaze(fine: Floats) -> Floats:
    """Return, for each eye of a `(478, 3)` mesh, where its iris lies from the middle of the corners, `(2, 2)`.

    Across and down, in widths of the eye; down in those of the wider eye, which the turn of a head narrows less. Both
    eyes look at one place: where they seem not to, and are small, it is the mesh that is wrong.
    """
    widths = [float(np.linalg.norm(fine[b, :2] - fine[a, :2])) for a, b in CORNERS]
    places = []
    for (a, b), iris, width in zip(CORNERS, IRISES, widths, strict=True):
        along = (fine[b, :2] - fine[a, :2]) / max(width, 1e-6)
        offset = fine[iris.start, :2] - (fine[a, :2] + fine[b, :2]) / 2
        down = float(offset @ [-along[1], along[0]])
        places.append((float(offset @ along) / max(width, 1e-6), down / max(*widths, 1e-6)))
    (left, up), (right, down) = places
    across, down = (left + right) / 2, (up + down) / 2
    most = SQUINT * min(1.0, max(widths) / EXACT)
    half = (APART + float(np.clip(right - left - APART, -most, most))) / 2
    return np.array([[across - half, down], [across + half, down]], np.float32)


def tone(image: Image, fine: Floats) -> Floats:
    """Return mean, deviation and brightest of the grey levels between the lids of a `(478, 3)` mesh, `(3,)`.

    0 of small eyes.
    """
    levels = [np.zeros(0)]
    for lids in LIDS:
        points = fine[list(lids), :2]
        x1, y1 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
        x2, y2 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 2, image.shape[1::-1])
        if x2 - x1 < 2 or y2 - y1 < 2:
            continue
        between = smooth_polygon(points - np.array([x1, y1], np.float32), (x2 - x1, y2 - y1)) > 0.5
        levels.append(image[y1:y2, x1:x2].mean(axis=2)[between])
    seen = np.concatenate(levels)
    if len(seen) < LEAST_SEEN:
        return np.zeros(3, np.float32)
    return np.array(
        [seen.mean(), seen.std(), np.quantile(seen, min(BRIGHTEST, 1.0 - BRIGHTER / len(seen)))], np.float32
    )


def eyeball(texture: Image, fine: Floats) -> Eyeball:
    """Return the eyeball of a texture in which the mesh `fine` `(478, 3)` lies; both eyes have the same."""
    pixels = texture.astype(np.float32)
    y, x = _places()
    distance = np.hypot(x, y)
    rings, shares = np.zeros((len(RINGS), 4), np.float32), []
    for eye, (a, b) in enumerate(CORNERS):
        iris, width = fine[IRISES[eye], :2], float(np.linalg.norm(fine[b, :2] - fine[a, :2]))
        across, down = (float(np.linalg.norm(iris[i] - iris[j])) / 2 for i, j in ((1, 3), (2, 4)))
        where = np.stack([iris[0, 0] + x * across, iris[0, 1] + y * down], axis=-1).astype(np.float32)
        seen = cv2.remap(pixels, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        between = _between_lids(fine, eye, len(texture), margin=0.04 * width)
        shown = cv2.remap(between, where, None, cv2.INTER_LINEAR)
        rings += _rings(seen, distance, shown * (np.abs(x) > BESIDE * distance))
        shares.append(across / max(width, 1e-6))
    skin = np.median([pixels[tuple(np.clip(fine[n, 1::-1], 0, len(texture) - 1).astype(int))] for n in CHEEKS], axis=0)
    share = float(np.clip(np.mean(shares), *IRIS_SHARE))
    return Eyeball(_ball(_natural(rings[:, :3] / rings[:, 3:], skin), _white(skin), x, y), share)


def browned(eye: Eyeball, share: float) -> Eyeball:
    """Return an eyeball whose iris is `share` of the way to a brown one, in [0, 1]."""
    distance = np.hypot(*_places())
    iris = _iris(distance) * np.clip((distance - PUPIL) / PUPIL_EDGE + 0.5, 0.0, 1.0)
    grey = eye.ball.mean(axis=2)
    white, usual = float(grey[0, SIDE // 2]), float(grey[np.abs(distance - BROWNED) < BROWNED / 3].mean())
    brown = (grey * min(1.0, DARK_IRIS * white / max(usual, 1.0)))[..., None] * np.array(BROWN, np.float32)
    return Eyeball(np.asarray(eye.ball + (share * iris)[..., None] * (brown - eye.ball), np.float32), eye.share)


@functools.cache
def _places() -> tuple[Floats, Floats]:
    """Return how far down and across from the middle of a kept eyeball pixels lie, `(SIDE, SIDE)` each, in irises."""
    down, across = (np.mgrid[:SIDE, :SIDE].astype(np.float32) - (SIDE - 1) / 2) / RADIUS
    return down, across


def _iris(distance: Floats) -> Floats:
    """Return how much of what lies so far from the middle, in irises, is iris or pupil, in [0, 1]."""
    return np.asarray(np.clip((1.1 - distance) / 0.2, 0.0, 1.0), np.float32)


def _white(skin: Floats) -> float:
    """Return the grey level of the white of an eye in a face whose skin is `skin`, `(3,)`: it lies in its shade."""
    base, slope = WHITE
    return float(np.clip(base + slope * skin.mean(), *WHITES))


def _natural(rings: Floats, skin: Floats) -> Floats:
    """Return the colours of an iris `(R, 3)` as they go with `skin` `(3,)`: brown, but for fair people."""
    grey = rings.mean(axis=1, keepdims=True)
    low, high = FAIR
    fair = float(np.clip((skin.mean() - low) / (high - low), 0.0, 1.0))
    own = grey + MUTED * (rings - grey)
    mixed = grey * np.array(BROWN, np.float32)
    mixed = mixed + fair * (own - mixed)
    most = (DARK_IRIS + fair * (LIGHT_IRIS - DARK_IRIS)) * _white(skin)
    return np.asarray(mixed * min(1.0, most / max(float(mixed[4:10].mean()), 1.0)), np.float32)


def _between_lids(fine: Floats, eye: int, side: int, *, margin: float) -> Floats:
    """Return what of a texture is eye and not lid, `(side, side)`."""
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round(fine[list(LIDS[eye]), :2] * 16).astype(np.int32)], 1, shift=4)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    return np.asarray(np.clip(distance - margin, 0.0, 1.0), np.float32)


def _rings(seen: Floats, distance: Floats, weight: Floats) -> Floats:
    """Return the summed colours of an iris' rings, from within, and their weights: `(len(RINGS), 4)`."""
    sums = []
    for ring in RINGS:
        near = np.exp(-(((distance - ring) / 0.1) ** 2)) * (weight + 1e-4 * (distance < 1.3))
        sums.append([*(seen * near[..., None]).sum(axis=(0, 1)), near.sum()])
    return np.asarray(sums, np.float32)


def _ball(rings: Floats, white: float, x: Floats, y: Floats) -> Floats:
    """Return a whole eyeball, `(SIDE, SIDE, 3)`, of the colours of its rings and the brightness of its white."""
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    threads = 1.0 + THREADS * np.sin(17 * angle + 3 * np.sin(5 * angle)) * np.exp(-(((distance - 0.65) / 0.25) ** 2))
    iris = np.stack([np.interp(distance, RINGS, rings[:, channel]) for channel in range(3)], axis=-1)
    iris = iris * (threads * (1.0 + BOWL * np.clip(y, -1.0, 1.0)))[..., None]
    pupil = np.clip((PUPIL - distance) / PUPIL_EDGE + 0.5, 0.0, 1.0)[..., None]
    iris += pupil * (PUPIL_GREY - iris)
    iris *= (1.0 - LIMBUS * np.exp(-(((distance - 0.98) / 0.12) ** 2)))[..., None]
    alpha = _iris(distance)[..., None]
    shading = 1.0 - ROUNDNESS * np.minimum(1.0, (x / 3.0) ** 2)[..., None]
    sclera = white * np.array(WHITE_HUE, np.float32) * shading
    return np.asarray(sclera + alpha * (iris - sclera), np.float32)


def draw(
    patch: Floats,
    mesh: Floats,
    ball: Eyeball,
    look: Floats,
    gain: Floats,
    start: Floats,
    *,
    tone: Floats,
    side: float = 0.0,
) -> None:
    """Draw both eyeballs between the lids of `mesh`, in place.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        mesh: `(468, 2 or 3)` of the new face, in pixels of the frame.
        ball: Of either eye.
        look: `(2, 2)` as `gaze` tells it.
        gain: `(2, 3)`, the light on each eye over that of the texture.
        start: `(2,)`, where in the frame the patch begins.
        tone: `(3,)` of the person's eyes, as `tone` tells it.
        side: From -1 to 1, how far to the left or right of an iris light mirrors.
    """
    points = mesh[:, :2] - start
    widths = [float(np.linalg.norm(points[b] - points[a])) for a, b in CORNERS]
    for eye, (a, b) in enumerate(CORNERS):
        top, bottom = HEIGHTS[eye]
        along = (points[b] - points[a]) / max(widths[eye], 1e-6)
        axes = np.stack([along, [-along[1], along[0]]])
        height = float((points[bottom] - points[top]) @ axes[1])  # of a new face's lids one may lie aside of the other
        shown = float(np.clip((height / max(*widths, 1e-6) - SHUT[0]) / (SHUT[1] - SHUT[0]), 0.0, 1.0))
        if widths[eye] < LEAST_WIDTH:
            continue
        lids = points[list(LIDS[eye])]
        if shown < 1.0:
            _draw_lashes(patch, lids, 1.0 - shown)
        if shown == 0.0:
            continue
        centre = (points[a] + points[b]) / 2 + look[eye] * np.array([widths[eye], max(widths)], np.float32) @ axes
        radii = ball.share * np.array([widths[eye], max(widths)], np.float32)
        bare = float((centre - points[top]) @ axes[1]) - (1.0 - COVERED) * radii[1]  # white above the iris, if positive
        centre = centre - np.clip(bare, 0.0, MOST_RAISED * radii[1]) * axes[1]
        glint = _Glint(tone[2] * gain[eye] / gain[eye].mean(), side)
        _draw_ball(
            patch, lids, ball.ball * gain[eye], (centre, axes, np.asarray(radii, np.float32)), shown, tone, glint
        )


def around(
    mesh: Floats, roi: tuple[int, int, int, int], width: float, outlines: tuple[tuple[int, ...], ...] = LIDS
) -> Floats:
    """Return how much each pixel of a part of the frame belongs to an eye with its lids, `(h, w)` in [0, 1].

    Args:
        mesh: `(468, 3)` of the face, in pixels of the frame.
        roi: `x1, y1, x2, y2` of the part.
        width: Of the face, in pixels.
        outlines: Points of the mesh around each, if it is about other openings.
    """
    x1, y1, x2, y2 = roi
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    for outline in outlines:
        points = mesh[list(outline), :2] - np.array([x1, y1], np.float32)
        middle = points.mean(axis=0)
        hull = cv2.convexHull(np.asarray(middle + AROUND * (points - middle), np.float32))
        cv2.fillPoly(mask, [np.round(hull * 16).astype(np.int32)], 255, shift=4)
    side = 2 * int(GROWN * width) + 1
    grown = cv2.dilate(mask, np.ones((side, side), np.uint8)).astype(np.float32) / 255.0
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), max(0.6, GROWN * width)))


def soften(image: Image, eyes: Floats, roi: tuple[int, int, int, int], width: float) -> None:
    """Blur the eyes of a face, in place: those that are sharper than what is around them stare.

    Arguments as of `around`, and `eyes` as it returns.
    """
    x1, y1, x2, y2 = roi
    part = image[y1:y2, x1:x2]
    soft = cv2.GaussianBlur(part, (0, 0), float(np.clip(SOFT * width, *SOFTEST)))
    part[:] = cv2.blendLinear(part, soft, 1.0 - eyes, eyes)


def _draw_lashes(patch: Floats, lids: Floats, strength: float) -> None:
    """Draw what closed lids show between them, in place: a line of lashes, and nothing of the eye."""
    width = float(np.linalg.norm(lids[8] - lids[0]))
    reach = max(1, round(LASHES * width))
    x1, y1 = np.maximum(np.floor(lids.min(axis=0)).astype(int) - 2 * reach - 1, 0)
    x2, y2 = np.minimum(np.ceil(lids.max(axis=0)).astype(int) + 2 * reach + 2, patch.shape[1::-1])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    between = smooth_polygon(lids - np.array([x1, y1], np.float32), (x2 - x1, y2 - y1))
    line = np.zeros((y2 - y1, x2 - x1), np.uint8)
    middle = lids[:9] - np.array([x1, y1], np.float32)  # the lower lid: the upper one comes down on it
    cv2.polylines(line, [np.round(middle * 16).astype(np.int32)], False, 255, reach, cv2.LINE_AA, 4)
    part = patch[y1:y2, x1:x2]
    around = cv2.dilate(between, np.ones((2 * reach + 1,) * 2, np.uint8))
    around = cv2.GaussianBlur(around, (0, 0), 0.7 * reach)
    beside = part[around < 0.05]
    lid = _bare(beside if len(beside) else part.reshape(-1, 3))
    part += (strength * around)[..., None] * (lid - part)
    dark = cv2.GaussianBlur(line.astype(np.float32) / 255.0, (0, 0), 0.4 * reach)
    part += (LASHED * strength * dark)[..., None] * (LASH_GREY * lid - part)


def _bare(colours: Floats) -> Floats:
    """Return the colour of skin among those beside an eye, `(n, 3)`: of the lighter half, since lashes are dark."""
    grey = colours.mean(axis=1)
    return np.asarray(colours[grey >= np.median(grey)].mean(axis=0), np.float32)


def _draw_ball(
    patch: Floats,
    lids: Floats,
    ball: Floats,
    place: tuple[Floats, Floats, Floats],
    shown: float,
    tone: Floats,
    glint: _Glint,
) -> None:
    centre, axes, radii = place
    x1, y1 = np.maximum(np.floor(lids.min(axis=0)).astype(int) - 1, 0)
    x2, y2 = np.minimum(np.ceil(lids.max(axis=0)).astype(int) + 2, patch.shape[1::-1])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    x, y = np.meshgrid(np.arange(x1, x2, dtype=np.float32), np.arange(y1, y2, dtype=np.float32))
    from_centre = np.stack([x, y], axis=-1) - centre
    where = from_centre @ axes.T / radii
    in_ball = where * RADIUS + (SIDE - 1) / 2
    colours = cv2.remap(ball, in_ball.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = smooth_polygon(lids - np.array([x1, y1], np.float32), (x2 - x1, y2 - y1))
    width = float(np.linalg.norm(lids[8] - lids[0]))
    down = _below_lid(np.stack([x, y], axis=-1) - lids[0], lids, axes)
    colours *= (1.0 - SHADE * np.clip(1.0 - down / (SHADED * width), 0.0, 1.0))[..., None]
    colours = _toned(colours, alpha, tone)
    from_glint = ((where - [glint.side * GLINT[0], GLINT[1]]) ** 2).sum(axis=-1) / GLINT[2] ** 2
    colours += GLINTING * np.exp(-(from_glint**2))[..., None] * np.maximum(glint.colour - colours, 0.0)
    ends = np.abs((np.stack([x, y], axis=-1) - (lids[0] + lids[8]) / 2) @ axes[0]) / width
    alpha = alpha * np.clip((0.5 - ends) / CORNER, 0.0, 1.0) * shown
    part = patch[y1:y2, x1:x2]
    part += alpha[..., None] * (colours - part)


def _toned(colours: Floats, between: Floats, tone: Floats) -> Floats:
    """Return the colours `(h, w, 3)` of a ball about as bright, and as rich in contrast, as `tone` has it.

    Args:
        colours: RGB.
        between: `(h, w)` in [0, 1], what is seen of it between the lids.
        tone: Mean and deviation of grey levels first; 0 where they are not known.
    """
    total = float(between.sum())
    if tone[0] <= 0.0 or total < LEAST_SEEN / 2:
        return colours
    mean = (colours * between[..., None]).sum(axis=(0, 1)) / total
    deviation = float(np.sqrt((between * (colours - mean).mean(axis=2) ** 2).sum() / total))
    times = float(np.clip(tone[0] / max(float(mean.mean()), 1.0), *DIMMER))
    flatter = float(np.clip(tone[1] / max(deviation, 1.0), *FLATTER))
    return np.asarray(times * mean + min(flatter, times) * (colours - mean), np.float32)


def _below_lid(from_corner: Floats, lids: Floats, axes: Floats) -> Floats:
    """Return how far each pixel lies below the upper lid, in pixels."""
    upper = (lids[[0, 15, 14, 13, 12, 11, 10, 9, 8]] - lids[0]) @ axes.T
    order = np.argsort(upper[:, 0])
    place = from_corner @ axes.T
    return np.asarray(place[..., 1] - np.interp(place[..., 0], upper[order, 0], upper[order, 1]), np.float32)
