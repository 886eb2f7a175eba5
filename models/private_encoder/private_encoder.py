"""The paper's network as one model: Private-Encoder, average latent, StyleGAN2 generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from models.face_model import DEFAULT_TEMPLATE, FaceModel, Template
from models.private_encoder.encoder import Encoder, EncoderConfig
from models.private_encoder.generator import Generator, GeneratorConfig


@dataclass(frozen=True)
class PrivateEncoderConfig:
    """The shape of encoder and generator, which must agree on the latents; the default is the authors' release."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

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


class PrivateEncoder(FaceModel):
    """Encoder to W+ and generator back (Zhao et al. 2022, fig. 1); it has no strangers, the encoder knows one way out.

    While the encoder trains, the paper keeps the generator fixed: `model.generator.requires_grad_(False)`.
    """

    kind: ClassVar[str] = "private-encoder"
    config: PrivateEncoderConfig
    latent_avg: Tensor  # (L, D)

    def __init__(self, config: PrivateEncoderConfig, template: Template = DEFAULT_TEMPLATE) -> None:
        super().__init__(config, template)
        self.encoder = Encoder(config.encoder)
        self.generator = Generator(config.generator)
        self.register_buffer("latent_avg", torch.zeros(config.encoder.latents, config.encoder.latent_size))

    @property
    def crop_size(self) -> int:
        """Side of a crop in pixels: the generator's resolution; the encoder pools it to its own."""
        return self.config.generator.resolution

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        latents: Tensor = self.encoder(crops, beta) + self.latent_avg
        return latents

    def _generate(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.generator(latents)
        return picture
