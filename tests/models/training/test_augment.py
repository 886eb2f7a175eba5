"""Augmentation: nothing at probability 0, one picture by itself, differentiable, as strong as overfitting asks for."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.training.inputs import augment
from models.training.inputs.augment import (
    MAX_SHIFT,
    AdaptiveAugment,
    as_a_frame_later,
    as_in_poor_video,
    as_in_video,
    mirrored,
)
from models.training.ranks import Draws, Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))


def draws(batch: int, step: int = 0) -> Draws:
    return Draws(ALONE, batch=batch, seed=0, step=step)


def pictures(count: int, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def at(probability: float) -> AdaptiveAugment:
    augment = AdaptiveAugment()
    augment.probability.fill_(probability)
    return augment


def test_at_probability_0_pictures_stay_bit_for_bit() -> None:
    plain = pictures(8)
    assert torch.equal(at(0.0)(plain, draws(8)), plain)


def test_as_many_pictures_are_changed_as_seven_chances_make() -> None:
    plain = pictures(600, size=8)
    changed = (at(0.1)(plain, draws(600)) != plain).flatten(1).any(dim=1).float().mean()
    expected = 1 - 0.9**7
    assert abs(changed - expected) < 4 * math.sqrt(expected * (1 - expected) / 600)  # four standard deviations


def test_what_one_picture_becomes_does_not_depend_on_the_others() -> None:
    plain = pictures(8)
    others = torch.cat([plain[:4], 0 * plain[4:]])
    assert torch.equal(at(0.5)(plain, draws(8))[:4], at(0.5)(others, draws(8))[:4])


@pytest.mark.slow
def test_augmentation_is_affine_in_the_picture_and_its_gradient_is_that_map() -> None:
    plain, direction = pictures(8), pictures(8, size=16).flip(0)
    augment = at(0.8)
    _, tangent = torch.autograd.functional.jvp(lambda picture: augment(picture, draws(8)), plain, direction)
    finite = augment(plain + direction, draws(8)) - augment(plain, draws(8))
    torch.testing.assert_close(tangent, finite, atol=1e-4, rtol=1e-4)
    assert tangent.abs().amax(dim=(1, 2, 3)).min() > 0


def test_a_shift_moves_the_whole_picture() -> None:
    spot = torch.zeros(64, 3, 33, 33)
    spot[:, :, 16, 16] = 1
    moved = at(0.3)(spot, draws(64))
    places = {tuple(picture.mean(0).flatten().topk(1).indices.tolist()) for picture in moved}
    assert len(places) > 8


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.1 + 1000 / 500_000),  # all reals are known for real: it overfits
        ([1.0, 1.0, -1.0, -1.0], 0.1 - 1000 / 500_000),
        ([5.0, 5.0, 5.0, -0.1], 0.1 - 1000 / 500_000),  # a mean sign of .5, under the target
    ],
)
def test_the_probability_follows_the_signs_of_the_reals_logits(logits: list[float], expected: float) -> None:
    augment = at(0.1)
    augment.observe(torch.tensor(logits), images=1000, ranks=ALONE)
    assert augment.probability.item() == pytest.approx(expected, abs=1e-7)


def test_the_probability_stays_where_augmentation_cannot_show_in_what_is_generated() -> None:
    low, high = at(0.0), at(0.8)
    low.observe(-torch.ones(4), images=10**6, ranks=ALONE)
    high.observe(torch.ones(4), images=10**6, ranks=ALONE)
    assert (low.probability.item(), high.probability.item()) == (0.0, pytest.approx(0.8))


def test_the_probability_is_part_of_a_state() -> None:
    other = AdaptiveAugment()
    other.load_state_dict(at(0.25).state_dict())
    assert other.probability == 0.25


def test_about_half_are_mirrored_and_the_others_stay() -> None:
    plain = pictures(64, size=4)
    result = mirrored(plain, draws(64))
    same = (result == plain).flatten(1).all(dim=1)
    flipped = (result == plain.flip(3)).flatten(1).all(dim=1)
    assert (same ^ flipped).all()
    assert 16 < same.sum() < 48  # four standard deviations


def test_video_crops_keep_shape_and_range_and_move_a_little() -> None:
    crops = torch.full((64, 3, 112, 112), -1.0)
    crops[:, :, 50:62, 50:62] = 1
    changed = as_in_video(crops, draws(64))
    assert changed.shape == crops.shape
    assert changed.abs().max() <= 1
    untouched = 0
    for face in changed.mean(dim=1):
        bright = (face > face.median() + 0.3).nonzero().float()
        if len(bright) and (bright.amax(0) - bright.amin(0)).max() < 20:  # the rest are hidden in part
            untouched += 1
            assert (bright.mean(0) - 55.5).abs().max() <= MAX_SHIFT + 1.5
    assert untouched > 30


def test_every_crop_of_a_batch_meets_its_own_fate() -> None:
    changed = as_in_video(pictures(1, size=24).tanh().expand(16, -1, -1, -1), draws(16))
    assert len({tuple(face.flatten()[:40].tolist()) for face in changed}) == 16


def test_a_frame_later_a_crop_has_moved_by_a_pixel_at_most() -> None:
    ramp = torch.linspace(-0.5, 0.5, 112).expand(16, 3, 112, 112)
    later = as_a_frame_later(ramp, draws(16))
    step = 1 / 111
    assert ((later / ramp - 1).abs()[..., :20] < 0.05 + 2.5 * step).all()
    assert (later != ramp).flatten(1).any(dim=1).all()


def faces(count: int, size: int = 112) -> Tensor:
    """Smooth pictures in [-1, 1] with something in them at every scale."""
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    scales = [F.interpolate(F.adaptive_avg_pool2d(noise, s) * s / 8, size=size, mode="bilinear") for s in (4, 14, 56)]
    return torch.stack(scales).sum(dim=0).clamp(-1, 1)


def test_poor_video_stays_in_range_and_is_the_same_for_the_same_step() -> None:
    first, again, other = (as_in_poor_video(faces(12), draws(12, step)) for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1


def test_each_picture_is_poor_by_its_own_chance() -> None:
    plain = faces(12)
    others = torch.cat([plain[:6], 0 * plain[6:]])
    together, apart = (as_in_poor_video(pictures, draws(12))[:6] for pictures in (plain, others))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_some_pictures_lose_their_detail_and_some_their_light() -> None:
    seen = as_in_poor_video(faces(64) / 4 + 0.5, draws(64))
    light = seen.mean(dim=(1, 2, 3))
    detail = seen.diff(dim=3).abs().mean(dim=(1, 2, 3))
    assert (light < -0.3).sum() > 5
    assert (light > 0.2).sum() > 20
    assert detail.max() > 4 * detail.min()


def test_compression_rounds_each_block_s_cosines_as_an_independent_transform_says() -> None:
    fft = pytest.importorskip("scipy.fft")
    grey = faces(1, size=8).mean(dim=1, keepdim=True).expand(1, 3, 8, 8).contiguous()
    made = augment._compressed(grey, torch.tensor([2.0]))[0, 0].numpy()
    steps = 2 * np.array(augment._QUANTISATION) / 127.5
    expected = fft.idctn(np.round(fft.dctn(grey[0, 0].numpy(), norm="ortho") / steps) * steps, norm="ortho")
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert torch.equal(augment._compressed(grey, torch.zeros(1)), grey)
