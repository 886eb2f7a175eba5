"""Makes a drawn face as soft, pale, noisy and uneven as its frame; a clean face in a noisy picture is a mask."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.render.textures.light import DARK
from streamer.types import Floats

MOST_BLUR = 3.0  # pixels of the frame
SHARPER = 1.2  # than the frame a drawn face may be; exactly as soft looked softer than the hair around it
EDGES = 0.93  # quantile of the slopes, from which on they are edges
SHARP = 0.8  # quantile of their sharpness, which tells that of the frame
SLOPES = (0.7, 2.0)  # pixels, the blurs at which slopes are compared: a soft edge is about as steep at both
COARSE = 3.0  # pixels: contrast and hues are of what is finer, or coarser
PALER, CONTRASTS = 0.7, (0.55, 1.1)  # power of the ratio of both contrasts that is taken over, and its limits
ENOUGH_HUES = 0.5  # of how much a drawn face's hues vary: a frame whose skin varies more is in colour
MAX_GRAIN = 14.0  # grey levels
MIN_GRAIN, MIN_BLUR = 0.5, 0.3
BAND = (0.8, 2.2)  # pixels: between these lie pores, and what compression leaves of noise
MOST_PORES, PORES = 2.5, 0.6  # grey levels, and what of the difference is added: folds are seen as pores, too
PORES_SEEN = (100.0, 200.0)  # pixels across: on smaller faces all that is as fine are features
MOTTLES = (0.8, 1.6, 3.2, 6.4)  # pixels of a face `MOTTLED_WIDTH` wide: between each two skin is uneven in its own way
MOTTLED_WIDTH, MOTTLED_SIDE = 160, 256  # pixels; and the side of the template, which is wider than the face
MOST_MOTTLED = np.array([0.006, 0.004], np.float32)  # logarithms of brightness and of red over green: more is a rash
MOTTLED = 0.5  # of what is missing that is added: lines of faces count as unevenness, too
MOTTLE_HUE = np.array([0.5, -0.5, 0.0], np.float32)
CYLINDER = 0.34  # of the template's side: radius of a head, on which skin is uneven
LEAST_MOTTLED = 200  # pixels of a face, at that width, that tell how uneven it is
FLATTEST, OF_DEVIATION = 1 / 3, 0.4307  # quantile that no feature counts in, and what it is of a normal deviation
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
    own = _contrast(face, known)
    contrast = float(np.clip((_contrast(frame, known) / max(own, 1.0)) ** PALER, *CONTRASTS))
    softer = (_softness(frame, known) / SHARPER) ** 2 - _softness(face, known) ** 2
    blur = min(MOST_BLUR, float(np.sqrt(max(0.0, softer))))
    blurred = cv2.GaussianBlur(face, (0, 0), blur) if blur >= MIN_BLUR else face
    grain = float(np.sqrt(max(0.0, noise**2 - _noise(blurred, known) ** 2)))
    rough = _roughness(frame, known) ** 2 - (contrast * _roughness(blurred, known)) ** 2
    low, high = PORES_SEEN
    pores = PORES * float(np.sqrt(max(0.0, rough)) * np.clip((frame.shape[1] - low) / (high - low), 0.0, 1.0))
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
    if finish.blur >= MIN_BLUR:
        patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), finish.blur))
    grain, pores = noise
    height, width = patch.shape[:2]
    rough = np.zeros((height, width), np.float32)
    if finish.grain >= MIN_GRAIN:
        rough += finish.grain * _cut(grain, ((seed * 2654435761 >> 8), (seed * 40503 >> 3)), height, width)
    if finish.pores >= MIN_GRAIN:
        rough += finish.pores * _cut(pores, start, height, width)
    return patch + rough[..., None] if rough.any() else patch


def missing_mottles(below: Floats, face: Floats, inside: npt.NDArray[np.bool_], width: float) -> Floats:
    """Return how much more uneven `below`, the person, is than `face`, both `(h, w, 3)` float32 RGB, within `inside`.

    Args:
        below, face, inside: As of `measure`.
        width: Of the whole face, in pixels, however much of it is seen.

    Returns:
        `(M, 2)`: by size, deviations of the logarithms of brightness and of red over green; 0 where little is seen.
    """
    scale = MOTTLED_WIDTH / max(width, 1.0)
    nothing = np.zeros((len(MOTTLES) - 1, 2), np.float32)
    if inside.sum() * scale**2 < LEAST_MOTTLED:
        return nothing
    size = tuple(max(1, round(scale * side)) for side in inside.shape[1::-1])
    known = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    known = cv2.erode(known, np.ones((7, 7), np.uint8)) > 0
    if known.sum() < LEAST_MOTTLED:
        return nothing
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    theirs, ours = (_unevenness(np.asarray(cv2.resize(part, size, interpolation=how)), known) for part in (below, face))
    return np.minimum(MOST_MOTTLED, MOTTLED * np.sqrt(np.maximum(theirs**2 - ours**2, 0.0)))


def _unevenness(picture: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Return the deviations of the flattest third of what is `known`, `(M, 2)` (`missing_mottles`)."""
    logs = np.log(np.maximum(picture, 0.0) + DARK)
    blurred = [
        cv2.GaussianBlur(cv2.merge([logs.mean(axis=2), logs[..., 0] - logs[..., 1]]), (0, 0), sigma)
        for sigma in MOTTLES
    ]
    bands = np.stack([fine - coarse for fine, coarse in itertools.pairwise(blurred)])[:, known]  # (M, n, 2)
    return np.asarray(np.quantile(np.abs(bands), FLATTEST, axis=1) / OF_DEVIATION, np.float32)


