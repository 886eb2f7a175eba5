"""A code for every crop before anything is learnt: of unit variance, and enough to draw the coarse crop again."""

import pytest
import torch
import torch.nn.functional as F

from models.face_model import DEFAULT_TEMPLATE
from models.training.inputs.dataset import CropSet
from models.training.inputs.principal_codes import CODE_SIZE, principal_codes

COUNT, SIZE = 120, 64


def crops() -> CropSet:
    """Pictures of three kinds of change, each of its own strength."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    changes = torch.stack([torch.ones_like(x), y, (x**2 + y**2 < 0.5).float()])  # alike when mirrored
    strength = torch.randn(COUNT, 3) * torch.tensor([40.0, 20.0, 10.0])
    pictures = 128 + torch.einsum("nk,kyx->nyx", strength, changes)
    images = pictures.clamp(0, 255).byte()[:, None].expand(-1, 3, -1, -1)
    return CropSet(images.contiguous(), None, tuple(map(str, range(COUNT))), DEFAULT_TEMPLATE)


def test_codes_are_as_a_unit_gaussian_has_them() -> None:
    found = principal_codes(crops(), 3)(crops().images.float() / 127.5 - 1)
    assert found.shape == (COUNT, 3)
    torch.testing.assert_close(torch.cov(found.T), torch.eye(3), atol=0.05, rtol=0)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), atol=0.01, rtol=0)


def test_three_codes_tell_a_picture_that_three_numbers_made() -> None:
    codes, pictures = principal_codes(crops(), 3), crops().images[:50].float() / 127.5 - 1
    drawn = codes.mean + codes(pictures) @ torch.linalg.pinv(codes.basis)
    coarse = F.adaptive_avg_pool2d(pictures, CODE_SIZE).flatten(1)
    assert (drawn - coarse).abs().mean() < 0.02
    assert (coarse - codes.mean).abs().mean() > 0.1


def test_more_codes_than_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="120"):
        principal_codes(crops(), 121)


def test_a_mirror_image_is_as_likely_as_its_original() -> None:
    """Of lopsided pictures: the codes of the mirror images have the opposite mean, and the same spread."""
    pictures = crops()
    shaded = pictures.images.float() + torch.linspace(-1, 1, SIZE) * torch.randn(COUNT, 1, 1, 1) * 30
    lopsided = CropSet(shaded.clamp(0, 255).byte(), None, pictures.names, DEFAULT_TEMPLATE)
    codes, values = principal_codes(lopsided, 4), lopsided.images.float() / 127.5 - 1
    both = codes(torch.cat([values, values.flip(3)]))
    torch.testing.assert_close(both.mean(dim=0), torch.zeros(4), atol=0.01, rtol=0)
    torch.testing.assert_close(torch.cov(both.T), torch.eye(4), atol=0.05, rtol=0)
