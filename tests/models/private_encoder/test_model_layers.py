"""The layers of StyleGAN2 against scipy, loops and closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor

from models.private_encoder.layers import (
    ActivatedLinear,
    BiasedLeakyReLU,
    Blur,
    DemodulatedConv2d,
    EqualLinear,
    ModulatedConv2d,
    NoiseInjection,
    PixelNorm,
    Upsample,
    UpsamplingConv2d,
    fir_kernel,
    smoothed_filters,
    unhalved,
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filtered_by_scipy(image: Tensor) -> np.ndarray:
    """The full linear convolution of an `(H, W)` image with the outer product of [1, 3, 3, 1] / 4."""
    taps = np.array([1.0, 3.0, 3.0, 1.0]) / 4
    return signal.convolve2d(image.numpy(), np.outer(taps, taps))


def modulated_weight(conv: ModulatedConv2d, style: Tensor) -> Tensor:
    """w' of StyleGAN2 eq. 1 for one picture, filter by filter."""
    weight = conv.weight.detach()[0] * conv.scale
    return torch.stack([weight[:, i] * style[i] for i in range(len(style))], dim=1)


def demodulated_weight(conv: DemodulatedConv2d, style: Tensor) -> Tensor:
    """w'' of StyleGAN2 eq. 3 for one picture, filter by filter."""
    return torch.stack([kernel / math.sqrt(kernel.square().sum() + 1e-8) for kernel in modulated_weight(conv, style)])


def test_the_filter_makes_up_for_three_zeros_in_four_pixels() -> None:
    assert fir_kernel().shape == (4, 4)
    assert fir_kernel().sum().item() == pytest.approx(4)
    assert fir_kernel()[0, 1] / fir_kernel()[0, 0] == pytest.approx(3)


