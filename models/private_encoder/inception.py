"""Inception v3 up to its last pooling (Szegedy et al. 2016), which FID is taken with; the weights are others'.

`pt_inception-2015-12-05-6726825d.pth` (Apache-2.0) are the weights of the FID paper (Heusel et al. 2017), converted;
torchvision's `inception_v3_google-*.pth` have the same names, and other pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint_errors import CheckpointError
from models.pretrained.imported import read_published

INCEPTION_SIZE = 299  # pixels, the side of what the network looks at
FEATURES = 2048
_FID_CLASSES = 1008  # outputs of the FID paper's network; torchvision's has 1000

Kernel = int | tuple[int, int]
Pool = Callable[[Tensor], Tensor]
# A branch is a chain of convolutions by name; a pair of names is two side by side, as in the last blocks.
Chain = tuple[str | tuple[str, str], ...]

_mean = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)  # as TensorFlow does
_mean_padded = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1)  # as torchvision does
_highest = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
_halved = partial(F.max_pool2d, kernel_size=3, stride=2)


class Inception(nn.Module):
    """Pictures in, features of the last pooling out."""

    def __init__(self, *, pool: Pool = _mean, last_pool: Pool = _highest) -> None:
        """Take how the mixed blocks pool; by default as the FID paper's network, whose last block takes the maximum."""
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c = _mixed_5(192, 32, pool), _mixed_5(256, 64, pool)
        self.Mixed_5d = _mixed_5(288, 64, pool)
        self.Mixed_6a = _mixed_6a()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_mixed_6(w, pool) for w in (128, 160, 160, 192))
        self.Mixed_7a = _mixed_7a()
        self.Mixed_7b, self.Mixed_7c = _mixed_7(1280, pool), _mixed_7(2048, last_pool)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return `(N, 2048)` features.

        Args:
            pictures: `(N, 3, H, W)` RGB in [0, 255].
        """
        x = (resize_as_tensorflow(pictures, INCEPTION_SIZE) - 128) / 128  # (N, 3, 299, 299)
        x = _halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))  # (N, 64, 73, 73)
        x = _halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))  # (N, 192, 35, 35)
        for name, block in self.named_children():
            x = block(x) if name.startswith("Mixed") else x
        return x.mean(dim=(2, 3))


def load_inception_network(path: Path | str) -> Inception:
    """Return the network of a state dict: in eval mode, weights frozen, on the CPU.

    Args:
        path: Of the FID paper's weights, or torchvision's.

    Raises:
        CheckpointError: If it cannot be read, or holds something else.
    """
    tensors = read_published(path)
    head = tensors.get("fc.bias")
    is_fid = isinstance(head, Tensor) and len(head) == _FID_CLASSES
    network = Inception() if is_fid else Inception(pool=_mean_padded, last_pool=_mean_padded)
    wanted = network.state_dict()
    # Batch counters are not in every file, and say nothing; head and helper of the training are of no use here.
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    try:
        network.load_state_dict(counters | {name: tensors[name] for name in tensors if name in wanted})
    except (RuntimeError, TypeError, ValueError) as error:  # torch's ways to say that names or shapes differ
        raise CheckpointError(
            f"{path}: not Inception v3 of FID (pt_inception-2015-12-05-6726825d.pth) or torchvision"
        ) from error
    return network.eval().requires_grad_(False)


def resize_as_tensorflow(pictures: Tensor, size: int) -> Tensor:
    """Return `(N, C, size, size)`, bilinear as TensorFlow 1: places count from the corner of a picture, not its pixels.

    Published FIDs depend on it. Pictures larger than `size` alias, as they do there.

    Args:
        pictures: `(N, C, H, W)`.
        size: Pixels.
    """
    return _resize_last(_resize_last(pictures, size).transpose(2, 3), size).transpose(2, 3)


def _resize_last(pictures: Tensor, size: int) -> Tensor:
    length = pictures.shape[-1]
    at = torch.arange(size, dtype=pictures.dtype, device=pictures.device) * (length / size)
    low = at.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    return torch.lerp(pictures[..., low], pictures[..., high], at - low)


class _Conv(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, *, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H', W')`."""
        return F.relu(self.bn(self.conv(features)))