@functools.cache
def mottle_tiles() -> Floats:
    """Return noise of deviation 1 of each size, `(M, MOTTLED_SIDE, MOTTLED_SIDE, 2)`.

    As even noise on a cylinder, seen from the front, is: where a head turns, its cheek shows no streaks.
    """
    radius, middle = CYLINDER * MOTTLED_SIDE, (MOTTLED_SIDE - 1) / 2
    y, x = np.mgrid[:MOTTLED_SIDE, :MOTTLED_SIDE].astype(np.float32)
    around = radius * np.arcsin(np.clip((x - middle) / radius, -1.0, 1.0)) + MOTTLED_SIDE
    noise = np.random.default_rng(0).standard_normal((MOTTLED_SIDE, 2 * MOTTLED_SIDE, 2)).astype(np.float32)
    blurred = [cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in MOTTLES]
    tiles = []
    for fine, coarse in itertools.pairwise(blurred):
        band = fine - coarse
        tiles.append(cv2.remap(band / band.std(axis=(0, 1)), around, y, cv2.INTER_LINEAR))
    return np.asarray(tiles, np.float32)


def mottles(deviations: Floats, tiles: Floats) -> Floats:
    """Return what makes a face uneven by `deviations` `(M, 2)`, in the template: logarithms of colours `(S, S, 3)`."""
    brightness, red = np.einsum("mc,mijc->cij", deviations, tiles)
    return np.asarray(brightness[..., None] + red[..., None] * MOTTLE_HUE, np.float32)


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
    return float(np.quantile(np.abs(_band(grey)[known]), FLATTEST)) / OF_DEVIATION


def _hues(picture: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return how much hues vary within `known`, grey levels: apart from noise, nothing in a black-and-white picture."""
    soft = cv2.GaussianBlur(picture, (0, 0), COARSE)
    tint = (soft - soft.mean(axis=2, keepdims=True))[known]
    return float((tint - tint.mean(axis=0)).std())


def _noise(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return the deviation of the noise: of the flatter half of what is `known`, so that no lash counts."""
    response = np.abs(cv2.filter2D(grey, -1, _LAPLACE))[known]
    return float(np.median(response)) / (0.6745 * 6.0)


def _softness(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return how blurred the sharper edges within `known` are: the deviation of that blur, in pixels.

    Shades have edges as well, which are soft in the sharpest frame. The slope of an edge that is blurred by s is,
    blurred by d more, as 1 over the root of s^2 + d^2.
    """
    fine, coarse = (_slopes(cv2.GaussianBlur(grey, (0, 0), blur)) for blur in SLOPES)
    edges = known & (coarse >= max(1e-3, float(np.quantile(coarse[known], EDGES))))
    if not edges.any():
        return 0.0
    ratio = float(np.quantile(fine[edges] / coarse[edges], SHARP)) ** 2
    a, b = (blur**2 for blur in SLOPES)
    return float(np.sqrt(max(0.0, b - a * ratio) / max(ratio - 1.0, 0.05)))


def _slopes(grey: Floats) -> Floats:
    return np.asarray(cv2.magnitude(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)))


def _contrast(grey: Floats, known: npt.NDArray[np.bool_]) -> float:
    """Return the deviation about the light, which is smooth over a sixth of the face."""
    light = cv2.blur(grey, (max(3, grey.shape[1] // 6),) * 2)
    return float((grey - light)[known].std())
