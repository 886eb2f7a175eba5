"""The critic that refiners train against. Not needed at run time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