class _Mixed(nn.Module):
    """Branches side by side, joined by channel; the pooled one last."""

    def __init__(self, convs: Mapping[str, _Conv], chains: tuple[Chain, ...], pool: Pool) -> None:
        super().__init__()
        for name, conv in convs.items():
            self.add_module(name, conv)
        self.chains, self.pool = chains, pool

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H', W')`."""
        pooled = self.pool(features)
        last = self.get_submodule("branch_pool")(pooled) if hasattr(self, "branch_pool") else pooled
        return torch.cat([*(self._run(chain, features) for chain in self.chains), last], dim=1)

    def _run(self, chain: Chain, features: Tensor) -> Tensor:
        for link in chain:
            names = (link,) if isinstance(link, str) else link
            features = torch.cat([self.get_submodule(name)(features) for name in names], dim=1)
        return features


def _mixed_5(inputs: int, pooled: int, pool: Pool) -> _Mixed:
    convs = {
        "branch1x1": _Conv(inputs, 64, 1),
        "branch5x5_1": _Conv(inputs, 48, 1),
        "branch5x5_2": _Conv(48, 64, 5, padding=2),
        "branch3x3dbl_1": _Conv(inputs, 64, 1),
        "branch3x3dbl_2": _Conv(64, 96, 3, padding=1),
        "branch3x3dbl_3": _Conv(96, 96, 3, padding=1),
        "branch_pool": _Conv(inputs, pooled, 1),
    }
    return _Mixed(convs, (("branch1x1",), _chain("branch5x5", 2), _chain("branch3x3dbl", 3)), pool)


def _mixed_6a() -> _Mixed:
    convs = {
        "branch3x3": _Conv(288, 384, 3, stride=2),
        "branch3x3dbl_1": _Conv(288, 64, 1),
        "branch3x3dbl_2": _Conv(64, 96, 3, padding=1),
        "branch3x3dbl_3": _Conv(96, 96, 3, stride=2),
    }
    return _Mixed(convs, (("branch3x3",), _chain("branch3x3dbl", 3)), _halved)


def _mixed_6(width: int, pool: Pool) -> _Mixed:
    convs = {
        "branch1x1": _Conv(768, 192, 1),
        "branch7x7_1": _Conv(768, width, 1),
        "branch7x7_2": _Conv(width, width, (1, 7), padding=(0, 3)),
        "branch7x7_3": _Conv(width, 192, (7, 1), padding=(3, 0)),
        "branch7x7dbl_1": _Conv(768, width, 1),
        "branch7x7dbl_2": _Conv(width, width, (7, 1), padding=(3, 0)),
        "branch7x7dbl_3": _Conv(width, width, (1, 7), padding=(0, 3)),
        "branch7x7dbl_4": _Conv(width, width, (7, 1), padding=(3, 0)),
        "branch7x7dbl_5": _Conv(width, 192, (1, 7), padding=(0, 3)),
        "branch_pool": _Conv(768, 192, 1),
    }
    return _Mixed(convs, (("branch1x1",), _chain("branch7x7", 3), _chain("branch7x7dbl", 5)), pool)


def _mixed_7a() -> _Mixed:
    convs = {
        "branch3x3_1": _Conv(768, 192, 1),
        "branch3x3_2": _Conv(192, 320, 3, stride=2),
        "branch7x7x3_1": _Conv(768, 192, 1),
        "branch7x7x3_2": _Conv(192, 192, (1, 7), padding=(0, 3)),
        "branch7x7x3_3": _Conv(192, 192, (7, 1), padding=(3, 0)),
        "branch7x7x3_4": _Conv(192, 192, 3, stride=2),
    }
    return _Mixed(convs, (_chain("branch3x3", 2), _chain("branch7x7x3", 4)), _halved)


def _mixed_7(inputs: int, pool: Pool) -> _Mixed:
    convs = {
        "branch1x1": _Conv(inputs, 320, 1),
        "branch3x3_1": _Conv(inputs, 384, 1),
        "branch3x3_2a": _Conv(384, 384, (1, 3), padding=(0, 1)),
        "branch3x3_2b": _Conv(384, 384, (3, 1), padding=(1, 0)),
        "branch3x3dbl_1": _Conv(inputs, 448, 1),
        "branch3x3dbl_2": _Conv(448, 384, 3, padding=1),
        "branch3x3dbl_3a": _Conv(384, 384, (1, 3), padding=(0, 1)),
        "branch3x3dbl_3b": _Conv(384, 384, (3, 1), padding=(1, 0)),
        "branch_pool": _Conv(inputs, 192, 1),
    }
    wide: Chain = ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b"))
    double: Chain = ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b"))
    return _Mixed(convs, (("branch1x1",), wide, double), pool)


def _chain(name: str, length: int) -> Chain:
    return tuple(f"{name}_{link}" for link in range(1, length + 1))
