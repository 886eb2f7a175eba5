"""Judge which parts of a donor's picture a stranger may have: evenly lit, no hair, sharp, eyes open, mouth shut."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.textures.clean import Texture, surely_skin
from models.textures.regions import LEFT_EYE, RIGHT_EYE, Floats, Regions
from models.textures.skin import Skin

MOST_TURN = 0.62  # where across the oval the nose may lie: more is half a profile, and one side is smeared
MOST_SIDE_LIGHT = 0.33  # logarithm, mean difference of the two sides' light: more leaves shadows with hard edges
MOST_ASYMMETRY = 0.085  # logarithm, of what is left after that light is gone: such shadows
MOST_TINT = 0.045  # logarithm, deviation of hue on the skin: lamps and leaves
LEAST_SHARPNESS = 0.02  # logarithm, deviation of fine detail on the cheeks
LEAST_CLEAR = 0.88  # share of the forehead that is skin
LEAST_CLEAR_BROWS = 0.85  # the same just above the brows
LEAST_CLEAR_SIDES = 0.8
LEAST_EYE_OPENING = 0.27  # of an eye's width
MOST_GAZE = 0.11  # of an eye's width: how far the pupils lie off the middle
MOST_MOUTH_OPENING = 0.07  # of the mouth's width: lips of wider ones are stretched
MOST_SMILE = 0.68  # of the distance of the eyes' outer corners: how wide a mouth may be
BEARD = 0.15  # logarithm by which jaw or upper lip are darker than the cheeks, on average


@dataclass(frozen=True)
class Fitness:
    """What of a donor can be used.

    Attributes:
        upper: Eyes and brows, and the skin between and around them.
        lower: Nose and lips, likewise.
        skin: All else.
        beard: How much darker jaw and upper lip are than the cheeks, logarithm.
    """

    upper: bool
    lower: bool
    skin: bool
    beard: float


def judge(texture: Texture, skin: Skin, mesh: Floats, regions: Regions) -> Fitness:
    """Return what of a donor can be used.

    Args:
        texture: Mended.
        skin: As read from the crop.
        mesh: `(468, 2 or 3)` of the picture, in any unit.
        regions: At the size of the texture.
    """
    size = len(texture.detail)
    grey = cv2.GaussianBlur(texture.detail.mean(axis=-1), (0, 0), 0.01 * size)
    uneven = np.abs(grey - grey[:, ::-1])
    skin_alone = regions.skin * (1 - regions.nostrils)
    light = skin.light.mean(axis=-1)
    side_light = _mean(np.abs(light - light[:, ::-1]), regions.skin)
    evenly_lit = _turn(mesh) < MOST_TURN and side_light < MOST_SIDE_LIGHT and _tint(texture, regions) < MOST_TINT
    clear = surely_skin(skin, regions)
    above = cv2.dilate(regions.brows, np.ones((size // 20, size // 20))) * regions.forehead
    eyes_ahead = _eye_opening(mesh) > LEAST_EYE_OPENING and _gaze(texture, regions) < MOST_GAZE
    shut = _span(mesh, 13, 14) < MOST_MOUTH_OPENING * _span(mesh, 61, 291)
    shut &= _span(mesh, 61, 291) < MOST_SMILE * _span(mesh, 33, 263)
    smooth = texture.detail.mean(axis=-1)
    fine = (smooth - cv2.GaussianBlur(smooth, (0, 0), 0.006 * size))[
        regions.cheeks * (1 - regions.nostrils) > 0.5
    ].std()
    clear_skin = _mean(clear, regions.forehead) > LEAST_CLEAR and _mean(clear, _sides(regions)) > LEAST_CLEAR_SIDES
    return Fitness(
        upper=bool(
            evenly_lit
            and eyes_ahead
            and _mean(clear, above) > LEAST_CLEAR_BROWS
            and _mean(uneven, regions.upper * skin_alone) < MOST_ASYMMETRY
        ),
        lower=bool(evenly_lit and shut and _mean(uneven, regions.lower * skin_alone) < MOST_ASYMMETRY),
        skin=bool(evenly_lit and clear_skin and fine > LEAST_SHARPNESS and _mean(uneven, skin_alone) < MOST_ASYMMETRY),
        beard=beard(texture.detail, regions),
    )


def beard(detail: Floats, regions: Regions) -> float:
    """Return how much darker jaw and upper lip are than cheeks, in logarithms, of a detail `(S, S, 3)`."""
    grey = cv2.GaussianBlur(detail.mean(axis=-1), (0, 0), 0.01 * len(detail))
    return max(-_mean(grey, regions.jaw), -_mean(grey, regions.moustache))


def _mean(values: Floats, weight: Floats) -> float:
    return float((values * weight).sum() / max(float(weight.sum()), 1e-6))


def _sides(regions: Regions) -> Floats:
    radius = len(regions.core) // 16
    inner = cv2.erode(regions.core, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    return np.asarray((regions.core - inner) * (1 - np.maximum(regions.forehead, regions.brows)), np.float32)


def _tint(texture: Texture, regions: Regions) -> float:
    tint = texture.detail - texture.detail.mean(axis=-1, keepdims=True)
    blurred = cv2.GaussianBlur(tint, (0, 0), 0.0125 * len(tint))
    return float(blurred[regions.skin > 0.5].std())


def _gaze(texture: Texture, regions: Regions) -> float:
    """Return how far the darker part of either eye lies off its middle, as a share of its width: the worse one."""
    grey, size = texture.detail.mean(axis=-1), len(texture.detail)
    x = np.broadcast_to(np.arange(size, dtype=np.float32), grey.shape)
    left = np.broadcast_to(np.arange(size) < size / 2, grey.shape)
    worst = 0.0
    for half in (left, ~left):
        eye = (regions.eyes > 0.5) & half
        dark = eye & (grey < np.quantile(grey[eye], 0.35))
        low, high = float(x[eye].min()), float(x[eye].max())
        worst = max(worst, abs(float(x[dark].mean()) - (low + high) / 2) / (high - low))
    return worst


def _span(mesh: Floats, a: int, b: int) -> float:
    return float(np.linalg.norm(mesh[a, :2] - mesh[b, :2]))


def _eye_opening(mesh: Floats) -> float:
    left = _span(mesh, 159, 145) / _span(mesh, LEFT_EYE[0], LEFT_EYE[8])
    right = _span(mesh, 386, 374) / _span(mesh, RIGHT_EYE[0], RIGHT_EYE[8])
    return (left + right) / 2


def _turn(mesh: Floats) -> float:
    """Return where the nose lies across the oval: .5 facing the camera, 1 in profile."""
    across = mesh[454, :2] - mesh[234, :2]
    share = float((mesh[1, :2] - mesh[234, :2]) @ across / (across @ across))
    return max(share, 1 - share)
