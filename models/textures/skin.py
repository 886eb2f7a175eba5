"""Tell skin and the light on it from everything else in a crop: hair, beard, brows, eyes, lips, shine.

Works on logarithms, in which light adds to the colour of what it falls on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.textures.regions import Floats, Regions, grown, make_regions

OFFSET = 6.0  # of 255, added before the logarithm: noise in the dark must not weigh most
SMALL = 80  # pixels: the light is read at this size
ROUNDS = 8
TOLERANCE = 1.6  # deviations of the residual at which a pixel counts for less than half
LEAST_DEVIATION = 0.05  # logarithm; even light leaves less, and must not make freckles outliers
BANDS = (0.2, 0.1, 0.05)  # of the side: the light is followed down to this scale
HAIR = 0.25  # of where brows may be, that is surely hair
LINES_SIDE = 160  # pixels: lines are read at this size
FINE = (0.006, 0.012)  # of the side: lines are broader than the first, and finer than the second
DEEPEST_LINE = 0.15  # logarithm: what is darker is hair
LEAST_SKIN = 30  # pixels of skin, among which lines are looked for at least
LACK = 0.1  # share of skin nearby, below which the coarser band is kept


@dataclass(frozen=True)
class Skin:
    """What is known of the skin in a crop.

    Attributes:
        light: `(S, S, 3)` logarithm of skin colour times light, carried on smoothly where no skin is.
        weight: `(S, S)` in [0, 1], how surely a pixel is skin.
        colour: `(3,)` mean logarithm on the cheeks.
    """

    light: Floats
    weight: Floats
    colour: Floats


def held(values: Floats, most: float) -> Floats:
    """Return `values` within `most` of 0, softly: a plateau has an edge that one sees."""
    return np.asarray(most * np.tanh(values / most), np.float32)


def logarithm(picture: Floats) -> Floats:
    """Return the logarithm of a picture of 0 to 255."""
    return np.asarray(np.log(picture.astype(np.float32) + OFFSET), np.float32)


def picture_of(logarithms: Floats) -> Floats:
    """Return the picture of 0 to 255 of what `logarithm` returned."""
    return np.clip(np.exp(logarithms) - OFFSET, 0, 255)


def read_skin(crop: Floats, small: Regions) -> Skin:
    """Return the skin of a crop.

    Args:
        crop: `(S, S, 3)` RGB, 0 to 255.
        small: Regions at `SMALL`.
    """
    logarithms = logarithm(cv2.resize(crop, (SMALL, SMALL), interpolation=cv2.INTER_AREA))
    trend, weight = _fit(logarithms, small)
    light = trend
    for band in BANDS:
        sigma = band * SMALL
        missing = cv2.GaussianBlur((logarithms - light) * weight[..., None], (0, 0), sigma)
        light = light + missing / (cv2.GaussianBlur(weight, (0, 0), sigma) + LACK)[..., None]
    sure = weight * small.cheeks
    colour = (light * sure[..., None]).sum(axis=(0, 1)) / sure.sum()
    size = (crop.shape[1], crop.shape[0])
    return Skin(
        cv2.resize(light, size, interpolation=cv2.INTER_CUBIC),
        np.clip(cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR), 0, 1),
        colour.astype(np.float32),
    )


def brow_darkness(crop: Floats, small: Regions) -> float:
    """Return how much darker the darker part of the brows is than skin there, logarithm: 0 for none, or less.

    Args:
        crop: `(S, S, 3)` RGB, 0 to 255.
        small: Regions at `SMALL`.
    """
    shrunk = cv2.resize(crop, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    rest = (logarithm(shrunk) - read_skin(shrunk, small).light).mean(axis=-1)
    return min(0.0, float(np.quantile(rest[small.brows > 0.5], HAIR)))


class LineReader:
    """Reads how lined skin is.

    Args:
        points: `(468, 2)` of the template, in the unit square.
    """

    def __init__(self, points: Floats) -> None:
        regions, self._small = make_regions(points, LINES_SIDE), make_regions(points, SMALL)
        around = (regions.brows, 0.012), (regions.eyes, 0.03), (regions.lips, 0.03), (regions.nostrils, 0.02)
        features = np.maximum.reduce([grown(mask, reach) for mask, reach in around])
        skin = cv2.erode(regions.core, np.ones((9, 9))) * (1 - features)
        rows = np.arange(LINES_SIDE)[:, None] / LINES_SIDE
        eyes, lids, mouth = points[[33, 263], 1].mean() - 0.03, points[[33, 263], 1].mean() + 0.13, points[61, 1]
        parts = regions.forehead > 0.5, (rows > eyes) & (rows < lids), (rows > lids) & (rows < mouth)
        self._parts = [np.asarray(skin * part, np.float32) for part in parts]

    def __call__(self, crop: Floats) -> Floats:
        """Return how dark lines are in the mean, on forehead, around eyes and on cheeks: `(3,)`, logarithm over skin.

        Args:
            crop: `(S, S, 3)` RGB, 0 to 255; lines of faces of less than 100 pixels are not seen.
        """
        crop = cv2.resize(crop, (LINES_SIDE, LINES_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        skin = read_skin(crop, self._small)
        grey = (logarithm(crop) - skin.light).mean(axis=2)
        fine, broad = (cv2.GaussianBlur(grey, (0, 0), scale * LINES_SIDE) for scale in FINE)
        dark = np.clip(broad - fine, 0.0, DEEPEST_LINE)
        weights = [part * skin.weight for part in self._parts]
        return np.array([(dark * weight).sum() / max(weight.sum(), LEAST_SKIN) for weight in weights], np.float32)


def _fit(logarithms: Floats, small: Regions) -> tuple[Floats, Floats]:
    """Return a smooth trend of skin and light, and how well each pixel agrees with it, by reweighted least squares."""
    y, x = np.mgrid[:SMALL, :SMALL].astype(np.float32) / SMALL - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    prior = small.skin * (1 - 0.6 * small.forehead) * (1 - 0.5 * (y > 0.1))  # fringes and beards are there
    weight = prior.copy()
    trend = logarithms
    for _ in range(ROUNDS):
        weighted = terms * weight[..., None]
        normal = np.tensordot(weighted, terms, ((0, 1), (0, 1))) + 1e-3 * np.eye(terms.shape[-1])
        trend = terms @ np.linalg.solve(normal, np.tensordot(weighted, logarithms, ((0, 1), (0, 1))))
        residual = logarithms - trend
        grey = residual.mean(axis=-1)
        tint = residual - grey[..., None]
        distance = np.sqrt((np.where(grey < 0, 0.8, 0.5) * grey) ** 2 + 4 * np.square(tint).sum(axis=-1))
        deviation = max(LEAST_DEVIATION, 1.4826 * float(np.median(distance[prior > 0.4])))
        agreement = np.exp(-np.square(distance / (TOLERANCE * deviation)))
        weight = prior * agreement
    return trend.astype(np.float32), (small.skin * agreement).astype(np.float32)
