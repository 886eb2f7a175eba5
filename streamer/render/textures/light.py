"""The light on a face, read from its skin alone: smooth, in the template's space, blind to hair, glasses and features.

Light is a logarithm: the difference of two is what to multiply a face with that is to stand in the other's light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.face_mesh import FACE_OVAL
from streamer.types import Floats, Image

SIDE = 48  # pixels of the crop that light is read from
CELLS = 16  # per side of the light that is kept: finer than that is the person
DARK = 8.0  # grey levels added before the logarithm: below, there is only noise
SMOOTH = 0.08  # of the crop's side, the blur of what the polynomial leaves over
SHADE_HUE = np.array([0.82, 1.02, 1.16], np.float32)  # of a shade on skin, its mean 1: light from within skin is red
ROUNDS = 3  # of reweighting: then hair on a forehead has lost its say
BRIGHTNESS = 0.6  # how much a pixel's brightness counts in telling skin from what is none; its hue counts fully
HUE = 2.0
SPREADS = 1.6  # of the usual spread, at which a pixel is little like skin
LEAST_SPREAD = 0.06  # of log colours about the fit on the smoothest skin
PRIOR = 0.04  # of the weight around a place: with less skin than this the polynomial decides there
OUTSIDE = 0.96  # of the oval: the rim of a mesh lies on background now and then
OTHER = 0.25  # as little like skin as what may lie before a face
SEEN = 0.02, 0.98  # quantiles of the log colours of skin, between which its light is: past what is seen, no fit knows
ENOUGH_SKIN = 60  # pixels of it that tell these
STRAND = 5  # pixels down that hair hangs at least; the bows of glasses do not, and are painted over with the glasses
HAIR = 0.25  # of the brow's surface, that is surely hair
AROUND_LIPS = 1.6  # times as large as lips are they with the skin that they shade
LASHES = (1.0, 1.6)  # of an eye's size: between these lie lashes, and what is painted around them
BROW_GAP = 0.02  # of the crop's side between brows and what may
SIDES = 0.2  # of the oval's radius: how deep it may lie at the sides
# fmt: off
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EYES = ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466))
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
NOSTRILS = (98, 97, 2, 326, 327, 4)
# fmt: on


@dataclass(frozen=True, slots=True)
class Tones:
    """The colours of features, as logarithms over those of the skin around them.

    Attributes:
        brows: `(3,)`, of the darker part of where they are.
        lips: `(3,)`.
        lashes: How dark it is around the eyes, 0 or less.
    """

    brows: Floats
    lips: Floats
    lashes: float


@dataclass(frozen=True, slots=True)
class Light:
    """The light on a face.

    Attributes:
        cells: `(CELLS, CELLS, 3)` log colours of skin in it.
        skin: `(SIDE, SIDE)` in [0, 1], how much each pixel of the crop looks like skin.
        spread: Of the log colours of skin about it.
        features: `(SIDE, SIDE, 3)`, the crop's log colours less those of skin in it.
    """

    cells: Floats
    skin: Floats
    spread: float
    features: Floats


# Brightness and hue of a difference of log colours, weighed: lengths after this are how unlike skin it is.
_APART = (HUE * (np.eye(3) - 1 / 3) + BRIGHTNESS / 3**1.5).astype(np.float32)
_SUM = np.ones((1, 3), np.float32)
_LOGARITHMS = np.log(np.arange(256, dtype=np.float32) + DARK)


def logarithm(image: Image) -> Floats:
    """Return the log colours of a uint8 image."""
    return np.asarray(cv2.LUT(image, _LOGARITHMS))


class LightReader:
    """Reads light from crops of a template.

    Args:
        points: `(468, 2)` of the template, in the unit square.
    """

    def __init__(self, points: Floats) -> None:
        features = [polygon(points, LIPS, scale=1.15), polygon(points, NOSTRILS, scale=1.1)]
        features += [polygon(points, eye, scale=1.45) for eye in EYES] + [polygon(points, b, scale=1.2) for b in BROWS]
        self.face = polygon(points, FACE_OVAL, scale=OUTSIDE)
        self.skin = self.face & ~np.any(features, axis=0)  # (SIDE, SIDE)
        self.eyes = np.any([polygon(points, eye, scale=1.3) for eye in EYES], axis=0)
        self.brows = np.any([polygon(points, brow, scale=0.9) for brow in BROWS], axis=0)
        self.around_lips = cv2.GaussianBlur(polygon(points, LIPS, scale=AROUND_LIPS).astype(np.float32), (0, 0), 1.0)
        self.lips = polygon(points, LIPS, scale=1.0) & ~polygon(points, INNER_LIPS, scale=1.0)
        eyes, around = (np.any([polygon(points, eye, scale=scale) for eye in EYES], axis=0) for scale in LASHES)
        self.lashes = around & ~eyes & ~self.brows
        self._around = self._edges(points)
        y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
        terms = [np.ones_like(x), x, y, x * x, y * y, x * y, x**3, x * x * y]
        self._terms = np.stack(terms, axis=-1)  # (SIDE, SIDE, 8)
        self._used = self.skin & ((np.add.outer(np.arange(SIDE), 2 * np.arange(SIDE)) % 5) == 0)
        self._known = self._terms[self._used]  # (N, 8)
        self._middle = self.skin[self._used] & (np.abs(x[self._used]) < 0.22) & (y[self._used] > -0.08)
        self._stiff = np.diag(np.array([1e-3, 0.5, 0.5, 4.0, 4.0, 4.0, 12.0, 12.0], np.float32))

    def __call__(self, crop: Image) -> Light:
        """Return the light on an `(S, S, 3)` uint8 crop; `SIDE` is enough."""
        if len(crop) != SIDE:
            crop = np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        logs = logarithm(crop)
        fit, spread = self._fit(logs[self._used])
        rest = logs - fit
        skin = likeness(rest, spread)
        weight = skin * self.skin
        sigma = SMOOTH * SIDE
        total = cv2.GaussianBlur(rest * weight[..., None], (0, 0), sigma)
        light = fit + total / (cv2.GaussianBlur(weight, (0, 0), sigma) + PRIOR)[..., None]
        light = _within_seen(light, logs[weight > 0.5])
        cells = cv2.resize(light, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        return Light(np.asarray(cells, np.float32), skin, spread, logs - light)

    def tones(self, light: Light) -> Tones:
        """Return the colours of the features of a crop whose light was read."""
        rest = light.features
        brows, lips, lashes = rest[self.brows], rest[self.lips], rest[self.lashes].mean(axis=1)
        hair = brows[brows.mean(axis=1) <= np.quantile(brows.mean(axis=1), 2 * HAIR)]  # of which some is skin
        return Tones(np.median(hair, axis=0), np.median(lips, axis=0), float(np.minimum(lashes, 0.0).mean()))

    def front(self, skin: Floats) -> Floats:
        """Return what of a crop is certain to lie before the face, `(SIDE, SIDE)` in [0, 1]: a fringe, a cap.

        It is no skin, lies above the brows or at the sides, and goes on outside the face.

        Args:
            skin: `(SIDE, SIDE)`, as `Light` tells it.
        """
        other = ((skin < OTHER) & self._around).astype(np.uint8)
        other |= (~self.face & self._around).astype(np.uint8)
        other = cv2.morphologyEx(other, cv2.MORPH_OPEN, np.ones((STRAND, 1), np.uint8))
        _, labels = cv2.connectedComponents(other, connectivity=4)
        outside = np.unique(labels[~self.face & self._around])
        before = np.isin(labels, outside[outside > 0]) & self.face
        return np.asarray(cv2.GaussianBlur(cv2.dilate(before.astype(np.float32), None), (0, 0), 0.7))

    def _edges(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Return where something may lie before the face: above the brows and at the sides, above the mouth."""
        brows = points[[i for brow in BROWS for i in brow]]
        order = np.argsort(brows[:, 0])
        x, y = (np.arange(SIDE) + 0.5) / SIDE, (np.arange(SIDE)[:, None] + 0.5) / SIDE
        above = y < np.interp(x, brows[order, 0], brows[order, 1]) - BROW_GAP
        inner = polygon(points, FACE_OVAL, scale=1.0 - SIDES)
        beside = (
            ~inner & (y < points[61, 1]) & ((x < brows[:, 0].min() - BROW_GAP) | (x > brows[:, 0].max() + BROW_GAP))
        )
        return np.asarray((above | beside) & polygon(points, FACE_OVAL, scale=1.15))

    def _fit(self, logs: Floats) -> tuple[Floats, float]:
        """Return a smooth polynomial `(SIDE, SIDE, 3)` through the skin among `logs` `(N, 3)`, and the spread about it.

        Reweighted least squares, which begins with the colour of cheeks, nose and chin.
        """
        rest = logs - np.median(logs[self._middle], axis=0)
        logs, rest = logs[:, None], rest[:, None]
        spread, terms = 0.25, self._known
        for _ in range(ROUNDS):
            weighed = terms * (likeness(rest, spread) + 1e-3)
            factors = np.linalg.solve(weighed.T @ terms + self._stiff, weighed.T @ logs[:, 0])  # (8, 3)
            rest = logs - (terms @ factors)[:, None]
            spread = max(LEAST_SPREAD, min(spread, 2.0 * float(np.sqrt(np.median(distance(rest))))))
        return np.asarray(self._terms @ factors, np.float32), spread


