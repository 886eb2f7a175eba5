"""Inception v3 reads the weights that FIDs are published with, and sees what its network saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoint_errors import CheckpointError
from models.private_encoder.inception import FEATURES, Inception, load_inception_network, resize_as_tensorflow


@pytest.fixture(scope="module")
def network() -> Inception:
    """Made-up weights that keep the signal alive."""
    torch.manual_seed(0)
    made = Inception()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return made.eval()


def stored(network: Inception, path: Path, classes: int, *, prefix: str = "") -> Path:
    head = {"fc.weight": torch.zeros(classes, FEATURES), "fc.bias": torch.zeros(classes)}
    torch.save({prefix + name: value for name, value in (network.state_dict() | head).items()}, path)
    return path


def test_features_are_2048_of_any_size_of_picture(network: Inception):
    with torch.inference_mode():
        features = network(torch.randint(0, 256, (2, 3, 64, 80)).float())
    assert features.shape == (2, FEATURES)
    assert (features >= 0).all()
    assert features.std() > 0


def test_the_network_has_as_many_weights_as_published(network: Inception):
    # torchvision documents 27,161,264; its helper has 3,326,696 of them, its head 1000 * 2048 + 1000.
    assert sum(weight.numel() for weight in network.parameters()) == 27_161_264 - 3_326_696 - 2_049_000


def test_weights_of_the_fid_paper_give_the_same_features_back(network: Inception, tmp_path: Path):
    loaded = load_inception_network(stored(network, tmp_path / "fid.pth", 1008))
    pictures = torch.randint(0, 256, (1, 3, 32, 32)).float()
    with torch.inference_mode():
        assert torch.equal(loaded(pictures), network(pictures))
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_weights_of_torchvision_are_pooled_as_torchvision_does(network: Inception, tmp_path: Path):
    loaded = load_inception_network(stored(network, tmp_path / "torchvision.pth", 1000))
    features = torch.ones(1, 1, 3, 3)
    # A corner's window holds 4 of 9 places: over 9 it is 4/9, over the 4 that exist it is 1.
    assert loaded.Mixed_5b.pool(features)[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert network.Mixed_5b.pool(features)[0, 0, 0, 0] == pytest.approx(1)
    assert loaded.Mixed_7c.pool(features)[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert network.Mixed_7c.pool(2 * features)[0, 0, 0, 0] == pytest.approx(2)


@pytest.mark.parametrize("prefix", ["module.", "x"])
def test_other_weights_are_refused_by_name(network: Inception, tmp_path: Path, prefix: str):
    path = stored(network, tmp_path / "other.pth", 1008, prefix=prefix)
    with pytest.raises(CheckpointError, match=r"other\.pth: not Inception v3"):
        load_inception_network(path)


def test_a_file_that_is_no_weights_is_refused(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="web page"):
        load_inception_network(tmp_path / "a.pth")


def test_pictures_are_resized_as_tensorflow_counts():
    # Place n of the larger picture is place n * 2 / 3 of the smaller one; past its last pixel that pixel stays.
    picture = torch.tensor([[0.0, 30.0]]).expand(1, 1, 2, 2)
    np.testing.assert_allclose(resize_as_tensorflow(picture, 3)[0, 0], [[0, 20, 30]] * 3, atol=1e-5)
