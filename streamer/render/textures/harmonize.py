"""Make a drawn face belong to its frame, by a network that sees the face and what is around it.

It is asked now and then: what it adds changes slowly, lies on the face and moves with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from models.unets.harmonizer import HARMONIZED_SIZE, Harmonizer
from streamer.render.align import MeshAligner
from streamer.render.textures import paint
from streamer.types import Face, Floats, Image

REACH = 0.85  # of the longer side of a face's box: half the side of what the network sees
HIGHER = 0.05  # of the height of the box, by which the middle of that lies above its middle
SOFTER = 0.45  # pixels of what the network sees, the blur before a larger face is shrunk to it
MARGIN = 4  # pixels around what is shrunk
BESIDE = 5  # pixels of what the network sees, across: an eye is larger by half of that
NEAR = 4.0  # pixels of what the network sees: how far around an eye the skin tells what light is on it
LARGE = (1.5, 3.0)  # pixels of the frame to one of what the network sees, from which on, and where wholly, ...
BROAD = 2.5  # ... what is added is blurred by this, in the latter: enlarged, edges of features would be smears
MIN_BROAD = 0.3  # pixels: a smaller blur is none
ASKED_SECONDS = 0.3  # between two times that the network is asked about a face
SETTLED_SECONDS = 0.1  # in which two thirds of a difference from what it said before is shown
RELIT = 0.1  # mean change of the logarithm of the light, from which on it is asked at once and shown at once
TURNED = 0.04  # the same of where the nose lies across the face

Roi = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the frame
Ask = Callable[[], Floats]  # asks the network what to add, `(h, w, 3)` grey levels: `change`


@dataclass(frozen=True, slots=True)
class Shown:
    """What a drawn face looks like but for what the network adds: by its changes that is told anew.

    Attributes:
        who: The stranger, and how much of the person is in them.
        light: As of `paint.Look`.
        turn: `profile_ratio`.
    """

    who: tuple[int, float]
    light: Floats
    turn: float

    def is_near(self, other: Shown) -> bool:
        """Return whether what is added to the one suits the other."""
        relit = float(np.abs(self.light - other.light).mean())
        return self.who == other.who and relit < RELIT and abs(self.turn - other.turn) < TURNED


@dataclass(frozen=True, slots=True)
class _Added:
    """What was added to a track last, `(S, S, 3)` in its crop.

    Attributes:
        asked: When the network was asked.
        about: What.
        told: What it said.
        seconds: Presentation time.
        values: What was added then: on the way to that.
    """

    asked: float
    about: Shown
    told: Floats
    seconds: float
    values: Floats


class HarmonyKeeper:
    """Remembers what is added to the faces of a stream.

    Args:
        aligner: Of the template, at the size of the crops that canvases are made with.
    """

    def __init__(self, aligner: MeshAligner) -> None:
        self._aligner = aligner
        self._added: dict[int, _Added] = {}

    def reset(self) -> None:
        """Forget everyone: another stream begins."""
        self._added = {}

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._added = {track: added for track, added in self._added.items() if track in alive}

    def __call__(
        self, track: int, face: Face, shown: Shown, canvas: paint.Canvas, ask: Ask, *, seconds: float
    ) -> Floats:
        """Return what to add to a track on its canvas, `(h, w, 3)` grey levels.

        Args:
            track: Its number.
            face: With the mesh of the new face.
            shown: What it looks like.
            canvas: Where it is painted.
            ask: Asks the network.
            seconds: Presentation time.
        """
        before = self._added.get(track)
        if before is None or not before.about.is_near(shown) or not 0.0 <= seconds - before.seconds < ASKED_SECONDS:
            told = self._in_crop(ask(), face, canvas.roi)
            added = _Added(seconds, shown, told, seconds, told)
        else:
            if seconds - before.asked >= ASKED_SECONDS:
                before = replace(before, asked=seconds, about=shown, told=self._in_crop(ask(), face, canvas.roi))
            share = np.float32(1.0 - np.exp((before.seconds - seconds) / SETTLED_SECONDS))
            added = replace(before, seconds=seconds, values=before.values + share * (before.told - before.values))
        self._added[track] = added
        return paint.warped(added.values, canvas)

    def _in_crop(self, change: Floats, face: Face, roi: Roi) -> Floats:
        """Return a change of a part of the frame, `(h, w, 3)`, as it lies on the face: `(S, S, 3)`."""
        assert face.mesh is not None  # it is drawn
        mesh = face.mesh - np.array([*roi[:2], 0], np.float32)
        return np.asarray(self._aligner.crop(change, replace(face, mesh=mesh)), np.float32)


def harmonize(image: Image, drawn: Floats, roi: Roi, added: Floats) -> None:
    """Add to a face that was drawn so strongly in a part of `image`, in place, what makes it belong there.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        drawn: `(h, w)` in [0, 1]; where it is 0 nothing is added.
        roi: The part.
        added: `(h, w, 3)` grey levels.
    """
    x1, y1, x2, y2 = roi
    part = image[y1:y2, x1:x2]
    cv2.add(part, added, dst=part, mask=(drawn > 0).view(np.uint8), dtype=cv2.CV_8U)


@torch.inference_mode()
def change(
    image: Image,
    box: Floats,
    drawn: Floats,
    roi: Roi,
    network: Harmonizer,
    device: torch.device,
    *,
    openings: Floats | None = None,
) -> Floats:
    """Return what to add to a part of `image`, `(h, w, 3)` grey levels, so that a face drawn into it belongs there.

    Args:
        image: `(H, W, 3)` uint8 RGB, in which the face is drawn, and others are drawn or concealed.
        box: `(4,)` of the face, x1, y1, x2, y2 in pixels.
        drawn: `(h, w)` in [0, 1], how strongly it was drawn in the part `roi` of the image.
        roi: The part.
        network: Prepared, on `device`.
        device: Where pictures go.
        openings: `(h, w)` in [0, 1], how much each pixel of the part belongs to an eye or a nostril: lit as the skin
            around is.

    Raises:
        FloatingPointError: If the network makes values that are not finite.
    """
    x1, y1, x2, y2 = roi
    to_crop = crop_matrix(box)
    of_part = to_crop.copy()
    of_part[:, 2] += to_crop[:, :2] @ np.array([x1, y1], np.float32)
    pictures = torch.from_numpy(crop(image, to_crop)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    strength = np.asarray(crop(drawn, of_part), np.float32)
    added = network(pictures, torch.from_numpy(strength).to(device)[None, None])[0].permute(1, 2, 0).cpu().numpy()
    if not np.isfinite(added.sum()):
        raise FloatingPointError("the harmonizer made values that are not finite")
    added = _broad(added, strength, float(to_crop[0, 0]))
    if openings is not None:
        added = _as_around(added, np.asarray(crop(openings, of_part), np.float32))
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(127.5 * added, of_part, (x2 - x1, y2 - y1), flags=how))


def _broad(added: Floats, drawn: Floats, scale: float) -> Floats:
    """Return `added` `(S, S, 3)` where `drawn` `(S, S)`, as smooth as it should be at that `scale` of a crop."""
    low, high = LARGE
    sigma = BROAD * float(np.clip((1 / scale - low) / (high - low), 0.0, 1.0))
    if sigma < MIN_BROAD:
        return added
    around = cv2.GaussianBlur(drawn, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(added, (0, 0), sigma) * (drawn / (around + 1e-3))[..., None], np.float32)


def crop_matrix(box: Floats) -> Floats:
    """Return the matrix `(2, 3)` from pixels of the frame to those of what the network sees."""
    width, height = box[2:] - box[:2]
    scale = HARMONIZED_SIZE / (2 * REACH * max(width, height))
    middle = (box[:2] + box[2:]) / 2 - (0.0, HIGHER * height)
    offset = HARMONIZED_SIZE / 2 - scale * middle
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]], np.float32)


def crop(image: Floats | Image, to_crop: Floats) -> Floats | Image:
    """Return the part of `image` that the network sees.

    Args:
        image: `(H, W, 3)` uint8 RGB, which is mirrored at its border, or `(H, W)` float32, which is 0 outside.
        to_crop: `crop_matrix`.
    """
    scale = float(to_crop[0, 0])
    side = HARMONIZED_SIZE
    if scale < 1 / 1.1:
        low = np.floor(-to_crop[:, 2] / scale).astype(int) - MARGIN
        high = np.ceil((side - to_crop[:, 2]) / scale).astype(int) + MARGIN
        low, high = np.clip(low, 0, None), np.minimum(high, image.shape[1::-1])
        image = cv2.GaussianBlur(image[low[1] : high[1], low[0] : high[0]], (0, 0), SOFTER / scale)
        to_crop = to_crop.copy()
        to_crop[:, 2] += scale * low
    is_picture = image.ndim == 3
    how = cv2.INTER_CUBIC if is_picture else cv2.INTER_LINEAR
    border = cv2.BORDER_REFLECT_101 if is_picture else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(image, to_crop, (side, side), flags=how, borderMode=border))


def _as_around(added: Floats, places: Floats) -> Floats:
    """Return `added` `(S, S, 3)`, where `places` `(S, S)` are 1 as smooth as what is added around them."""
    grown = cv2.GaussianBlur(cv2.dilate(places, np.ones((BESIDE, BESIDE), np.uint8)), (0, 0), 1.0)
    others = 1.0 - grown[..., None]
    near = cv2.GaussianBlur(added * others, (0, 0), NEAR) / (cv2.GaussianBlur(others, (0, 0), NEAR)[..., None] + 1e-3)
    return np.asarray(added * others + near * (1.0 - others), np.float32)
