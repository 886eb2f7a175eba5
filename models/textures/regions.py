"""Where the parts of a face lie in a texture: soft masks, the same for all, since a mesh aligns textures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.face_mesh import FACE_OVAL

Floats = npt.NDArray[np.float32]

# fmt: off
LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)  # image left
RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
NOSE = (168, 193, 245, 188, 174, 217, 126, 142, 129, 98, 97, 2, 326, 327, 358, 371, 355, 437, 399, 412, 465, 417)
NOSTRIL_OUTLINES = ((64, 166, 79, 239, 238, 20, 242, 99, 60, 240, 98),
                    (294, 392, 309, 459, 458, 250, 462, 328, 290, 460, 327))
# fmt: on
BROW_REACH = 0.028  # of the side: how far hair of a brow reaches past the mesh's brow
EYE_REACH = 0.035  # lids and lashes, past the corners and edges of the eye
FEATHER = 0.016  # of the side: how softly nose and lips pass into skin
SHADE = 0.026  # the same of the eyes, whose sockets are dark far out
INNER = 0.72  # of the radius of the oval: inside, skin goes with the features that it folds around
INNER_FEATHER = 0.03  # of the side
SEAM = 0.02  # of the side below the lids: there the donor of eyes and brows begins to pass into that of nose and mouth
CORE = 0.93  # of the radius of the oval: inside, near-frontal pictures show skin rather than hair, ear or background


@dataclass(frozen=True)
class Regions:
    """Masks `(S, S)` float32 in [0, 1] in the space of a texture.

    Attributes:
        face: Inside the oval of the mesh.
        core: Inside it by 7 %, where textures are read rather than made up.
        skin: The core without eyes, brows, lips and nostrils.
        forehead: The core above the brows.
        cheeks: What is skin on almost everyone.
        eyes: Between the lids.
        lips: Softly, with what lies between them.
        upper: Eyes, lids and brows, softly.
        lower: Nose and lips, softly.
        brows: Where the hair of brows may be.
        jaw: Skin below the mouth, where beards are.
        moustache: Skin between nose and mouth.
        nostrils: The openings, softly.
        features: What `upper` and `lower` cover, and a little around it.
        inner: All that tells a face: features, and the skin between and around them, softly.
        below: The face from the nose down, from the lids on softly.
        plain: All but brows, eyes with their lashes, and lips, softly.
    """

    face: Floats
    core: Floats
    skin: Floats
    forehead: Floats
    cheeks: Floats
    eyes: Floats
    lips: Floats
    upper: Floats
    lower: Floats
    brows: Floats
    jaw: Floats
    moustache: Floats
    nostrils: Floats
    features: Floats
    inner: Floats
    below: Floats
    plain: Floats


def make_regions(points: Floats, size: int) -> Regions:
    """Return the regions of a texture.

    Args:
        points: `(468, 2)`, of the template, in the unit square.
        size: S, pixels.
    """
    pixels = np.asarray(points, np.float32) * size
    face, core = (_polygon(pixels, FACE_OVAL, size, scale=scale) for scale in (1.0, CORE))
    eyes = np.maximum(_polygon(pixels, LEFT_EYE, size), _polygon(pixels, RIGHT_EYE, size))
    brows = np.maximum(_polygon(pixels, LEFT_BROW, size), _polygon(pixels, RIGHT_BROW, size))
    lips, nose = _polygon(pixels, LIPS, size), _polygon(pixels, NOSE, size)
    wide_brows, wide_eyes = grown(brows, BROW_REACH), grown(eyes, EYE_REACH)
    nostrils = grown(_points(pixels, (98, 327, 97, 326, 2), size), 0.012)
    features = np.maximum.reduce([wide_brows, wide_eyes, grown(lips, 0.012), nostrils])
    above = np.arange(size)[:, None] < pixels[[105, 334], 1].min()
    upper = np.maximum(np.maximum(wide_brows, wide_eyes), _between(pixels, size))
    lower = np.maximum(grown(lips, 0.012), grown(nose, 0.01))
    y, x = np.mgrid[:size, :size].astype(np.float32)
    (left, corner), (right, _) = pixels[61], pixels[291]
    skin = core * (1 - features)
    return Regions(
        face=face,
        core=core,
        skin=skin,
        forehead=core * (1 - wide_brows) * above,
        cheeks=core * (1 - features) * ~above,
        eyes=_soft(eyes, 0.003),
        lips=_soft(lips, 0.006),
        upper=_soft(upper, SHADE),
        lower=_soft(lower, FEATHER),
        brows=wide_brows,
        jaw=skin * (y > corner + 0.02 * size),
        moustache=skin * ((y > pixels[2, 1] + 0.02 * size) & (y < corner) & (x > left) & (x < right)),
        nostrils=_soft(grown(np.maximum(*(_polygon(pixels, one, size) for one in NOSTRIL_OUTLINES)), 0.006), 0.006),
        features=_soft(grown(np.maximum(upper, lower), 0.025), FEATHER),
        inner=_soft(np.maximum.reduce([upper, lower, _polygon(pixels, FACE_OVAL, size, scale=INNER)]), INNER_FEATHER),
        below=_below(points, size),
        plain=1 - _soft(np.maximum.reduce([grown(brows, 0.016), grown(eyes, 0.02), lips]), 0.006),
    )


def _below(points: Floats, size: int) -> Floats:
    lids, nose = points[[145, 374], 1].max() + SEAM, points[5, 1]
    rows = (np.arange(size, dtype=np.float32)[:, None] + 0.5) / size
    share = np.clip((rows - lids) / (nose - lids), 0, 1)
    return np.asarray(share * share * (3 - 2 * share) * np.ones((1, size)), np.float32)


def _between(pixels: Floats, size: int) -> Floats:
    """Return the lids between brow and eye, which belong to both."""
    left = _polygon(pixels, (70, 63, 105, 66, 107, 133, 159, 33), size)
    return np.maximum(left, _polygon(pixels, (300, 293, 334, 296, 336, 362, 386, 263), size))


def _polygon(pixels: Floats, corners: tuple[int, ...], size: int, *, scale: float = 1.0) -> Floats:
    polygon = pixels[list(corners)]
    centre = polygon.mean(axis=0)
    polygon = centre + scale * (polygon - centre)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, shift=4, lineType=cv2.LINE_AA)
    return np.asarray(mask / np.float32(255), np.float32)


def _points(pixels: Floats, corners: tuple[int, ...], size: int) -> Floats:
    mask = np.zeros((size, size), np.float32)
    for x, y in pixels[list(corners)]:
        mask[int(y), int(x)] = 1
    return mask


def grown(mask: Floats, share: float) -> Floats:
    """Return a mask grown by a share of its side all around."""
    radius = max(1, round(share * len(mask)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, kernel))


def _soft(mask: Floats, share: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), share * len(mask)))
