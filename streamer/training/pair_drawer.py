"""Draws a face twice, as the person themselves and as a stranger: of the first it is known what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.texture_model import TextureModel
from streamer.faces.fine_mesh import FineMesh
from streamer.render.blend import inner_face
from streamer.render.conceal import conceal_polygon
from streamer.render.pseudonym import Pseudonyms
from streamer.render.textures import finish, paint
from streamer.render.textures.finisher import Finisher
from streamer.render.textures.harmonize import Ask
from streamer.render.textures.light import DARK
from streamer.render.textures.stranger import Stranger, enlarged, prepare
from streamer.render.textures.texture_draw import TextureDrawer, View
from streamer.types import Face, Floats, Image, Track

CONTRASTS = (0.5, 1.3)  # limits of the contrast that a face is drawn with


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is wrong with a person who is drawn as themselves.

    Attributes:
        blur: Times as soft as the frame asks for.
        contrast: Times as much as it asks for.
        share: In [0, 1], of the stranger's shades and hues that are mixed in.
        sigma: Pixels of a texture, the blur from which on they are shades.
    """

    blur: float
    contrast: float
    share: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture with a face drawn into it.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        strength: `(H, W)` in [0, 1], how strongly the face was drawn there.
    """

    image: Image
    strength: Floats


class PairDrawer(TextureDrawer):
    """Draws one face of a picture, for no stream: nobody is tried on, nothing is harmonized.

    Args:
        model: On the CPU.
        pseudonyms: Who becomes whom.
        network: Finds lids and lips.
    """

    def __init__(self, model: TextureModel, *, pseudonyms: Pseudonyms, network: FineMesh) -> None:
        super().__init__(model, torch.device("cpu"), pseudonyms=pseudonyms, network=network)
        self._finished = Finisher(self._measured)
        self._flaws: Flaws | None = None
        self._strength: Floats | None = None

    def as_themselves(self, image: Image, track: Track, name: str, flaws: Flaws) -> Drawing | None:
        """Return `image` with a face drawn as the person, made ready as strangers are; None where it cannot be drawn.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            track: Of the face, with its mesh.
            name: Of the picture: it decides on the stranger, whose eyes, teeth and shape the person has.
            flaws: What is to be wrong.
        """
        return self._drawing(image, track, name, flaws)

    def as_stranger(self, image: Image, track: Track, name: str) -> Drawing | None:
        """Return `image` with a face drawn as a stranger; None where it cannot be drawn. As in `as_themselves`."""
        return self._drawing(image, track, name, None)

    def _drawing(self, image: Image, track: Track, name: str, flaws: Flaws | None) -> Drawing | None:
        self.reset(name)
        self._flaws, self._strength = flaws, None
        drawn = image.copy()
        conceal_polygon(drawn, inner_face(track.face), cover="mosaic")
        self.draw(drawn, image, [track], 0.0, beta=0.0, fresh=1, covered=())
        return None if self._strength is None else Drawing(drawn, self._strength)

    @torch.inference_mode()
    def _others(self, image: Image, tracks: Sequence[Track], views: dict[int, View]) -> list[torch.Tensor]:
        return list(self._pseudonyms.assign(image, tracks, *self._seen(image, tracks)))

    def _stranger(self, image: Image, view: View, number: int, *, beta: float) -> Stranger:
        stranger = super()._stranger(image, view, number, beta=beta)
        return stranger if self._flaws is None else self._person(image, view, number, stranger, self._flaws)

    def _person(self, image: Image, view: View, number: int, stranger: Stranger, flaws: Flaws) -> Stranger:
        """Return the person as a stranger is prepared, of a texture that is lit as the stranger's."""
        lit = np.exp(self._unlit(image, view) + enlarged(stranger.light, self._large.size)) - DARK
        texture = np.clip(lit, 0, 255).astype(np.uint8)
        person = self._in_their_colours(
            prepare(texture, self._points, self._common, stranger.eyeball, stranger.teeth, reader=self._reader),
            view,
            number,
        )
        levels = []
        for halvings, (own, other) in enumerate(zip(person.levels, stranger.levels, strict=True)):
            shades = cv2.GaussianBlur(other - own, (0, 0), flaws.sigma / 2**halvings)
            levels.append(np.asarray(own + np.float32(flaws.share) * shades, np.float32))
        return replace(person, levels=tuple(levels))

    def _measured(self, below: Floats, patch: Floats, inside: npt.NDArray[np.bool_]) -> finish.Finish:
        found = finish.measure(below, patch, inside)
        if self._flaws is None:
            return found
        contrast = float(np.clip(found.contrast * self._flaws.contrast, *CONTRASTS))
        return replace(found, blur=found.blur * self._flaws.blur, contrast=contrast)

    def _harmonize(
        self,
        image: Image,
        face: Face,
        strength: Floats,
        canvas: paint.Canvas,
        *,
        follow: Callable[[Ask], Floats] | None = None,
    ) -> None:
        x1, y1, x2, y2 = canvas.roi
        self._strength = np.zeros(image.shape[:2], np.float32)
        self._strength[y1:y2, x1:x2] = strength
