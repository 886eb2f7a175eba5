"""The layers StyleGAN2 is made of (Karras et al. 2020, arXiv 1912.04958), in plain PyTorch.

Parameter names and shapes follow the PyTorch layout in wide use, so that others' weights load without renaming.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2  # slope of the leaky ReLU below zero (StyleGAN2, appendix B)
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)  # the resampling filter in one direction (StyleGAN2, appendix B)

_ACTIVATION_GAIN = math.sqrt(2)  # undoes the variance that the leaky ReLU takes (StyleGAN2, appendix B)


def fir_kernel() -> Tensor:
    """Return the resampling filter `(4, 4)`; its sum is 4, to make up for the zeros that doubling puts in."""
    taps = torch.tensor(FIR_TAPS)
    kernel = torch.outer(taps, taps)
    return 4 * kernel / kernel.sum()


def unhalved(values: Tensor) -> Tensor:
    """Return values in single precision, if they were in half."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def smoothed_filters(weight: Tensor, kernel: Tensor) -> Tensor:
    """Return filters `(A, B, k + 3, k + 3)` that do what those of `weight` `(A, B, k, k)` and a resampling filter do.

    Args:
        weight: Of a convolution before or after the resampling filter.
        kernel: `(4, 4)`, symmetric.
    """
    flat = weight.flatten(0, 1)[:, None]  # (A * B, 1, k, k)
    return F.conv2d(flat, kernel[None, None].to(flat.dtype), padding=3).view(
        *weight.shape[:2], *(side + 3 for side in weight.shape[2:])
    )


class Blur(nn.Module):
    """Smooths what a stride-2 transposed 3x3 convolution has made, and cuts it to twice the size it had before."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel())

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, C, 2 H, 2 W)` for `(N, C, 2 H + 1, 2 W + 1)`."""
        channels = features.shape[1]
        return F.conv2d(features, self.kernel.expand(channels, 1, -1, -1), padding=1, groups=channels)


class Upsample(nn.Module):
    """Doubles height and width: zeros between the pixels, then the resampling filter."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel())

    def forward(self, images: Tensor) -> Tensor:
        """Return `(N, C, 2 H, 2 W)`."""
        channels = images.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        # A transposed convolution multiplies only what is not zero: 4 products a pixel instead of 16.
        return F.conv_transpose2d(images, kernel, stride=2, padding=1, groups=channels)


class PixelNorm(nn.Module):
    """Brings every vector to a mean square of one (Karras et al. 2018, Progressive GAN, section 4.2)."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Return `(N, D)` vectors in the direction of `vectors`."""
        return vectors * (vectors.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """A linear layer at an equalized learning rate (Progressive GAN, section 4.1).

    The weights are kept at unit variance and scaled as they are used, so that an optimiser that moves all
    parameters by about the same step moves all layers alike.

    Args:
        inputs, outputs: Vector sizes.
        bias: Initial value of each bias.
        lr_multiplier: How fast this layer learns, as a share of the others' rate.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.lr_multiplier = lr_multiplier
        self.scale = lr_multiplier / math.sqrt(inputs)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return `(..., outputs)` for `(..., inputs)`."""
        return F.linear(vectors, self.weight * self.scale, self.bias * self.lr_multiplier)


class ActivatedLinear(EqualLinear):
    """An `EqualLinear` whose output goes through the leaky ReLU, scaled as in `BiasedLeakyReLU`."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Return `(..., outputs)` for `(..., inputs)`."""
        return F.leaky_relu(super().forward(vectors), LEAK) * _ACTIVATION_GAIN


class BiasedLeakyReLU(nn.Module):
    """Adds a bias to each channel, then the leaky ReLU, scaled to keep a unit Gaussian's variance about the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape `(N, C, H, W)`."""
        # The sum is ours, so what follows may work in place: half the time on a CPU, where memory is the limit.
        bias = self.bias.view(1, -1, 1, 1).to(features.dtype)  # half precision stays that
        return F.leaky_relu_((features + bias).mul_(_ACTIVATION_GAIN), LEAK)


class NoiseInjection(nn.Module):
    """Adds one noise picture to all channels, at a learned strength that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return features of the same shape `(N, C, H, W)`.

        Args:
            features: `(N, C, H, W)`.
            noise: `(N, 1, H, W)`, or `(1, 1, H, W)` for the same noise in each picture.
        """
        return features + (self.weight * noise).to(features.dtype)


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled by a style, per picture (StyleGAN2, eq. 1).

        w'_ijk = s_i w_ijk

    The weights are the same for all pictures of a batch; what differs is moved to the input, `s_i`, and in
    `DemodulatedConv2d` to the output, so that one ordinary convolution serves the whole batch.

    Args:
        inputs, outputs: Channels.
        kernel: Side of the filter, odd.
        style_size: Size of the latent the style is computed from.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, style_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(style_size, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return `(N, outputs, H, W)`.

        Args:
            features: `(N, inputs, H, W)`.
            latent: `(N, style_size)`.
        """
        return self.convolve(features * self.modulation(latent)[:, :, None, None].to(features.dtype))

    def convolve(self, features: Tensor) -> Tensor:
        """Return `features` under the unmodulated weights."""
        weight = self.weight[0] * self.scale
        return F.conv2d(features, weight, padding=weight.shape[-1] // 2)


class DemodulatedConv2d(ModulatedConv2d):
    """A modulated convolution whose filters are brought back to unit norm (StyleGAN2, eq. 3).

    w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps)
    """

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return `(N, outputs, H, W)`; arguments as in `ModulatedConv2d`."""
        style = self.modulation(latent)
        modulated = self.convolve(features * style[:, :, None, None].to(features.dtype))
        return modulated * self.demodulation(style)[:, :, None, None].to(modulated.dtype)

    def demodulation(self, style: Tensor, eps: float = 1e-8) -> Tensor:
        """Return one over the norm of each modulated filter, `(N, outputs)`, for styles `(N, inputs)`."""
        filter_energy = (self.weight[0] * self.scale).square().sum(dim=(2, 3))  # (outputs, inputs)
        return (unhalved(F.linear(style.square(), filter_energy)) + eps).rsqrt()


class UpsamplingConv2d(DemodulatedConv2d):
    """A demodulated convolution that doubles height and width."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, style_size: int) -> None:
        super().__init__(inputs, outputs, kernel, style_size=style_size)
        self.blur = Blur()

    def convolve(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, 2 H, 2 W)`."""
        weight = self.weight[0].transpose(0, 1) * self.scale  # (inputs, outputs, k, k)
        if features.is_cuda:  # one dense filter of twice the side, which tensor cores like, instead of a sparse one
            return F.conv_transpose2d(features, smoothed_filters(weight, self.blur.kernel), stride=2, padding=2)
        smoothed: Tensor = self.blur(F.conv_transpose2d(features, weight, stride=2))
        return smoothed
