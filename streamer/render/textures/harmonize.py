"""Make a drawn face belong to its frame, by a network that sees the face and what is around it."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from models.unets.harmonizer import HARMONIZED_SIZE, Harmonizer
from streamer.types import Floats, Image

REACH = 0.85  # of the longer side of a face's box: half the side of what the network sees
HIGHER = 0.05  # of the height of the box, by which the middle of that lies above its middle
SOFTER = 0.45  # pixels of what the network sees, the blur before a larger face is shrunk to it
MARGIN = 4  # pixels around what is shrunk
BESIDE = 5  # pixels of what the network sees, across: an eye is larger by half of that
NEAR = 4.0  # pixels of what the network sees: how far around an eye the skin tells what light is on it


@torch.inference_mode()
def harmonize(
    image: Image,
    box: Floats,
    drawn: Floats,
    roi: tuple[int, int, int, int],
    network: Harmonizer,
    device: torch.device,
    *,
    eyes: Floats | None = None,
) -> None:
    """Change a face that was drawn into `image`, in place, so that it belongs there.

    Args:
        image: `(H, W, 3)` uint8 RGB, in which the face is drawn, and others are drawn or concealed.
        box: `(4,)` of the face, x1, y1, x2, y2 in pixels.
        drawn: `(h, w)` in [0, 1], how strongly it was drawn in the part `roi` of the image.
        roi: x1, y1, x2, y2 in pixels.
        network: Prepared, on `device`.
        device: Where pictures go.
        eyes: `(h, w)` in [0, 1], how much each pixel of the part belongs to an eye: they are lit as the skin around is.

    Raises:
        FloatingPointError: If the network makes values that are not finite.
    """
    x1, y1, x2, y2 = roi
    to_crop = crop_matrix(box)
    of_part = to_crop.copy()
    of_part[:, 2] += to_crop[:, :2] @ np.array([x1, y1], np.float32)
    pictures = torch.from_numpy(crop(image, to_crop)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    mask = torch.from_numpy(crop(drawn, of_part)).to(device)[None, None]
    added = network(pictures, mask)[0].permute(1, 2, 0).cpu().numpy()
    if not np.isfinite(added.sum()):
        raise FloatingPointError("the harmonizer made values that are not finite")
    if eyes is not None:
        added = _as_around(added, np.asarray(crop(eyes, of_part), np.float32))
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(127.5 * added, of_part, (x2 - x1, y2 - y1), flags=how)
    part = image[y1:y2, x1:x2]
    part[:] = cv2.add(part, field, dtype=cv2.CV_8U)


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
