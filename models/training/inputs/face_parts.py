"""Where the parts of a face lie in aligned crops: what pixels count by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.face_model import Template


def face_oval(template: Template, size: int) -> Tensor:
    """Return where the face of a template is, about as the paste shows it: `(1, 1, size, size)` in {0, 1}.

    The mean oval of a face mesh is 2.2 times as wide and 2.6 times as high as the eyes are apart, and its middle half
    that distance below them; a paste fades a little outside of it.
    """
    left, right = template.landmarks[:2]
    across = float(np.hypot(*(right - left)))
    x, y = (left + right) / 2 + np.array([0.0, 0.5 * across])
    place = (torch.arange(size) + 0.5) / size
    down = ((place - y) / (1.4 * across)).square()[:, None]
    inside: Tensor = down + ((place - x) / (1.2 * across)).square() <= 1
    return inside.float()[None, None]


def eyes_and_mouth(template: Template, size: int) -> Tensor:
    """Return where eyes and mouth of a template are: `(1, 1, size, size)` in [0, 1], soft at the edge.

    They are a hundredth of the pixels, and what a viewer looks at.
    """
    left, right, _, *mouth = template.landmarks
    across = float(np.hypot(*(right - left)))
    place = (torch.arange(size) + 0.5) / size

    def around(x: float, y: float, half_width: float, half_height: float) -> Tensor:
        down = ((place - y) / (half_height * across)).square()[:, None]
        return torch.exp(-((down + ((place - x) / (half_width * across)).square()) ** 2))

    middle = (mouth[0] + mouth[1]) / 2
    eyes = [around(float(x), float(y), 0.35, 0.22) for x, y in (left, right)]
    parts = [*eyes, around(float(middle[0]), float(middle[1]), 0.5, 0.3)]
    most: Tensor = torch.stack(parts).amax(dim=0)
    return most[None, None]
