"""Pictures in the forms that Python programs have them in: arrays and Pillow images, in colour, grey or with alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageOps
from PIL.Image import Image as PilImage
from PIL.Image import fromarray

from streamer.types import Image

Order: TypeAlias = Literal["rgb", "bgr"]
Picture: TypeAlias = Image | PilImage
EXPECTED = "a picture must be uint8 of shape (H, W), (H, W, 3) or (H, W, 4), or a Pillow image"


class SafePicture(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array without faces that a notebook shows as a picture; what is computed from it is shown as numbers."""

    order: Order | Literal[""] = ""

    @classmethod
    def of(cls, array: Image, order: Order) -> Self:
        """Return `array` itself, seen as such a picture."""
        picture = array.view(cls)
        picture.order = order
        return picture

    def _repr_png_(self) -> bytes | None:
        """Return the picture as PNG; None for a part of one, or a result, which may hold anything."""
        return png(_to_rgba_or_rgb(np.asarray(self), self.order)) if self.order else None


@dataclass(frozen=True, slots=True)
class Given:
    """A picture as it was given, taken apart.

    Attributes:
        rgb: `(H, W, 3)` uint8, upright.
        alpha: `(H, W)` uint8, or None.
        back: Makes of safe `rgb` and `alpha` a picture of the form that was given.
    """

    rgb: Image
    alpha: Image | None
    back: Callable[[Image, Image | None], Picture]


def taken_apart(picture: Picture, order: Order) -> Given:
    """Return a picture in the form that the pipeline takes, and the way back.

    Raises:
        ValueError: If it is none, or of another order than it can be.
    """
    if order not in get_args(Order):
        raise ValueError(f"order must be 'rgb' or 'bgr', got {order!r}")
    if isinstance(picture, PilImage):
        if order != "rgb":
            raise ValueError("a Pillow image says its own order; leave out order='bgr'")
        return _of_pillow(picture)
    array = np.asarray(picture)
    is_shaped = array.size and array.ndim >= 2 and array.shape[2:] in ((), (1,), (3,), (4,))
    if not is_shaped or array.dtype != np.uint8:
        raise ValueError(f"{EXPECTED}; got {array.dtype} of shape {array.shape}")
    return _of_grey(array) if array.shape[2:] in ((), (1,)) else _of_colour(array, order)


def png(image: Image) -> bytes:
    """Return an RGB, RGBA or grey array as PNG."""
    if image.ndim == 3 and image.shape[2] >= 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", image)[1].tobytes()


def _of_pillow(picture: PilImage) -> Given:
    """Take a Pillow image; one on its side, as cameras store it, is made upright: nothing finds a face on its side."""
    upright = ImageOps.exif_transpose(picture)
    mode = upright.mode if upright.mode in ("RGB", "RGBA", "L") else "RGBA" if upright.has_transparency_data else "RGB"
    given = taken_apart(np.asarray(upright.convert(mode), np.uint8), "rgb")

    def back(rgb: Image, alpha: Image | None) -> PilImage:
        return fromarray(np.asarray(given.back(rgb, alpha)))

    return Given(given.rgb, given.alpha, back)


def _of_grey(array: Image) -> Given:
    rgb = cv2.cvtColor(array, cv2.COLOR_GRAY2RGB)

    def back(safe: Image, _: Image | None) -> Image:
        return SafePicture.of(cv2.cvtColor(safe, cv2.COLOR_RGB2GRAY).reshape(array.shape), "rgb")

    return Given(np.asarray(rgb, np.uint8), None, back)


def _of_colour(array: Image, order: Order) -> Given:
    rgb = np.ascontiguousarray(array[..., :3] if order == "rgb" else array[..., 2::-1])
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None

    def back(safe: Image, safe_alpha: Image | None) -> Image:
        colour = safe if order == "rgb" else safe[..., ::-1]
        layers = colour if safe_alpha is None else np.dstack([colour, safe_alpha])
        return SafePicture.of(np.array(layers, order="C"), order)  # the pipeline's own is read-only

    return Given(rgb, alpha, back)


def _to_rgba_or_rgb(array: npt.NDArray[np.uint8], order: str) -> Image:
    if order == "rgb" or array.ndim == 2 or array.shape[2] == 1:
        return array
    return np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]])
