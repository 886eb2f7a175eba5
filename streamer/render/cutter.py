"""Cut crops as a model's template says: as the frame is, or the face alone, in even light.

What models are trained on and what they are shown in use is cut here, so that both are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from models.face_model import Template
from streamer.render.align import Aligner, MeshAligner, SimilarityAligner, oval_polygon
from streamer.types import Face, Floats, Image

RIM = 0.97  # of the oval that is kept where the rest is filled: at its edge are hair, ears and background
LIGHT_BLUR = 0.1  # of the crop's side: what is coarser is light
LIGHT_OFFSET = 8.0  # grey levels added before the logarithm, or the noise of dark pixels counts
AROUND = 0.8  # of a face's longer side, of its surroundings on every side
ALONE = 1.185  # times as large lies a face in its crop where there is nothing around it

Cutter = Callable[[Image, Face], Image]  # a frame `(H, W, 3)` and a face in it to its crop `(S, S, 3)`, uint8 RGB


def aligner_of(template: Template, size: int) -> Aligner:
    """Return what carries faces between frames and crops of `size` pixels."""
    points = np.array(template.points, np.float32)
    return (MeshAligner if template.kind == "mesh" else SimilarityAligner)(points, size)


def face_alone(template: Template, *, light: Literal["kept", "even"]) -> Template:
    """Return the mesh template of crops that hold the face of `template` alone, and as large as fits."""
    points = ALONE * (np.array(template.points) - 0.5) + 0.5
    return replace(template, points=tuple(map(tuple, points.tolist())), around="filled", light=light)


def crop_cutter(template: Template, size: int) -> Cutter:
    """Return what cuts crops of `size` pixels with all in them that `template` asks for, and nothing else."""
    aligner = aligner_of(template, size)
    if not isinstance(aligner, MeshAligner):
        return aligner.whole
    oval = np.zeros((size, size), np.uint8)
    polygon = oval_polygon(template.crop_points(size), RIM)
    cv2.fillPoly(oval, [np.round(polygon * 16).astype(np.int32)], 1, shift=4)
    alone, even = template.around == "filled", template.light == "even"

    def cut(image: Image, face: Face) -> Image:
        crop = aligner.whole(image, face)
        if alone:
            crop = filled(crop, (oval > 0) & aligner.known(image, face))
        return flattened(crop, oval > 0) if even else crop

    return cut


def shrunk(image: Image, faces: Sequence[Face], size: float) -> tuple[Image, list[Face], float]:
    """Return the surroundings of a face at which it is at most `size` pixels long, the faces in it, and the scale.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        faces: The first is the one that is cut out.
        size: Of its longer side, in pixels.
    """
    scale = min(1.0, size / max(faces[0].size, 1.0))
    reach = AROUND * faces[0].size
    low = np.clip(np.floor(faces[0].box[:2] - reach), 0, np.array(image.shape[1::-1]) - 1).astype(int)
    high = np.clip(np.ceil(faces[0].box[2:] + reach), low + 1, image.shape[1::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    if scale < 1.0:
        part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return part, [_moved(face, low.astype(np.float32), scale) for face in faces], scale


def filled(crop: Image, known: npt.NDArray[np.bool_]) -> Image:
    """Return `crop` with what is not `known` in smooth colours of what is, near ones first (pull-push).

    Gortler et al. 1996, "The Lumigraph", section 3.4.

    Args:
        crop: `(S, S, 3)` uint8 RGB.
        known: `(S, S)`; one pixel at least.
    """
    weight = known.astype(np.float32)
    colours = _pull_push(crop * weight[..., None], weight)
    return np.asarray(np.where(known[..., None], crop, np.clip(colours + 0.5, 0, 255)), np.uint8)


def flattened(crop: Image, inside: npt.NDArray[np.bool_]) -> Image:
    """Return `crop` with even light: its coarse log colour, left and right apart, becomes that of both together.

    I' = I exp((m(L) - L) + (mean(L) - m(L)) / 2),  L = log I blurred, m(L) = (L + mirrored L) / 2

    What is alike on both sides is halved only, since a face's own form and colour are in it.

    Args:
        crop: `(S, S, 3)` uint8 RGB of a symmetric template.
        inside: `(S, S)`: the face, over which light is averaged.
    """
    logs = np.log(crop.astype(np.float32) + LIGHT_OFFSET)
    light = np.asarray(cv2.GaussianBlur(logs, (0, 0), LIGHT_BLUR * len(crop)))
    even = (light + light[:, ::-1]) / 2
    target = (even + light[inside].mean(axis=0)) / 2
    return np.asarray(np.clip(np.exp(logs + target - light) - LIGHT_OFFSET + 0.5, 0, 255), np.uint8)


def _pull_push(values: Floats, weight: Floats) -> Floats:
    """Return means `(h, w, 3)` of `values` `(h, w, 3)` times `weight` `(h, w)`, of coarser levels where it is small."""
    height, width = weight.shape
    means = values / np.maximum(weight, 1e-6)[..., None]
    if max(height, width) == 1:
        return np.asarray(means)
    half = ((width + 1) // 2, (height + 1) // 2)
    small, small_weight = (cv2.resize(level, half, interpolation=cv2.INTER_AREA) for level in (values, weight))
    coarse = _pull_push(small.reshape(*half[::-1], 3), small_weight.reshape(half[::-1]))
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    share = np.minimum(2 * weight, 1)[..., None]  # half of a pixel known is enough to go by it
    return np.asarray(share * means + (1 - share) * below)


def _moved(face: Face, start: Floats, scale: float) -> Face:
    """Return a face in a part of the frame that begins at `start` `(2,)`, and is resized by `scale`."""
    box = (face.box - np.tile(start, 2)) * scale
    mesh = None if face.mesh is None else (face.mesh - np.append(start, 0.0).astype(np.float32)) * np.float32(scale)
    return replace(face, box=box, landmarks=(face.landmarks - start) * scale, mesh=mesh, crop=None)
