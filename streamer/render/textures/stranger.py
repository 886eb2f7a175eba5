"""A stranger made ready to be drawn: their skin without light at several sizes, and their eyes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from models.teeth import Teeth
from models.textures import coarse
from models.textures.regions import NOSTRIL_OUTLINES
from models.textures.skin import held
from streamer.render.textures import eyes, mouth
from streamer.render.textures.light import CELLS, DARK, SHADE_HUE, Light, LightReader, Tones, polygon
from streamer.render.textures.light import LIPS as LIP_OUTLINE
from streamer.types import Floats, Image

LEVELS = 3  # sizes a stranger is kept in, each half the one before
BROWS_PALER = 0.4  # times as dark as in their texture brows are drawn at least; never darker: that is a smear of shade
BROW_REACH = 5  # cells around the brows of the mesh, past which those of some strangers reach
BROWN_EYED = (-0.55, -0.3)  # logarithm of brows over skin: who has darker ones has brown eyes, with paler ones any
BROW_HUE = 0.1  # of the logarithm, by which the hue of brows goes along with the person's hair at most
LASHES_PALER = 0.5  # the same as of brows, of lashes and what is painted around them
LIPS = (-0.4, -0.06), (0.07, 0.3), (-0.05, 0.2)  # limits of a person's lips: brightness, red over green, blue over it
MOST_REDDER = 0.6  # of the logarithm of each channel, by which lips change
LIPS_SIDE = 144  # pixels of the crop in which lips are masked
LIPS_TAKEN = 0.45  # of the difference from the person's
SHINE = (0.05, 0.08)  # logarithm: brighter than skin by the first is shine, of which at most the second is shown
WHITE_HAIRS = (0.0, 0.03)  # the same in brows: white hairs among dark ones glitter in a small picture
MOST_TINT = 0.03  # logarithm: by how much the hue of parts of a face differs from that of skin, about
DEEPEST = 0.35  # logarithm: what is darker than a shade is hair
LIP_SHADES = 0.18  # logarithm: how much lighter or darker than all of them parts of lips are at most
LIP_LINES = 0.012, 0.12  # of the side: what is finer, lines of lips, stays; logarithm: to here
NOSTRILS_REACH = 1.5  # times as large as they are is what is not made paler for those of others
NOSTRILS_DARK, NOSTRILS_EDGE = 0.75, 0.006  # logarithm: how much darker than skin they are at most; of the side
OWN_LIGHT = (-0.2, 0.25)  # of the logarithm: how much of a texture's own light may be left in it, beyond what all have


@dataclass(frozen=True, slots=True)
class FeatureMasks:
    """Where the features of a face, and what is around lips and nostrils, lie in a crop, `(SIDE, SIDE)` each in [0, 1].

    Lips, which are thin, are `(LIPS_SIDE, LIPS_SIDE)`.
    """

    brows: Floats
    lips: Floats
    lashes: Floats
    around_lips: Floats
    nostrils: Floats


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who does not exist.

    Attributes:
        levels: Log colours less `light`, `(S, S, 3)` float32, then half as large, and again.
        light: `(CELLS, CELLS, 3)`, in which the texture was lit.
        eyeball: Of either eye.
        tones: Of the features.
        teeth: A row of them.
    """

    levels: tuple[Floats, ...]
    light: Floats
    eyeball: eyes.Eyeball
    tones: Tones
    teeth: Teeth


def feature_masks(reader: LightReader, points: Floats) -> FeatureMasks:
    """Return where features lie in the template `points` `(468, 2)` of `reader`."""
    reach = np.ones((BROW_REACH, BROW_REACH), np.uint8)
    brows = cv2.dilate(reader.brows.astype(np.float32), reach) * (1.0 - reader.eyes)
    masks = (brows, reader.lashes.astype(np.float32) * (1.0 - brows))
    brows, lashes = (np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), np.float32) for mask in masks)
    nostrils = np.any([polygon(points, one, scale=NOSTRILS_REACH) for one in NOSTRIL_OUTLINES], axis=0).astype(
        np.float32
    )
    return FeatureMasks(brows, lip_mask(points), lashes, reader.around_lips, cv2.GaussianBlur(nostrils, (0, 0), 0.8))


