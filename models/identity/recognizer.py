"""Face recognisers: aligned crop in, unit embedding out. Two embeddings compare by their dot product.

`MobileFaceNet` after Chen et al. 2018, "MobileFaceNets"; its state dict is that of `mobilefacenet.pt` (Apache-2.0).
`CompactRecognizer` is a third of its size, and ours to ship: distilled from it (`models.training.train_identity`).
`ArcFace` and `CurricularFace` are the large ones of the paper: its loss and its judge. `models.pretrained.imported`
loads any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.private_encoder.encoder import ImprovedResidualBlock

IDENTITY_CROP_SIZE = 112  # pixels, the side of the crop
IDENTITY_EMBEDDING_SIZE = 128

# The ArcFace template in pixels of the 112 px crop: eyes, nose tip, mouth corners, image-left first.
IDENTITY_LANDMARKS = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))

# Expansion, output channels, blocks, stride of the first block (MobileFaceNets, table 1).
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
STEM_OUTPUTS = 64  # channels after the stem
# Channels of `CompactRecognizer`: of the stem, and inside each block; half of MobileFaceNet's.
COMPACT_WIDTHS = (32, 64, *(64,) * 4, 128, *(112,) * 6, 256, 160, 160)
# Three quarters: slower, and nearer to what it is distilled from. It guards, and chooses among those tried on.
RERANKER_WIDTHS = (48, 96, *(96,) * 4, 192, *(192,) * 6, 384, 192, 192)

_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
_IMAGENET_STD = (0.229, 0.224, 0.225)


class FaceRecognizer(nn.Module, ABC):
    """Crops aligned to `IDENTITY_LANDMARKS` in, unit embeddings out."""

    network: ClassVar[str]  # names the class in a checkpoint

    def forward(self, crops: Tensor) -> Tensor:
        """Return unit embeddings `(N, D)`, to be compared with others of the same network; differentiable.

        D is 128 for our own networks, 512 for `ArcFace` and `CurricularFace`.

        Args:
            crops: `(N, 3, 112, 112)` RGB in [-1, 1].

        Raises:
            ValueError: If `crops` has another shape.
        """
        if crops.ndim != 4 or crops.shape[1:] != (3, IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE):
            raise ValueError(f"crops must be (N, 3, 112, 112), got {tuple(crops.shape)}")
        return F.normalize(self._embed(crops).flatten(1), dim=1)

    @classmethod
    def shaped_as(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return one that takes these weights, if they are those of such a network."""
        del tensors
        return cls()

    @abstractmethod
    def _embed(self, crops: Tensor) -> Tensor: ...  # (N, D) or (N, D, 1, 1)


