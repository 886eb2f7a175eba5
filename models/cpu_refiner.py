"""Runs the refiner of `models.linear_refined` with OpenCV: on a CPU it takes two thirds of the time of torch.

Its convolutions are Winograd's (Lavin and Gray 2015, arXiv:1509.09308), which multiply less often. 8.6 ms for one face
on a core of an AMD EPYC, so 13.3; a crop differs by a thousandth of a grey level.
"""

from __future__ import annotations

import os
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor

from models.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    from models.linear_refined import Refiner, ResidualBlock

SLOPE = 0.2  # of the refiner's activation
COPIES = max(2, (os.cpu_count() or 1) // 2)  # at most, of 12 MB each: OpenCV needs one for each thread


class CpuRefiner:
    """A refiner as it is now, for any thread; later changes of its weights do not reach it.

    Args:
        refiner: On the CPU.
        size: Pixels, the side of the linear picture.
    """

    def __init__(self, refiner: Refiner, size: int) -> None:
        self._file = np.frombuffer(_file_of(refiner, size), np.uint8)
        self._copies: LifoQueue[Any] = LifoQueue()  # who is alone uses one only
        for _ in range(COPIES):
            self._copies.put(None)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return `(N, 3, output_size, output_size)` from `(N, 3, size, size)`, not clamped.

        Raises:
            cv2.error: When OpenCV fails.
        """
        net = self._copies.get()
        try:
            if net is None:
                net = cv2.dnn.readNetFromONNX(self._file)
            return torch.from_numpy(np.concatenate([_run(net, picture) for picture in pictures.numpy()]))
        finally:
            self._copies.put(net)


def _run(net: Any, picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:  # noqa: ANN401 - OpenCV has no types
    net.setInput(np.ascontiguousarray(picture[None]))
    return np.array(net.forward())  # its own memory: the next run writes into what OpenCV returns


def _file_of(refiner: Refiner, size: int) -> bytes:
    """Return the ONNX file of what `Refiner.forward` does."""
    graph = OnnxGraph()
    entered = graph.conv(graph.joined("input", graph.constant(refiner.place)), refiner.enter)
    fine = _block(graph, entered, refiner.fine_in)
    middle = _blocks(graph, graph.conv(fine, refiner.down1), refiner.middle_in)
    coarse = _blocks(graph, graph.conv(middle, refiner.down2), refiner.coarse)
    middle = graph.add(middle, graph.conv(graph.enlarged(coarse, 2.0), refiner.up2))
    middle = _block(graph, middle, refiner.middle_out)
    fine = graph.add(fine, graph.conv(graph.enlarged(middle, 2.0), refiner.up1))
    fine = _block(graph, fine, refiner.fine_out)
    detail = graph.leaky_relu(graph.conv(graph.enlarged(fine, 2.0), refiner.detail), SLOPE)
    made = graph.add(graph.enlarged("input", float(refiner.scale)), graph.conv(detail, refiner.to_rgb))
    large = size * refiner.scale
    return graph.file((1, 3, size, size), made, (1, 3, large, large))


def _blocks(graph: OnnxGraph, features: str, blocks: torch.nn.Sequential) -> str:
    for block in blocks:
        features = _block(graph, features, block)  # type: ignore[arg-type]
    return features


def _block(graph: OnnxGraph, features: str, block: ResidualBlock) -> str:
    first = graph.conv(graph.leaky_relu(features, SLOPE), block.first)
    return graph.add(features, graph.conv(graph.leaky_relu(first, SLOPE), block.second))
