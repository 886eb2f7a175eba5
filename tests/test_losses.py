"""Equations 1 and 3 of the paper, by values worked out by hand."""

import pytest
import torch

from models.losses import identity_loss, pixel_loss

EAST, NORTH, NORTHEAST = [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]


def test_the_pixel_loss_is_the_mean_square_of_each_crop() -> None:
    crops = torch.zeros(2, 1, 1, 2)
    generated = torch.tensor([[[[1.0, 3.0]]], [[[0.0, 0.0]]]])
    assert pixel_loss(crops, generated).tolist() == [5.0, 0.0]


def test_the_pixel_loss_does_not_grow_with_the_crop() -> None:
    small, large = torch.ones(1, 3, 2, 2), torch.ones(1, 3, 8, 8)
    assert pixel_loss(small, 0 * small) == pixel_loss(large, 0 * large)


def test_the_pixel_loss_refuses_crops_of_another_size() -> None:
    with pytest.raises(ValueError, match="one shape"):
        pixel_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 1, 2))


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