class MobileFaceNet(FaceRecognizer):
    """1.2 M parameters."""

    network: ClassVar[str] = "mobilefacenet"
    input_mean: Tensor
    input_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv_block(3, 64, kernel=3, stride=2)
        self.dw_conv = _DepthwiseSeparable(64)
        self.features = nn.Sequential(*_inverted_residuals(_STAGES, inputs=64))
        self.conv2 = _conv_block(128, 512, kernel=1)
        self.gdconv = _GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, IDENTITY_EMBEDDING_SIZE, 1)
        self.bn = nn.BatchNorm2d(IDENTITY_EMBEDDING_SIZE)
        # From [-1, 1] to [0, 1] and by ImageNet's mean and deviation, in one step.
        mean, std = torch.tensor(_IMAGENET_MEAN), torch.tensor(_IMAGENET_STD)
        self.register_buffer("input_mean", (2 * mean - 1).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_std", (2 * std).view(1, 3, 1, 1), persistent=False)

    def _embed(self, crops: Tensor) -> Tensor:
        features = self.conv1((crops - self.input_mean) / self.input_std)  # (N, 64, 56, 56)
        features = self.features(self.dw_conv(features))  # (N, 128, 7, 7)
        features = self.gdconv(self.conv2(features))  # (N, 512, 1, 1)
        embedded: Tensor = self.bn(self.conv3(features))
        return embedded


# Cosines of the shipped one. Over the first lie 1 in 1,000 pairs of strangers, and 92 in 100 of one person (868 photos
# of LFW); over the second 1 in 100 pairs of strangers at the most, and 93 to 97 in 100 of one person, small, dim or
# turned: a drawn face that is so like is not shown.
SAME_PERSON = 0.412
TOO_LIKE = 0.35
# Likewise of `reranker`, which sees more in a good look: over it lie 99 in 100 pairs of one person (95 at 32 px), and 6
# in 1,000 pairs of strangers (dim 11, at 32 px 41).
TOO_LIKE_TO_RERANKER = 0.28


class CompactRecognizer(FaceRecognizer):
    """MobileFaceNet with fewer channels inside its blocks, and no batch norms: they are folded into the convolutions.

    Args:
        widths: Channels of the stem, and inside each of the 15 blocks.
    """

    network: ClassVar[str] = "compact"

    def __init__(self, widths: tuple[int, ...] = COMPACT_WIDTHS) -> None:
        super().__init__()
        head = 512
        self.layers = nn.Sequential(
            *thin_trunk(widths),  # (N, 128, 7, 7)
            nn.Sequential(nn.Conv2d(_STAGES[-1][1], head, 1), nn.ReLU6(inplace=True)),
            nn.Conv2d(head, head, 7, groups=head),  # (N, 512, 1, 1): pooling that knows where in the face it is
            nn.Conv2d(head, IDENTITY_EMBEDDING_SIZE, 1),
        )

    @classmethod
    def shaped_as(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return one of the width of these weights."""
        entries = [f"layers.{layer}.enter.weight" for layer in range(len(COMPACT_WIDTHS))]
        return cls(tuple(len(tensors[name]) for name in entries)) if tensors.keys() >= set(entries) else cls()

    def _embed(self, crops: Tensor) -> Tensor:
        embedded: Tensor = self.layers(crops)
        return embedded


def thin_trunk(widths: tuple[int, ...]) -> list[nn.Module]:
    """Return layers `(N, 3, S, S)` in [-1, 1] to `(N, 128, S / 16, S / 16)`; `widths` as of `CompactRecognizer`."""
    inputs, inside = STEM_OUTPUTS, iter(widths[1:])
    layers: list[nn.Module] = [ThinStem(3, inputs, hidden=widths[0])]
    for _, outputs, count, first_stride in _STAGES:
        for index in range(count):
            layers.append(ThinBlock(inputs, outputs, hidden=next(inside), stride=first_stride if index == 0 else 1))
            inputs = outputs
    return layers


class ThinStem(nn.Module):
    """MobileFaceNet's first layers, of any width inside, batch norms folded into the convolutions."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, hidden, 3, 2, padding=1)
        self.within = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)

    def filtered(self, crops: Tensor) -> Tensor:
        """Return what is inside, `(N, hidden, S / 2, S / 2)`."""
        return F.relu(self.within(F.relu6(self.enter(crops), inplace=True)), inplace=True)

    def forward(self, crops: Tensor) -> Tensor:
        """Return `(N, outputs, S / 2, S / 2)`."""
        return F.relu(self.project(self.filtered(crops)), inplace=True)


class ThinBlock(nn.Module):
    """An inverted residual of any width inside, its batch norms folded into its convolutions."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, stride: int) -> None:
        super().__init__()
        self.has_shortcut = stride == 1 and inputs == outputs
        self.enter = nn.Conv2d(inputs, hidden, 1)
        self.within = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)

    def filtered(self, features: Tensor) -> Tensor:
        """Return what is inside, `(N, hidden, H / stride, W / stride)`."""
        return F.relu6(self.within(F.relu6(self.enter(features), inplace=True)), inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H / stride, W / stride)`."""
        projected: Tensor = self.project(self.filtered(features))
        return features + projected if self.has_shortcut else projected


class _ImprovedResNet(FaceRecognizer):
    """Stem, residual body and linear head (Deng et al. 2019, ArcFace, section 3.1)."""

    def __init__(self, body: list[nn.Module], head_norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.body = nn.Sequential(*body)
        outputs = head_norm.num_features
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(), nn.Linear(512 * 7 * 7, outputs), head_norm
        )

    def _embed(self, crops: Tensor) -> Tensor:
        features = self.body(self.input_layer(crops))  # (N, 512, 7, 7)
        embedded: Tensor = self.output_layer(features)
        return embedded


class ArcFace(_ImprovedResNet):
    """IR-SE-50, 44 M parameters: what the paper's identity loss compares with (Zhao et al. 2022, eq. 3).

    The state dict is that of InsightFace_Pytorch's `model_ir_se50.pth`.
    """

    network: ClassVar[str] = "arcface-ir-se-50"

    def __init__(self) -> None:
        super().__init__(_residual_blocks(ImprovedResidualBlock, (3, 4, 14, 3)), nn.BatchNorm1d(512))


class CurricularFace(_ImprovedResNet):
    """IR-101, 65 M parameters: what the paper judges with (Zhao et al. 2022, eq. 5; Huang et al. 2020).

    The state dict is that of `CurricularFace_Backbone.pth`.
    """

    network: ClassVar[str] = "curricularface-ir-101"

    def __init__(self) -> None:
        super().__init__(_residual_blocks(_PlainResidualBlock, (3, 13, 30, 3)), nn.BatchNorm1d(512, affine=False))


RECOGNIZERS: tuple[type[FaceRecognizer], ...] = (MobileFaceNet, CompactRecognizer, ArcFace, CurricularFace)


def load_mobilefacenet(path: Path | str) -> MobileFaceNet:
    """Return the recogniser of a `mobilefacenet.pt`: in eval mode, weights frozen, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not hold exactly the weights of `MobileFaceNet`.
    """
    model = MobileFaceNet()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many types for a bad file: pickle, zip, key and shape errors
        raise ValueError(f"{path} does not hold MobileFaceNet weights: {error}") from error
    return model.eval().requires_grad_(False)


def _conv_block(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch norm and ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


def _inverted_residuals(stages: tuple[tuple[int, int, int, int], ...], *, inputs: int) -> list[nn.Module]:
    """Return a body's blocks, for features of `inputs` channels."""
    blocks: list[nn.Module] = []
    for expansion, outputs, count, first_stride in stages:
        for index in range(count):
            stride = first_stride if index == 0 else 1
            blocks.append(_InvertedResidual(inputs, outputs, expansion=expansion, stride=stride))
            inputs = outputs
    return blocks


class _DepthwiseSeparable(nn.Module):
    """A 3x3 convolution within channels, then one across them, each with batch norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        features = F.relu(self.bn1(self.depthwise(features)))
        return F.relu(self.bn2(self.pointwise(features)))


class _InvertedResidual(nn.Module):
    """Expand, filter within channels, project (Sandler et al. 2018, MobileNetV2); a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            _conv_block(inputs, hidden, kernel=1),
            _conv_block(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, outputs, H / stride, W / stride)`."""
        filtered: Tensor = self.conv(features)
        return features + filtered if self.has_shortcut else filtered


def _residual_blocks(block: type[ImprovedResidualBlock], counts: tuple[int, ...]) -> list[nn.Module]:
    """Return a body's blocks: each stage halves the picture, and has 64 channels in the first and twice as many on."""
    blocks: list[nn.Module] = []
    inputs = 64
    for stage, count in enumerate(counts):
        for index in range(count):
            blocks.append(block(inputs, 64 * 2**stage, stride=2 if index == 0 else 1))
            inputs = 64 * 2**stage
    return blocks


class _PlainResidualBlock(ImprovedResidualBlock):
    """The encoder's block without squeeze-and-excitation at its end: IR instead of IR-SE."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__(inputs, outputs, stride=stride)
        self.res_layer = nn.Sequential(*list(self.res_layer)[:-1])


class _GlobalDepthwise(nn.Module):
    """One weight per channel and place, summed over the 7x7 map: pooling that knows where in the face it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(N, channels, 1, 1)`."""
        pooled: Tensor = self.bn(self.depthwise(features))
        return pooled
