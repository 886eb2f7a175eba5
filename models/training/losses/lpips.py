"""How different two faces look to a network: LPIPS where the user has its weights, a recogniser's features elsewhere.

After Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv 1801.03924).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoint import load_tensors
from models.checkpoint_errors import CheckpointError
from models.identity.recognizer import FaceRecognizer
from models.pretrained.imported import read_published
from models.training.losses.losses import unit_channels

MIN_CROP_SIZE = 32  # pixels; below, nothing is left after the backbones' pooling

# What the published code takes from pictures in [-1, 1], and divides by: ImageNet's mean and deviation.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)

_CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}  # of the layers compared
_TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # the layers compared, each a ReLU of `features`

# By `FaceRecognizer.network`: the last block at each resolution. CurricularFace is left out: it is the judge, and one
# that was trained on no longer tells.
_RECOGNIZER_LAYERS = {
    "mobilefacenet": ("conv1", "features.4", "features.11", "features.14"),
    "compact": ("layers.0", "layers.5", "layers.12", "layers.15"),
    "arcface-ir-se-50": ("body.2", "body.6", "body.20", "body.23"),
}


class Lpips(nn.Module):
    """Learned perceptual distance, version 0.1, in eval mode and frozen.

    Args:
        network: "alex" or "vgg", the backbone; its state dict has torchvision's names.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: str) -> None:
        super().__init__()
        self.taps = _TAPS[network]
        self.features = _alexnet() if network == "alex" else _vgg16()
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in _CHANNELS[network])
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, crops: Tensor, generated: Tensor) -> Tensor:
        """Return the distance of each pair, `(N,)`, 0 for the same picture; differentiable (Zhang et al. 2018, eq. 1).

            d(x, x^) = sum_l 1 / (H_l W_l) sum_hw || w_l (y_hw^l - y^_hw^l) ||^2

        As in the published code, a head is w_l squared, channel by channel.

        Args:
            crops: `(N, 3, H, W)` RGB in [-1, 1], sides at least 32.
            generated: The same.

        Raises:
            ValueError: If the shapes differ or are too small.
        """
        if crops.shape != generated.shape or crops.ndim != 4 or min(crops.shape[2:]) < MIN_CROP_SIZE:
            shapes = f"{tuple(crops.shape)} and {tuple(generated.shape)}"
            raise ValueError(f"crops must be (N, 3, H, W) in one shape, sides at least {MIN_CROP_SIZE}, got {shapes}")
        pairs = zip(self.heads, self._layers(crops), self._layers(generated), strict=True)
        distances = [head((unit_channels(real) - unit_channels(made)).square()) for head, real, made in pairs]
        return torch.stack([distance.mean(dim=(1, 2, 3)) for distance in distances]).sum(dim=0)

    def _layers(self, crops: Tensor) -> list[Tensor]:
        """Return the features compared, `(N, C_l, H_l, W_l)` each."""
        features, layers = (crops - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self.taps:
                layers.append(features)
        return layers


def load_lpips(heads: Path | str, backbone: Path | str) -> Lpips:
    """Return LPIPS with the weights others publish; which of its networks, the heads tell.

    Args:
        heads: `alex.pth` or `vgg.pth` of LPIPS version 0.1: `lin0.model.1.weight` `(1, 64, 1, 1)` to `lin4`.
        backbone: torchvision's AlexNet or VGG16 for ImageNet: `features.0.weight` and on; its classifier is not used.

    Raises:
        CheckpointError: If a file is missing, or does not hold these weights.
    """
    linear = _named(heads, "lin")
    model = Lpips(_network_of(linear, heads))
    load_tensors(nn.ModuleDict({"features": model.features}), _named(backbone, "features."), backbone)
    for index, head in enumerate(model.heads):
        load_tensors(head, {"weight": linear[_head_name(index)]}, heads)
    return model


def embed_with_features(recognizer: FaceRecognizer, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return a recogniser's unit embeddings `(N, D)` and its features at four resolutions, from one pass.

    The features are for `perceptual_loss`, fine to coarse, `(N, C_l, H_l, W_l)` each; differentiable.

    Args:
        recognizer: `MobileFaceNet`, `CompactRecognizer` or `ArcFace`.
        crops: `(N, 3, 112, 112)` RGB in [-1, 1], aligned as it wants them.

    Raises:
        ValueError: If it is another recogniser, or `crops` have another shape.
    """
    names = _RECOGNIZER_LAYERS.get(recognizer.network)
    if names is None:
        raise ValueError(f"recognizer must be one of {', '.join(_RECOGNIZER_LAYERS)}, got {recognizer.network}")
    features: list[Tensor] = []
    # Called in the network's order, which is that of the names.
    hooks = [
        recognizer.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: features.append(output))
        for name in names
    ]
    try:
        return recognizer(crops), features
    finally:
        for hook in hooks:
            hook.remove()


def _alexnet() -> nn.Sequential:
    """Return the layers of torchvision's AlexNet up to its last ReLU, under its numbers."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """Return the layers of torchvision's VGG16 up to its last ReLU, under its numbers."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in zip(_CHANNELS["vgg"], (2, 2, 3, 3, 3), strict=True):
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers)


def _head_name(index: int) -> str:
    return f"lin{index}.model.1.weight"


def _named(path: Path | str, prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a published file whose names begin with `prefix`."""
    state = read_published(path).items()
    return {name: tensor for name, tensor in state if name.startswith(prefix) and isinstance(tensor, Tensor)}


def _network_of(linear: Mapping[str, Tensor], path: Path | str) -> str:
    """Return the network whose heads these are, or raise a `CheckpointError`."""
    shapes = {name: tuple(tensor.shape) for name, tensor in linear.items()}
    for network, channels in _CHANNELS.items():
        if shapes == {_head_name(index): (1, count, 1, 1) for index, count in enumerate(channels)}:
            return network
    found = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())[:2]) or "none"
    raise CheckpointError(
        f"{path}: not the heads of LPIPS 0.1 for alex or vgg (lin0.model.1.weight (1, 64, 1, 1) and on), found {found}"
    )
