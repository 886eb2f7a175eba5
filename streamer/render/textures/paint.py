"""Paint a stranger over a face of a frame: warp their texture, light it, put eyes and mouth in, end it at its rim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.render.align import MeshAligner, outline, profile_ratio
from streamer.render.blend import MARGIN, edge, fill, inner_face, without_folds
from streamer.render.conceal import HEAD_MARGIN, clip_to
from streamer.render.textures import eyes, mouth, rim
from streamer.render.textures.light import BROWS, DARK, SHADE_HUE, SIDE, likeness, logarithm
from streamer.render.textures.stranger import Stranger, enlarged
from streamer.types import Face, Floats, Image

GLINT_SIDES = 4.0  # of the logarithm by which skin is lit more beside one eye, to that side light mirrors in them
GAINS = (-2.0, 0.25)  # logarithm of the light on eyes over that of the texture
SKIN_HUE = np.array([1.22, 0.97, 0.81], np.float32)  # of skin in white light
LIGHT_HUE = 0.8  # power of the hue of lit skin over that: what is taken for the light's
WARM = 0.3  # power of the hue of skin that whites have: of eyes and of teeth
BROW_REACH = 0.03  # of the oval's width around the person's own brows, that is always painted over
TURNED = (0.7, 0.9)  # where the nose lies across the oval, from which on a face reaches past its mesh
LEAST_SPREAD = 0.12  # of log colours: sharper tells noise from skin
FILLED = 0.05  # of the oval's width, the blur of what takes the place of what is not known
EDGE = 0.015  # of the oval's width: how softly the outline of a turned head ends
OVAL_SHARE = 0.6  # of a crop's side, the width of the oval
SHARP = 1.3  # pixels of texture to a pixel of the frame, from which on half of them do


@dataclass(frozen=True, slots=True)
class Look:
    """What a face in a frame looks like, but for who it is.

    Attributes:
        light: `(CELLS, CELLS, 3)` logarithm.
        spread: Of skin about it.
        gaze: `(2, 2)` as `eyes.gaze` tells it.
        front: `(SIDE, SIDE)` in [0, 1], of the template: what lies before the face.
        eyes: `(3,)` as `eyes.tone` tells it.
    """

    light: Floats
    spread: float
    gaze: Floats
    front: Floats
    eyes: Floats


@dataclass(frozen=True, slots=True)
class Canvas:
    """The part of a frame that a face is painted in.

    Attributes:
        roi: `x1, y1, x2, y2` in the frame.
        below: `(h, w, 3)` uint8 RGB of the frame, in which only this face is not concealed.
        inside: `(h, w)`: what may be painted: the outline of the person's mesh, a little more of a turned head.
        concealed: `(h, w)`: what is concealed, all of which is drawn or shown again.
        kept: `(h, w)` in [0, 1]: their brows.
        where: `(h, w, 2)`: the place in the crop.
        known: `(h, w)`: which have one.
        width: Of the outline, in pixels.
        turned: 0 where the head faces the camera about, 1 where it reaches past its mesh.
        side: Of the crop, in pixels.
    """

    roi: tuple[int, int, int, int]
    below: Image
    inside: npt.NDArray[np.bool_]
    concealed: npt.NDArray[np.bool_]
    kept: Floats
    where: Floats
    known: npt.NDArray[np.bool_]
    width: float
    turned: float
    side: int


def canvas(below: Image, face: Face, mesh: Floats, drawn: Face, *, aligner: MeshAligner) -> Canvas | None:
    """Return where to paint; None outside the frame.

    Args:
        below: `(H, W, 3)` uint8 RGB.
        face: The person's, as it was concealed.
        mesh: `(468, 3)` of the person, with exact lips and lids.
        drawn: With the mesh of the new face.
        aligner: Of the template, at the size of the largest textures.
    """
    whole = inner_face(face)
    turned = float(np.clip((profile_ratio(mesh) - TURNED[0]) / (TURNED[1] - TURNED[0]), 0.0, 1.0))
    hull = outline(mesh, turned * MARGIN)
    width = float(np.ptp(hull[:, 0]))
    roi = clip_to(below, whole)
    if roi is None:
        return None
    brows = np.zeros((roi[3] - roi[1], roi[2] - roi[0]), np.float32)
    for brow in BROWS:
        brows[fill(cv2.convexHull(np.ascontiguousarray(mesh[list(brow), :2]))[:, 0], roi)] = 1.0
    reach = 2 * max(1, round(BROW_REACH * width)) + 1
    kept = np.minimum(1.0, 3.0 * cv2.blur(cv2.blur(brows, (reach, reach)), (reach, reach)))
    where, known = aligner.frame_to_crop(drawn, roi)
    concealed = fill(whole, roi)
    part = below[roi[1] : roi[3], roi[0] : roi[2]]
    return Canvas(roi, part, fill(hull, roi) & concealed, concealed, kept, where, known, width, turned, aligner.size)


def face(
    canvas: Canvas,
    stranger: Stranger,
    look: Look,
    inside_mouth: Floats,
    *,
    lit: Floats,
    mesh: Floats,
    places: list[tuple[int, int]],
    shading: Floats,
    own: float,
) -> Floats:
    """Return the new face on the canvas, `(h, w, 3)` float32 RGB, with no edge yet.

    Args:
        canvas: Where.
        stranger: Who.
        look: How.
        inside_mouth: `(40, 96, 3)` float32 RGB, in the person's light.
        lit: `(h, w, 3)` log colours of skin in the person's light (`expected`).
        mesh: `(468, 3)` of the new face.
        places: Row and column in the template, at `SIDE`, of both eyes.
        shading: `(C, C)`, the logarithm of what expression and light do to the face, in the template.
        own: In [0, 1], how much of the eyes and the mouth is to be left as the levels of the stranger have it.
    """
    level, across = 0, len(stranger.levels[0]) * OVAL_SHARE / canvas.width  # pixels of texture to a pixel of the frame
    while across > 2 * SHARP and level < len(stranger.levels) - 1:
        level, across = level + 1, across / 2
    shaded = warped((1.0 - own) * shading, canvas)
    logs = cv2.add(cv2.add(warped(stranger.levels[level], canvas), shaded[..., None] * SHADE_HUE), lit)
    patch = cv2.subtract(cv2.exp(logs, logs), (DARK,) * 4, logs)
    plain = patch.copy() if own else patch
    start = np.array(canvas.roi[:2], np.float32)
    more, skin = enlarged(look.light - stranger.light, SIDE), enlarged(look.light, SIDE)
    gains = np.stack([_gain(more[place], skin[place]) for place in places])
    left, right = (float(skin[place].mean()) for place in places)
    side = float(np.clip(GLINT_SIDES * (right - left), -1.0, 1.0))
    eyes.draw(patch, mesh, stranger.eyeball, look.gaze, gains, start, tone=look.eyes, side=side)
    mouth.draw(patch, mesh, inside_mouth, start=start)
    return np.asarray(cv2.addWeighted(plain, own, patch, 1.0 - own, 0.0) if own else patch, np.float32)


def _gain(more: Floats, skin: Floats) -> Floats:
    """Return what to multiply eyes with, `(3,)`: skin's light.

    Args:
        more: `(3,)` log light on the person's skin over that on the stranger's: its hue is that of two skins.
        skin: `(3,)` log colour of the person's skin there.
    """
    return np.asarray(white(skin) * np.exp(np.clip(more.mean(), *GAINS)), np.float32)


def white(skin: Floats) -> Floats:
    """Return the hue `(3,)` of the whites of eyes and of teeth beside skin of a log colour `(3,)`."""
    colour = np.maximum(np.exp(skin) - DARK, 1.0)
    hue = SKIN_HUE**WARM * (colour / colour.mean() / SKIN_HUE) ** LIGHT_HUE
    return np.asarray(hue / hue.mean(), np.float32)


def expected(canvas: Canvas, look: Look) -> Floats:
    """Return the log colours of skin in the person's light, `(h, w, 3)`."""
    return warped(enlarged(look.light, SIDE), canvas)


