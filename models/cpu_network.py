"""Runs a convolutional network with OpenCV: on a CPU it takes two thirds of the time of torch.

Its convolutions are Winograd's (Lavin and Gray 2015, arXiv:1509.09308), which multiply less often. For the refiner of
`linear-refined` 8.6 ms for one face on a core of an AMD EPYC, so 13.3; a crop differs by a thousandth of a grey level.
"""

from __future__ import annotations

import os
from queue import LifoQueue
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

COPIES = max(2, (os.cpu_count() or 1) // 2)  # at most, of 12 MB and less each: OpenCV needs one for each thread


class CpuNetwork:
    """A network as it is now, for any thread; later changes of its weights do not reach it.

    Args:
        file: In the ONNX format (`OnnxGraph.file`), for one picture.
    """

    def __init__(self, file: bytes) -> None:
        self._file = np.frombuffer(file, np.uint8)
        self._copies: LifoQueue[Any] = LifoQueue()  # who is alone uses one only
        for _ in range(COPIES):
            self._copies.put(None)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return what the network makes of each of `pictures`, `(N, C, H, W)`.

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
