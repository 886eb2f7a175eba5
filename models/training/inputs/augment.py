"""What is done to pictures before a network in training sees them, each picture by its own chance; differentiable."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.ranks import Draws, Ranks

MAX_SHIFT = 4  # pixels of 112, by which a recogniser's crop is moved: landmarks of video are no better

# Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): strengths of its table in appendix B.
_SCALE = 0.2 * math.log(2)  # deviation of the logarithm of the zoom
_TURN = 0.1 * math.pi  # deviation; theirs is uniform, ours leaves more faces upright
_SHIFT = 0.125  # deviation, in sides of the picture
_BRIGHTNESS = 0.2  # deviation, in [-1, 1]
_CONTRAST = 0.5 * math.log(2)  # deviation of the logarithm
_SATURATION = math.log(2)  # likewise
_CUTOUT = 0.5  # side of the square, in sides of the picture

_TARGET = 0.6  # mean sign of the logits of reals, above which the discriminator is taken to overfit (section 3.1)
_RISE = 500_000  # images in which the probability can rise from 0 to 1 (section 3.1)
_MOST = 0.8  # probability up to which augmentation does not show in what is generated (section 2.2)


class AdaptiveAugment(nn.Module):
    """Augments what a discriminator sees, reals and fakes alike, as often as its overfitting asks for.

    Attributes:
        probability: `()` of each transformation, in [0, 0.8]; part of the state of a run.
    """

    probability: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probability", torch.zeros(()))

    def forward(self, pictures: Tensor, draws: Draws) -> Tensor:
        """Return `pictures` `(N, 3, S, S)`, those that no transformation met bit for bit."""
        pictures = _transformed(pictures, self.probability, draws)
        pictures = _recoloured(pictures, self.probability, draws)
        return pictures * _cutout(pictures, self.probability, draws)

    @torch.no_grad()
    def observe(self, real_logits: Tensor, *, images: int, ranks: Ranks) -> None:
        """Adjust the probability after a step.

        Args:
            real_logits: `(N,)` of this process.
            images: Of the step, in all processes.
            ranks: The processes.
        """
        overfit = ranks.mean(real_logits.sign().mean()) - _TARGET
        self.probability.add_(overfit.sign() * images / _RISE).clamp_(0, _MOST)


def _chosen(probability: Tensor, draws: Draws) -> Tensor:
    return draws.uniform() < probability  # (N,)


def _transformed(pictures: Tensor, probability: Tensor, draws: Draws) -> Tensor:
    """Return pictures zoomed, turned and shifted; what comes in from outside is 0."""
    zooms, turns, shifts = (_chosen(probability, draws) for _ in range(3))
    scale = torch.exp(_SCALE * draws.normal() * zooms)
    angle = _TURN * draws.normal() * turns
    shift = 2 * _SHIFT * draws.normal(2) * shifts[:, None]  # in [-1, 1] from edge to edge
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = [torch.stack([cosine, -sine, shift[:, 0]], dim=1), torch.stack([sine, cosine, shift[:, 1]], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, align_corners=False)
    return torch.where((zooms | turns | shifts)[:, None, None, None], moved, pictures)


def _recoloured(pictures: Tensor, probability: Tensor, draws: Draws) -> Tensor:
    """Return pictures of other brightness, contrast and saturation."""
    brighter, harder, richer = (_chosen(probability, draws) for _ in range(3))
    brightness = _column(_BRIGHTNESS * draws.normal() * brighter)
    contrast = _column(torch.exp(_CONTRAST * draws.normal() * harder))
    saturation = _column(torch.exp(_SATURATION * draws.normal() * richer))
    luma = pictures.mean(dim=1, keepdim=True)
    changed = (luma + (pictures - luma) * saturation) * contrast + brightness
    return torch.where(_column(brighter | harder | richer), changed, pictures)


def _cutout(pictures: Tensor, probability: Tensor, draws: Draws) -> Tensor:
    """Return a factor `(N, 1, S, S)` that is 0 in a square anywhere in the chosen pictures and 1 elsewhere."""
    place = torch.arange(pictures.shape[-1], device=pictures.device) / pictures.shape[-1]
    near = (place - draws.uniform(2)[:, :, None]).abs() < _CUTOUT / 2  # (N, 2, S)
    square = near[:, 0, :, None] & near[:, 1, None, :] & _chosen(probability, draws)[:, None, None]
    return (~square)[:, None].to(pictures.dtype)


def mirrored(pictures: Tensor, draws: Draws) -> Tensor:
    """Return `(N, C, H, W)` of which about half are mirrored."""
    return torch.where(_column(draws.uniform() < 0.5), pictures.flip(3), pictures)


def as_in_video(crops: Tensor, draws: Draws) -> Tensor:
    """Return `(N, 3, S, S)` crops in [-1, 1] as a camera may show them: moved, mirrored, soft, relit, half hidden."""
    return _relit(_occluded(_softened(jolted(mirrored(crops, draws), draws, reach=MAX_SHIFT), draws), draws), draws)


def as_a_frame_later(crops: Tensor, draws: Draws) -> Tensor:
    """Return `(N, 3, S, S)` crops in [-1, 1] moved and relit as little as from one frame of a video to the next."""
    gain = 0.95 + 0.1 * _column(draws.uniform())
    return (jolted(crops, draws, reach=1) * gain).clamp(-1, 1)


def jolted(crops: Tensor, draws: Draws, *, reach: int) -> Tensor:
    """Return crops shifted by up to `reach` of 112 pixels either way; edges are repeated."""
    shift = 2 * reach / 112 * (2 * draws.uniform(2) - 1)
    upright = torch.eye(2, device=crops.device).expand(len(crops), 2, 2)
    grid = F.affine_grid(torch.cat([upright, shift[:, :, None]], dim=2), list(crops.shape), align_corners=False)
    return F.grid_sample(crops, grid, padding_mode="border", align_corners=False)


def _softened(crops: Tensor, draws: Draws) -> Tensor:
    """Return crops of which a quarter have lost detail: as many lines as a face half or a third the size has."""
    chance, size = draws.uniform(), crops.shape[-1]
    for divisor, share in ((2, 0.25), (3, 0.12)):
        small = F.adaptive_avg_pool2d(crops, size // divisor)
        soft = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
        crops = torch.where(_column(chance < share), soft, crops)
    return crops


def _occluded(crops: Tensor, draws: Draws) -> Tensor:
    """Return crops of which a quarter are hidden in part, by a rectangle of one colour up to half the side."""
    place = torch.arange(crops.shape[-1], device=crops.device) / crops.shape[-1]
    half = draws.uniform(2)[:, :, None] / 4
    near = (place - draws.uniform(2)[:, :, None]).abs() < half  # (N, 2, S)
    hidden = near[:, 0, :, None] & near[:, 1, None, :] & (draws.uniform() < 0.25)[:, None, None]
    return torch.where(hidden[:, None], _column(2 * draws.uniform(3) - 1), crops)


def _relit(crops: Tensor, draws: Draws) -> Tensor:
    """Return crops under another light: gain .75 to 1.25, each colour shifted by up to .2."""
    gain = 0.75 + 0.5 * _column(draws.uniform())
    shift = 0.4 * _column(draws.uniform(3)) - 0.2
    return (crops * gain + shift).clamp(-1, 1)


def _column(values: Tensor) -> Tensor:
    """Return `(N,)` or `(N, C)` as `(N, 1 or C, 1, 1)`."""
    return values.view(len(values), -1, 1, 1)


# Luma table of JPEG (ITU-T T.81, annex K.1), in grey levels; colour differences get twice as much.
_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_SIZES = (24, 32, 48, 80)  # pixels of the small crops: multiples of the block of 8
_SMALL, _COMPRESSED, _DIM = 0.5, 0.5, 0.35  # shares of the crops


def as_in_poor_video(crops: Tensor, draws: Draws) -> Tensor:
    """Return `(N, 3, S, S)` crops in [-1, 1] as a bad camera may show them: half are small, half are compressed.

    A third are dim; all are moved, turned, squeezed, relit and noisy, some half hidden.

    Args:
        crops: S is a multiple of 8.
        draws: The step's.
    """
    crops = _occluded(_turned(mirrored(crops, draws), draws), draws)
    crops = _dimmed(_relit(crops, draws), draws)
    noise = 0.08 * _column(draws.uniform()) ** 2 * draws.normal(*crops.shape[1:])
    chance = torch.where(draws.uniform() < _SMALL, draws.uniform(), 1.0) * len(_SIZES)
    coarse = 0.2 + 1.8 * draws.uniform()  # times the table: qualities of about 85 to 25
    coarse = torch.where(draws.uniform() < _COMPRESSED, coarse, 0.0)
    seen = torch.empty_like(crops)
    for index, size in enumerate((*_SIZES, crops.shape[-1])):
        rows = (chance.long() == index).nonzero().flatten()
        if not len(rows):
            continue
        small = F.adaptive_avg_pool2d(crops[rows], size) if size < crops.shape[-1] else crops[rows]
        small = _compressed(small + noise[rows, :, : small.shape[2], : small.shape[3]], coarse[rows])
        seen[rows] = F.interpolate(small, size=crops.shape[-1], mode="bilinear", align_corners=False)
    return seen.clamp(-1, 1)


def _turned(crops: Tensor, draws: Draws) -> Tensor:
    """Return crops turned by 8 degrees or so, zoomed, narrowed as a face that looks aside is, and moved."""
    angle, zoom = 0.14 * draws.normal(), torch.exp(0.06 * draws.normal())
    narrow = 1 + 0.35 * draws.uniform() ** 2
    shift = 2 * MAX_SHIFT / 112 * (2 * draws.uniform(2) - 1)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [
        torch.stack([cosine * narrow, -sine, shift[:, 0]], dim=1),
        torch.stack([sine * narrow, cosine, shift[:, 1]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(crops.shape), align_corners=False)
    return F.grid_sample(crops, grid, padding_mode="border", align_corners=False)


def _dimmed(crops: Tensor, draws: Draws) -> Tensor:
    """Return crops of which a third have lost up to 85 % of their light."""
    light = torch.where(draws.uniform() < _DIM, 0.15 + 0.6 * draws.uniform(), 1.0)
    return (crops + 1) * _column(light) - 1


def _compressed(crops: Tensor, coarse: Tensor) -> Tensor:
    """Return crops rounded as JPEG does, in blocks of 8x8; without a gradient.

    Args:
        crops: `(N, 3, S, S)` in [-1, 1].
        coarse: `(N,)` factors of the table; 0 leaves a crop as it is.
    """
    count, _, size, _ = crops.shape
    luma = crops.mean(dim=1, keepdim=True)
    planes = torch.cat([luma, crops[:, :1] - luma, crops[:, 2:] - luma], dim=1)
    basis = _cosines(crops)
    blocks = planes.view(count, 3, size // 8, 8, size // 8, 8).transpose(3, 4)  # (N, 3, S / 8, S / 8, 8, 8)
    table = torch.tensor(_QUANTISATION, dtype=crops.dtype, device=crops.device) / 127.5
    step = torch.stack([table, 2 * table, 2 * table])[:, None, None] * coarse.clamp(min=1e-6).view(-1, 1, 1, 1, 1, 1)
    rounded = basis.T @ (torch.round(basis @ blocks @ basis.T / step) * step) @ basis
    y, red, blue = rounded.transpose(3, 4).reshape(count, 3, size, size).unbind(dim=1)
    made = torch.stack([y + red, y - red - blue, y + blue], dim=1)
    return torch.where(_column(coarse) > 0, made, crops)


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, `(8, 8)`."""
    place = torch.arange(8, dtype=like.dtype, device=like.device)
    rows = torch.cos(math.pi / 8 * (place[None] + 0.5) * place[:, None]) / 2
    rows[0] /= math.sqrt(2)
    return rows
