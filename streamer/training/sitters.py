"""Draw strangers on sitters, to say how like one another they look, how old, of which sex and ancestry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch

from models.attributes.attributes import ATTRIBUTE_CROP_SIZE, AttributeNet
from models.face_model import ANCESTRIES, DEFAULT_TEMPLATE
from models.identity.recognizer import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS, FaceRecognizer
from models.privacy import PrivacyAccountant
from models.textures import Textures
from models.textures.recipes import TONES
from models.textures.skin import SMALL
from streamer.faces.fine_mesh import FineMesh
from streamer.render.align import MeshAligner, SimilarityAligner
from streamer.render.blend import paste
from streamer.render.cutter import shrunk
from streamer.render.pseudonym import Pseudonyms
from streamer.render.textures.texture_draw import TRIED_SIZE, TextureDrawer
from streamer.training.coarse_shades import from_afar
from streamer.training.donors import Donor, photo
from streamer.types import Face, Floats, Image, Track

AT_ONCE = 20  # strangers
OLD = 45.0  # years: of the younger and of the older donors come two sitters each, on whom is drawn as in a stream
CLEARLY = 0.5  # of half the difference of both sexes' means, by which one is clearly drawn; as far beyond the middle it
MOST_DOUBT = 0.49  # is in doubt by so much
ANCESTRY_SHARPNESS = 1.2  # times the logits of ancestry, less the mean of all
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


class StreamSitters:
    """A younger and an older woman and man, on whom all strangers of `model` are drawn as a stream would draw them.

    Args:
        model: With all that is drawn.
        donors: Whose pictures they are.
    """

    def __init__(self, model: Textures, donors: Sequence[Donor]) -> None:
        self._model = model
        ages = ([donor for donor in donors if (donor.label.age >= OLD) is old] for old in (False, True))
        self._photos = [photo(donor) for some in ages if some for donor in nearest_to_mean(model, some)]

    def __len__(self) -> int:
        return len(self._photos)

    def looks(self, look: Look) -> Iterator[torch.Tensor]:
        """Yield the look at each stranger drawn on the first, then on the second, and so on."""
        count = self._model.config.strangers
        with closing(_SitterDrawer(self._model)) as drawer:
            for picture, face in self._photos:
                for start in range(0, count, AT_ONCE):
                    numbers = range(start, min(start + AT_ONCE, count))
                    yield from (look(*drawn) for drawn in drawer.drawn(picture, face, numbers))


class _SitterDrawer(TextureDrawer):
    def __init__(self, model: Textures) -> None:
        device = torch.device("cpu")
        none = Pseudonyms(model, device, key=bytes(16), recognizer=None, mechanism=None, accountant=PrivacyAccountant())
        super().__init__(model, device, pseudonyms=none, network=FineMesh())

    def drawn(self, picture: Image, face: Face, numbers: Sequence[int]) -> Iterator[tuple[Image, Face]]:
        """Yield somebody drawn as each of some strangers."""
        self.reset(None)
        for trial in self._tried_on(picture, face, self._view(picture, Track(1, face, 0.0), 0.0), numbers):
            if trial.finish:
                trial.finish()
            yield trial.drawn


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


def recognition_and_attributes(recognizer: FaceRecognizer, network: AttributeNet) -> Look:
    """Return the look that tells an embedding, a logit of sex and those of ancestry, `(E + 5,)`."""
    embedding = recognition(recognizer)
    aligner = SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), ATTRIBUTE_CROP_SIZE)

    @torch.inference_mode()
    def look(picture: Image, face: Face) -> torch.Tensor:
        crop = torch.from_numpy(aligner.crop(picture, face))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
        logits = network.logits(crop)[0]
        return torch.cat([embedding(picture, face), logits[:1], logits[-len(ANCESTRIES) :]])

    return look


def agreed(embeddings: torch.Tensor) -> torch.Tensor:
    """Return what embeddings `(S, B, E)` of strangers on several sitters tell alike, less what is the sitter's."""
    apart = torch.nn.functional.normalize(embeddings - embeddings.mean(dim=1, keepdim=True), dim=2)
    return apart.mean(dim=0)


def with_doubt(female: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return `female` `(B,)`, 0 or 1, nearer to one half for those who are not drawn clearly as what they are.

    Args:
        female: By the labels.
        logits: `(S, B)` of who is drawn on each sitter, above 0 for men.
    """
    women = female > 0.5
    if women.all() or not women.any():
        return female
    means = torch.stack([logits[:, women].mean(dim=1), logits[:, ~women].mean(dim=1)])  # (2, S)
    half = ((means[1] - means[0]) / 2).clamp(min=1e-6)
    shown = ((logits - means.mean(dim=0)[:, None]) / half[:, None]).mean(dim=0) * (1 - 2 * female)
    doubt = MOST_DOUBT * ((CLEARLY - shown) / (2 * CLEARLY)).clamp(0, 1)
    return (female - doubt).abs()


def drawn_ancestries(ancestries: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return the mean of `ancestries` `(B, A)` of donors and of what is drawn, by logits `(S, B, A)` on each sitter."""
    logits = logits - logits.mean(dim=2, keepdim=True)
    apart = (logits - logits.mean(dim=1, keepdim=True)).mean(dim=0)
    return (ancestries + (ANCESTRY_SHARPNESS * apart).softmax(dim=1)) / 2


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
