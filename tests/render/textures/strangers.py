"""A model of textures that needs no weights: two people of plain skin, brows, eyes and lips, in the real template."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from models.checkpoint import config_from_json, read_checkpoint, weights_path
from models.face_model import Template
from models.texture_model import TextureModel
from models.unets.harmonizer import Harmonizer
from streamer.render.textures.light import BROWS, CELLS, EYES, LIPS, LightReader
from streamer.types import Floats, Image

SIZE = 256
SKINS = ((205, 160, 140), (120, 85, 70))


@dataclass(frozen=True)
class StrangersConfig:
    """Nothing to choose."""


class Strangers(TextureModel):
    """Two strangers; the seed decides, and shape stays the person's."""

    kind = "textures"

    def __init__(self) -> None:
        template = config_from_json(Template, read_checkpoint(weights_path("linear-refined")).template)
        super().__init__(StrangersConfig(), template)
        points = np.array(template.points, np.float32)
        self.pictures = [_picture(points, skin) for skin in SKINS]
        light = np.mean([LightReader(points)(picture).cells for picture in self.pictures], axis=0)
        self.register_buffer("light", torch.from_numpy(light - light.mean(axis=(0, 1))))
        torch.manual_seed(0)
        self.harmonizer = Harmonizer()  # fresh: it adds next to nothing

    @property
    def crop_size(self) -> int:
        return SIZE

    def texture(self, pseudonym: int) -> Image:
        return self.pictures[pseudonym]

    def small_texture(self, pseudonym: int) -> Image:
        return np.asarray(cv2.resize(self.pictures[pseudonym], (80, 80), interpolation=cv2.INTER_AREA))

    def shading(self, meshes: Tensor, lights: Tensor) -> Tensor:
        return meshes.new_zeros(len(meshes), 8, 8)

    def may_be_bearded(self, pseudonym: int) -> bool:
        return pseudonym == 0

    def pseudonyms(self, sighting: object, seeds: Tensor) -> Tensor:
        return seeds % len(self.pictures)

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        raise NotImplementedError

    def _generate(self, latents: Tensor) -> Tensor:
        raise NotImplementedError


@cache
def strangers() -> Strangers:
    """Return the model, made once."""
    model: Strangers = Strangers().eval()
    return model


def _picture(points: Floats, skin: tuple[int, int, int]) -> Image:
    picture = np.full((SIZE, SIZE, 3), skin, np.uint8)

    def draw(indices: tuple[int, ...], colour: tuple[int, int, int]) -> None:
        corners = cv2.convexHull((points[list(indices)] * SIZE * 16).astype(np.int32))
        cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA, 4)

    for brow in BROWS:
        draw(brow, (60, 45, 40))
    for eye in EYES:
        draw(eye, (220, 215, 210))
        middle = tuple((points[list(eye)].mean(axis=0) * SIZE).astype(int).tolist())
        cv2.circle(picture, middle, 6, (70, 50, 30), -1, cv2.LINE_AA)
    draw(LIPS, (170, 90, 90))
    return picture


assert CELLS == 16  # what a model's light has