def plain(lit: Floats) -> Floats:
    """Return skin in the person's light without any feature, `(h, w, 3)` float32 RGB; `lit` as in `face`."""
    bright = cv2.exp(lit)
    return np.asarray(cv2.subtract(bright, (DARK,) * 4, bright))


def blend(image: Image, canvas: Canvas, patch: Floats, look: Look, *, lit: Floats) -> Floats:
    """Blend `patch` into `image`, in place: with the frame at its rim. Return how strongly, `(h, w)` in [0, 1].

    Args:
        image: `(H, W, 3)` uint8 RGB, in which the face is concealed.
        canvas: Where.
        patch: `(h, w, 3)` float32 RGB, the new face.
        look: Of the person.
        lit: As in `face`.
    """
    spread = max(look.spread, LEAST_SPREAD)
    skin = likeness(cv2.subtract(logarithm(canvas.below), lit), spread)
    darker = cv2.subtract(logarithm(_rounded(patch)), lit)
    new_skin = likeness(cv2.min(darker, 0.0, darker), spread)
    inside = canvas.inside.view(np.uint8)
    skin = rim.without_strokes(skin, canvas.width)
    depth = rim.depth(inside, canvas.width)
    deep = depth * canvas.known
    patch = rim.matched(patch, canvas.below, depth=deep, skin=skin, new_skin=new_skin, width=canvas.width)
    opacity = rim.opacity(depth, skin, canvas.kept)
    if look.front.any():
        opacity *= 1.0 - warped(look.front, canvas) * (1.0 - skin) * (1.0 - canvas.kept)
    x1, y1, x2, y2 = canvas.roi
    part = image[y1:y2, x1:x2]
    shown = edge(canvas.known, EDGE * canvas.width)
    if (shown < 1.0).any():
        patch = _whole(patch, plain(lit), shown, sigma=FILLED * canvas.width)
    new = _rounded(patch)
    if canvas.turned > 0.0:
        new = without_folds(new, canvas.where, canvas.known)
    drawn = cv2.blendLinear(canvas.below, new, 1.0 - opacity, opacity)
    part[:] = cv2.copyTo(drawn, canvas.concealed.view(np.uint8), part.copy())
    return opacity * canvas.concealed


