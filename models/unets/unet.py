"""What our U-Nets (Ronneberger et al. 2015) are made of, for torch and, as an ONNX graph, for OpenCV."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.onnx_graph import OnnxGraph

SLOPE = 0.2  # of the activation below 0


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.1  # starts close to the identity, so that depth costs no warm-up

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        change: Tensor = self.second(active(self.first(active(features))))
        return features + change

    def written(self, graph: OnnxGraph, features: str) -> str:
        """Write what `forward` does into a graph; return the name of its output."""
        first = graph.conv(graph.leaky_relu(features, SLOPE), self.first)
        return graph.add(features, graph.conv(graph.leaky_relu(first, SLOPE), self.second))


class ResidualBlocks(nn.Sequential):
    """Some of them in a row."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__(*(ResidualBlock(channels) for _ in range(count)))

    def written(self, graph: OnnxGraph, features: str) -> str:
        """Write what they do into a graph; return the name of its output."""
        for block in self:
            assert isinstance(block, ResidualBlock)
            features = block.written(graph, features)
        return features


def active(features: Tensor) -> Tensor:
    """Return what is below 0 times `SLOPE`."""
    return F.leaky_relu(features, SLOPE)


def double(features: Tensor) -> Tensor:
    """Return features twice as wide and high."""
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
