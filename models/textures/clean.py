"""Mend a crop of a face into a texture: even light, no hair, ear or background, no shine, neutral whites of eyes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.textures.regions import Floats, Regions, grown
from models.textures.skin import Skin, logarithm

FINE = 0.012  # of the side: scale below which what skin shows is texture, and can be continued elsewhere
SHAPE_KEPT = 0.5  # share kept of shading that is the same on both sides: shape rather than light
MOST_SHAPE = 0.2  # logarithm
PATCH = 0.018  # of the side: scale of patches of light and shadow; wrinkles are finer
PATCHES = (-0.1, 0.05)  # logarithm: what folds and cheekbones shade; more is light
STAIN = 0.015  # of the side: scale of patches of coloured light
MOST_TINT = 0.035  # logarithm: what rouge and veins colour; more is light
TEXTURE_SHARE = 0.35  # of the strength of a cheek's: noise is seen sooner than pores
FAINT = 0.04  # logarithm: what is stronger than three times this is a mole or a hair, not texture
CHEEKS = (0.45, 0.62)  # of the side, from where to where
SHINE = (0.06, 0.07)  # logarithm: brighter than the skin around by this much is shine, and how much of it stays
SHADOW = (0.62, 0.7)  # of what is darker than skin, the share that stays, and the most of it, logarithm
SURE = (0.25, 0.6)  # weight of skin below which a pixel is replaced, and above which it stays
TAILS = 0.16  # of the side from the middle: farther out are tails of brows, which hair hangs into
TAIL_DARKER = (0.08, 0.2)  # logarithm: darker than the other tail by so much is hair, and goes from the second on
KNOWN = 0.2  # share of skin around, from which on it tells
WHITES = (float(np.log(126.0)), float(np.log(176.0)))  # logarithm of how bright they may be
WHITE_TINT_KEPT = 0.35  # share of the tint of the whites of the eyes: the rest is the light's


@dataclass(frozen=True)
class Texture:
    """A mended face.

    Attributes:
        detail: `(S, S, 3)` logarithm of what is left of the picture without light and skin colour.
        colour: `(3,)` logarithm of the skin's.
    """

    detail: Floats
    colour: Floats


def clean(crop: Floats, skin: Skin, mean_light: Floats, regions: Regions) -> Texture:
    """Return the texture of a crop.

    Args:
        crop: `(S, S, 3)` RGB, 0 to 255.
        skin: Read from it.
        mean_light: `(S, S, 3)` logarithm, of many, the same on both sides, of mean 0 on the cheeks.
        regions: At S.
    """
    detail = without_stains(logarithm(crop) - skin.light, regions)
    detail = without_shadows(without_shine(without_patches(detail, regions), regions), regions)
    keep = kept(skin, regions)
    shape = np.clip(_mirrored_mean(skin.light - skin.colour - mean_light), -MOST_SHAPE, MOST_SHAPE)
    shape *= SHAPE_KEPT * _edge(regions)[..., None]
    whole = without_hair(continued(detail, keep, regions), regions) + shape
    return Texture(neutral_whites(whole, regions, skin.colour + mean_light), skin.colour)


def kept(skin: Skin, regions: Regions) -> Floats:
    """Return where a picture is taken as it is, `(S, S)` in [0, 1]: skin and features, neither hair nor the rim."""
    sides = np.maximum(regions.forehead, regions.core - _shrunk(regions.core, 0.06))  # hair is nowhere else
    sides = cv2.GaussianBlur(sides, (0, 0), 0.015 * len(sides))
    return np.asarray(_edge(regions) * (1 - sides * (1 - surely_skin(skin, regions))), np.float32)


def surely_skin(skin: Skin, regions: Regions) -> Floats:
    """Return how surely there is skin around each pixel, `(S, S)` in [0, 1]; features do not count against it."""
    sigma = 0.012 * len(skin.weight)
    around = cv2.GaussianBlur(regions.skin, (0, 0), sigma)
    share = cv2.GaussianBlur(skin.weight, (0, 0), sigma) / np.maximum(around, 0.02)
    low, high = SURE
    sure = np.clip((share - low) / (high - low), 0, 1)
    known = np.clip(around / KNOWN - 0.1, 0, 1)  # softly: a brow must not end at an edge
    return np.asarray(1 + known * (sure - 1), np.float32)


def without_shine(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` with what is much brighter than the skin around it held down, outside eyes and mouth."""
    start, stays = SHINE
    grey = detail.mean(axis=-1)
    over = np.maximum(grey - start, 0)
    less = (over - stays * np.tanh(over / stays)) * regions.skin
    return np.asarray(detail - less[..., None], np.float32)


