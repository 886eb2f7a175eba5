"""The harmonizer: fresh it adds next to nothing, never anything where nothing is drawn; OpenCV adds what torch does."""

import pytest
import torch

from models.unets.harmonizer import HARMONIZED_SIZE, Harmonizer

SIZE = HARMONIZED_SIZE


@pytest.fixture
def network() -> Harmonizer:
    """One that adds something."""
    torch.manual_seed(0)
    made = Harmonizer().eval()
    with torch.no_grad():
        made.to_rgb.weight.normal_(std=0.3)
        made.to_rgb.bias.normal_(std=0.3)
    return made


def faces(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and where a face is drawn in them: all, half or nothing of each pixel."""
    torch.manual_seed(1)
    return 2 * torch.rand(count, 3, SIZE, SIZE) - 1, torch.randint(0, 3, (count, 1, SIZE, SIZE)) / 2


@torch.inference_mode()
def test_opencv_adds_what_torch_does(network: Harmonizer) -> None:
    pictures, drawn = faces(2)
    expected = network(pictures, drawn)
    network.settle()
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(network(pictures, drawn), expected, atol=2e-3, rtol=0)  # a quarter of a grey level


def test_it_still_learns_after_opencv_was_to_run_it(network: Harmonizer) -> None:
    network.settle()
    network(*faces(1)).sum().backward()
    assert network.enter.weight.grad is not None
    assert network.enter.weight.grad.abs().max() > 0


@torch.inference_mode()
def test_nothing_is_added_where_nothing_was_drawn_and_half_where_half_was(network: Harmonizer) -> None:
    pictures, drawn = faces(1)
    added = network(pictures, drawn)
    assert (added[(drawn == 0).expand_as(added)] == 0).all()
    changes = network._change(torch.nn.functional.pixel_unshuffle(torch.cat([pictures, 2 * drawn - 1], dim=1), 2))
    whole = torch.nn.functional.pixel_shuffle(changes, 2)
    torch.testing.assert_close(added, drawn * whole)


@torch.inference_mode()
def test_a_fresh_one_adds_next_to_nothing() -> None:
    torch.manual_seed(0)
    network = Harmonizer()
    pictures, drawn = faces(2)
    assert 127.5 * network(pictures, drawn).abs().mean() < 1.5  # grey levels


@torch.inference_mode()
def test_it_sees_what_is_around_the_face(network: Harmonizer) -> None:
    pictures, drawn = faces(1)
    drawn[:] = 0.0
    drawn[..., 32:96, 32:96] = 1.0
    other = pictures.clone()
    other[..., :16] = 1.0
    assert (network(other, drawn) - network(pictures, drawn)).abs().max() > 1e-3
