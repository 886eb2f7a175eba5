"""Features of Inception v3 for FID, from weights that a user brings: we ship none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models.private_encoder.inception import load_inception_network
from streamer.types import Floats, Image


def load_inception(path: Path) -> Callable[[Image], Floats]:
    """Return what makes `(2048,)` features of an `(H, W, 3)` uint8 RGB picture.

    Args:
        path: `pt_inception-2015-12-05-6726825d.pth`, with which published FIDs are taken; torchvision's
            `inception_v3_google-*.pth` is read too, but its FIDs compare with each other only.

    Raises:
        CheckpointError: If it cannot be used.
    """
    network = load_inception_network(path)

    @torch.inference_mode()
    def features(picture: Image) -> Floats:
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
        return np.asarray(network(pixels)[0].numpy())

    return features
