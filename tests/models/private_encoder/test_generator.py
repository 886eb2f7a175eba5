"""The generator against a plain reading of the paper: one picture at a time, weights modulated explicitly."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.private_encoder.generator import Generator, GeneratorConfig

SMALL = GeneratorConfig(resolution=64, latent_size=8, mapping_layers=2, channel_base=256, channel_max=8)
Weights = dict[str, Tensor]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def generator() -> Generator:
    """A small generator in which noise and biases are at work too."""
    torch.manual_seed(0)
    generator = Generator(SMALL).requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise.weight", "activate.bias", "to_rgb1.bias")):
            parameter += 0.3 * torch.randn_like(parameter)
    return generator


def style_of(weights: Weights, name: str, latent: Tensor) -> Tensor:
    scale = 1 / math.sqrt(latent.numel())
    return weights[f"{name}.conv.modulation.weight"] * scale @ latent + weights[f"{name}.conv.modulation.bias"]


def styled_conv(weights: Weights, name: str, features: Tensor, *, latent: Tensor, noise: Tensor) -> Tensor:
    """StyleGAN2 fig. 2c for one picture `(C, H, W)`; doubled where the layer has a blur."""
    style, weight = style_of(weights, name, latent), weights[f"{name}.conv.weight"][0]
    weight = weight / math.sqrt(weight[0].numel()) * style[None, :, None, None]
    weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if f"{name}.conv.blur.kernel" in weights:
        spread = F.conv_transpose2d(features[None], weight.transpose(0, 1), stride=2)
        kernel = weights[f"{name}.conv.blur.kernel"][None, None]
        features = F.conv2d(spread.transpose(0, 1), kernel, padding=1).transpose(0, 1)[0]
    else:
        features = F.conv2d(features[None], weight, padding=1)[0]
    features = features + weights[f"{name}.noise.weight"] * noise[0] + weights[f"{name}.activate.bias"][:, None, None]
    return torch.where(features > 0, features, 0.2 * features) * math.sqrt(2)


def to_rgb(weights: Weights, name: str, features: Tensor, *, latent: Tensor) -> Tensor:
    """A 1x1 convolution, modulated and not demodulated, for one picture."""
    weight = weights[f"{name}.conv.weight"][0, :, :, 0, 0] / math.sqrt(len(features))
    return torch.einsum("oi,ihw->ohw", weight * style_of(weights, name, latent), features) + weights[f"{name}.bias"][0]


def doubled(image: Tensor) -> Tensor:
    """Filtering with [1, 3, 3, 1] is bilinear enlargement, zeros around the picture."""
    framed = F.pad(image[None], (1, 1, 1, 1))
    return F.interpolate(framed, scale_factor=2.0, mode="bilinear", align_corners=False)[0, :, 2:-2, 2:-2]


def synthesised(weights: Weights, latents: Tensor) -> Tensor:
    """The picture `(3, 64, 64)` of W+ latents `(10, D)`, layer by layer as in StyleGAN2 fig. 7b."""
    noises = [weights[f"noises.noise_{index}"][0] for index in range(9)]
    features = styled_conv(weights, "conv1", weights["input.input"][0], latent=latents[0], noise=noises[0])
    image = to_rgb(weights, "to_rgb1", features, latent=latents[1])
    for block, first in enumerate(range(1, 9, 2)):
        for offset in (0, 1):
            name, index = f"convs.{first - 1 + offset}", first + offset
            features = styled_conv(weights, name, features, latent=latents[index], noise=noises[index])
        image = doubled(image) + to_rgb(weights, f"to_rgbs.{block}", features, latent=latents[first + 2])
    return image


def test_pictures_equal_those_of_a_plain_reading_of_the_paper(generator: Generator) -> None:
    latents = seeded(2, 10, 8)
    expected = torch.stack([synthesised(generator.state_dict(), each) for each in latents])
    torch.testing.assert_close(generator(latents), expected, rtol=1e-4, atol=1e-4)


def test_a_picture_does_not_depend_on_the_other_faces_of_the_batch(generator: Generator) -> None:
    latents = seeded(3, 10, 8)
    torch.testing.assert_close(generator(latents)[1:2], generator(latents[1:2]), rtol=1e-4, atol=1e-4)


def test_no_faces_give_no_pictures(generator: Generator) -> None:
    assert generator(torch.zeros(0, 10, 8)).shape == (0, 3, 64, 64)


@pytest.mark.parametrize("index", range(10))
def test_each_latent_is_used(generator: Generator, index: int) -> None:
    latents = seeded(1, 10, 8)
    changed = latents.clone()
    changed[:, index] += 1
    assert (generator(changed) - generator(latents)).abs().max() > 1e-3


def test_the_noise_is_the_same_at_each_call_and_for_each_face(generator: Generator) -> None:
    latents = seeded(1, 10, 8).expand(2, -1, -1)
    first = generator(latents)
    torch.testing.assert_close(first[0], first[1])
    assert torch.equal(generator(latents), first)


def test_random_noise_differs_from_face_to_face_and_changes_the_picture(generator: Generator) -> None:
    latents = seeded(1, 10, 8).expand(2, -1, -1)
    noises = [torch.randn(2, 1, side, side) for side in (4, 8, 8, 16, 16, 32, 32, 64, 64)]
    pictures = generator(latents, noises)
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3


def test_the_mapping_ignores_the_length_of_z(generator: Generator) -> None:
    z = seeded(2, 8)
    torch.testing.assert_close(generator.map(3 * z), generator.map(z), rtol=1e-4, atol=1e-5)


def test_the_mapping_has_the_layers_it_was_asked_for() -> None:
    names = Generator(SMALL).style.state_dict().keys()
    assert set(names) == {"1.weight", "1.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize(("resolution", "latents"), [(64, 10), (128, 12), (256, 14), (512, 16), (1024, 18)])
def test_resolution_decides_the_number_of_latents_and_the_size_of_the_picture(resolution: int, latents: int) -> None:
    config = GeneratorConfig(resolution, latent_size=4, mapping_layers=1, channel_base=resolution, channel_max=2)
    assert config.latents == latents
    with torch.no_grad():
        assert Generator(config)(torch.zeros(1, latents, 4)).shape == (1, 3, resolution, resolution)


def test_channels_follow_the_published_ffhq_network() -> None:
    published = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    assert {side: GeneratorConfig().channels(side) for side in GeneratorConfig().resolutions} == published


def test_the_state_dict_has_the_layout_others_publish() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Generator(GeneratorConfig()).state_dict().items()}
    # 8 mapping layers, the constant, first convolution and picture, 8 resolutions, 17 noises.
    assert len(shapes) == 8 * 2 + 1 + 5 + 4 + 8 * (6 + 5 + 5) + 17
    published = {
        "style.8.weight": (512, 512),
        "input.input": (1, 512, 4, 4),
        "conv1.conv.weight": (1, 512, 512, 3, 3),
        "conv1.conv.modulation.bias": (512,),
        "conv1.noise.weight": (1,),
        "conv1.activate.bias": (512,),
        "to_rgb1.bias": (1, 3, 1, 1),
        "convs.0.conv.blur.kernel": (4, 4),
        "convs.14.conv.weight": (1, 32, 64, 3, 3),
        "convs.15.conv.modulation.weight": (32, 512),
        "to_rgbs.0.upsample.kernel": (4, 4),
        "to_rgbs.7.conv.weight": (1, 3, 32, 1, 1),
        "noises.noise_16": (1, 1, 1024, 1024),
    }
    assert published.items() <= shapes.items()


@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 96}, {"resolution": 2048}, {"latent_size": 0}, {"mapping_layers": 0}, {"channel_base": 512}],
)
def test_a_shape_that_cannot_be_built_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GeneratorConfig(**wrong)


def test_gradients_reach_every_parameter_and_the_latents() -> None:
    torch.manual_seed(0)
    generator = Generator(SMALL)
    z = seeded(2, 8)
    latents = generator.map(z)[:, None].expand(-1, 10, -1)
    generator(latents).square().mean().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())
    assert generator.style[1].weight.grad.abs().sum() > 0
