"""Who a face is like, as an embedding: the one way from the face of a frame to a recogniser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from models.identity.recognizer import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS, FaceRecognizer
from streamer.render.align import SimilarityAligner
from streamer.types import Face, Image


def identity_aligner() -> SimilarityAligner:
    """Return what cuts the crop that recognisers take."""
    return SimilarityAligner(np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE)


class FaceEmbedder:
    """Embeds faces by one recogniser.

    Args:
        recognizer: Prepared, on `device`.
        device: Where crops go.
    """

    def __init__(self, recognizer: FaceRecognizer, device: torch.device) -> None:
        self.recognizer, self._device = recognizer, device
        self._aligner = identity_aligner()

    def crop(self, image: Image, face: Face) -> Image:
        """Return the crop `(112, 112, 3)` uint8 RGB of a face in a frame."""
        return self._aligner.crop(image, face)

    def __call__(self, faces: Iterable[tuple[Image, Face]]) -> torch.Tensor:
        """Return the unit embeddings `(N, D)`, on the device, of N faces, each with the frame that it is in."""
        return self.embed([self.crop(image, face) for image, face in faces])

    @torch.inference_mode()
    def embed(self, crops: Sequence[Image]) -> torch.Tensor:
        """Return the unit embeddings `(N, D)`, on the device, of N crops."""
        pixels = torch.from_numpy(np.stack(crops)).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        embeddings: torch.Tensor = self.recognizer(pixels)
        return embeddings.float()

    def warm_up(self) -> None:
        """Run the recogniser once: its first run is slow."""
        self.embed([np.zeros((IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE, 3), np.uint8)] * 2)
