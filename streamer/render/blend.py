"""Draw generated crops over concealed faces so that no seam shows.

Reads nothing of the real inner face but its light, and how sharp it is.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streamer.render.align import Aligner, outline
from streamer.render.conceal import clip_to, conceal_polygon
from streamer.types import Cover, Face, Floats, Image

MARGIN = 0.03  # of the face's longer side: how far past the mesh it is concealed; turned, the mesh lies inside the face
FEATHER = 0.06  # of the oval's width: how far outside it the drawn face fades into the frame
FOLD = 4.0  # times the usual step across the crop from a pixel to the next
FOLD_REACH = 0.01  # of the face's size, around a fold
EDGE = 0.015  # of the oval's width: how softly the outline of a turned head ends
RIM = 0.06  # of the oval's width: how deep into the drawn face the colours around it reach
SOFTENING = (0.004, 0.006, 0.009, 0.013, 0.018)  # of the crop's side: the blurs to choose from
SHARPER = 1.5  # than the picture a drawn face may be; exactly as soft looked softer than the hair around it
LIGHT_CELLS = 6  # per side of the face: light and skin colour are matched this coarsely, no finer than the mosaic


def inner_face(face: Face) -> Floats:
    """Return the convex `(N, 2)` polygon that must never show a real pixel: the mesh's outline and a little more."""
    if face.mesh is None:
        raise ValueError("a face without a mesh has no outline")
    return outline(face.mesh, MARGIN)


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


