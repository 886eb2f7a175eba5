"""The StyleGAN2 discriminator against a plain reading of the published code, and by its names."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.private_encoder.discriminator import Discriminator, with_stddev
from models.private_encoder.generator import GeneratorConfig

SMALL = GeneratorConfig(resolution=64, latent_size=8, channel_base=256, channel_max=8)
Weights = dict[str, Tensor]


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    network = Discriminator(SMALL).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter += 0.3 * torch.randn_like(parameter)
    return network


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def activated(features: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(features + bias[:, None, None], 0.2) * math.sqrt(2)


def convolved(weights: Weights, name: str, features: Tensor, *, stride: int = 1) -> Tensor:
    weight = weights[f"{name}.weight"]
    scaled = weight / math.sqrt(weight[0].numel())
    return F.conv2d(features, scaled, stride=stride, padding=weight.shape[-1] // 2 if stride == 1 else 0)


def blurred(features: Tensor, padding: int) -> Tensor:
    """Channel by channel, rows then columns: the filter is separable."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    channels = F.pad(features, (padding,) * 4).flatten(0, 1)[:, None]
    rows = F.conv2d(channels, taps.view(1, 1, 1, 4))
    columns = F.conv2d(rows, taps.view(1, 1, 4, 1))
    return columns[:, 0].view(*features.shape[:2], *columns.shape[2:])


def judged(weights: Weights, images: Tensor) -> Tensor:
    """The logits of up to four pictures."""
    features = activated(convolved(weights, "convs.0.0", images), weights["convs.0.1.bias"])
    for block in range(1, 5):
        name = f"convs.{block}"
        inner = activated(convolved(weights, f"{name}.conv1.0", features), weights[f"{name}.conv1.1.bias"])
        inner = convolved(weights, f"{name}.conv2.1", blurred(inner, 2), stride=2)
        skip = convolved(weights, f"{name}.skip.1", blurred(features, 1), stride=2)
        features = (activated(inner, weights[f"{name}.conv2.2.bias"]) + skip) / math.sqrt(2)
    spread = (features.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
    features = torch.cat([features, spread.expand(len(features), 1, 4, 4)], dim=1)
    flat = activated(convolved(weights, "final_conv.0", features), weights["final_conv.1.bias"]).flatten(1)
    first, second = weights["final_linear.0.weight"], weights["final_linear.1.weight"]
    hidden = F.leaky_relu(flat @ first.T / math.sqrt(flat.shape[1]) + weights["final_linear.0.bias"], 0.2) * 2**0.5
    return (hidden @ second.T / math.sqrt(hidden.shape[1]) + weights["final_linear.1.bias"])[:, 0]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_logits_equal_those_of_a_plain_reading(discriminator: Discriminator, count: int) -> None:
    expected = judged(discriminator.state_dict(), pictures(count))
    torch.testing.assert_close(discriminator(pictures(count)), expected, rtol=1e-4, atol=1e-4)


def test_every_second_of_eight_pictures_are_a_group(discriminator: Discriminator) -> None:
    images = pictures(8)
    expected = torch.stack([judged(discriminator.state_dict(), images[group::2]) for group in (0, 1)], dim=1).flatten()
    torch.testing.assert_close(discriminator(images), expected, rtol=1e-4, atol=1e-4)


def test_names_and_shapes_are_those_of_the_layout_in_wide_use() -> None:
    """At 256 px with the published widths, written out for its first and last blocks."""
    state = {name: tuple(tensor.shape) for name, tensor in Discriminator(GeneratorConfig(256)).state_dict().items()}
    expected = {
        "convs.0.0.weight": (128, 3, 1, 1),
        "convs.0.1.bias": (128,),
        "convs.1.conv1.0.weight": (128, 128, 3, 3),
        "convs.1.conv1.1.bias": (128,),
        "convs.1.conv2.0.kernel": (4, 4),
        "convs.1.conv2.1.weight": (256, 128, 3, 3),
        "convs.1.conv2.2.bias": (256,),
        "convs.1.skip.0.kernel": (4, 4),
        "convs.1.skip.1.weight": (256, 128, 1, 1),
        "convs.6.conv2.1.weight": (512, 512, 3, 3),
        "final_conv.0.weight": (512, 513, 3, 3),
        "final_conv.1.bias": (512,),
        "final_linear.0.weight": (512, 8192),
        "final_linear.0.bias": (512,),
        "final_linear.1.weight": (1, 512),
        "final_linear.1.bias": (1,),
    }
    assert expected.items() <= state.items()
    assert len(state) == 2 + 6 * 7 + 6


def test_the_spread_is_that_of_each_group_over_all_its_features() -> None:
    features = torch.zeros(8, 2, 1, 1)
    features[:4:2] = 2.0  # of the first group (0, 2, 4, 6), two are 2 and two are 0: a deviation of 1
    assert with_stddev(features)[:, 2, 0, 0].tolist() == pytest.approx([1.0, 1e-4] * 4, abs=1e-3)
    assert torch.equal(with_stddev(features)[:, :2], features)


def test_batches_without_whole_groups_are_refused(discriminator: Discriminator) -> None:
    with pytest.raises(ValueError, match="multiple of it, got 6"):
        discriminator(pictures(6))


def test_features_are_those_that_the_logits_are_made_of(discriminator: Discriminator) -> None:
    levels = discriminator.features(pictures(2))
    assert [tuple(level.shape) for level in levels] == [(2, 8, side, side) for side in (32, 16, 8, 4)]
    logits = discriminator.final_linear(discriminator.final_conv(with_stddev(levels[-1])).flatten(1))
    torch.testing.assert_close(logits[:, 0], discriminator(pictures(2)))