def _rounded(patch: Floats) -> Image:
    """Return `(h, w, 3)` values as a picture, cut off at 0 and 255."""
    return np.asarray(cv2.convertScaleAbs(cv2.max(patch, 0.0)))


def _whole(patch: Floats, skin: Floats, shown: Floats, *, sigma: float) -> Floats:
    """Return `patch` with the colours around where the texture does not reach: beside the nose of a turned head.

    Args:
        patch: `(h, w, 3)` float32 RGB.
        skin: What takes its place where nothing of it is near.
        shown: `(h, w)` in [0, 1], how much of the patch is known.
        sigma: Pixels, of the blur of the colours around.
    """
    shrink = max(1.0, sigma / 2.0)
    size = (max(1, round(patch.shape[1] / shrink)), max(1, round(patch.shape[0] / shrink)))
    more = cv2.multiply(cv2.subtract(patch, skin), cv2.merge([shown] * 3))
    colours, weight = (
        cv2.GaussianBlur(cv2.resize(part, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / shrink)
        for part in (more, shown)
    )
    field = cv2.resize(colours / (weight + 0.02)[..., None], patch.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(patch, cv2.add(skin, field, field), shown, 1.0 - shown))


def warped(values: Floats, canvas: Canvas) -> Floats:
    """Return what of `values`, of a whole crop in any size, lies at each pixel of the canvas."""
    share = len(values) / canvas.side
    at = canvas.where if share == 1.0 else (canvas.where + 0.5) * np.float32(share) - np.float32(0.5)
    return np.asarray(cv2.remap(values, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def corners(box: Floats) -> Floats:
    """Return the corners of the head around a box, `(4, 2)`, as it is covered."""
    x1, y1, x2, y2 = box
    dx, dy = HEAD_MARGIN * (x2 - x1), HEAD_MARGIN * (y2 - y1)
    return np.array([[x1 - dx, y1 - dy], [x2 + dx, y1 - dy], [x2 + dx, y2 + dy], [x1 - dx, y2 + dy]], np.float32)


def without(below: Image, image: Image, hidden: Sequence[Floats], roi: tuple[int, int, int, int]) -> Image:
    """Return `below`, a part of the frame, with other faces as `image` has them: concealed, or drawn."""
    mask = np.zeros(below.shape[:2], np.uint8)
    for polygon in hidden:
        if (polygon.max(axis=0) >= roi[:2]).all() and (polygon.min(axis=0) <= roi[2:]).all():
            mask |= fill(polygon, roi).astype(np.uint8)
    if not mask.any():
        return below
    return np.asarray(cv2.copyTo(image[roi[1] : roi[3], roi[0] : roi[2]], mask, below.copy()))
