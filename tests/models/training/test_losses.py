"""The training losses, by values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from models.training.losses.losses import (
    discriminator_loss,
    edge_loss,
    generator_loss,
    identity_loss,
    masked_pixel_loss,
    perceptual_loss,
    pyramid_loss,
    r1_penalty,
    temporal_loss,
)

EAST, NORTH, NORTHEAST = [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]


def test_the_masked_pixel_loss_is_the_weighted_mean_over_pixels_of_the_mean_over_channels() -> None:
    generated = torch.tensor([[[[1.0, 3.0]], [[1.0, 5.0]]]])  # squares, over channels: 1 and 17
    weight = torch.tensor([[[[0.5, 1.5]]]])
    loss = masked_pixel_loss(torch.zeros(1, 2, 1, 2), generated, weight=weight)
    assert loss.item() == pytest.approx((0.5 * 1 + 1.5 * 17) / 2)


def test_under_an_even_mask_the_pixel_loss_is_the_mean_square_whatever_the_size_of_the_crop() -> None:
    crops, generated = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]], [[[0.0, 0.0]]]])
    assert masked_pixel_loss(crops, generated, weight=torch.full((2, 1, 1, 2), 0.3)).tolist() == [5.0, 0.0]
    large = masked_pixel_loss(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), weight=torch.ones(1, 1, 8, 8))
    assert large.item() == 1.0


def test_the_masked_pixel_loss_refuses_crops_of_another_size() -> None:
    with pytest.raises(ValueError, match="one shape"):
        masked_pixel_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 1, 2), weight=torch.ones(1, 1, 2, 2))


def test_the_pyramid_loss_does_not_mind_detail_at_its_coarser_scales() -> None:
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    fine = 2.0 * ((x + y) % 2) - 1  # averages to 0 over 2 x 2 pixels
    coarse = 2.0 * (x // 4 % 2) - 1  # does not
    generated = torch.stack([fine, coarse])[:, None]
    assert pyramid_loss(torch.zeros(2, 1, 8, 8), generated).tolist() == pytest.approx([1 / 3, 1.0])
    with pytest.raises(ValueError, match="one shape"):
        pyramid_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4))


def test_a_face_of_which_nothing_is_shown_has_no_pixel_loss() -> None:
    crops = torch.ones(1, 3, 2, 2)
    assert masked_pixel_loss(crops, 0 * crops, weight=torch.zeros(1, 1, 2, 2)).item() == 0


def test_the_masked_pixel_loss_refuses_a_weight_that_would_broadcast() -> None:
    crops = torch.ones(2, 3, 2, 2)
    with pytest.raises(ValueError, match="weight must be"):
        masked_pixel_loss(crops, crops, weight=torch.ones(1, 1, 2, 2))


def test_the_perceptual_loss_is_the_mean_squared_distance_of_unit_features_summed_over_layers() -> None:
    """Unit vectors at a right angle are sqrt(2) apart, opposite ones 2, alike ones 0 whatever their length."""
    features = [torch.tensor([EAST, EAST]).T[None, :, None], torch.tensor(EAST)[None, :, None, None]]
    generated = [torch.tensor([NORTH, [7.0, 0.0]]).T[None, :, None], torch.tensor([-3.0, 0.0])[None, :, None, None]]
    assert perceptual_loss(features, generated).item() == pytest.approx((2 + 0) / 2 + 4)


def test_each_face_has_its_own_perceptual_loss() -> None:
    east, north = (torch.tensor([vector])[:, :, None, None] for vector in (EAST, NORTH))
    loss = perceptual_loss([torch.cat([east, east])], [torch.cat([east, north])])
    assert loss.tolist() == pytest.approx([0, 2])


def test_a_place_without_features_has_a_loss_and_a_gradient() -> None:
    features = torch.zeros(1, 2, 1, 1, requires_grad=True)
    loss = perceptual_loss([torch.ones(1, 2, 1, 1)], [torch.relu(features)])
    assert loss.item() == pytest.approx(1)  # of a unit vector from none
    loss.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_the_perceptual_loss_refuses_features_of_other_layers() -> None:
    layer = torch.ones(1, 2, 1, 1)
    for features, generated in (([], []), ([layer], [layer, layer]), ([layer], [torch.ones(1, 2, 1, 2)])):
        with pytest.raises(ValueError, match="layer"):
            perceptual_loss(features, generated)


@pytest.mark.parametrize(
    ("generated", "beta", "expected"),
    [
        (EAST, 1.0, 0.0),  # the same face, as asked
        (EAST, 0.0, 1.0),  # the same face, though a stranger was asked for
        (NORTH, 0.0, 0.0),  # a stranger, as asked
        (NORTH, 0.3, 0.3),  # less like than asked for: that is a loss too
        (NORTHEAST, 0.0, 0.5**0.5),
        ([-5.0, 0.0], 0.2, 1.2),  # more unlike than a stranger
    ],
)
def test_the_identity_loss_is_the_distance_of_the_cosine_from_beta(
    generated: list[float], beta: float, expected: float
) -> None:
    loss = identity_loss(torch.tensor([EAST]), torch.tensor([generated]), torch.tensor([beta]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_each_face_has_its_own_beta() -> None:
    east = torch.tensor([EAST, EAST])
    assert identity_loss(east, east, torch.tensor([1.0, 0.25])).tolist() == pytest.approx([0.0, 0.75])


def test_following_the_gradient_moves_the_likeness_towards_beta() -> None:
    generated = torch.tensor([[1.0, 0.5]], requires_grad=True)
    loss = identity_loss(torch.tensor([EAST]), generated, torch.tensor([0.2]))
    loss.backward()
    assert generated.grad is not None
    moved = (generated - 0.05 * generated.grad).detach()
    assert identity_loss(torch.tensor([EAST]), moved, torch.tensor([0.2])) < loss


def test_the_identity_loss_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="embeddings must be"):
        identity_loss(torch.ones(2, 4), torch.ones(1, 4), torch.ones(2))
    with pytest.raises(ValueError, match="beta must be"):
        identity_loss(torch.ones(2, 4), torch.ones(2, 4), torch.ones(2, 1))


def test_the_temporal_loss_is_the_mean_square_between_the_latents_of_two_views() -> None:
    other = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert temporal_loss(torch.zeros(2, 2, 2), other).tolist() == [2.5, 0.0]
    with pytest.raises(ValueError, match="one shape"):
        temporal_loss(torch.zeros(1, 2, 2), other)


def test_the_adversarial_losses_are_minus_the_logarithm_of_the_chance_given_to_the_truth() -> None:
    """A logit of ln 3 is a chance of 3/4 that the face is real."""
    sure, unsure = math.log(3), 0.0
    fake, real = torch.tensor([sure, unsure]), torch.tensor([unsure, sure])
    assert generator_loss(fake).tolist() == pytest.approx([-math.log(3 / 4), -math.log(1 / 2)])
    expected = [-math.log(1 / 2) - math.log(1 / 4), -math.log(3 / 4) - math.log(1 / 2)]
    assert discriminator_loss(real, fake).tolist() == pytest.approx(expected)


def test_the_losses_of_a_face_s_patches_are_averaged() -> None:
    patches = torch.tensor([[math.log(3), 0.0]])
    assert generator_loss(patches).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2)) / 2)


def test_a_generator_that_is_found_out_still_has_a_gradient() -> None:
    """Non-saturating: with log(1 - D) it would vanish here."""
    logits = torch.tensor([-30.0], requires_grad=True)
    generator_loss(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(-1)


def test_the_discriminator_loss_refuses_batches_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="one shape"):
        discriminator_loss(torch.zeros(2, 1), torch.zeros(2))


def test_the_r1_penalty_of_a_linear_critic_is_the_square_of_its_weights() -> None:
    weight = torch.tensor([1.0, -2.0, 3.0])
    crops = torch.randn(2, 3, 1, 1).requires_grad_()
    logits = crops[:, :, 0, 0] @ weight
    assert r1_penalty(crops, logits).tolist() == pytest.approx([14.0, 14.0])
    assert r1_penalty(crops, torch.stack([logits, 0 * logits], dim=1)).tolist() == pytest.approx([3.5, 3.5])


def test_the_r1_penalty_flattens_the_critic_when_followed() -> None:
    """It is differentiable in the weights: d |w|^2 / dw = 2 w."""
    critic = nn.Linear(2, 1)
    crops = torch.randn(1, 2, 1, 1).requires_grad_()
    r1_penalty(crops, critic(crops.flatten(1))).sum().backward()
    torch.testing.assert_close(critic.weight.grad, 2 * critic.weight.detach())


def test_edges_count_and_flat_differences_do_not() -> None:
    flat, step = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1.0
    assert edge_loss(flat + 0.3, flat).item() == 0
    assert edge_loss(step, flat).item() == pytest.approx(1 / 3)
