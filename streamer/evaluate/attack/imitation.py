"""The attacker who imitates: covers faces of known people with the same method, and learns to read the result.

Newton, Sweeney and Malin 2005 ("Preserving privacy by de-identifying face images", section 3.3) call it the parrot, and
so do figures and thresholds: both sides of the comparison are anonymised. Two ways, of which the better counts: a
linear map from what recognisers see of a covered face to what they see of the face, and a recogniser whose last layers
are trained on covered faces.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face_model import DEFAULT_TEMPLATE
from models.identity.identity_crop import identity_crops
from models.identity.recognizer import CompactRecognizer
from streamer.evaluate.attack.linear_map import cosines, described, mapped
from streamer.evaluate.covered.evidence import Cast, Rows, Views
from streamer.evaluate.measures.chance import Scores
from streamer.types import Image

Doubles = npt.NDArray[np.float64]

FROZEN = 13  # layers of `CompactRecognizer` that stay: to 14 px, where edges and shapes are the same in any face
TEMPERATURE = 0.1  # of the softmax over a batch's people (Radford et al. 2021 learn about .01, from far larger batches)
CHUNK = 64  # crops at once


@dataclass(frozen=True, slots=True)
class ImitationConfig:
    """How the recogniser is trained.

    Attributes:
        steps: Of AdamW; the learning rate falls to zero along a half cosine.
        batch: Faces a step.
        learning_rate: At the start.
        seed: Of batches.
    """

    steps: int = 120
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0


def imitate(
    before: Views, after: Views, cast: Cast, *, recognizer: CompactRecognizer, config: ImitationConfig
) -> dict[str, Scores]:
    """Return the scores `(K, K)` of probes with known people, attempt by attempt.

    Covered faces are compared with photos of known people, and with the same photos covered.

    Args:
        before: Of the photos.
        after: Of the same, covered.
        cast: Who plays which part.
        recognizer: To train; it is copied.
        config: How.
    """
    seen, wanted = described(after.embeddings), described(before.embeddings)
    attempts = {"recognisers": _scores(seen, wanted, cast)}
    attempts["linear map"] = _scores(mapped(before, after, np.concatenate([cast.public, cast.known])), wanted, cast)
    attempts["trained recogniser"] = _scores(*_trained(before, after, cast, recognizer=recognizer, config=config), cast)
    attempts["both"] = attempts["linear map"] + attempts["trained recogniser"]
    return attempts


def recognize(before: Views, after: Views, cast: Cast) -> dict[str, Scores]:
    """Return the scores `(K, K)` of covered probes with known people's photos: what a method gives away as it is.

    Each recogniser by itself, and all together.
    """
    attempts = {}
    for name in before.embeddings:
        seen, wanted = described({name: after.embeddings[name]}), described({name: before.embeddings[name]})
        attempts[name] = cast.by_person(cosines(seen[cast.probes], wanted[cast.known]))
    if len(attempts) > 1:
        attempts["all"] = np.sum(list(attempts.values()), axis=0)
    return attempts


def _scores(covered: Doubles, photos: Doubles, cast: Cast) -> Scores:
    probes, known = covered[cast.probes], cast.known
    return cast.by_person(cosines(probes, photos[known]) + cosines(probes, covered[known]))


def _trained(
    before: Views, after: Views, cast: Cast, *, recognizer: CompactRecognizer, config: ImitationConfig
) -> tuple[Doubles, Doubles]:
    """Return embeddings `(N, 128)` of covered faces by a recogniser trained on them, and of the photos by the old."""
    eyes = Eyes(recognizer)
    seen, wanted = eyes.features(after.crops), eyes.embed(eyes.features(before.crops))
    train(eyes, seen, wanted, np.concatenate([cast.public, cast.known]), config)
    return eyes.embed(seen).double().numpy(), wanted.double().numpy()


class Eyes(nn.Module):
    """A recogniser in two parts: what is frozen, whose features are computed once, and what is trained."""

    def __init__(self, recognizer: CompactRecognizer) -> None:
        super().__init__()
        layers = list(copy.deepcopy(recognizer.layers))
        self.frozen = nn.Sequential(*layers[:FROZEN]).requires_grad_(False)
        self.trained = nn.Sequential(*layers[FROZEN:]).requires_grad_(True)
        self.eval()  # batch norms keep the statistics of uncovered faces: 64 faces a step are too few for better ones

    @torch.inference_mode()
    def features(self, crops: Image) -> Tensor:
        """Return what the frozen part sees of crops and of their mirror images, `(2, N, 128, 14, 14)`."""
        both = []
        for chunk in torch.split(torch.from_numpy(crops), CHUNK):
            seen = identity_crops(chunk.permute(0, 3, 1, 2).float() / 127.5 - 1, DEFAULT_TEMPLATE)
            both.append(torch.stack([self.frozen(seen), self.frozen(seen.flip(3))]))
        return torch.cat(both, dim=1)

    @torch.no_grad()
    def embed(self, features: Tensor) -> Tensor:
        """Return unit embeddings of face and mirror image together, `(N, 128)`."""
        sides = [torch.cat([self(chunk) for chunk in torch.split(side, CHUNK)]) for side in features]
        return F.normalize(sides[0] + sides[1], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return unit embeddings `(N, 128)` of features `(N, 128, 14, 14)`."""
        return F.normalize(self.trained(features).flatten(1), dim=1)


def train(eyes: Eyes, seen: Tensor, wanted: Tensor, rows: Rows, config: ImitationConfig) -> None:
    """Train `eyes`, in place, to see in covered faces what they saw in the photos (Radford et al. 2021, figure 3).

        loss = cross-entropy of e(x'_i) . e(x_j) / TEMPERATURE over j, with j = i right

    Args:
        eyes: Trained in place.
        seen: `(2, N, 128, 14, 14)` of covered faces and their mirror images.
        wanted: `(N, 128)` unit embeddings of the photos.
        rows: Which of the N may be learned from.
        config: The run.
    """
    draws = torch.Generator().manual_seed(config.seed)
    allowed = torch.from_numpy(rows)
    optimizer = torch.optim.AdamW(eyes.trained.parameters(), config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        batch = allowed[torch.randperm(len(allowed), generator=draws)[: config.batch]]
        side = int(torch.randint(2, (), generator=draws))
        likeness = eyes(seen[side, batch]) @ wanted[batch].T / TEMPERATURE
        loss = F.cross_entropy(likeness, torch.arange(len(batch)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
