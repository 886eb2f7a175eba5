"""Strangers are textures in the mesh template, composed of donors who do not exist.

A checkpoint holds the mended pictures of donors and, for each stranger, whose eyes, whose mouth and whose skin they
have; a picture is decoded and composed when a stranger is first drawn. Light, pose and expression are the frame's, and
drawn elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_model import ANCESTRIES, Sighting, Template
from models.texture_model import TextureModel
from models.textures import coarse
from models.textures.choose import SUITED, choose, unsuited
from models.textures.compose import coloured, compose
from models.textures.folds import BRIGHTEST, FARTHEST, SIZE
from models.textures.regions import Floats, Regions, make_regions
from models.textures.shades import CELLS, shaded
from models.textures.shape import StrangerShape
from models.textures.skin import SMALL, LineReader, logarithm
from models.unets.harmonizer import Harmonizer

GROWN = 17.0  # years, from which on men may have beards
_LOGARITHMS = logarithm(np.arange(256, dtype=np.float32))


@dataclass(frozen=True)
class TexturesConfig:
    """Sizes of the model.

    Attributes:
        size: S, the side of a texture in pixels.
        donors: D, pictures.
        picture_bytes: Of all encoded pictures together.
        strangers: B, people to choose from.
        embedding: E, values of the recogniser's embedding.
        expressions: How many directions of the mesh tell what a face does.
        shape_directions: How many tell whose it is.
        directions: k, of light, in which features shade.
        coarse: c, directions of coarse shades; 0 where they are left as they are.
    """

    size: int = 320
    donors: int = 400
    picture_bytes: int = 8_000_000
    strangers: int = 2048
    embedding: int = 128
    expressions: int = 6
    shape_directions: int = 40
    directions: int = 6
    coarse: int = 0


class Textures(TextureModel):
    """Strangers as textures, behind the interface of `FaceModel`; L = 1, D = 769: stranger, then light."""

    kind: ClassVar[str] = "textures"
    config: TexturesConfig

    pictures: Tensor  # (picture_bytes,) uint8: the encoded pictures, one after the other
    ends: Tensor  # (D,) int64: where each ends
    colours: Tensor  # (D, 3) logarithm of skin colour
    mean_light: Tensor  # (80, 80, 3) logarithm of the light that all pictures have
    recipes: Tensor  # (B, 4) int64: the donor of eyes and brows, of nose and mouth, of skin, of its colour
    female: Tensor  # (B,) in [0, 1]: 0 or 1, nearer to one half for who is not drawn clearly as what they are
    age: Tensor  # (B,) years
    tone: Tensor  # (B,) degrees of the typology angle of the skin
    ancestry: Tensor  # (B, 4) probabilities of `ANCESTRIES`: of donors, and as drawn
    beard: Tensor  # (B,) logarithm: how much darker jaw and upper lip are than cheeks
    brows: Tensor  # (B,) logarithm: how much darker brows are than skin, below 0 (`models.textures.skin.brow_darkness`)
    lines: (
        Tensor  # (B, 3) logarithm: how dark lines of forehead, eyes and cheeks are (`models.textures.skin.LineReader`)
    )
    embeddings: Tensor  # (B, E) unit, of each stranger as drawn, less the mean of all
    folds: Tensor  # (e, 160, 160): what a deviation of each expression does to skin, logarithm of brightness
    neutral: Tensor  # (e,): expressions of a face at rest
    deviation: Tensor  # (e,): of expressions
    shades: Tensor  # (k, 160, 160): what a deviation of each direction of light does to features, likewise
    directions: Tensor  # (k, 16, 16) of light, by their deviations
    usual_light: Tensor  # (16, 16) logarithm of brightness
    light: Tensor  # (16, 16, 3) logarithm: what the light of all textures has in common, of mean 0
    coarse_directions: Tensor  # (c, 48, 48, 3) logarithm (`models.textures.coarse`); neither is there where c is 0
    coarse: Tensor  # (B, c): of each stranger

    def __init__(self, config: TexturesConfig, template: Template) -> None:
        super().__init__(config, template)
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "pictures": ((config.picture_bytes,), torch.uint8),
            "ends": ((config.donors,), torch.int64),
            "colours": ((config.donors, 3), torch.float32),
            "mean_light": ((SMALL, SMALL, 3), torch.float32),
            "recipes": ((config.strangers, 4), torch.int64),
            "female": ((config.strangers,), torch.float32),
            "age": ((config.strangers,), torch.float32),
            "tone": ((config.strangers,), torch.float32),
            "ancestry": ((config.strangers, len(ANCESTRIES)), torch.float32),
            "beard": ((config.strangers,), torch.float32),
            "brows": ((config.strangers,), torch.float32),
            "lines": ((config.strangers, 3), torch.float32),
            "embeddings": ((config.strangers, config.embedding), torch.float32),
            "folds": ((config.expressions, SIZE, SIZE), torch.float16),
            "neutral": ((config.expressions,), torch.float32),
            "deviation": ((config.expressions,), torch.float32),
            "shades": ((config.directions, SIZE, SIZE), torch.float16),
            "directions": ((config.directions, CELLS, CELLS), torch.float32),
            "usual_light": ((CELLS, CELLS), torch.float32),
            "light": ((CELLS, CELLS, 3), torch.float32),
        }
        if config.coarse:
            shapes["coarse_directions"] = (config.coarse, coarse.SIZE, coarse.SIZE, 3), torch.float16
            shapes["coarse"] = (config.strangers, config.coarse), torch.float16
        for name, (shape, dtype) in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        self._small_details: dict[int, npt.NDArray[np.float16]] = {}
        self.shape = StrangerShape(config.expressions, config.shape_directions, config.strangers)
        self.harmonizer = Harmonizer()

    def settle(self) -> None:
        """Let OpenCV run the harmonizer, where this is on the CPU."""
        self.harmonizer.settle()

    @property
    def crop_size(self) -> int:
        """S, the side of a texture in pixels."""
        return self.config.size

    @property
    def identity_size(self) -> int:
        """E, how many coordinates an embedding has."""
        return self.config.embedding

    def identity_coordinates(self, sighting: Sighting) -> Tensor:
        """Return the embeddings of N people, `(N, E)`, scaled so that a coordinate's mean square is 1.

        Raises:
            ValueError: If they are not known.
        """
        if sighting.embeddings is None:
            raise ValueError("textures are chosen by a recogniser's embeddings: load the model with one")
        coordinates: Tensor = sighting.embeddings * self.config.embedding**0.5
        return coordinates

    def nearest_strangers(self, coordinates: Tensor) -> Tensor:
        """Return the strangers `(N,)` int64 whose embeddings are nearest in direction to `(N, E)` released ones."""
        return (coordinates @ self.embeddings.T).argmax(dim=1)

    def pseudonyms(self, sighting: Sighting, seeds: Tensor) -> Tensor:
        """Return which stranger each person becomes, `(N,)` int64: one that suits, and is little like the person."""
        return choose(self, sighting, seeds)

    def foretold(self, sighting: Sighting, pseudonyms: Tensor) -> Tensor | None:
        """See `FaceModel.foretold`: of embeddings, which tell who is more like a person than others, not how much.

        Who suits less counts as more like, or of all who suit at all those would come first who suit least; not where
        somebody was found too like already.
        """
        if sighting.embeddings is None:
            return None
        likeness = self.embeddings[pseudonyms] @ sighting.embeddings[0]
        return likeness if sighting.leniency else likeness + SUITED * unsuited(self, sighting)[0, pseudonyms]

    def lookalikes(self, pseudonyms: Tensor) -> Tensor:
        """Return whose eyes each of `(N,)` strangers has, `(N,)`."""
        return self.recipes[pseudonyms, 0]

    def reshape(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return the meshes `(N, 468, 3)` to draw the new faces on: a stranger's features (`StrangerShape`)."""
        reshaped: Tensor = self.shape(meshes, beta, pseudonyms)
        return reshaped

    def texture(self, pseudonym: int) -> npt.NDArray[np.uint8]:
        """Return the picture of a stranger, `(S, S, 3)` RGB, evenly lit, with no hair, ear or background."""
        return self._composed(pseudonym, self._detail, self._enlarged_light, self._regions)

    def small_texture(self, pseudonym: int) -> npt.NDArray[np.uint8]:
        """Return the same at `SMALL`, of donors that are decoded once."""
        return self._composed(pseudonym, self._small_detail, self._small_light, self.small_regions)

    def shading(self, meshes: Tensor, lights: Tensor) -> Tensor:
        """Return what the expressions of `(N, 468, 3)` meshes, and lights `(N, 16, 16, 3)`, do: `(N, 160, 160)`."""
        known = (self.shape.expressions(meshes) - self.neutral) / self.deviation.clamp(min=1e-9)
        folded: Tensor = torch.tensordot(known.clamp(-FARTHEST, FARTHEST), self.folds.to(known), dims=1)
        folded = folded.clamp(max=BRIGHTEST)
        return folded + shaded(lights.mean(dim=3), self.shades, self.directions, self.usual_light)

    def coarse_shades(self, pseudonym: int) -> npt.NDArray[np.float32] | None:
        """Return how a stranger looks from afar, `(48, 48, 3)` logarithms without light; None from old checkpoints."""
        if not self.config.coarse:
            return None
        shades = torch.tensordot(self.coarse[pseudonym].float(), self.coarse_directions.float(), dims=1)
        return np.asarray(shades.cpu().numpy())

    def may_be_bearded(self, pseudonym: int) -> bool:
        """Return whether a stranger is a grown man."""
        return bool(self.female[pseudonym] < 0.5 and self.age[pseudonym] >= GROWN)

    @cached_property
    def _regions(self) -> Regions:
        return make_regions(np.array(self.template.points, np.float32), self.config.size)

    @cached_property
    def small_regions(self) -> Regions:
        """The regions of a texture at `SMALL`, at which skin is read."""
        return make_regions(np.array(self.template.points, np.float32), SMALL)

    @cached_property
    def line_reader(self) -> LineReader:
        """Reads how lined the skin of a crop of the template is."""
        return LineReader(np.array(self.template.points, np.float32))

    @cached_property
    def _enlarged_light(self) -> Floats:
        size = self.config.size
        return np.asarray(cv2.resize(self.mean_light.cpu().numpy(), (size, size), interpolation=cv2.INTER_CUBIC))

    @cached_property
    def _shrunk_light(self) -> Floats:
        return np.asarray(cv2.resize(self._enlarged_light, (SMALL, SMALL), interpolation=cv2.INTER_AREA))

    @cached_property
    def _small_light(self) -> Floats:
        return np.asarray(self.mean_light.cpu().numpy(), np.float32)

    def _composed(
        self, pseudonym: int, detail: Callable[[int], Floats], light: Floats, regions: Regions
    ) -> npt.NDArray[np.uint8]:
        upper, lower, skin, colour = self.recipes[pseudonym].tolist()
        composed = compose(detail(upper), detail(lower), detail(skin), regions, age=float(self.age[pseudonym]))
        colours = self.colours[[colour, upper]].cpu().numpy()
        return np.asarray(coloured(composed, colours[0], colours[1], light, regions) + 0.5, np.uint8)

    def _small_detail(self, donor: int) -> Floats:
        """Return `_detail` at `SMALL`, kept in half precision."""
        known = self._small_details.get(donor)
        if known is None:
            small = cv2.resize(self._logarithms(donor), (SMALL, SMALL), interpolation=cv2.INTER_AREA)
            small -= self._shrunk_light + self.colours[donor].cpu().numpy()
            known = self._small_details[donor] = small.astype(np.float16)
        return known.astype(np.float32)

    def _detail(self, donor: int) -> Floats:
        """Return what is left of a donor's picture without light and skin colour, `(S, S, 3)` logarithm."""
        return np.asarray(self._logarithms(donor) - self._enlarged_light - self.colours[donor].cpu().numpy())

    def _logarithms(self, donor: int) -> Floats:
        """Return the logarithm of a donor's picture, `(S, S, 3)`."""
        start = int(self.ends[donor - 1]) if donor else 0
        encoded = self.pictures[start : int(self.ends[donor])].cpu().numpy()
        picture = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return np.asarray(cv2.LUT(picture, _LOGARITHMS), np.float32)

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return who is drawn and the smooth light on them; of textures, beta mixes shape and nothing else here."""
        light = F.adaptive_avg_pool2d(torch.log((crops + 1) * 127.5 + 8.0), CELLS).flatten(1)
        return torch.cat([pseudonyms[:, None].to(light), light], dim=1)[:, None]  # (N, 1, 769)

    def _generate(self, latents: Tensor) -> Tensor:
        """Return textures in the light of `latents` `(N, 1, 769)`."""
        strangers = latents[:, 0, 0].round().long().clamp(0, self.config.strangers - 1).tolist()
        pictures = np.stack([self.texture(stranger) for stranger in strangers])
        textures = torch.log(torch.from_numpy(pictures).to(latents).permute(0, 3, 1, 2) + 8.0)
        wanted = latents[:, 0, 1:].view(-1, 3, CELLS, CELLS)
        change = wanted - F.adaptive_avg_pool2d(textures, CELLS)
        size = self.config.size
        lit = textures + F.interpolate(change, size=(size, size), mode="bicubic", align_corners=False)
        return (torch.exp(lit) - 8.0) / 127.5 - 1
