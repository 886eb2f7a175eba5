"""The Private-Encoder (Zhao et al. 2022, doi 10.1002/cpe.6548, section 3.1.1): a crop and beta in, W+ latents out.

A feature pyramid over an IR-SE backbone, as Richardson et al. 2021 (arXiv 2008.00951) build it, and one Privacy
Embedding Network per latent. The state dict has the names and shapes of the authors' release, plus `beta_affine`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.private_encoder.layers import EqualLinear

COARSE_LATENTS = 3  # the first latents come from the coarse level of the pyramid ...
MEDIUM_LATENTS = 4  # ... the next from the medium one, the rest from the fine one (PAPER.md)

_BETA_FEATURES = 8  # cosines: enough for a bend within an eighth of beta's range
_SQUEEZE = 16  # how much narrower squeeze-and-excitation is than its block (IR-SE-50)


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; the default is the authors' (IR-SE-50, 18 latents).

    Attributes:
        input_size: Side of the picture in pixels, a power of two from 32; larger crops are pooled to it.
        latents: L, vectors to make.
        latent_size: D, the size of each.
        stage_blocks: Residual blocks in the four stages, each of which halves the picture.
        width: Channels of the first stage; each further stage has twice those before it.
    """

    input_size: int = 256
    latents: int = 18
    latent_size: int = 512
    stage_blocks: tuple[int, int, int, int] = (3, 4, 14, 3)
    width: int = 64

    def __post_init__(self) -> None:
        if self.input_size < 32 or self.input_size.bit_count() != 1:
            raise ValueError(f"input_size must be a power of two from 32, got {self.input_size}")
        if self.latents <= COARSE_LATENTS + MEDIUM_LATENTS:
            raise ValueError(f"latents must be at least {COARSE_LATENTS + MEDIUM_LATENTS + 1}, got {self.latents}")
        if len(self.stage_blocks) != 4 or min(self.stage_blocks) < 1:
            raise ValueError(f"stage_blocks must be four numbers from 1, got {self.stage_blocks}")
        if self.latent_size < 1 or self.width < _SQUEEZE:
            raise ValueError(f"latent_size must be at least 1 and width {_SQUEEZE}, got {self}")

    @property
    def taps(self) -> tuple[int, int, int]:
        """Blocks of the body after which the levels are read, fine to coarse: the last of stages two, three, four."""
        _, fine, medium, coarse = itertools.accumulate(self.stage_blocks)
        return fine - 1, medium - 1, coarse - 1

    def level_side(self, latent: int) -> int:
        """Return the side of the feature map that latent number `latent` is made from."""
        if latent < COARSE_LATENTS:
            return self.input_size // 16
        return self.input_size // (8 if latent < COARSE_LATENTS + MEDIUM_LATENTS else 4)


class Encoder(nn.Module):
    """Feature pyramid and Privacy Embedding Networks."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.width, 8 * config.width
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.body = nn.Sequential(*_residual_blocks(config))
        self.styles = nn.ModuleList(
            PrivacyEmbedding(channels, config.latent_size, side=config.level_side(index))
            for index in range(config.latents)
        )
        self.latlayer1 = nn.Conv2d(channels // 2, channels, 1)
        self.latlayer2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, crops: Tensor, beta: Tensor) -> Tensor:
        """Return latents `(N, L, D)`, relative to the average latent of the generator they are for.

        Args:
            crops: `(N, 3, S, S)` RGB in [-1, 1], `S` at least the configured `input_size`.
            beta: `(N,)` in [0, 1], see `FaceModel.encode`.
        """
        levels = self.pyramid(F.adaptive_avg_pool2d(crops, self.config.input_size))
        features = beta_features(beta).to(crops.dtype)
        latents = [style(self._level(index, levels), features) for index, style in enumerate(self.styles)]
        return torch.stack(latents, dim=1)

    def pyramid(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return feature maps of a 16th, an 8th and a quarter of the side of `crops`: coarse, medium, fine."""
        taps = self.config.taps
        features = self.input_layer(crops)  # (N, C, S, S)
        read = []
        for index, block in enumerate(self.body):
            features = block(features)
            if index in taps:
                read.append(features)
        fine, medium, coarse = read  # (N, 2C, S/4, S/4), (N, 4C, S/8, S/8), (N, 8C, S/16, S/16)
        medium = _double(coarse) + self.latlayer1(medium)
        return coarse, medium, _double(medium) + self.latlayer2(fine)  # 8C channels each

    def _level(self, latent: int, levels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the level of the pyramid that latent number `latent` is made from."""
        coarse, medium, fine = levels
        if latent < COARSE_LATENTS:
            return coarse
        return medium if latent < COARSE_LATENTS + MEDIUM_LATENTS else fine


class PrivacyEmbedding(nn.Module):
    """Privacy Embedding Network: one level of the pyramid to one latent, as private as beta asks for.

    The paper trains one network for each beta. Ours takes beta as an input that scales and shifts the channels of
    the level; that part starts at zero, so that weights published without it give what they gave.

    Args:
        inputs: Channels of the level.
        latent_size: Size of the latent.
        side: Side of the level, a power of two; halved to 1 by as many convolutions as it takes.
    """

    def __init__(self, inputs: int, latent_size: int, *, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(int(math.log2(side))):
            channels = inputs if index == 0 else latent_size
            layers += [nn.Conv2d(channels, latent_size, 3, stride=2, padding=1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(latent_size, latent_size)
        self.beta_affine = nn.Linear(_BETA_FEATURES, 2 * inputs)
        nn.init.zeros_(self.beta_affine.weight)
        self.beta_affine.bias.data.zero_()

    def forward(self, level: Tensor, beta: Tensor) -> Tensor:
        """Return the latent `(N, D)`.

        Args:
            level: `(N, C, side, side)`.
            beta: `(N, 8)` from `beta_features`.
        """
        gain, shift = self.beta_affine(beta)[:, :, None, None].chunk(2, dim=1)  # (N, C, 1, 1) each
        latent: Tensor = self.linear(self.convs(level * (1 + gain) + shift).flatten(1))
        return latent


def beta_features(beta: Tensor) -> Tensor:
    """Return `(N, 8)` smooth functions of `beta` `(N,)`: cos(pi k beta) for k from 0 to 7.

    The cosines are a basis of the even functions of period 2, so of all smooth ones on [0, 1].
    """
    orders = torch.arange(_BETA_FEATURES, device=beta.device, dtype=torch.float32)
    return torch.cos(math.pi * orders * beta.float()[:, None])


def _residual_blocks(config: EncoderConfig) -> list[nn.Module]:
    """Return the blocks of the body."""
    blocks: list[nn.Module] = []
    inputs = config.width
    for stage, count in enumerate(config.stage_blocks):
        outputs = config.width * 2**stage
        for index in range(count):
            blocks.append(ImprovedResidualBlock(inputs, outputs, stride=2 if index == 0 else 1))
            inputs = outputs
    return blocks


class ImprovedResidualBlock(nn.Module):
    """Improved residual block with squeeze-and-excitation (Deng et al. 2019, ArcFace, section 3.1)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)  # of size 1: keeps every `stride`-th pixel
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            _SqueezeExcitation(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H / stride, W / stride)`."""
        total: Tensor = self.res_layer(features) + self.shortcut_layer(features)
        return total


class _SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels are on average (Hu et al. 2018, SE networks)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _SQUEEZE, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // _SQUEEZE, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        mean = features.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return features * torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


def _double(features: Tensor) -> Tensor:
    """Return `(N, C, 2 H, 2 W)`: bilinear, corner on corner, as the published weights were trained."""
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=True)
