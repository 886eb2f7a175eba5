"""The classic ways to hide a face, and how strong each must be to be as private, or as like, as another.

Strengths are pixels of a face's 256 px crop, the paper's size, so that they mean the same on faces of any size. Each
takes a photo's facts and returns a new photo; `functools.partial(blur, strength=8.0)` is a method to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from models.face_model import DEFAULT_TEMPLATE
from streamer.evaluate.figures import Figure, mean_figure
from streamer.render.align import umeyama
from streamer.render.blend import inner_face
from streamer.render.conceal import clip_to, conceal_polygon
from streamer.render.conceal import mosaic as in_cells
from streamer.types import Face, Floats, Image

if TYPE_CHECKING:
    from streamer.evaluate.images.image_evaluation import Original

Doubles = npt.NDArray[np.floating[Any]]
Region = Callable[[Face], Floats]

CROP = 256  # pixels: the side of the paper's pictures (section 4)
FIVE = np.array(DEFAULT_TEMPLATE.points, np.float32) * CROP
BOX_SCALE = 1.3  # deface's default: how much larger than the detected box is hidden
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)  # of a square around 0
REACH = 3.0  # standard deviations, past which a Gaussian sees nothing
FINE_SIGMA = 8.0  # pixels; a wider Gaussian takes seconds on a large picture
STEPS = 20  # evaluations of a figure at most; Brent's method takes five or six


class Family(Protocol):
    """A way to hide faces that can be stronger and weaker."""

    def __call__(self, original: Original, strength: float, *, region: Region) -> Image:
        """Return the photo, `(H, W, 3)` uint8 RGB, with its face hidden; `strength` in pixels of the 256 px crop."""
        ...


class OutOfReachError(ValueError):
    """No strength gives the wanted figure; the message says which figures there are."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes:
        strength: Pixels of the 256 px crop.
        reached: The mean figure there, with its interval; mosaics change by whole cells and may
            miss the target a little.
    """

    strength: float
    reached: Figure


def oval(face: Face) -> Floats:
    """Return the outline of the face's mesh and a little more, `(N, 2)` in pixels: what our own method replaces."""
    return inner_face(face)


def box(face: Face) -> Floats:
    """Return the face's box, larger by `BOX_SCALE`, `(4, 2)` in pixels: what tools without a mesh hide."""
    center, half = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]) / 2 * BOX_SCALE
    return np.asarray(center + half * CORNERS, np.float32)


def whole(face: Face) -> Floats:
    """Return the border of the 256 px crop, `(4, 2)` in pixels: all that SSIM is taken of."""
    crop_to_photo = cv2.invertAffineTransform(umeyama(face.landmarks, FIVE))
    corners = (CORNERS + 1) / 2 * CROP
    return np.asarray(corners @ crop_to_photo[:, :2].T + crop_to_photo[:, 2], np.float32)


REGIONS: Mapping[str, Region] = {"oval": oval, "box": box, "whole crop": whole}  # from the smallest


def unchanged(original: Original) -> Image:
    """Return the photo as it is: the worst there is, `(H, W, 3)` uint8 RGB."""
    return np.array(original.image)


def solid(original: Original, *, region: Region = oval) -> Image:
    """Return the photo with its face black: nothing of the face is left, and all around it."""
    image = np.array(original.image)
    conceal_polygon(image, region(original.face), cover="solid")
    return image


def blur(original: Original, strength: float, *, region: Region = oval) -> Image:
    """Return the photo with its face blurred by a Gaussian of standard deviation `strength`, in crop pixels."""
    sigma = strength / crop_scale(original.face)

    return _within(original, region(original.face), lambda patch: _blurred(patch, sigma), reach=REACH * sigma)


def mosaic(original: Original, strength: float, *, region: Region = oval) -> Image:
    """Return the photo with its face in flat cells of side `strength`, in crop pixels; from the region's corner on."""
    cell = strength / crop_scale(original.face)
    return _within(original, region(original.face), lambda patch: in_cells(patch, cell=cell), reach=0)


def crop_scale(face: Face) -> float:
    """Return how many pixels of its 256 px crop one pixel of the photo is."""
    matrix = umeyama(face.landmarks, FIVE)
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def calibrate(
    figure: Callable[[float], Doubles], target: float, *, weakest: float, strongest: float, tolerance: float = 0.005
) -> Calibration:
    """Return the strength at which the mean of a figure takes a wanted value (the paper's protocol, section 4.3).

    By Brent's method on the logarithm of the strength. The figure must not rise with the strength; similarity and SSIM
    do not.

    Args:
        figure: Strength in, values `(N,)` of a fixed sample out; nan does not count. It is called a few times: cache it
            where several targets are sought.
        target: The mean to reach.
        weakest, strongest: Between which strengths to search.
        tolerance: How near to the target is near enough.

    Raises:
        OutOfReachError: If the target is not between the figures at the weakest and at the strongest.
    """

    def excess(log_strength: float) -> float:
        over = float(np.nanmean(figure(math.exp(log_strength)))) - target
        return 0.0 if abs(over) <= tolerance else over  # Brent's method ends at a root

    ends = math.log(weakest), math.log(strongest)
    over = [excess(end) for end in ends]
    if over[0] < 0 or over[1] > 0:
        raise OutOfReachError(
            f"a mean of {target:g} is out of reach: it is {over[0] + target:.3f} at strength {weakest:g} "
            f"and {over[1] + target:.3f} at {strongest:g}"
        )
    root = brentq(excess, *ends, maxiter=STEPS, disp=False)
    return Calibration(math.exp(root), mean_figure(figure(math.exp(root))))


def _blurred(patch: Image, sigma: float) -> Image:
    """Return the patch under a Gaussian; a wide one is taken of a smaller patch, to which it is the same."""
    height, width = patch.shape[:2]
    shrink = max(1.0, sigma / FINE_SIGMA)
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    blurred = cv2.GaussianBlur(cv2.resize(patch, small, interpolation=cv2.INTER_AREA), (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _within(original: Original, polygon: Floats, hide: Callable[[Image], Image], *, reach: float) -> Image:
    """Return the photo with `hide` done inside the polygon; `hide` sees `reach` pixels around it too."""
    image = np.array(original.image)
    bounds = clip_to(image, np.concatenate([polygon - reach, polygon + reach]))
    if bounds is None:
        return image
    x1, y1, x2, y2 = bounds
    patch = image[y1:y2, x1:x2]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(polygon - np.array([x1, y1])).astype(np.int32)], 1)
    patch[mask > 0] = hide(patch)[mask > 0]
    return image
