"""What drawing asks of a model whose strangers are textures: no network makes their faces, a mesh carries them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.face_model import FaceModel
from models.unets.harmonizer import Harmonizer


class TextureModel(FaceModel):
    """A model of textures in its mesh template; the caller lights, moves and blends them."""

    harmonizer: Harmonizer  # makes drawn faces belong to their frames
    light: Tensor  # (16, 16, 3), what the log light of all textures has in common

    @abstractmethod
    def texture(self, pseudonym: int) -> npt.NDArray[np.uint8]:
        """Return the face of a stranger, `(S, S, 3)` uint8 RGB: evenly lit, eyes open and ahead, mouth closed."""

    @abstractmethod
    def small_texture(self, pseudonym: int) -> npt.NDArray[np.uint8]:
        """Return the same some times smaller and quickly, to try it on."""

    @abstractmethod
    def shading(self, meshes: Tensor, lights: Tensor) -> Tensor:
        """Return what faces do to their skin, and the light on them to their features, `(N, C, C)` in the template.

        Args:
            meshes: `(N, 468, 3)`.
            lights: `(N, 16, 16, 3)` log colours of skin.

        Returns:
            Logarithms of brightness.
        """

    def coarse_shades(self, pseudonym: int) -> npt.NDArray[np.float32] | None:
        """Return the coarse shades that a stranger is to have, whoever they are drawn on, or None for any.

        `(48, 48, 3)`, log colours less those of skin (`models.textures.coarse`).
        """
        return None

    @abstractmethod
    def may_be_bearded(self, pseudonym: int) -> bool:
        """Return whether a beard would suit a stranger: a grown man."""
