"""Draw generated crops over concealed faces so that no seam shows.

Reads nothing of the real inner face but its light, and how sharp it is.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streamer.align import Aligner, oval_polygon
from streamer.conceal import clip_to
from streamer.types import Face, Floats, Image

OVAL_SCALE = 1.03  # the concealed oval, in mesh ovals: a little more than the face
FEATHER = 0.06  # of the oval's width: how far outside it the drawn face fades into the frame
RIM = 0.06  # of the oval's width: how deep into the drawn face the colours around it reach
SOFTENING = (0.004, 0.006, 0.009, 0.013, 0.018)  # of the crop's side: the blurs to choose from
SHARPER = 1.5  # than the picture a drawn face may be; exactly as soft looked softer than the hair around it
LIGHT_CELLS = 6  # per side of the face: light and skin colour are matched this coarsely, no finer than the mosaic


def inner_face(face: Face) -> Floats:
    """Return the `(36, 2)` polygon that must never show a real pixel: the mesh's oval and a little more."""
    if face.mesh is None:
        raise ValueError("a face without a mesh has no oval")
    return oval_polygon(face.mesh, OVAL_SCALE)


def soften(crop: Image, original: Image) -> Image:
    """Return `crop` as soft as `original`: a sharp face in a picture out of focus is a mask.

    Of the original, one number is read: how much of its contrast is fine.

    Args:
        crop, original: `(S, S, 3)` uint8 RGB, generated and cut from the frame.
    """
    limit = SHARPER * _detail(original)
    blurred = crop
    for sigma in SOFTENING:
        if _detail(blurred) <= limit:
            break
        blurred = np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma * len(crop)))
    return blurred


def _detail(crop: Image) -> float:
    """Return how much of the contrast in the crop's middle is finer than 1 % of its side, of that finer than 4 %."""
    rim = len(crop) // 4
    grey = cv2.cvtColor(crop[rim:-rim, rim:-rim], cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), share * len(crop)) for share in (0.01, 0.04))
    return float((grey - fine).std() / max(float((grey - coarse).std()), 1.0))


def paste(
    image: Image, original: Image, crop: Image, *, face: Face, drawn: Face, aligner: Aligner, opacity: float
) -> None:
    """Draw `crop` over the face, in place: opaque inside its oval, fading outside it, lit as the original.

    Args:
        image: `(H, W, 3)` uint8 RGB, in which the face is concealed already.
        original: The frame before; only the mean colour of `LIGHT_CELLS` x `LIGHT_CELLS` cells is taken from it.
        crop: `(S, S, 3)` uint8 RGB, generated.
        face: The person's, whose oval is covered; with mesh.
        drawn: The same with the mesh of the new face, which decides where each pixel of the crop comes to lie.
        aligner: The one that cut the crop.
        opacity: Of the new face over the cover, 0 to 1.
    """
    polygon = inner_face(face)
    feather = FEATHER * float(np.ptp(polygon[:, 0]))
    roi = clip_to(image, np.concatenate([polygon - feather, polygon + feather]).astype(np.float32))
    if roi is None:
        return
    x1, y1, x2, y2 = roi
    where, known = aligner.frame_to_crop(drawn, roi)
    patch = cv2.remap(crop, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = fill(polygon, roi)
    alpha = fade(inside, feather) * known
    below = image[y1:y2, x1:x2].astype(np.float32)  # a neighbour's face in it is concealed: the rim may be read here
    patch = relight(patch, original[y1:y2, x1:x2].astype(np.float32), mask=(inside & known).astype(np.float32))
    patch = match_rim(patch, below, inside=inside, band=(alpha > 0) & ~inside, depth=RIM * feather / FEATHER)
    image[y1:y2, x1:x2] = np.clip(below + opacity * alpha[..., None] * (patch - below) + 0.5, 0, 255).astype(np.uint8)


def fill(polygon: Floats, roi: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    """Return which pixels of `roi` lie inside `polygon`, `(h, w)`."""
    mask = np.zeros((roi[3] - roi[1], roi[2] - roi[0]), np.uint8)
    cv2.fillPoly(mask, [np.round((polygon - np.array(roi[:2], np.float32)) * 16).astype(np.int32)], 1, shift=4)
    return mask > 0


def fade(inside: npt.NDArray[np.bool_], feather: float) -> Floats:
    """Return 1 inside and a smooth step to 0 at `feather` pixels outside, `(h, w)` float32."""
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    t = np.clip(1.0 - distance / max(feather, 1.0), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def relight(patch: Image, original: Floats, *, mask: Floats) -> Floats:
    """Return `patch` with the coarse light and colour of `original`, `(h, w, 3)` float32.

    Means over cells are compared where both are face (`mask`, `(h, w)`), and the smooth difference is added.
    """
    cells = (LIGHT_CELLS, LIGHT_CELLS)
    difference = cv2.resize((original - patch) * mask[..., None], cells, interpolation=cv2.INTER_AREA)
    known = cv2.resize(mask, cells, interpolation=cv2.INTER_AREA)
    light = _spread(difference, known, sigma=0.8)
    return np.asarray(patch + cv2.resize(light, mask.shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def match_rim(
    patch: Floats, original: Floats, *, inside: npt.NDArray[np.bool_], band: npt.NDArray[np.bool_], depth: float
) -> Floats:
    """Return `patch` with its rim in the colours that lie just outside the face, so that hair and neck go on.

    Args:
        patch, original: `(h, w, 3)` float32 RGB.
        inside: `(h, w)`: the face, of which nothing is read.
        band: `(h, w)`: the pixels around it that are.
        depth: Pixels over which the correction dies away inwards.
    """
    shrink = max(1.0, depth / 3.0)
    size = (max(1, round(patch.shape[1] / shrink)), max(1, round(patch.shape[0] / shrink)))
    weight = band.astype(np.float32)
    difference = cv2.resize((original - patch) * weight[..., None], size, interpolation=cv2.INTER_AREA)
    field = _spread(difference, cv2.resize(weight, size, interpolation=cv2.INTER_AREA), sigma=depth / shrink)
    field = cv2.resize(field, band.shape[::-1], interpolation=cv2.INTER_LINEAR)
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(patch + np.exp(-distance / depth)[..., None] * field, np.float32)


def _spread(values: Floats, known: Floats, *, sigma: float) -> Floats:
    """Return weighted means of the known `values` around each place (normalised convolution)."""
    total = cv2.GaussianBlur(values, (0, 0), sigma)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(known, (0, 0), sigma), 0.01)[..., None])