@given(height=st.integers(1, 6), width=st.integers(1, 6))
@settings(max_examples=12)
def test_upsampling_equals_scipys_zero_filling_and_filtering(height: int, width: int) -> None:
    image = seeded(height, width)
    spread = torch.zeros(2 * height, 2 * width)
    spread[::2, ::2] = image
    expected = filtered_by_scipy(spread)[1 : 2 * height + 1, 1 : 2 * width + 1]
    upsampled = Upsample()(image[None, None])[0, 0]
    np.testing.assert_allclose(upsampled.numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_upsampling_keeps_a_constant_away_from_the_border() -> None:
    upsampled = Upsample()(torch.full((1, 3, 6, 6), 0.7))
    torch.testing.assert_close(upsampled[:, :, 2:-2, 2:-2], torch.full((1, 3, 8, 8), 0.7))


def test_upsampling_treats_each_channel_alone() -> None:
    images = seeded(2, 3, 5, 5)
    each = [Upsample()(images[:, index : index + 1]) for index in range(3)]
    torch.testing.assert_close(Upsample()(images), torch.cat(each, dim=1))


def test_blurring_equals_scipys_filtering() -> None:
    image = seeded(9, 7)
    expected = filtered_by_scipy(image)[2:-2, 2:-2]
    np.testing.assert_allclose(Blur()(image[None, None])[0, 0].numpy(), expected, atol=1e-5)


def test_pixel_norm_gives_a_mean_square_of_one_in_the_same_direction() -> None:
    vectors = seeded(3, 8) * 5
    normalised = PixelNorm()(vectors)
    torch.testing.assert_close(normalised.square().mean(dim=1), torch.ones(3))
    torch.testing.assert_close(F.cosine_similarity(vectors, normalised), torch.ones(3))


def test_pixel_norm_of_zero_is_zero() -> None:
    assert PixelNorm()(torch.zeros(1, 4)).tolist() == [[0.0] * 4]


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_an_equalized_layer_starts_with_unit_variance_out_for_unit_variance_in(lr_multiplier: float) -> None:
    torch.manual_seed(0)
    output = EqualLinear(64, 2000, lr_multiplier=lr_multiplier)(torch.ones(1, 64))
    assert output.std().item() == pytest.approx(1, abs=0.05)  # 2000 samples: a standard error of 0.016


def test_a_tenth_of_the_learning_rate_moves_the_output_a_tenth_as_far_per_unit_of_bias() -> None:
    layer = EqualLinear(4, 1, bias=3.0, lr_multiplier=0.1)
    assert layer(torch.zeros(1, 4)).item() == pytest.approx(0.3)


def test_an_activated_layer_is_the_linear_one_through_a_scaled_leaky_relu() -> None:
    layer = ActivatedLinear(2, 2)
    layer.load_state_dict({"weight": torch.eye(2) * math.sqrt(2), "bias": torch.zeros(2)})
    expected = [3 * math.sqrt(2), -3 * 0.2 * math.sqrt(2)]
    torch.testing.assert_close(layer(torch.tensor([[3.0, -3.0]]))[0], torch.tensor(expected))


def test_the_activation_adds_the_bias_of_its_channel_first() -> None:
    activation = BiasedLeakyReLU(2)
    activation.bias.data = torch.tensor([1.0, -2.0])
    output = activation(torch.ones(1, 2, 1, 1)).flatten()
    torch.testing.assert_close(output, torch.tensor([2 * math.sqrt(2), -0.2 * math.sqrt(2)]))


def test_the_activation_leaves_its_input_alone_and_passes_gradients_checked_by_differences() -> None:
    activation = BiasedLeakyReLU(2).double()
    features = seeded(1, 2, 2, 2).double().requires_grad_()
    before = features.detach().clone()
    assert torch.autograd.gradcheck(activation, features)
    assert torch.equal(features.detach(), before)


def test_noise_adds_nothing_at_first_and_the_same_to_each_channel_later() -> None:
    features, noise, injection = seeded(2, 3, 4, 4), seeded(2, 1, 4, 4, seed=1), NoiseInjection()
    assert torch.equal(injection(features, noise), features)
    injection.weight.data.fill_(0.5)
    torch.testing.assert_close(injection(features, noise) - features, (0.5 * noise).expand(-1, 3, -1, -1))


def test_a_modulated_convolution_is_one_convolution_per_picture_with_scaled_weights() -> None:
    conv, features, latents = ModulatedConv2d(3, 4, 3, style_size=5), seeded(2, 3, 6, 6), seeded(2, 5, seed=1)
    for index, style in enumerate(conv.modulation(latents).detach()):
        expected = F.conv2d(features[index : index + 1], modulated_weight(conv, style), padding=1)
        torch.testing.assert_close(conv(features, latents)[index : index + 1], expected, rtol=1e-4, atol=1e-5)


def test_a_demodulated_convolution_is_one_convolution_per_picture_with_filters_of_unit_norm() -> None:
    conv, features, latents = DemodulatedConv2d(3, 4, 3, style_size=5), seeded(2, 3, 6, 6), seeded(2, 5, seed=1)
    for index, style in enumerate(conv.modulation(latents).detach()):
        weight = demodulated_weight(conv, style)
        torch.testing.assert_close(weight.square().sum(dim=(1, 2, 3)), torch.ones(4))
        expected = F.conv2d(features[index : index + 1], weight, padding=1)
        torch.testing.assert_close(conv(features, latents)[index : index + 1], expected, rtol=1e-4, atol=1e-5)


def test_the_grouped_formulation_of_the_paper_gives_the_same() -> None:
    conv, features, latents = DemodulatedConv2d(3, 4, 3, style_size=5), seeded(2, 3, 6, 6), seeded(2, 5, seed=1)
    weights = torch.cat([demodulated_weight(conv, style) for style in conv.modulation(latents).detach()])
    grouped = F.conv2d(features.reshape(1, 6, 6, 6), weights, padding=1, groups=2).view(2, 4, 6, 6)
    torch.testing.assert_close(conv(features, latents), grouped, rtol=1e-4, atol=1e-5)


def test_demodulation_gives_one_over_the_norm_of_each_filter() -> None:
    conv = DemodulatedConv2d(3, 4, 3, style_size=5)
    style = seeded(1, 3)
    norms = [kernel.norm().item() for kernel in modulated_weight(conv, style[0])]
    torch.testing.assert_close(conv.demodulation(style)[0], 1 / torch.tensor(norms))


def test_demodulation_undoes_any_strength_of_the_style() -> None:
    conv, features = DemodulatedConv2d(3, 4, 3, style_size=5), seeded(1, 3, 6, 6)
    weak = conv(features, torch.zeros(1, 5))  # the style is then the bias, 1
    conv.modulation.bias.data.fill_(50.0)
    torch.testing.assert_close(conv(features, torch.zeros(1, 5)), weak, rtol=1e-4, atol=1e-5)


def test_an_upsampling_convolution_transposes_per_picture_then_blurs() -> None:
    conv, features, latents = UpsamplingConv2d(3, 4, 3, style_size=5), seeded(2, 3, 5, 5), seeded(2, 5, seed=1)
    for index, style in enumerate(conv.modulation(latents).detach()):
        weight = demodulated_weight(conv, style).transpose(0, 1)
        spread = F.conv_transpose2d(features[index : index + 1], weight, stride=2)[0]  # (4, 11, 11)
        expected = np.stack([filtered_by_scipy(channel)[2:-2, 2:-2] for channel in spread])
        np.testing.assert_allclose(conv(features, latents)[index].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("conv_type", [ModulatedConv2d, DemodulatedConv2d, UpsamplingConv2d])
def test_gradients_of_input_and_latent_agree_with_differences(conv_type: type[ModulatedConv2d]) -> None:
    torch.manual_seed(0)
    conv = conv_type(2, 2, 3, style_size=3).double()
    features, latent = seeded(1, 2, 3, 3).double().requires_grad_(), seeded(1, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(conv, (features, latent))


def test_larger_filters_do_what_a_filter_and_the_resampling_do() -> None:
    features, weight, blur = seeded(2, 3, 5, 6), seeded(3, 4, 3, 3, seed=1), Blur()
    apart = blur(F.conv_transpose2d(features, weight, stride=2))
    together = F.conv_transpose2d(features, smoothed_filters(weight, blur.kernel), stride=2, padding=2)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_half_precision_becomes_single_and_double_stays() -> None:
    kinds = {torch.bfloat16: torch.float32, torch.float32: torch.float32, torch.float64: torch.float64}
    assert {kind: unhalved(torch.zeros(1, dtype=kind)).dtype for kind in kinds} == kinds


def test_in_half_precision_layers_stay_there() -> None:
    conv = DemodulatedConv2d(3, 4, 3, style_size=5)
    with torch.autocast("cpu", torch.bfloat16):
        made = BiasedLeakyReLU(4)(NoiseInjection()(conv(seeded(1, 3, 6, 6), seeded(1, 5)), seeded(1, 1, 6, 6)))
    assert made.dtype == torch.bfloat16
