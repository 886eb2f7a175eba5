"""The critics that generators train against. Not needed at run time."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.private_encoder.generator import GeneratorConfig
from models.private_encoder.layers import (
    ActivatedLinear,
    BiasedLeakyReLU,
    EqualLinear,
    fir_kernel,
    smoothed_filters,
    unhalved,
)

STDDEV_GROUP = 4  # pictures whose spread is compared (StyleGAN2, appendix B)


class Discriminator(nn.Module):
    """The StyleGAN2 discriminator: residual blocks, minibatch standard deviation (Karras et al. 2020, fig. 7c).

    As wide as the generator of the same configuration. Names and shapes of the PyTorch layout in wide use: `convs`,
    `final_conv`, `final_linear`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels(side) for side in reversed(config.resolutions)]  # from fine to coarse
        blocks = [_ResidualBlock(before, after) for before, after in itertools.pairwise(widths)]
        self.convs = nn.Sequential(_activated_conv(3, widths[0], kernel=1), *blocks)
        last = widths[-1]
        self.final_conv = _activated_conv(last + 1, last, kernel=3)  # one more channel: the standard deviation
        self.final_linear = nn.Sequential(ActivatedLinear(16 * last, last), EqualLinear(last, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits `(N,)`, higher for real.

        Args:
            pictures: `(N, 3, R, R)` RGB, about [-1, 1]. N is at most 4, or a multiple of 4: spread is compared among
                every N / 4th picture.
        """
        features = with_stddev(self.convs(pictures))
        logits: Tensor = self.final_linear(self.final_conv(features).flatten(1))
        return unhalved(logits.squeeze(1))

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return the features after each block, from fine to coarse: `(N, C, R / 2, R / 2)` to `(N, C, 4, 4)`."""
        features, levels = pictures, []
        for block in self.convs:
            features = block(features)
            levels.append(features)
        return levels[1:]  # without what is read from RGB


def with_stddev(features: Tensor) -> Tensor:
    """Return `(N, C + 1, H, W)`: features and how much they differ among pictures (Progressive GAN, section 3).

    Raises:
        ValueError: If the pictures do not make whole groups.
    """
    count, channels, height, width = features.shape
    group = min(count, STDDEV_GROUP)
    if count % group:
        raise ValueError(f"a batch must be at most {STDDEV_GROUP} pictures or a multiple of it, got {count}")
    grouped = features.float().view(group, -1, channels, height, width)
    spread = (grouped.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (N / group,)
    column = spread.repeat(group).view(count, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([features, column.to(features.dtype)], dim=1)


class _EqualConv2d(nn.Module):
    """A convolution without bias at an equalized learning rate (Progressive GAN, section 4.1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.stride = stride
        self.padding = kernel // 2 if stride == 1 else 0  # a strided one follows a blur, which has padded

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H', W')`."""
        return F.conv2d(features, self.weight * self.scale, stride=self.stride, padding=self.padding)


class _Blur(nn.Module):
    """The resampling filter before a stride of two."""

    kernel: Tensor

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel() / 4)
        self.padding = padding

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, C, H + 2 padding - 3, W + 2 padding - 3)`."""
        channels = features.shape[1]
        return F.conv2d(features, self.kernel.expand(channels, 1, -1, -1), padding=self.padding, groups=channels)


class _Smoothed(nn.Sequential):
    """A blur, a convolution and what follows; on a GPU the first two as one convolution with larger filters."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of half the height and width."""
        blur, conv, *rest = self
        if features.is_cuda and isinstance(blur, _Blur) and isinstance(conv, _EqualConv2d):
            weight = smoothed_filters(conv.weight * conv.scale, blur.kernel)
            features = F.conv2d(features, weight, stride=conv.stride, padding=blur.padding)
        else:
            features = conv(blur(features))
        for layer in rest:
            features = layer(features)
        return features


def _activated_conv(inputs: int, outputs: int, *, kernel: int) -> nn.Sequential:
    return nn.Sequential(_EqualConv2d(inputs, outputs, kernel), BiasedLeakyReLU(outputs))


class _ResidualBlock(nn.Module):
    """Halves height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _activated_conv(inputs, inputs, kernel=3)
        self.conv2 = _Smoothed(_Blur(2), _EqualConv2d(inputs, outputs, 3, stride=2), BiasedLeakyReLU(outputs))
        self.skip = _Smoothed(_Blur(1), _EqualConv2d(inputs, outputs, 1, stride=2))

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H / 2, W / 2)`."""
        halved: Tensor = (self.conv2(self.conv1(features)) + self.skip(features)) / math.sqrt(2)
        return halved


class PatchDiscriminator(nn.Module):
    """Judges aligned crops patch by patch at two scales; knows by a learned constant which part of a face it sees.

    After Isola et al. 2017 (PatchGAN). It also sees the crop's fine detail, amplified: that is what a refiner has to
    add, and without it the critic stayed at chance (measured: 575 steps for a gap that it then has after 30). Pooling
    is blurred (Zhang 2019), so that no checkerboard pays off.
    """

    PLACE_CHANNELS = 8
    DETAIL_GAIN = 4.0

    def __init__(self, size: int = 128, widths: tuple[int, int, int] = (48, 64, 96)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.place = nn.Parameter(0.1 * torch.randn(1, self.PLACE_CHANNELS, size // 2, size // 2))
        inputs = 4 * 6 + self.PLACE_CHANNELS  # crop and detail, 2 x 2 pixels a place
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(_conv(inputs, fine), _conv(fine, fine), BlurPool(fine)),
                nn.Sequential(_conv(fine, middle), _conv(middle, middle), BlurPool(middle)),
                nn.Sequential(_conv(middle, coarse), _conv(coarse, coarse)),
            ]
        )
        self.judge = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in (middle, coarse))

    def forward(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits `(N, M)`, higher for real, and the features of each scale.

        Args:
            crops: `(N, 3, S, S)` in [-1, 1].
        """
        detail = self.DETAIL_GAIN * (crops - F.avg_pool2d(crops, 3, 1, 1))
        features = F.pixel_unshuffle(torch.cat([crops, detail], dim=1), 2)  # (N, 24, S / 2, S / 2)
        features = torch.cat([features, self.place.expand(len(crops), -1, -1, -1)], dim=1)
        scales = []
        for block in self.blocks:
            features = block(features)
            scales.append(features)
        logits = [judge(scale).flatten(1) for judge, scale in zip(self.judge, scales[1:], strict=True)]
        return torch.cat(logits, dim=1), scales


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, 0.2)
    return nn.Sequential(conv, nn.LeakyReLU(0.2))


class BlurPool(nn.Module):
    """Halve the resolution after a [1, 2, 1] filter."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(taps, taps).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, C, H / 2, W / 2)`."""
        return F.conv2d(features, self.kernel.to(features.dtype), stride=2, padding=1, groups=len(self.kernel))
