"""A thinned recogniser: without batch norms it is the same, with fewer channels nearly so."""

import pytest
import torch

from models.identity.recognizer import COMPACT_WIDTHS, CompactRecognizer, MobileFaceNet
from models.training.fits import thinning
from models.training.fits.thinning import folded, thinned
from tests.models.training.crops import calibrated

FULL_WIDTHS = (64, 128, *(128,) * 4, 256, *(256,) * 6, 512, 256, 256)  # of MobileFaceNets, table 1


@pytest.fixture(scope="module")
def teacher() -> MobileFaceNet:
    torch.manual_seed(0)
    made = calibrated(MobileFaceNet()).eval()
    assert isinstance(made, MobileFaceNet)
    return made


def crops(count: int, size: int = 112) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_batch_norms_the_recogniser_is_the_same_but_at_the_edge(teacher: MobileFaceNet) -> None:
    whole, seen = folded(teacher), crops(2)
    assert not [module for module in whole.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    features = teacher.dw_conv(teacher.conv1((seen - teacher.input_mean) / teacher.input_std))
    ours = whole.layers[0](seen)
    torch.testing.assert_close(ours[:, :, 2:-2, 2:-2], features[:, :, 2:-2, 2:-2], atol=1e-4, rtol=1e-3)
    for layer, block in zip(whole.layers[1:-3], teacher.features, strict=True):
        torch.testing.assert_close(layer(features), block(features), atol=1e-3, rtol=1e-3)
        features = block(features)
    embedded = teacher.bn(teacher.conv3(teacher.gdconv(teacher.conv2(features))))
    torch.testing.assert_close(whole.layers[-3:](features), embedded, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_with_all_channels_kept_nothing_changes(teacher: MobileFaceNet) -> None:
    whole = folded(teacher)
    same = thinned(whole, FULL_WIDTHS, crops(40))
    assert (same(crops(4)) * whole(crops(4))).sum(dim=1).min() > 0.99


def test_channels_go_without_which_the_others_can_do_the_same() -> None:
    draws = torch.Generator().manual_seed(0)
    a, b, noise = (torch.randn(500, 1, generator=draws) for _ in range(3))
    read = torch.nn.Conv2d(3, 2, 1)
    kept = thinning._fit(read, torch.cat([a, 3 * a, b, 2 * a + b, noise], dim=1), torch.cat([a + b + 1, a - b], dim=1))
    assert len(kept) == 3
    inputs = torch.cat([a, 3 * a, b, 2 * a + b, noise], dim=1)[:, kept, None, None]
    torch.testing.assert_close(read(inputs)[:, :, 0, 0], torch.cat([a + b + 1, a - b], dim=1), atol=0.05, rtol=0.02)


@pytest.mark.slow
def test_half_the_channels_do_some_of_the_work_before_any_training(teacher: MobileFaceNet) -> None:
    whole, few = folded(teacher), crops(40)
    half = thinned(whole, COMPACT_WIDTHS, few)
    torch.manual_seed(1)
    untrained = CompactRecognizer()
    likeness = (half(few) * whole(few)).sum(dim=1).mean()
    assert likeness > (untrained(few) * whole(few)).sum(dim=1).mean() + 0.3


@pytest.mark.slow
def test_thinning_is_the_same_each_time(teacher: MobileFaceNet) -> None:
    first, second = (thinned(folded(teacher), COMPACT_WIDTHS, crops(8)).state_dict() for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)
