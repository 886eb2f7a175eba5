"""The paper's network as one model: Private-Encoder, average latent, StyleGAN2 generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from models.face_model import DEFAULT_TEMPLATE, FaceModel, Sighting, Template
from models.face_shape import FaceShape
from models.private_encoder.encoder import Encoder, EncoderConfig
from models.private_encoder.generator import Generator, GeneratorConfig
from models.private_encoder.latent_strangers import LatentStrangers


@dataclass(frozen=True)
class PrivateEncoderConfig:
    """The shape of encoder and generator, which must agree on the latents; the default is the authors' release.

    Attributes:
        encoder: Of the network from crops to latents.
        generator: Of that from latents to crops.
        strangers: B, whom people become; none in the paper, whose encoder knows one way out for everybody.
        identity_directions: k, how many directions of the latents tell who somebody is, where there are strangers.
        shape_directions: How many of the mesh do; 0 where faces keep their shape.
        strangers_trained: Whether the encoder learnt with strangers in place, and is told beta beside them.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    strangers: int = 0
    identity_directions: int = 0
    shape_directions: int = 0
    strangers_trained: bool = False

    def __post_init__(self) -> None:
        made = self.encoder.latents, self.encoder.latent_size
        taken = self.generator.latents, self.generator.latent_size
        if made != taken:
            raise ValueError(f"the encoder makes latents {made}, the generator takes {taken}")
        if self.encoder.input_size > self.generator.resolution:
            raise ValueError(
                f"the encoder's input ({self.encoder.input_size} px) must not be larger than the generator's "
                f"picture ({self.generator.resolution} px)"
            )
        if (self.strangers > 0) != (self.identity_directions > 0) or (self.shape_directions and not self.strangers):
            raise ValueError(f"strangers need identity directions, and shapes need strangers, got {self}")


class PrivateEncoder(FaceModel):
    """Encoder to W+ and generator back (Zhao et al. 2022, fig. 1); with strangers, if it was given some.

    While the encoder trains, the paper keeps the generator fixed: `model.generator.requires_grad_(False)`.
    """

    kind: ClassVar[str] = "private-encoder"
    config: PrivateEncoderConfig
    latent_avg: Tensor  # (L, D)

    def __init__(self, config: PrivateEncoderConfig, template: Template = DEFAULT_TEMPLATE) -> None:
        super().__init__(config, template)
        self.encoder = Encoder(config.encoder)
        self.generator = Generator(config.generator)
        latents, size = config.encoder.latents, config.encoder.latent_size
        self.register_buffer("latent_avg", torch.zeros(latents, size))
        self.strangers: LatentStrangers | None = None
        self.shape: FaceShape | None = None
        if config.strangers:
            self.strangers = LatentStrangers(config.identity_directions, latents * size, config.strangers)
        if config.shape_directions:
            self.shape = FaceShape(config.shape_directions, config.strangers, 0)

    @property
    def crop_size(self) -> int:
        """Side of a crop in pixels: the generator's resolution; the encoder pools it to its own."""
        return self.config.generator.resolution

    @property
    def identity_size(self) -> int:
        """k, how many coordinates of unit variance tell who somebody is; 0 without strangers."""
        return self.config.identity_directions

    def identity_coordinates(self, sighting: Sighting) -> Tensor:
        """Return where each person lies along the identity directions of W+, `(N, k)`."""
        if self.strangers is None:
            return super().identity_coordinates(sighting)
        own = torch.ones(len(sighting.crops), device=sighting.crops.device)  # beta 1: as they are
        return self.strangers.coordinates(self._own_latents(sighting.crops, own))

    def nearest_strangers(self, coordinates: Tensor) -> Tensor:
        """Return the strangers `(N,)` int64 whose identity coordinates are nearest to `(N, k)` released ones."""
        if self.strangers is None:
            return super().nearest_strangers(coordinates)
        return self.strangers.nearest(coordinates)

    def pseudonyms(self, sighting: Sighting, seeds: Tensor) -> Tensor:
        """Return which stranger each person becomes, `(N,)` int64: by its seed one of those least like the person."""
        if self.strangers is None:
            return super().pseudonyms(sighting, seeds)
        return self.strangers.unlike(self.identity_coordinates(sighting), seeds)

    def reshape(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return the meshes `(N, 468, 3)` to draw the new faces on: as they are, or of the stranger's shape."""
        if self.shape is None:
            return meshes
        reshaped: Tensor = self.shape(meshes, beta, pseudonyms)
        return reshaped

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        if self.strangers is None:
            return self._own_latents(crops, beta)
        told = beta if self.config.strangers_trained else torch.ones_like(beta)
        own = self._own_latents(crops, told).expand(len(crops), -1, -1)
        moved: Tensor = self.strangers(own, beta, pseudonyms)
        return moved

    def _own_latents(self, crops: Tensor, beta: Tensor) -> Tensor:
        """Return the encoder's `(N, L, D)`: as private as it has learnt to be.

        Where strangers came after the training beta is 1: identity is where it was found, and what the encoder does to
        hide it is another way to hide it, which together lead to latents that draw no face.
        """
        if crops.stride(0) == 0 and beta.stride(0) == 0:  # one face, expanded to be drawn as several strangers
            crops, beta = crops[:1], beta[:1]
        latents: Tensor = self.encoder(crops, beta) + self.latent_avg
        return latents

    def _generate(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.generator(latents)
        return picture
