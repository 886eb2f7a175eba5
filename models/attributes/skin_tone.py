"""The colour of skin in a picture, as dermatology measures it."""

from __future__ import annotations

import torch
from torch import Tensor

from models.face_model import DEFAULT_TEMPLATE

CHEEK = 0.05  # half the side of the square that is looked at on each cheek, in sides of the crop

_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)  # D65


def typology_angle(crops: Tensor) -> Tensor:
    """Return the individual typology angle of the cheeks `(N,)`, degrees (Chardon et al. 1991): light skin is high.

        ITA = atan2(L* - 50, b*)

    It is that of the picture: dim or coloured light changes it. The lighter cheek counts: the other may lie in shade.

    Args:
        crops: `(N, 3, S, S)` RGB in [-1, 1], aligned to `DEFAULT_TEMPLATE`.
    """
    eyes, mouth = DEFAULT_TEMPLATE.points[:2], DEFAULT_TEMPLATE.points[3:]
    tones = []
    for eye, corner in zip(eyes, mouth, strict=True):
        x, y = eye[0], (eye[1] + corner[1]) / 2  # below the pupil, at the height of the nose's tip
        rows, columns = (_around(middle, crops.shape[-1]) for middle in (y, x))
        tones.append(_lab(crops[:, :, rows, columns].flatten(2).median(dim=2).values))
    left, right = tones
    lab = torch.where((left[:, :1] > right[:, :1]), left, right)
    return torch.rad2deg(torch.atan2(lab[:, 0] - 50, lab[:, 2].clamp(min=1)))


def _around(middle: float, size: int) -> slice:
    return slice(round((middle - CHEEK) * size), round((middle + CHEEK) * size))


def _lab(colours: Tensor) -> Tensor:
    """Return CIE L*a*b* `(N, 3)` of sRGB `(N, 3)` in [-1, 1]."""
    srgb = (colours + 1) / 2
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ torch.tensor(_TO_XYZ, device=colours.device).T / torch.tensor(_WHITE, device=colours.device)
    f = torch.where(xyz > 216 / 24389, xyz.clamp(min=1e-9) ** (1 / 3), (24389 / 27 * xyz + 16) / 116)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], dim=1)
