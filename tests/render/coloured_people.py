"""People of one colour each, for tests of who becomes whom."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.face_model import DEFAULT_TEMPLATE, Sighting
from models.identity.recognizer import FaceRecognizer
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.privacy import GaussianMechanism, PrivacyAccountant
from streamer.render.pseudonym import Pseudonyms
from streamer.types import Face, Image, KnownPerson

Colour = tuple[int, int, int]
RED, BLUE, GREEN = (250, 0, 0), (0, 0, 250), (0, 250, 0)
LANDMARKS = np.array([[30, 40], [60, 40], [45, 58], [33, 75], [57, 75]], np.float32)
STRANGERS = 500


class Eigenfaces(LinearRefined):
    """Draws strangers by the seed alone, so that a test sees which seed was used."""

    def pseudonyms(self, sighting: Sighting, seeds: Tensor) -> Tensor:
        return seeds % STRANGERS


class ByColour(FaceRecognizer):
    """People are told apart by the colour of their face."""

    def _embed(self, crops: Tensor) -> Tensor:
        return torch.nn.functional.pad(crops.mean(dim=(2, 3)), (0, 125))[..., None, None]


class ByBlue(FaceRecognizer):
    """People are told apart by how blue their face is."""

    def _embed(self, crops: Tensor) -> Tensor:
        blue = crops[:, 2].mean(dim=(1, 2)) + 1  # in [0, 2]
        return torch.nn.functional.pad(torch.stack([1 - blue, blue], dim=1), (0, 126))[..., None, None]


def eigenfaces() -> LinearRefined:
    """Return a small model of `STRANGERS`."""
    torch.manual_seed(0)
    config = LinearRefinedConfig(
        crop_size=32, linear_size=16, linear_values=768, components=8, identity_directions=4,
        strangers=STRANGERS, widths=(8, 8, 8),
    )  # fmt: skip
    made = Eigenfaces(config, DEFAULT_TEMPLATE)
    made.inside.fill_(True)
    made.basis.copy_(torch.linalg.qr(torch.randn(768, 8)).Q.T)
    made.deviation.fill_(1.0)
    made.identity.copy_(torch.eye(8)[:4])
    made.strangers.normal_()
    return made


def pseudonyms(
    model: LinearRefined,
    key: bytes = b"k" * 32,
    mechanism: GaussianMechanism | None = None,
    accountant: PrivacyAccountant | None = None,
    known: Sequence[KnownPerson] = (),
    reranker: FaceRecognizer | None = None,
    is_live: bool = False,
) -> Pseudonyms:
    """Return the strangers of one stream."""
    return Pseudonyms(
        model, torch.device("cpu"), key=key, recognizer=ByColour(), reranker=reranker, mechanism=mechanism,
        accountant=accountant or PrivacyAccountant(), known=known, is_live=is_live,
    )  # fmt: skip


def frame(*colours: Colour) -> tuple[Image, list[Face]]:
    """Return a picture of faces side by side, each in one colour."""
    image = np.concatenate([np.full((100, 90, 3), colour, np.uint8) for colour in colours], axis=1)
    faces = [
        Face(
            np.array([90 * i, 0, 90 * i + 90, 100], np.float32),
            LANDMARKS + np.array([90 * i, 0], np.float32),
            None,
            0.9,
        )
        for i in range(len(colours))
    ]
    return image, faces
