"""Draw strangers on two sitters, to say how like one another they look, and how old."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from models.identity.recognizer import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS, FaceRecognizer
from models.textures import Textures
from models.textures.recipes import TONES
from models.textures.skin import SMALL
from streamer.render.align import MeshAligner, SimilarityAligner
from streamer.render.blend import paste
from streamer.render.cutter import shrunk
from streamer.render.textures.texture_draw import TRIED_SIZE
from streamer.training.coarse_shades import from_afar
from streamer.training.donors import Donor, photo
from streamer.types import Face, Floats, Image

LABELLED = 0.3  # weight of the age on the label beside that which is seen, in deviations

Look = Callable[[Image, Face], torch.Tensor]  # at somebody drawn


class Sitters:
    """The woman and the man on whom all strangers of `model` are drawn: those nearest to the mean in shape.

    Args:
        model: With strangers, their coarse shades and shapes.
        donors: Whose pictures they are.
        points: `(468, 2)` of the template.
    """

    def __init__(self, model: Textures, donors: Sequence[Donor], points: Floats) -> None:
        self._model, self._points = model, points
        self._photos = [
            shrunk(picture, [face], TRIED_SIZE) for picture, face in map(photo, nearest_to_mean(model, donors))
        ]
        self._aligner = MeshAligner(points, SMALL)

    def looks(self, look: Look) -> Iterator[torch.Tensor]:
        """Yield the mean of the looks at each stranger, drawn on both."""
        for stranger, texture in enumerate(from_afar(self._model, self._points)):
            yield torch.stack([look(*drawn) for drawn in self._drawn(stranger, texture)]).mean(dim=0)

    def _drawn(self, stranger: int, texture: Image) -> Iterator[tuple[Image, Face]]:
        for picture, (face,), _ in self._photos:
            own = torch.from_numpy(np.array(face.mesh, np.float32))[None]
            with torch.inference_mode():
                mesh = self._model.reshape(own, torch.zeros(1), torch.tensor([stranger]))[0].numpy()
            drawn = picture.copy()
            paste(drawn, picture, texture, face=face, drawn=replace(face, mesh=mesh), aligner=self._aligner)
            yield drawn, face


@torch.no_grad()
def nearest_to_mean(model: Textures, donors: Sequence[Donor]) -> list[Donor]:
    """Return the woman and the man nearest to the mean in shape."""
    meshes = torch.from_numpy(np.stack([np.array(donor.face.mesh, np.float32) for donor in donors]))
    aligned, _ = model.shape.aligned(meshes)
    order = (aligned - model.shape.mean).square().sum(dim=(1, 2)).argsort().tolist()
    nearest = {donors[row].label.female > 0.5: donors[row] for row in reversed(order)}
    return [nearest[sex] for sex in sorted(nearest)]


def recognition(recognizer: FaceRecognizer) -> Look:
    """Return the look that tells an embedding, `(E,)`."""
    aligner = SimilarityAligner(np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE)

    @torch.inference_mode()
    def look(picture: Image, face: Face) -> torch.Tensor:
        crop = torch.from_numpy(aligner.crop(picture, face))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
        embedded: torch.Tensor = recognizer(crop)[0]
        return embedded

    return look


def dealt_out(ages: torch.Tensor, seen: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Return the `ages` `(B,)` of each group, dealt out by how old its strangers look, and by their labels a little.

    A stranger is made of several people's parts, and on another head looks older or younger than these.

    Args:
        ages: Of the donors, years.
        seen: What a network takes the drawn strangers for, in any unit; it may err for all of a group.
        groups: `(B,)` int64, numbers.
    """
    dealt = torch.empty_like(ages)
    for group in torch.unique(groups):
        (here,) = torch.where(groups == group)
        order = (_deviations(seen[here]) + LABELLED * _deviations(ages[here])).argsort(stable=True)
        dealt[here[order]] = ages[here].sort().values
    return dealt


def sexes_and_tones(model: Textures) -> torch.Tensor:
    """Return a number `(B,)` int64 for each stranger's sex and band of skin tone."""
    return 2 * torch.bucketize(model.tone, torch.tensor(TONES)) + (model.female > 0.5)


def _deviations(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()) / values.std(correction=0).clamp(min=1e-6)
