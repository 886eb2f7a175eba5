"""Makes a drawn face as soft, as pale and as noisy as its frame; a clean face in a noisy picture is a mask."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.types import Floats

BLURS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # pixels of the frame, to choose from
SHARPER = 1.15  # than the frame a drawn face may be; exactly as soft looked softer than the hair around it
COARSE = 3.0  # pixels: detail is what is finer than one, of what is finer than this
PALER, CONTRASTS = 0.7, (0.55, 1.1)  # power of the ratio of both contrasts that is taken over, and its limits
ENOUGH_HUES = 0.5  # of how much a drawn face's hues vary: a frame whose skin varies more is in colour
MAX_GRAIN = 14.0  # grey levels
MIN_GRAIN = 0.5
BAND = (0.8, 2.2)  # pixels: between these lie pores, and what compression leaves of noise
MOST_PORES, PORES = 2.5, 0.6  # grey levels, and what of the difference is added: folds are seen as pores, too
TILE = 512  # pixels, side of the noise that grain is cut from
_LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # sees noise, not edges (Immerkaer 1996)


@dataclass(frozen=True, slots=True)
class Finish:
    """How soft a face is to be drawn, in pixels, how much of its contrast and hues it has, its noise in grey levels.

    Grain is another in each frame; pores, which are coarser, stay on the face.
    """

    blur: float = 0.0
    contrast: float = 1.0
    grain: float = 0.0
    pores: float = 0.0
    hues: float = 1.0

    def between(self, other: Finish, share: float) -> Finish:
        """Return a finish that is `share` of the way to `other`."""
        ours, theirs = (np.array([f.blur, f.contrast, f.grain, f.pores, f.hues]) for f in (self, other))
        return Finish(*(ours + share * (theirs - ours)).tolist())


def measure(below: Floats, patch: Floats, inside: npt.NDArray[np.bool_]) -> Finish:
    """Return what makes `patch` like `below`, both `(h, w, 3)` float32 RGB, within `inside`.

    Of the person five numbers are read: the contrast, how much of it is fine, how rough skin is at two scales, and how
    much its hues vary, which in a black-and-white picture they do not.
    """
    known = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if known.sum() < 64:
        return Finish()
    frame, face = (np.asarray(part.mean(axis=2), np.float32) for part in (below, patch))
    noise = _noise(frame, known)
    limit = SHARPER * _detail(frame, known, noise)
    own = _contrast(face, known)
    contrast = float(np.clip((_contrast(frame, known) / max(own, 1.0)) ** PALER, *CONTRASTS))
    for blur in BLURS:
        blurred = cv2.GaussianBlur(face, (0, 0), blur) if blur else face
        if _detail(blurred, known, 0.0) <= limit:
            break
    grain = float(np.sqrt(max(0.0, noise**2 - _noise(blurred, known) ** 2)))
    rough = _roughness(frame, known) ** 2 - (contrast * _roughness(blurred, known)) ** 2
    pores = PORES * float(np.sqrt(max(0.0, rough)))
    hues = min(1.0, _hues(below, known) / max(ENOUGH_HUES * _hues(patch, known), 1e-6))
    return Finish(blur, contrast, min(MAX_GRAIN, grain), min(MOST_PORES, pores), hues)


def apply(
    patch: Floats, plain: Floats, finish: Finish, *, noise: tuple[Floats, Floats], seed: int, start: tuple[int, int]
) -> Floats:
    """Return `patch` `(h, w, 3)` with that finish.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        plain: The same without any feature, which contrast is towards.
        finish: As `measure` tells it.
        noise: `noise_tiles`.
        seed: Another for every frame: so is the grain.
        start: Of the pores in their tile, down and across: they move with the face.
    """
    if abs(finish.contrast - 1.0) > 0.02:
        patch = np.asarray(cv2.addWeighted(patch, finish.contrast, plain, 1.0 - finish.contrast, 0.0))
    if finish.hues < 0.98:
        more = patch - plain
        grey = more.mean(axis=2, keepdims=True)
        patch = np.asarray(plain + grey + finish.hues * (more - grey), np.float32)
    if finish.blur >= 0.3:
        patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), finish.blur))
    grain, pores = noise
    height, width = patch.shape[:2]
    rough = np.zeros((height, width), np.float32)
    if finish.grain >= MIN_GRAIN:
        rough += finish.grain * _cut(grain, ((seed * 2654435761 >> 8), (seed * 40503 >> 3)), height, width)
    if finish.pores >= MIN_GRAIN:
        rough += finish.pores * _cut(pores, start, height, width)
    return patch + rough[..., None] if rough.any() else patch


def _cut(tile: Floats, start: tuple[int, int], height: int, width: int) -> Floats:
    rows, columns = (np.arange(at, at + n) % TILE for at, n in zip(start, (height, width), strict=True))
    return np.asarray(tile[rows[:, None], columns])


def noise_tiles() -> tuple[Floats, Floats]:
    """Return `(TILE, TILE)` noise of deviation 1, a little wider than a pixel as that of video is, and wider: pores."""
    noise = np.random.default_rng(0).standard_normal((2, TILE, TILE)).astype(np.float32)
    grain = cv2.GaussianBlur(noise[0], (0, 0), 0.5)
    pores = _band(noise[1])
    return np.asarray(grain / grain.std(), np.float32), np.asarray(pores / pores.std(), np.float32)


def _band(grey: Floats) -> Floats:
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in BAND)
    return np.asarray(fine - coarse, np.float32)


def _roughness(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return the deviation of detail of the size of pores: of the flattest third of what is `known`."""
    return float(np.quantile(np.abs(_band(grey)[known]), 1 / 3)) / 0.4307


def _hues(picture: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return how much hues vary within `known`, grey levels: apart from noise, nothing in a black-and-white picture."""
    soft = cv2.GaussianBlur(picture, (0, 0), COARSE)
    tint = (soft - soft.mean(axis=2, keepdims=True))[known]
    return float((tint - tint.mean(axis=0)).std())


def _noise(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return the deviation of the noise: of the flatter half of what is `known`, so that no lash counts."""
    response = np.abs(cv2.filter2D(grey, -1, _LAPLACE))[known]
    return float(np.median(response)) / (0.6745 * 6.0)


def _detail(grey: Floats, known: npt.NDArray[np.bool_], noise: float) -> float:
    """Return how much of the contrast is finer than a pixel or so, without what noise adds."""
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1.0, COARSE))
    sharp = max(0.0, float((grey - fine)[known].var()) - 0.8 * noise**2)
    return float(np.sqrt(sharp) / max(1.0, float((grey - coarse)[known].std())))


def _contrast(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return the deviation about the light, which is smooth over a sixth of the face."""
    light = cv2.blur(grey, (max(3, grey.shape[1] // 6),) * 2)
    return float((grey - light)[known].std())
