"""Choose who a person becomes: of like sex, age, ancestry, skin tone and outline, and as little like as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_model import Sighting
from models.textures.shape import outline_spans
from models.textures.skin import brow_darkness

if TYPE_CHECKING:
    from models.textures.textures import Textures

LEAST, MOST = 24, 96  # strangers among whom is chosen: where nothing is known of their likeness, and where it is
LIKENESS_OF_MISFIT = (0.3, 0.12, 0.02)  # cosine that somebody may be more like who suits better by one, by leniency
SUITED = 0.5  # of that, when those to try on are picked from those who suit: the least like suit least
MOST_LIKE = 0.1  # cosine of features: who is more like the person is left out, if others are there
SHAPE = 0.5  # weight of the cosine of features: embeddings are of strangers as drawn, and foretell more
YEARS = (3.0, 0.1)  # off in age that nobody sees: at birth, and what each year of age adds
AGE = 2.0  # weight of years that are seen; older or younger: drawn, strangers look some years younger than they are
OTHER_ANCESTRY = 0.35  # share by which probabilities of ancestries differ that nobody sees
LINES = (0.0012, 0.0015, 0.0015)  # logarithm, by which lines of forehead, eyes and cheeks differ visibly
MORE_LINES, FEWER_LINES, MOST_LINES = 20.0, 1.5, 3.0  # weights of more lines than the person has, and of fewer; at most
LINED = 0.5, 0.005  # of the person's lines that a stranger is to have: some are noise, hair, glasses; at most
OLDER = (40.0, 60.0)  # years, from which on fewer lines are seen more, and more of them less: soft pictures show none
LINES_SEEN = (100.0, 200.0)  # pixels across, as of pores
DEGREES = 11.0  # off in skin tone that nobody sees
SURE_MAN = (0.7, 2.5)  # likewise, whether a beard is
BEARD = (0.08, 0.1)  # how much darker jaw and upper lip are than cheeks, logarithm, that nobody takes for a beard; more
BROWS = (0.25, 0.3)  # how much darker than the person's, logarithm, brows may be that nobody minds; more
NO_BROWS, BROWS_WEIGHT = -0.03, 2.0
CONFLICT = 12.0  # weight of another sex, of a beard, of childhood: likeness of face and features is no reason for one
CHILD = 12.0  # years, below which sex shows little
GROWN = (15.0, 18.0)  # years: nobody older than the second becomes somebody younger than the first, nor the reverse
OUTLINE = 2.5  # weight of an outline that is unlike, in deviations beyond the first: features would be stretched
UNUSUAL = 1.0  # weight of features that are farther from the mean than most, as a share of that


def choose(model: Textures, sighting: Sighting, seeds: Tensor) -> Tensor:
    """Return which stranger each of N people becomes, `(N,)` int64.

    Args:
        model: The strangers.
        sighting: Of N people; without attributes any stranger suits, without embeddings none is too like them.
        seeds: `(N,)` non-negative int64, one per person and key; of one person any number, for as many strangers.
    """
    brows = LIKENESS_OF_MISFIT[sighting.leniency] * _browed(model, sighting)
    visible = LIKENESS_OF_MISFIT[0] * (conflict(model, sighting) + _lined(model, sighting))
    cost = unsuited(model, sighting) + brows + visible  # (N, B)
    candidates = [_candidates(*row) for row in zip(cost, _likeness(model, sighting), strict=True)]
    if len(candidates) == 1:
        candidates *= len(seeds)
    return torch.stack([some[seed % len(some)] for some, seed in zip(candidates, seeds.tolist(), strict=True)])


def unsuited(model: Textures, sighting: Sighting) -> Tensor:
    """Return what it costs, as a cosine, that each stranger suits each person little, `(N, B)`; leniency makes less."""
    return LIKENESS_OF_MISFIT[sighting.leniency] * (misfit(model, sighting) + _unfitting(model, sighting))


def _candidates(cost: Tensor, like: Tensor) -> Tensor:
    """Return the strangers, of whom one is taken, for a person whom they suit at `cost` and are `like`, `(B,)` each."""
    count = min(MOST if like.any() else LEAST, len(like))
    return (like + cost).topk(count, largest=False).indices


def _likeness(model: Textures, sighting: Sighting) -> Tensor:
    """Return how like each person each stranger is, `(N, B)`: cosines of embeddings, and of features."""
    likeness = model.female.new_zeros(len(sighting.crops), len(model.female))
    if sighting.embeddings is not None:
        likeness = likeness + sighting.embeddings @ model.embeddings.T
    if sighting.meshes is not None:
        shapes = F.normalize(model.shape.coordinates(sighting.meshes), dim=1)
        features = shapes @ F.normalize(model.shape.strangers, dim=1).T
        likeness = likeness + SHAPE * features + (features > MOST_LIKE)
    return likeness


def conflict(model: Textures, sighting: Sighting) -> Tensor:
    """Return how much sex, beard and childhood of each stranger contradict each person's, `(N, B)`."""
    attributes = sighting.attributes
    if attributes is None:
        return model.female.new_zeros(len(sighting.crops), len(model.female))
    own, years = attributes.sex[:, None], attributes.age[:, None]
    child = (years < CHILD) & (model.age < CHILD)
    sex = attributes.sureness()[:, None] * ((own < 0).to(own) - model.female).abs()
    sex = torch.where(child, 0.1 * sex, sex)
    beard = (1 - _step(own, SURE_MAN)) * ((model.beard - BEARD[0]) / BEARD[1]).clamp(0, 1)
    low, high = GROWN
    grown = ((years > high) & (model.age < low)) | ((years < low) & (model.age > high))
    return CONFLICT * (sex + beard + grown)