def paste(image: Image, original: Image, crop: Image, *, face: Face, drawn: Face, aligner: Aligner) -> None:
    """Draw `crop` over the face, in place: opaque inside its oval, fading outside it, lit as the original.

    Args:
        image: `(H, W, 3)` uint8 RGB, in which the face is concealed already.
        original: The frame before; only the mean colour of `LIGHT_CELLS` x `LIGHT_CELLS` cells is taken from it.
        crop: `(S, S, 3)` uint8 RGB, generated.
        face: The person's, whose oval is covered; with mesh.
        drawn: The same with the mesh of the new face, which decides where each pixel of the crop comes to lie.
        aligner: The one that cut the crop.
    """
    polygon, feather, roi = _region(image, face)
    if roi is None:
        return
    x1, y1, x2, y2 = roi
    where, known = aligner.frame_to_crop(drawn, roi)
    patch = cv2.remap(crop, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    patch = without_folds(patch, where, known)
    inside = fill(polygon, roi)
    alpha = fade(inside, feather) * edge(known, EDGE * feather / FEATHER)
    below = image[y1:y2, x1:x2].astype(np.float32)  # a neighbour's face in it is concealed: the rim may be read here
    below = hide(below, inside=inside, shown=alpha, depth=2 * feather)
    patch = relight(patch, original[y1:y2, x1:x2], mask=(inside & known).astype(np.float32))
    patch = match_rim(patch, below, inside=inside, band=(alpha > 0) & ~inside, depth=RIM * feather / FEATHER)
    over = _weighed(patch - below, alpha)
    image[y1:y2, x1:x2] = cv2.add(below, over, dtype=cv2.CV_8U)  # rounded, and cut off at 0 and 255


def fade_in(image: Image, face: Face, opacity: float, *, cover: Cover) -> None:
    """Let a drawn face come out of a cover made of itself, in place.

    Nothing of the person's own cover is mixed in: under eyes and a mouth, even its few cells can be like the person.

    Args:
        image: `(H, W, 3)` uint8 RGB, with the face drawn.
        face: The person's; with mesh.
        opacity: Of the drawn face, 0 to 1.
        cover: What it comes out of.
    """
    polygon, _, roi = _region(image, face)
    if roi is not None:
        part = image[roi[1] : roi[3], roi[0] : roi[2]]
        veil = part.copy()
        conceal_polygon(veil, polygon - np.array(roi[:2], np.float32), cover=cover)
        part[:] = cv2.addWeighted(part, opacity, veil, 1.0 - opacity, 0.0)


def _region(image: Image, face: Face) -> tuple[Floats, float, tuple[int, int, int, int] | None]:
    """Return the outline of what is drawn, how far outside it fades, and the part of `image` that holds both."""
    polygon = inner_face(face)
    feather = FEATHER * float(np.ptp(polygon[:, 0]))
    bounds = np.concatenate([polygon - feather, polygon + feather]).astype(np.float32)
    return polygon, feather, clip_to(image, bounds)


def without_folds(patch: Image, where: Floats, known: npt.NDArray[np.bool_]) -> Image:
    """Return `patch` with medians of its surroundings where it jumps across the crop, as beside a turned nose.

    There one line of pixels stands for a whole side of the nose, in a colour by chance.

    Args:
        patch: `(h, w, 3)` uint8 RGB.
        where: `(h, w, 2)`, where in the crop each pixel comes from.
        known: `(h, w)`, which do.
    """
    reach = max(1, round(FOLD_REACH * max(known.shape)))
    fold = _jumps(where[::reach, ::reach], known[::reach, ::reach])
    if not fold.any():
        return patch
    wide = cv2.dilate(fold.astype(np.uint8), np.ones((3, 3), np.uint8))
    wide = cv2.resize(wide, known.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    x, y, width, height = cv2.boundingRect(wide.astype(np.uint8))
    part = np.s_[max(0, y - reach) : y + height + reach, max(0, x - reach) : x + width + reach]
    mended = patch.copy()
    mended[part] = np.where(wide[part][..., None], cv2.medianBlur(mended[part], 2 * reach + 1), mended[part])
    return mended


def _jumps(where: Floats, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return from which pixels to the next it is far across the crop, `(h, w)`."""
    if not known.any():
        return known
    x, y = np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])
    step = np.zeros(known.shape, np.float32)
    for this, following in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        length = np.maximum(cv2.absdiff(x[this], x[following]), cv2.absdiff(y[this], y[following]))
        np.maximum(step[this], length * (known[this] & known[following]), out=step[this])
    return step > FOLD * float(np.median(step[known]))


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


def edge(known: npt.NDArray[np.bool_], width: float) -> Floats:
    """Return 0 outside of what is drawn and 1 from `width` pixels inside it, `(h, w)` float32."""
    if known.all():
        return np.ones(known.shape, np.float32)
    framed = np.pad(known, 1, mode="edge").astype(np.uint8)  # the end of the region is none of what is drawn
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.asarray(np.clip(distance / max(width, 1.0), 0.0, 1.0), np.float32)


def hide(below: Floats, *, inside: npt.NDArray[np.bool_], shown: Floats, depth: float) -> Floats:
    """Return `below` with the colours around the face where nothing is drawn in it: beside the nose of a profile.

    Deep inside the face, where nothing around it is near, its cover stays.

    Args:
        below: `(h, w, 3)` float32 RGB, the face concealed.
        inside: `(h, w)`: the face.
        shown: `(h, w)`, how strongly something is drawn.
        depth: Pixels, how far colours reach.
    """
    bare = inside & (shown < 1.0)
    if not bare.any() or inside.all():
        return below
    bare &= cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3) < 2 * depth
    colours = _around(below, known=~inside, sigma=depth)
    return np.where(bare[..., None], colours, below)


def _around(values: Floats, *, known: npt.NDArray[np.bool_], sigma: float) -> Floats:
    """Return smooth means of the `(h, w, 3)` values where they are `known`, at about `sigma` pixels around."""
    shrink = max(1.0, sigma / 3.0)
    size = (max(1, round(values.shape[1] / shrink)), max(1, round(values.shape[0] / shrink)))
    weight = known.astype(np.float32)
    small = cv2.resize(values * cv2.merge([weight] * 3), size, interpolation=cv2.INTER_AREA)
    field = _spread(small, cv2.resize(weight, size, interpolation=cv2.INTER_AREA), sigma=sigma / shrink)
    return np.asarray(cv2.resize(field, known.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def relight(patch: Image, original: Image | Floats, *, mask: Floats) -> Floats:
    """Return `patch` with the coarse light and colour of `original`, `(h, w, 3)` float32.

    Means over cells are compared where both are face (`mask`, `(h, w)`), and the smooth difference is added.
    """
    cells = (LIGHT_CELLS, LIGHT_CELLS)
    difference = _weighed(cv2.subtract(original, patch, dtype=cv2.CV_32F), mask)
    known = cv2.resize(mask, cells, interpolation=cv2.INTER_AREA)
    light = _spread(cv2.resize(difference, cells, interpolation=cv2.INTER_AREA), known, sigma=0.8)
    enlarged = cv2.resize(light, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(patch, enlarged, dtype=cv2.CV_32F))


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
    field = _around(original - patch, known=band, sigma=depth)
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    strength = cv2.exp(distance * np.float32(-1 / depth))
    return np.asarray(patch + _weighed(field, strength))


def _weighed(values: Floats, weight: Floats) -> Floats:
    """Return `(h, w, 3)` values, changed in place, times weights `(h, w)`, which numpy alone is slow to repeat."""
    values *= cv2.merge([weight] * 3)
    return values


def _spread(values: Floats, known: Floats, *, sigma: float) -> Floats:
    """Return weighted means of the known `values` around each place (normalised convolution)."""
    total = cv2.GaussianBlur(values, (0, 0), sigma)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(known, (0, 0), sigma), 0.01)[..., None])