def _within_seen(light: Floats, skin: Floats) -> Floats:
    """Return `light` `(SIDE, SIDE, 3)` no brighter and no darker than what of `skin` `(N, 3)` is seen."""
    if len(skin) < ENOUGH_SKIN:
        return light
    return np.asarray(np.clip(light, *np.quantile(skin, SEEN, axis=0)), np.float32)


def distance(rest: Floats) -> Floats:
    """Return how unlike skin log colours are that differ by `rest`, `(h, w, 3)`, from what is expected: squared."""
    turned = cv2.transform(rest, _APART)
    return np.asarray(cv2.transform(cv2.multiply(turned, turned, turned), _SUM))


def likeness(rest: Floats, spread: float) -> Floats:
    """Return how much log colours look like skin, `(h, w)` in [0, 1]: by what they differ, and its usual spread."""
    apart = distance(rest)
    apart *= np.float32(-1.0 / (SPREADS * spread) ** 2)
    return np.asarray(cv2.exp(apart, apart))


def polygon(points: Floats, indices: tuple[int, ...], *, scale: float, side: int = SIDE) -> npt.NDArray[np.bool_]:
    """Return which pixels of a crop lie in the polygon of the template's points, enlarged about its centre."""
    corners = points[list(indices)] * side
    centre = corners.mean(axis=0)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round((centre + scale * (corners - centre)) * 16).astype(np.int32)], 1, shift=4)
    return mask > 0