def misfit(model: Textures, sighting: Sighting) -> Tensor:
    """Return how little each stranger suits each person otherwise, `(N, B)`; 0 where nobody sees a difference."""
    attributes = sighting.attributes
    if attributes is None:
        return model.female.new_zeros(len(sighting.crops), len(model.female))
    years = attributes.age[:, None]
    base, slope = YEARS
    tolerance = base + slope * years
    age = ((years - model.age).abs() / tolerance - 1).clamp(min=0)
    tone = ((attributes.skin[:, None] - model.tone).abs() / DEGREES - 1).clamp(min=0)
    cost: Tensor = AGE * age + 0.8 * tone
    if attributes.ancestry is not None:
        apart = torch.cdist(attributes.ancestry, model.ancestry, p=1) / 2
        cost = cost + 4 * _step(apart, (OTHER_ANCESTRY, 1.0))
    return cost


def _unfitting(model: Textures, sighting: Sighting) -> Tensor:
    """Return how far each outline would stretch each stranger's features, and how unusual they are: `(N, B)`."""
    shape = model.shape
    length = shape.strangers.norm(dim=1)
    unusual: Tensor = UNUSUAL * (length / length.median() - 1).clamp(min=0)
    if sighting.meshes is None:
        return unusual.expand(len(sighting.crops), -1)
    spans = outline_spans(shape.aligned(sighting.meshes)[0])
    deviations = (spans[:, None] - shape.outlines).abs() / shape.outlines.std(dim=0)  # (N, B, 3)
    return unusual + OUTLINE * (deviations.mean(dim=2) - 1).clamp(min=0)


def _browed(model: Textures, sighting: Sighting) -> Tensor:
    """Return how much darker each stranger's brows are than each person's, which goes ill with fair hair: `(N, B)`.

    Nothing is known of a person on whom none are seen.
    """
    own = torch.tensor([brow_darkness(crop, model.small_regions) for crop in _pictures(sighting)]).to(model.brows)
    darker = (own[:, None] - model.brows - BROWS[0]) / BROWS[1]
    return BROWS_WEIGHT * darker.clamp(0, 1) * (own < NO_BROWS)[:, None]


def _lined(model: Textures, sighting: Sighting) -> Tensor:
    """Return how much more lined each stranger's skin is than each person's, or less where that is old: `(N, B)`.

    `misfit` asks for people of like age, but a network that sees few pixels takes smooth women of 27 for 40.
    """
    none = model.female.new_zeros(len(sighting.crops), len(model.female))
    if sighting.attributes is None or sighting.meshes is None:
        return none
    spans = sighting.meshes[..., :2].amax(dim=1) - sighting.meshes[..., :2].amin(dim=1)
    seen, old = _step(spans.amax(dim=1), LINES_SEEN)[:, None], _step(sighting.attributes.age, OLDER)[:, None]
    if not seen.any():
        return none
    own = torch.from_numpy(np.stack([model.line_reader(crop) for crop in _pictures(sighting)])).to(model.lines)[:, None]
    unit = own.new_tensor(LINES)
    share, most = LINED
    more = ((model.lines - own) / unit).clamp(0, MOST_LINES).mean(dim=2)
    fewer = (((share * own).clamp(max=most) - model.lines) / unit).clamp(0, MOST_LINES).mean(dim=2)
    return seen * (MORE_LINES * (1 - old) * more + FEWER_LINES * old * fewer)


def _pictures(sighting: Sighting) -> npt.NDArray[np.float32]:
    """Return the crops as `(N, S, S, 3)` RGB, 0 to 255."""
    return np.asarray(((sighting.crops.float() + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy())


def _step(values: Tensor, ends: tuple[float, float]) -> Tensor:
    return ((values - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)