def without_shadows(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` with what is dark at nose and folds as pale as where no studio lights it; beards stay.

    Nostrils stay as well: no light reaches into them, and without them a nose has a shadow below and no opening.
    """
    stays, most = SHADOW
    grey = np.minimum(detail.mean(axis=-1), 0)
    paler = most * np.tanh(stays * grey / most)
    bearded = cv2.GaussianBlur(np.maximum(regions.jaw, regions.moustache), (0, 0), FINE * len(detail))
    share = regions.plain * (1 - bearded) * (1 - regions.nostrils)
    return np.asarray(detail + (share * (paler - grey))[..., None], np.float32)


def without_patches(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` with patches of light and shadow on the skin held down; beards stay, and so do wrinkles."""
    sigma = PATCH * len(detail)
    weight = cv2.GaussianBlur(regions.skin, (0, 0), sigma) + 0.05
    broad = cv2.GaussianBlur(detail.mean(axis=-1) * regions.skin, (0, 0), sigma) / weight
    dark, bright = PATCHES
    bearded = np.maximum(regions.jaw, regions.moustache)
    excess = np.maximum(broad - bright, 0) + np.minimum(broad - dark, 0) * (1 - bearded)
    less = cv2.GaussianBlur(excess, (0, 0), sigma / 2) * regions.skin * (1 - regions.features)  # a nose has its shape
    return np.asarray(detail - less[..., None], np.float32)


def without_stains(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` without patches of coloured light on the skin: lamps, the sky, leaves."""
    tint = detail - detail.mean(axis=-1, keepdims=True)
    broad = cv2.GaussianBlur(tint * regions.skin[..., None], (0, 0), STAIN * len(tint))
    broad /= cv2.GaussianBlur(regions.skin, (0, 0), STAIN * len(tint))[..., None] + 0.05
    excess = broad - np.clip(broad, -MOST_TINT, MOST_TINT)
    return np.asarray(detail - regions.skin[..., None] * excess, np.float32)


def without_hair(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` with each tail of a brow that hair of the head darkens replaced by the other, mirrored."""
    size, (low, high) = len(detail), TAIL_DARKER
    out = np.abs(np.arange(size, dtype=np.float32) / size - 0.5) > TAILS
    around = cv2.GaussianBlur(grown(regions.brows, 0.03) * out, (0, 0), 0.012 * size)
    grey = cv2.GaussianBlur(detail.mean(axis=-1), (0, 0), 0.015 * size)
    share = around * np.clip((grey[:, ::-1] - grey - low) / (high - low), 0, 1)
    return np.asarray(detail + share[..., None] * (detail[:, ::-1] - detail), np.float32)


def continued(detail: Floats, keep: Floats, regions: Regions) -> Floats:
    """Return `detail` where `keep` is 1, and texture like that of the cheeks elsewhere."""
    made = skin_texture(detail, regions)
    return np.asarray(made + keep[..., None] * (detail - made), np.float32)


def skin_texture(detail: Floats, regions: Regions) -> Floats:
    """Return a field `(S, S, 3)` that looks like the fine texture of the cheeks everywhere.

    The spectrum of a cheek under random phases, the same for each channel so that colours stay together (Galerne,
    Gousseau and Morel 2011, Random Phase Textures).
    """
    size = len(detail)
    fine = detail - cv2.GaussianBlur(detail, (0, 0), FINE * size)
    window = cv2.GaussianBlur(_shrunk(regions.cheeks, 0.02), (0, 0), 0.01 * size) * _below_eyes(size)
    weight = window[..., None]
    mean = (fine * weight).sum(axis=(0, 1)) / weight.sum()
    patch = np.clip(fine - mean, -3 * FAINT, 3 * FAINT) * weight / np.sqrt(np.square(weight).sum())
    phases = np.angle(np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size))))
    spectrum = np.fft.rfft2(patch, axes=(0, 1)) * np.exp(1j * phases)[..., None]
    made = np.fft.irfft2(spectrum, s=(size, size), axes=(0, 1)) * size
    return np.asarray(TEXTURE_SHARE * made, np.float32)


def _below_eyes(size: int) -> Floats:
    """Return 1 on the upper cheeks: neither lashes nor beards are there."""
    y = np.arange(size, dtype=np.float32)[:, None] / size
    return np.asarray(((y > CHEEKS[0]) & (y < CHEEKS[1])) * np.ones((1, size), np.float32), np.float32)


def neutral_whites(detail: Floats, regions: Regions, level: Floats) -> Floats:
    """Return `detail` with the whites of the eyes as bright as is usual, and without most of their tint.

    Args:
        detail: `(S, S, 3)`.
        regions: At S.
        level: `(S, S, 3)` logarithm of what `detail` is added to.
    """
    eyes = regions.eyes > 0.5
    grey = detail.mean(axis=-1)
    white = eyes & (grey > np.quantile(grey[eyes], 0.75))
    tint = (detail + level)[white].mean(axis=0)
    brightness = float(tint.mean())
    change = (brightness - tint) * (1 - WHITE_TINT_KEPT)
    wanted = np.clip(brightness, *WHITES)
    return np.asarray(detail + regions.eyes[..., None] * (change + wanted - brightness), np.float32)


def _edge(regions: Regions) -> Floats:
    """Return 1 in the core and on the brows, whose tails reach out of it, softly 0 at the outline of the face."""
    tails = _shrunk(regions.brows, 0.016)
    blurred = cv2.GaussianBlur(np.maximum(regions.core, tails), (0, 0), 0.018 * len(regions.core))
    return np.asarray(np.clip(2 * blurred - 1, 0, 1), np.float32)


def _shrunk(mask: Floats, share: float) -> Floats:
    radius = max(1, round(share * len(mask)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.erode(mask, kernel))


def _mirrored_mean(values: Floats) -> Floats:
    return np.asarray((values + values[:, ::-1]) / 2, np.float32)