def lip_mask(points: Floats) -> Floats:
    """Return where lips and what is between them lie in the template `points` `(468, 2)`, `(LIPS_SIDE, LIPS_SIDE)`."""
    lips = polygon(points, LIP_OUTLINE, scale=1.0, side=LIPS_SIDE).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(lips, (0, 0), 0.8), np.float32)


def prepare(
    texture: Image,
    points: Floats,
    common: Floats,
    eye: eyes.Eyeball,
    teeth: Teeth,
    *,
    reader: LightReader,
    levels: int = LEVELS,
) -> Stranger:
    """Return the stranger whose face is `texture`, `(S, S, 3)` uint8 RGB in the template `points`.

    Args:
        texture: Evenly lit, eyes open, mouth closed.
        points: `(468, 2)` in the unit square.
        common: `(CELLS, CELLS, 3)`: what the light of all textures has in common.
        eye: Theirs.
        teeth: Theirs.
        reader: Of the template.
        levels: Sizes to keep it in.
    """
    side = len(texture)
    read = reader(texture)
    light = _light(read, common, reader)
    texture = mouth.closed(texture, points)
    flat = np.log(texture.astype(np.float32) + DARK) - enlarged(light, side)
    brows = enlarged(reader.brows.astype(np.float32), side).clip(0.0, 1.0)[..., None]
    dull = _held_down(flat, SHINE)
    flat = dull + brows * (_held_down(flat, WHITE_HAIRS) - dull)
    lips = cv2.resize(lip_mask(points), (side, side), interpolation=cv2.INTER_LINEAR)
    flat = without_tint(flat, 1.0 - lips[..., None])
    flat = _with_soft_nostrils(flat, points)
    sizes = [flat]
    for _ in range(levels - 1):
        sizes.append(np.asarray(cv2.resize(sizes[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)))
    tones = reader.tones(read)
    return Stranger(tuple(sizes), light, eye, replace(tones, brows=without_tint(tones.brows, 1.0)), teeth)


def _with_soft_nostrils(flat: Floats, points: Floats) -> Floats:
    """Return log colours `(S, S, 3)` with nostrils held: seen small, or from above, black ones are ink."""
    side = len(flat)
    mask = np.any([polygon(points, one, scale=NOSTRILS_REACH, side=side) for one in NOSTRIL_OUTLINES], axis=0)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), NOSTRILS_EDGE * side)
    dark = np.minimum(flat.mean(axis=2), 0.0)
    return np.asarray(flat + (soft * (held(dark, NOSTRILS_DARK) - dark))[..., None], np.float32)


def with_tones(stranger: Stranger, tones: Tones, masks: FeatureMasks) -> Stranger:
    """Return the stranger with features in the person's colours: what is around them stays the person's.

    Brows and lashes are no darker than `tones` says, brows have the hue of the hair, lips are no more made up, and with
    dark brows eyes are brown, whatever the person's are.
    """
    own = stranger.tones
    brow, lash = float(own.brows.mean()), own.lashes
    brows_paler = float(np.clip(tones.brows.mean() / min(brow, -1e-3), BROWS_PALER, 1.0)) - 1.0
    lashes_paler = float(np.clip(tones.lashes / min(lash, -1e-3), LASHES_PALER, 1.0)) - 1.0
    hue = np.clip(_hue(tones.brows) - _hue(own.brows), -BROW_HUE, BROW_HUE)
    redder = LIPS_TAKEN * np.clip(_plausible_lips(tones.lips) - own.lips, -MOST_REDDER, MOST_REDDER)
    levels = []
    for level in stranger.levels:
        size = level.shape[1::-1]
        brows, lips, lashes = (
            cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)[..., None]
            for mask in (masks.brows, masks.lips, masks.lashes)
        )
        hair = brows * np.clip(level.mean(axis=2, keepdims=True) / min(brow, -1e-3), 0.0, 1.0) ** 2
        paler = level * (1.0 + brows_paler * brows + lashes_paler * lashes)
        even = own.lips + _lip_shades(without_tint(paler - own.lips, 1.0))
        levels.append(np.asarray(paler + hair * hue + lips * (redder + even - paler), np.float32))
    low, high = BROWN_EYED
    brown = float(np.clip((high - tones.brows.mean()) / (high - low), 0.0, 1.0))
    return replace(stranger, levels=tuple(levels), eyeball=eyes.browned(stranger.eyeball, brown))


