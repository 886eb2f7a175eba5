"""Choose who a person becomes: of the same sex, age and skin tone, if seen, and as little like them as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_model import Sighting
from models.linear_refined import spread_out

if TYPE_CHECKING:
    from models.textures.textures import Textures

SUITABLE = 160  # strangers that suit best, among whom the least like are taken
POOL = 32  # of those, the least like the person
CANDIDATES = 16  # of those, unlike each other, of which the seed takes one
LIKENESS_OF_MISFIT = 0.5  # cosine that somebody may be more like the person than another who suits less by one
SHAPE = 0.5  # weight of the cosine of shapes: a mesh that moves far changes more of who it is than a texture
YEARS = (3.0, 0.12)  # off in age that nobody sees: at birth, and what each year of age adds
DEGREES = 12.0  # off in skin tone that nobody sees
SURE_SEX = 1.0  # logit, from which on the other sex is out of the question
CHILD = 12.0  # years, below which it shows little


def choose(model: Textures, sighting: Sighting, seeds: Tensor) -> Tensor:
    """Return which stranger each of N people becomes, `(N,)` int64.

    Args:
        model: The strangers.
        sighting: Of N people; without attributes any stranger suits, without embeddings none is too like them.
        seeds: `(N,)` non-negative int64, one per person and key.
    """
    unsuited = misfit(model, sighting)  # (N, B)
    likeness = _likeness(model, sighting)
    chosen = []
    for cost, like, seed in zip(unsuited, likeness, seeds.tolist(), strict=True):
        # Whoever suits costs 0, and so do many: the least like of them come first, by what is added.
        suitable = (cost + 1e-3 * like).topk(min(SUITABLE, len(cost)), largest=False).indices
        near = cost[suitable] - cost[suitable[0]]
        price = like[suitable] + LIKENESS_OF_MISFIT * near
        pool = suitable[price.topk(min(POOL, len(suitable)), largest=False).indices]
        candidates = pool[spread_out(model.embeddings[pool], CANDIDATES)]
        chosen.append(candidates[seed % len(candidates)])
    return torch.stack(chosen)


def _likeness(model: Textures, sighting: Sighting) -> Tensor:
    """Return how like each person each stranger is, `(N, B)`: cosines of embeddings, and of shapes."""
    likeness = model.female.new_zeros(len(sighting.crops), len(model.female))
    if sighting.embeddings is not None:
        likeness = likeness + sighting.embeddings @ model.embeddings.T
    if sighting.meshes is not None:
        shapes = F.normalize(model.shape.coordinates(sighting.meshes), dim=1)
        likeness = likeness + SHAPE * shapes @ F.normalize(model.shape.strangers, dim=1).T
    return likeness


def misfit(model: Textures, sighting: Sighting) -> Tensor:
    """Return how little each stranger suits each person, `(N, B)`; 0 where nobody sees a difference."""
    attributes = sighting.attributes
    if attributes is None:
        return model.female.new_zeros(len(sighting.crops), len(model.female))
    child = (attributes.age[:, None] < CHILD) & (model.age < CHILD)
    sure = (attributes.sex.abs() / SURE_SEX).clamp(max=1)[:, None]
    sex = sure * ((attributes.sex[:, None] < 0).to(sure) - model.female).abs()
    sex = torch.where(child, 0.1 * sex, sex)
    base, slope = YEARS
    tolerance = base + slope * attributes.age[:, None]
    age = ((attributes.age[:, None] - model.age).abs() / tolerance - 1).clamp(min=0)
    tone = ((attributes.skin[:, None] - model.tone).abs() / DEGREES - 1).clamp(min=0)
    return 4 * sex + age + 0.5 * tone
