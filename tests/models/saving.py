"""Weights as others save them."""

from pathlib import Path

import torch
from torch import Tensor

from tests.models.published_weights import (
    IR_SE_50,
    SMALL_CHANNELS,
    Shapes,
    encoder_shapes,
    generator_shapes,
    seeded,
)

SMALL_GENERATOR = generator_shapes(64, SMALL_CHANNELS, latent=8, mapping=2)

PUBLISHED_ENCODER = encoder_shapes(IR_SE_50, 64, styles=18, latent=512, side=256)

PUBLISHED_CONFIG = {
    "encoder": {"input_size": 256, "latents": 18, "latent_size": 512, "stage_blocks": (3, 4, 14, 3), "width": 64},
    "generator": {
        "resolution": 1024,
        "latent_size": 512,
        "mapping_layers": 8,
        "mapping_lr_multiplier": 0.01,
        "channel_base": 32768,
        "channel_max": 512,
    },
    "identity_directions": 0,
    "shape_directions": 0,
    "strangers": 0,
    "strangers_trained": False,
}


def weightless(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def random_crops(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=seeded(2)) * 2 - 1
