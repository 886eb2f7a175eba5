"""Thins MobileFaceNet: what is left of its channels starts out doing the work of those that go.

Of the channels inside a block those go, one after the other, without which the others can best do what the whole block
did, by least squares (Hassibi and Stork 1993, "Optimal Brain Surgeon", on channels instead of weights).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.identity.recognizer import CompactRecognizer, MobileFaceNet, ThinBlock, ThinStem

PLACES = 20_000  # of a layer's features, to which what is read from the channels left is fitted
RIDGE = 1e-3  # of the mean square of a channel: keeps channels that are nearly alike from large opposite weights


@torch.no_grad()
def folded(teacher: MobileFaceNet) -> CompactRecognizer:
    """Return the same network without batch norms; only at the picture's edge it differs a little."""
    old_blocks: list[Any] = list(teacher.features)
    first, head = list[Any](teacher.conv1), list[Any](teacher.conv2)
    whole = CompactRecognizer((first[0].out_channels, *(block.conv[0][0].out_channels for block in old_blocks)))
    layers: list[Any] = list(whole.layers)
    stem, blocks = layers[0], layers[1:-3]
    stem.enter = _folded(*first[:2])
    # Takes crops in [-1, 1]; the teacher's own input is normalised as ImageNet's pictures are.
    stem.enter.bias.sub_((stem.enter.weight * (teacher.input_mean / teacher.input_std)).sum(dim=(1, 2, 3)))
    stem.enter.weight.div_(teacher.input_std)
    stem.within = _folded(teacher.dw_conv.depthwise, teacher.dw_conv.bn1)
    stem.project = _folded(teacher.dw_conv.pointwise, teacher.dw_conv.bn2)
    for block, old in zip(blocks, old_blocks, strict=True):
        block.enter, block.within = _folded(*old.conv[0][:2]), _folded(*old.conv[1][:2])
        block.project = _folded(*old.conv[2:])
    layers[-3][0] = _folded(*head[:2])
    whole.layers[-2] = _folded(teacher.gdconv.depthwise, teacher.gdconv.bn)
    whole.layers[-1] = _folded(teacher.conv3, teacher.bn)
    return whole.eval().requires_grad_(False)


@torch.no_grad()
def thinned(whole: CompactRecognizer, widths: tuple[int, ...], crops: Tensor) -> CompactRecognizer:
    """Return a recogniser that does nearly what `whole` does; head and features between blocks are as wide.

    Args:
        whole: On the device of `crops`.
        widths: Of the stem, and inside each block.
        crops: `(N, 3, S, S)` RGB in [-1, 1], to which the layers are fitted; some hundreds.
    """
    thin = CompactRecognizer(widths).to(crops.device)
    seen = wanted = crops
    for old, new in zip(list[Any](whole.layers)[:-3], list[Any](thin.layers)[:-3], strict=True):
        wanted = old(wanted)
        inside = old.filtered(seen)
        target = _places(_projection(old, seen, inside, wanted))
        kept = _fit(new.project, _places(inside), target)
        _copy_rows(new.enter, old.enter, kept)
        _copy_rows(new.within, old.within, kept)
        seen = new(seen)
    thin.layers[-3:].load_state_dict(whole.layers[-3:].state_dict())
    return thin


def _projection(old: ThinStem | ThinBlock, seen: Tensor, inside: Tensor, wanted: Tensor) -> Tensor:
    """Return what a layer's projection must be for it to give `wanted`; of the stem, which rectifies it, what it is."""
    if isinstance(old, ThinStem):
        projected: Tensor = old.project(inside)
        return projected
    return wanted - seen if old.has_shortcut else wanted


@torch.no_grad()
def _fit(conv: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Fill a 1x1 convolution by ridge regression from a few of C channels; return which, in order.

    Args:
        conv: Reads as many as shall be kept.
        inputs: `(M, C)`.
        outputs: `(M, D)`.
    """
    x_mean, y_mean = inputs.mean(dim=0).double(), outputs.mean(dim=0).double()
    x, y = inputs - x_mean, outputs - y_mean
    gram = x.T @ x
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    inverse = torch.linalg.inv(gram)
    weight = (inverse @ (x.T @ y)).T  # (D, C)
    left = torch.ones(len(gram), dtype=torch.bool, device=gram.device)
    for _ in range(len(gram) - conv.in_channels):
        # What the error grows by when a channel goes and the others take over what they can (their equation 5).
        cost = weight.square().sum(dim=0) / inverse.diagonal()
        out = int(torch.where(left, cost, torch.inf).argmin())
        left[out] = False
        row = inverse[out] / inverse[out, out]
        weight -= torch.outer(weight[:, out], row)
        inverse -= torch.outer(inverse[:, out], row)
        inverse[out, out] = 1  # no longer looked at
    kept = left.nonzero().flatten()
    assert conv.bias is not None
    conv.weight.copy_(weight[:, kept, None, None])
    conv.bias.copy_(y_mean - weight[:, kept] @ x_mean[kept])
    return kept


def _places(features: Tensor) -> Tensor:
    """Return `(M, C)` features of places spread evenly over `(N, C, H, W)`."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return rows[:: max(1, len(rows) // PLACES) | 1]  # odd: not the same column of every picture


def _copy_rows(new: nn.Conv2d, old: nn.Conv2d, kept: Tensor) -> None:
    """Copy the filters `kept`; those of a depthwise convolution as well as those of any other."""
    assert new.bias is not None
    assert old.bias is not None
    new.weight.copy_(old.weight[kept])
    new.bias.copy_(old.bias[kept])


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution that does what a convolution and a batch norm in eval mode do."""
    return fuse_conv_bn_eval(conv, norm)
