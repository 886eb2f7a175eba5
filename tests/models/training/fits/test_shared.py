"""What strangers share is found, and taken out of a recogniser without changing anything else."""

import torch
import torch.nn.functional as F

from models.identity.recognizer import CompactRecognizer
from models.training.fits.shared import shared_directions, without


def test_the_directions_of_a_crowd_of_which_half_are_alike_are_what_they_share():
    draw = torch.Generator().manual_seed(0)
    people, children = torch.randn(2000, 64, generator=draw) / 8, torch.zeros(2000, 64)
    children[::2, 5] = 1.0
    embeddings = F.normalize(people + children, dim=1)
    found = shared_directions(embeddings, 1)
    assert found.shape == (64, 1)
    assert abs(found[5, 0]) > 0.99
    assert (embeddings[::2] @ embeddings[::2].T).mean() > 0.4
    left = F.normalize(embeddings - (embeddings @ found) @ found.T, dim=1)
    assert abs((left[::2] @ left[::2].T).mean()) < 0.01


def test_the_last_layer_says_nothing_of_the_directions_and_all_else_as_before():
    torch.manual_seed(0)
    recognizer = CompactRecognizer().eval()
    crops = torch.rand(4, 3, 112, 112) * 2 - 1
    directions = torch.linalg.qr(torch.randn(128, 3)).Q
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    with torch.no_grad():
        whole, made = recognizer(crops), without(directions, recognizer)(crops)
    expected = F.normalize(whole - (whole @ directions) @ directions.T, dim=1)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
    assert (made @ directions).abs().max() < 1e-4
    assert all(torch.equal(value, before[name]) for name, value in recognizer.state_dict().items())