def with_coarse(stranger: Stranger, shades: Floats, inside: Floats, masks: FeatureMasks) -> Stranger:
    """Return the stranger with other coarse shades (`models.textures.coarse`), but brows no darker than they are.

    Args:
        stranger: Ready but for these.
        shades: `(coarse.SIZE, coarse.SIZE, 3)`.
        inside: `(coarse.SIZE, coarse.SIZE)` in [0, 1]: the face, in the template.
        masks: Features.
    """
    small = cv2.resize(stranger.levels[-1], inside.shape, interpolation=cv2.INTER_AREA)
    change = coarse.change(shades, np.asarray(small, np.float32), inside, masks.around_lips)
    grey = change.mean(axis=2)
    change -= (masks.brows * np.minimum(grey, 0.0))[..., None]  # dark ones go ill with fair hair
    change -= (masks.nostrils * np.maximum(grey, 0.0))[..., None]  # others lie elsewhere: a rim of light around them
    return replace(stranger, levels=tuple(level + enlarged(change, len(level)) for level in stranger.levels))


def _held_down(flat: Floats, limits: tuple[float, float]) -> Floats:
    """Return log colours `(S, S, 3)` with what is brighter than skin by `limits[0]` held within `limits[1]` of that.

    Eyes, which are brighter, are drawn anew.
    """
    start, most = limits
    over = np.maximum(flat.mean(axis=2, keepdims=True) - start, 0.0)
    return np.asarray(flat - (over - held(over, most)), np.float32)


def without_tint(flat: Floats, share: Floats | float) -> Floats:
    """Return log colours less `share` of what of their hues is beyond `MOST_TINT`, but for those that shades have."""
    grey = flat.mean(axis=-1, keepdims=True)
    usual = np.clip(grey, -DEEPEST, DEEPEST) * (SHADE_HUE - 1.0)
    tint = flat - grey - usual
    return np.asarray(flat + share * (held(tint, MOST_TINT) - tint), np.float32)


def _lip_shades(flat: Floats) -> Floats:
    """Return shades of lips `(S, S, 3)`, logarithms, about even, with their lines."""
    fineness, most = LIP_LINES
    broad = cv2.GaussianBlur(flat, (0, 0), fineness * len(flat))
    return held(np.asarray(broad, np.float32), LIP_SHADES) + held(flat - broad, most)


def _hue(colour: Floats) -> Floats:
    return np.asarray(colour - colour.mean(), np.float32)


def _plausible_lips(lips: Floats) -> Floats:
    """Return a colour of lips `(3,)` within what lips have: before a hidden mouth anything is read."""
    grey, red, blue = (np.clip(value, *limits) for value, limits in zip(_opponent(lips), LIPS, strict=True))
    green = grey - (red + blue) / 3
    return np.array([green + red, green, green + blue], np.float32)


def _opponent(colour: Floats) -> tuple[float, float, float]:
    red, green, blue = colour.tolist()
    return (red + green + blue) / 3, red - green, blue - green


def _light(read: Light, common: Floats, reader: LightReader) -> Floats:
    """Return the light of a texture: the common one, and a little of its own, which beards and make-up falsify."""
    own = read.cells
    weight = cv2.resize(read.skin * reader.skin, (CELLS, CELLS), interpolation=cv2.INTER_AREA)[..., None]
    level = ((own - common) * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    base = common + level
    return np.asarray(base + np.clip(own - base, *OWN_LIGHT), np.float32)


def enlarged(light: Floats, side: int) -> Floats:
    """Return a light `(side, side, 3)`."""
    return np.asarray(cv2.resize(light, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
