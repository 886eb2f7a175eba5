"""Looks at one face: who it is like, as an embedding, and whether it can be seen well enough to tell."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from models.checkpoint import weights_path
from models.identity.recognizer import FaceRecognizer
from streamer.consent.entries import RecognizerId
from streamer.render.embed import FaceEmbedder
from streamer.types import Face, Floats, Image

MIN_SIZE = 64.0  # pixels; what is smaller is enlarged twice or more for the recogniser
MAX_SIDEWAYS = 0.25  # eye distances; 8 in 10 of 109 faces of LFW are within it
NODS = (0.40, 0.78)  # of the way from the eyes to the mouth; the same, 96 in 100
MIN_CONTRAST = 20.0  # grey levels; of 868 faces of LFW 1 in 100 has less than 29
MIN_SHARPNESS = 0.01  # 97 in 100 of them reach it, 8 in 10 with 1 pixel of blur, 1 in 4 with 2, 5 in 100 with 3


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a face.

    Attributes:
        embedding: `(D,)` float32, unit.
        size: Longer side of the face in pixels of the frame.
        sideways: How far the nose tip is from the middle of the eyes, along them, in eye distances; 0 from the front.
        nod: Where the nose tip is on the way from the eyes (0) to the mouth (1).
        contrast: Deviation of the grey levels.
        sharpness: Variance of the Laplacian over that of the picture, of the crop that the recogniser sees.
    """

    embedding: Floats = field(repr=False, compare=False)  # it identifies: no log may show it
    size: float
    sideways: float
    nod: float
    contrast: float
    sharpness: float

    @property
    def flaw(self) -> str:
        """Why nothing should be decided by it: "small", "turned", "dim", "blurred"; "" if it is good."""
        if not self.size >= MIN_SIZE:  # not <: catches what is no number
            return "small"
        if not (abs(self.sideways) <= MAX_SIDEWAYS and NODS[0] <= self.nod <= NODS[1]):
            return "turned"
        if not self.contrast >= MIN_CONTRAST:
            return "dim"
        return "" if self.sharpness >= MIN_SHARPNESS else "blurred"


class FaceReader:
    """Makes sightings with one recogniser.

    Args:
        recognizer: On `device`.
        device: Where its tensors are.
    """

    def __init__(self, recognizer: FaceRecognizer, device: torch.device) -> None:
        self._embedder = FaceEmbedder(recognizer, device)

    def __call__(self, image: Image, face: Face) -> Observation:
        """Return the sighting of a face.

        Args:
            image: `(H, W, 3)` uint8 RGB, the frame.
            face: In pixels of the frame.
        """
        crop = self._embedder.crop(image, face)
        embedding = self._embedder.embed([crop])[0].cpu().numpy()
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        variance = float(grey.var())
        sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / max(variance, 1.0)
        sideways, nod = turn_of(face.landmarks)
        return Observation(embedding, face.size, sideways, nod, variance**0.5, sharpness)


def recognizer_id(name_or_path: Path | str) -> RecognizerId:
    """Return which recogniser a name or a path stands for.

    Raises:
        CheckpointError: If there is none of that name.
        OSError: If it cannot be read.
    """
    with weights_path(name_or_path).open("rb") as file:
        return RecognizerId(Path(name_or_path).stem, hashlib.file_digest(file, "sha256").hexdigest())


def turn_of(landmarks: Floats) -> tuple[float, float]:
    """Return how far a head is turned and nods, from its `(5, 2)` landmarks; NaN where the eyes are in one place."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    along = landmarks[1] - landmarks[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        sideways = (landmarks[2] - eyes) @ along / (along @ along)
        down = np.array([-along[1], along[0]])
        nod = (landmarks[2] - eyes) @ down / ((mouth - eyes) @ down)
    return float(sideways), float(nod)
