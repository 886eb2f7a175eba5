"""The StyleGAN2 generator (Karras et al. 2020, arXiv 1912.04958): latents in, picture out.

The state dict has the names and shapes of the PyTorch layout in wide use: `style`, `input`, `conv1`, `to_rgb1`,
`convs`, `to_rgbs`, `noises`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.private_encoder.layers import (
    ActivatedLinear,
    BiasedLeakyReLU,
    DemodulatedConv2d,
    ModulatedConv2d,
    NoiseInjection,
    PixelNorm,
    Upsample,
    UpsamplingConv2d,
)

_FIRST_RESOLUTION = 4  # pixels, the side of the constant everything grows from
_RESOLUTIONS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class GeneratorConfig:
    """The shape of a generator; the default is the published FFHQ network.

    Attributes:
        resolution: Side of the picture in pixels: 64, 128, 256, 512 or 1024.
        latent_size: Size of each latent.
        mapping_layers: Linear layers between z and w.
        mapping_lr_multiplier: Their learning rate, as a share of the rest's.
        channel_base: Channels at a resolution are `channel_base / resolution` ...
        channel_max: ... and no more than this.
    """

    resolution: int = 1024
    latent_size: int = 512
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    channel_base: int = 32768
    channel_max: int = 512

    def __post_init__(self) -> None:
        if self.resolution not in _RESOLUTIONS:
            raise ValueError(f"resolution must be one of {_RESOLUTIONS}, got {self.resolution}")
        if min(self.latent_size, self.mapping_layers, self.channel_max) < 1:
            raise ValueError(f"latent_size, mapping_layers and channel_max must be at least 1, got {self}")
        if self.channel_base < self.resolution:
            raise ValueError(f"channel_base must be at least the resolution, got {self.channel_base}")

    @property
    def latents(self) -> int:
        """Latents of one picture: two for each resolution from 4 up."""
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the pictures the network passes through, 4 first."""
        return tuple(2**power for power in range(2, int(math.log2(self.resolution)) + 1))

    def channels(self, resolution: int) -> int:
        """Return the number of channels at `resolution`."""
        return min(self.channel_base // resolution, self.channel_max)


class Generator(nn.Module):
    """Mapping network z -> w and synthesis network w+ -> picture, with skip connections in RGB (StyleGAN2, fig. 7b)."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        size = config.latent_size
        mapping = [
            ActivatedLinear(size, size, lr_multiplier=config.mapping_lr_multiplier)
            for _ in range(config.mapping_layers)
        ]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        first = config.channels(_FIRST_RESOLUTION)
        self.input = _ConstantInput(first)
        self.conv1 = _StyledConv(DemodulatedConv2d(first, first, 3, style_size=size), first)
        self.to_rgb1 = _ToRGB(first, style_size=size)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for before, after in itertools.pairwise(config.channels(side) for side in config.resolutions):
            self.convs.append(_StyledConv(UpsamplingConv2d(before, after, 3, style_size=size), after))
            self.convs.append(_StyledConv(DemodulatedConv2d(after, after, 3, style_size=size), after))
            self.to_rgbs.append(_SkipToRGB(after, style_size=size))
        self.noises = _FixedNoises(config.resolutions)

    def map(self, z: Tensor) -> Tensor:
        """Return w `(N, D)` for `z` `(N, D)` drawn from a unit Gaussian."""
        w: Tensor = self.style(z)
        return w

    def forward(self, latents: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Return pictures `(N, 3, R, R)`, about [-1, 1] but not clipped to it.

        Args:
            latents: `(N, L, D)`, w+.
            noises: A picture `(N, 1, r, r)` for each convolution. By default the same fixed noise for every face
                and call, so that a video does not boil; the randomness is for training.
        """
        remaining = iter(self.noises.in_order() if noises is None else noises)
        features = self.conv1(self.input(len(latents)), latents[:, 0], next(remaining))  # (N, C, 4, 4)
        image: Tensor = self.to_rgb1(features, latents[:, 1])  # (N, 3, 4, 4)
        # The picture of one resolution and the first convolution of the next share a latent.
        for index, to_rgb in enumerate(self.to_rgbs):
            first = 2 * index
            features = self.convs[first](features, latents[:, first + 1], next(remaining))
            features = self.convs[first + 1](features, latents[:, first + 2], next(remaining))
            image = to_rgb(features, latents[:, first + 3], image)
        return image


class _ConstantInput(nn.Module):
    """What every picture grows from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, _FIRST_RESOLUTION, _FIRST_RESOLUTION))

    def forward(self, count: int) -> Tensor:
        """Return `(count, C, 4, 4)`, on a GPU channels last, as all that follows then is."""
        constant = self.input.expand(count, -1, -1, -1)
        return constant.contiguous(memory_format=torch.channels_last) if constant.is_cuda else constant


class _StyledConv(nn.Module):
    """Modulated convolution, noise, bias and activation (StyleGAN2, fig. 2d)."""

    def __init__(self, conv: DemodulatedConv2d, outputs: int) -> None:
        super().__init__()
        self.conv = conv
        self.noise = NoiseInjection()
        self.activate = BiasedLeakyReLU(outputs)

    def forward(self, features: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Return `(N, outputs, H', W')`; `noise` has the size of the output."""
        activated: Tensor = self.activate(self.noise(self.conv(features, latent), noise))
        return activated


class _ToRGB(nn.Module):
    """Reads a picture from features."""

    def __init__(self, channels: int, *, style_size: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, 3, 1, style_size=style_size)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return `(N, 3, H, W)`."""
        image: Tensor = self.conv(features, latent) + self.bias
        return image


class _SkipToRGB(nn.Module):
    """Reads a picture from features and adds it to the doubled picture of the resolution below."""

    def __init__(self, channels: int, *, style_size: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, 3, 1, style_size=style_size)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.upsample = Upsample()

    def forward(self, features: Tensor, latent: Tensor, image: Tensor) -> Tensor:
        """Return `(N, 3, 2 H, 2 W)` for an `image` `(N, 3, H, W)`."""
        with torch.autocast(features.device.type, enabled=False):  # a picture is added up in single precision
            doubled = self.upsample(image)
        sharper: Tensor = self.conv(features, latent) + self.bias + doubled
        return sharper


class _FixedNoises(nn.Module):
    """One picture of noise per convolution, drawn once and saved with the weights."""

    def __init__(self, resolutions: Sequence[int]) -> None:
        super().__init__()
        sides = [resolutions[0], *(side for side in resolutions[1:] for _ in range(2))]
        for index, side in enumerate(sides):
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))

    def in_order(self) -> list[Tensor]:
        """Return the pictures `(1, 1, r, r)`, from coarse to fine."""
        return list(self.buffers())
