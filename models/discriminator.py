"""The critic that refiners and generators train against. Not needed at run time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Judges aligned crops patch by patch at two scales; knows by a learned constant which part of a face it sees.

    After Isola et al. 2017 (PatchGAN); pooling is blurred (Zhang 2019), so that no checkerboard pays off.
    """

    PLACE_CHANNELS = 4

    def __init__(self, size: int = 128, widths: tuple[int, int, int, int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        self.place = nn.Parameter(0.1 * torch.randn(1, self.PLACE_CHANNELS, size, size))
        inputs = 3 + self.PLACE_CHANNELS
        self.blocks = nn.ModuleList()
        for width in widths:
            conv = nn.Conv2d(inputs, width, 3, padding=1)
            self.blocks.append(nn.Sequential(conv, nn.LeakyReLU(0.2), BlurPool(width)))
            inputs = width
        self.judge = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in widths[2:])

    def forward(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits `(N, M)`, higher for real, and the features of each scale.

        Args:
            crops: `(N, 3, S, S)` in [-1, 1].
        """
        features = torch.cat([crops, self.place.expand(len(crops), -1, -1, -1)], dim=1)
        scales = []
        for block in self.blocks:
            features = block(features)
            scales.append(features)
        logits = [judge(scale).flatten(1) for judge, scale in zip(self.judge, scales[2:], strict=True)]
        return torch.cat(logits, dim=1), scales


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
