"""The encoder: its levels, its conditioning on beta, and the layout of the authors' weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.private_encoder.encoder import Encoder, EncoderConfig, PrivacyEmbedding, beta_features

SMALL = EncoderConfig(input_size=32, latents=10, latent_size=8, stage_blocks=(1, 1, 2, 1), width=16)


def random_crops(count: int, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SMALL).eval().requires_grad_(False)


def let_beta_matter(encoder: Encoder) -> None:
    for style in encoder.styles:
        style.beta_affine.weight.normal_(std=0.1)


def test_a_crop_becomes_one_latent_per_style(encoder: Encoder) -> None:
    assert encoder(random_crops(2), torch.rand(2)).shape == (2, 10, 8)


def test_no_crops_give_no_latents(encoder: Encoder) -> None:
    assert encoder(torch.zeros(0, 3, 32, 32), torch.zeros(0)).shape == (0, 10, 8)


def test_latents_do_not_depend_on_the_other_faces_of_the_batch(encoder: Encoder) -> None:
    let_beta_matter(encoder)
    crops, beta = random_crops(3), torch.tensor([0.0, 0.4, 1.0])
    torch.testing.assert_close(encoder(crops, beta)[1:2], encoder(crops[1:2], beta[1:2]), rtol=1e-4, atol=1e-5)


def test_beta_changes_nothing_before_it_is_trained(encoder: Encoder) -> None:
    crops = random_crops(1)
    assert torch.equal(encoder(crops, torch.tensor([0.0])), encoder(crops, torch.tensor([1.0])))


def test_beta_changes_every_latent_once_it_is_trained(encoder: Encoder) -> None:
    let_beta_matter(encoder)
    crops = random_crops(1)
    change = encoder(crops, torch.tensor([0.0])) - encoder(crops, torch.tensor([1.0]))
    assert (change.abs().amax(dim=2) > 1e-4).all()


def test_the_conditioning_on_beta_is_learned_although_it_starts_at_zero() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    encoder(random_crops(2), torch.tensor([0.2, 0.7])).square().mean().backward()
    for style in encoder.styles:
        assert style.beta_affine.weight.grad.abs().sum() > 0


def test_weights_published_without_beta_load_and_only_beta_is_missing(encoder: Encoder) -> None:
    published = {name: tensor for name, tensor in encoder.state_dict().items() if "beta_affine" not in name}
    other = Encoder(SMALL).eval()
    missing, unknown = other.load_state_dict(published, strict=False)
    assert unknown == []
    assert set(missing) == {f"styles.{i}.beta_affine.{kind}" for i in range(10) for kind in ("weight", "bias")}
    crops = random_crops(1)
    assert torch.equal(other(crops, torch.tensor([0.3])), encoder(crops, torch.tensor([0.8])))


def test_beta_becomes_eight_cosines() -> None:
    expected = [math.cos(math.pi * k * 0.25) for k in range(8)]
    torch.testing.assert_close(beta_features(torch.tensor([0.25]))[0], torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("latent", "level"), [(0, 0), (2, 0), (3, 1), (6, 1), (7, 2), (9, 2)])
def test_the_first_three_latents_are_coarse_the_next_four_medium_the_rest_fine(
    encoder: Encoder, latent: int, level: int
) -> None:
    levels = encoder.pyramid(random_crops(1))
    features = beta_features(torch.zeros(1))
    made = encoder(random_crops(1), torch.zeros(1))[:, latent]
    torch.testing.assert_close(made, encoder.styles[latent](levels[level], features), rtol=1e-4, atol=1e-5)


def test_the_pyramid_has_a_sixteenth_an_eighth_and_a_quarter_of_the_side(encoder: Encoder) -> None:
    assert [tuple(level.shape) for level in encoder.pyramid(random_crops(1))] == [
        (1, 128, 2, 2),
        (1, 128, 4, 4),
        (1, 128, 8, 8),
    ]


def test_each_level_adds_the_one_above_it_enlarged_corner_on_corner(encoder: Encoder) -> None:
    encoder.latlayer1.weight.zero_()
    encoder.latlayer1.bias.zero_()
    coarse, medium, _ = encoder.pyramid(random_crops(1))
    for channel in (0, 5):
        corners = coarse[0, channel]  # (2, 2) becomes (4, 4): at thirds between the corners
        rows = torch.stack([corners[0].lerp(corners[1], step / 3) for step in range(4)])
        expected = torch.stack([rows[:, 0].lerp(rows[:, 1], step / 3) for step in range(4)], dim=1)
        torch.testing.assert_close(medium[0, channel], expected)


def test_a_larger_crop_is_pooled_to_the_input_size(encoder: Encoder) -> None:
    crops = random_crops(1, side=64)
    pooled = F.avg_pool2d(crops, 2)
    torch.testing.assert_close(encoder(crops, torch.zeros(1)), encoder(pooled, torch.zeros(1)))


def test_a_privacy_embedding_is_strided_convolutions_then_one_linear_layer() -> None:
    embedding = PrivacyEmbedding(4, 6, side=8)
    kinds = [type(layer) for layer in embedding.convs]
    assert kinds == [nn.Conv2d, nn.LeakyReLU] * 3
    assert embedding(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8)).shape == (2, 6)


def test_the_default_is_the_network_the_authors_publish() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Encoder(EncoderConfig()).state_dict().items()}
    shapes = {name: shape for name, shape in shapes.items() if "beta_affine" not in name}
    # Input 7; 24 blocks of 15 and three projections of 6; 3, 4 and 11 embeddings of 4, 5 and 6 convolutions; laterals.
    assert len(shapes) == 7 + 24 * 15 + 3 * 6 + (3 * 4 + 4 * 5 + 11 * 6) * 2 + 18 * 2 + 4
    published = {
        "input_layer.0.weight": (64, 3, 3, 3),
        "input_layer.1.running_var": (64,),
        "input_layer.2.weight": (64,),
        "body.0.res_layer.1.weight": (64, 64, 3, 3),
        "body.3.shortcut_layer.0.weight": (128, 64, 1, 1),
        "body.3.shortcut_layer.1.running_mean": (128,),
        "body.7.res_layer.5.fc1.weight": (16, 256, 1, 1),
        "body.21.res_layer.0.weight": (256,),
        "body.23.res_layer.3.weight": (512, 512, 3, 3),
        "body.23.res_layer.5.fc2.weight": (512, 32, 1, 1),
        "latlayer1.weight": (512, 256, 1, 1),
        "latlayer2.weight": (512, 128, 1, 1),
        "styles.0.convs.6.weight": (512, 512, 3, 3),
        "styles.6.convs.8.weight": (512, 512, 3, 3),
        "styles.17.convs.10.bias": (512,),
        "styles.17.linear.weight": (512, 512),
    }
    assert published.items() <= shapes.items()
    assert EncoderConfig().taps == (6, 20, 23)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": 48},
        {"input_size": 16},
        {"latents": 7},
        {"stage_blocks": (3, 4, 0, 3)},
        {"stage_blocks": (3, 4, 14)},
        {"width": 8},
        {"latent_size": 0},
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        EncoderConfig(**wrong)
