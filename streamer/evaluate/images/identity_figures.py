"""How well people are recognised in outputs: matches, ranks in a gallery, verification; each recogniser by itself.

The attacker has every original and aligns outputs as well as they can be aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from models.metrics import false_accept_threshold, rate_interval
from streamer.evaluate.figures import Figure
from streamer.evaluate.images.measurements import Measurements
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.types import Floats

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

FAR = 1e-3  # false accept rate: of pairs of strangers, this share is taken for one person
GALLERY = 4000  # photos, of whole people, that thresholds and verification are taken over: 8 million pairs
DELTA_PAIRS = 200_000  # of strangers: their mean is then known to .0005
ROC_PAIRS = 1_000_000  # of strangers: 1,000 false accepts at `FAR`
LEAST_PAIRS = round(1 / FAR)


@dataclass(frozen=True, slots=True)
class Reference:
    """What the originals say about a recogniser, whatever is done to them.

    Attributes:
        threshold: A score above it is a match: at most `FAR` of the pairs of strangers have one.
        strangers: Their mean score.
        delta: The mean similarity of strangers, below which the paper calls two faces different people.
        below_delta: The share of pairs of strangers that are less alike than that.
        own_group: `(N,)`: the threshold among strangers of the photo's own groups, the strictest of them.
        note: Where the threshold is from, if not from these photos.
    """

    threshold: float
    strangers: float
    delta: float
    below_delta: float
    own_group: Doubles = field(repr=False)
    note: str = ""


def reference_of(m: Measurements, recognizer: Recognizer) -> Reference:
    """Return the thresholds that the originals of `m` give a recogniser."""
    embeddings, people = m.before[recognizer.name], np.array(m.people)
    rows = sample_of(m)
    scores = recognizer.scores(embeddings[rows], embeddings[rows])
    strangers = np.triu(people[rows, None] != people[rows], 1)
    threshold, note = _threshold(scores[strangers], recognizer)
    by_group = {group: _group_threshold(m, recognizer, members) for group, members in members_of(m.groups).items()}
    own = [_strictest([by_group[group] for group in groups], otherwise=threshold) for groups in m.groups]
    mean = float(scores[strangers].mean()) if strangers.any() else float("nan")
    return Reference(threshold, mean, *_delta(embeddings[rows], strangers, recognizer), np.array(own), note)


def identity_columns(m: Measurements, recognizer: Recognizer, reference: Reference) -> dict[str, Doubles]:
    """Return `match_rate`, `match_rate_own_group`, `de_identify_rate`, `nearness`, `similarity`, `rank1` and `rank5`.

    `(N,)` each, nan where there is no threshold. All are 0 or 1 but the similarity, which is the paper's, and the
    nearness, which is the score where strangers' mean is 0 and the threshold is 1. The de-identify rate is the paper's,
    by `delta`.
    """
    before, after = m.before[recognizer.name], m.after[recognizer.name]
    score = recognizer.score(before, after)
    similarity = recognizer.similarity(before, after, originals=before)
    ranks = ranks_of(after, before, np.array(m.people), recognizer)
    return {
        "match_rate": _above(score, np.full(len(score), reference.threshold)),
        "match_rate_own_group": _above(score, reference.own_group),
        "de_identify_rate": _above(np.full(len(score), reference.delta), similarity),
        "nearness": nearness(score, reference),
        "similarity": similarity,
        "rank1": (ranks <= 1).astype(np.float64),
        "rank5": (ranks <= 5).astype(np.float64),
    }


def nearness(scores: Doubles, reference: Reference) -> Doubles:
    """Return how near scores `(N,)` are to a match: 0 is the mean of strangers, above 1 is a match; nan if unknown."""
    reach = reference.threshold - reference.strangers
    return np.asarray((scores - reference.strangers) / (reach if reach > 0 else float("nan")))


def verification_figures(m: Measurements, recognizer: Recognizer) -> dict[str, Figure]:
    """Return `tar_before`, `eer_before`, `tar_after` and `eer_after`: are two photos of one person?

    Before, both photos are originals. After, one is an output: the attacker has a photo of the person, and asks
    whether the output of *another* photo shows the same. The true accept rate is that at `FAR`; at the equal error
    rate as many strangers are accepted as people rejected. Intervals are Wilson's over the pairs of one person.
    """
    rows = sample_of(m)
    people = np.array(m.people)[rows]
    before, after = m.before[recognizer.name][rows], m.after[recognizer.name][rows]
    same = people[:, None] == people
    figures: dict[str, Figure] = {}
    upper, others = np.triu(np.ones_like(same), 1), ~np.eye(len(rows), dtype=bool)
    for name, probes, pairs in (("before", before, upper), ("after", after, others)):
        scores = recognizer.scores(probes, before)
        tar, eer = _verification(scores[same & pairs], _some(scores[~same & pairs], ROC_PAIRS))
        figures |= {f"tar_{name}": tar, f"eer_{name}": eer}
    return figures


def ranks_of(probes: Floats, gallery: Floats, people: npt.NDArray[np.str_], recognizer: Recognizer) -> Indices:
    """Return at which rank, from 1, each probe finds its own person in the gallery, `(N,)`.

    A person scores as their most like picture does; of equals the right one is found first, the worst for privacy.

    Args:
        probes: `(N, D)` embeddings of outputs.
        gallery: `(N, D)` of originals, in the same order; the photo that an output was made of is among them.
        people: `(N,)`, who both show.
        recognizer: What compares them.
    """
    order = np.argsort(people, kind="stable")  # pictures of one person lie together, from `first` on
    _, first, who = np.unique(people[order], return_index=True, return_inverse=True)
    ranks = np.empty(len(people), np.intp)
    for start in range(0, len(people), 1000):  # a thousand rows at a time: 20,000 by 20,000 would be 3 GB
        rows = order[start : start + 1000]
        best = np.maximum.reduceat(recognizer.scores(probes[rows], gallery[order]), first, axis=1)
        own = best[np.arange(len(rows)), who[start : start + 1000]]
        ranks[rows] = 1 + (best > own[:, None]).sum(axis=1)
    return ranks


def sample_of(m: Measurements) -> Indices:
    """Return which photos are compared pair by pair, for thresholds and verification.

    Those of people who are known, if they give enough pairs: unlabelled sets hold people twice, who would pass for
    strangers that look alike, and a threshold would be too strict. Of more than `GALLERY`, those of people drawn.
    """
    people = np.array(m.people)
    known = np.flatnonzero(people != np.array(m.names))
    rows = known if _stranger_pairs(people[known]) >= LEAST_PAIRS else np.arange(len(people))
    if len(rows) <= GALLERY:
        return rows
    names, who = np.unique(people[rows], return_inverse=True)
    drawn = np.random.default_rng(0).permutation(len(names))[who]
    return np.sort(rows[np.argsort(drawn, kind="stable")[:GALLERY]])


def pairs_behind(m: Measurements) -> int:
    """Return how many pairs of strangers the thresholds of `m` are taken over."""
    return _stranger_pairs(np.array(m.people)[sample_of(m)])


def _stranger_pairs(people: npt.NDArray[np.str_]) -> int:
    """Return how many pairs of photos show two people."""
    counts = np.unique(people, return_counts=True)[1]
    return int(len(people) ** 2 - (counts**2).sum()) // 2


def members_of(groups: Sequence[tuple[str, ...]]) -> dict[str, Bools]:
    """Return for each group which photos belong to it, `(N,)`."""
    names = sorted({name for each in groups for name in each})
    return {name: np.array([name in each for each in groups]) for name in names}


def _threshold(strangers: Doubles, recognizer: Recognizer) -> tuple[float, str]:
    """Return the threshold of pairs of strangers; of too few, the recogniser's usual one, and a note that says so."""
    if len(strangers) >= LEAST_PAIRS:
        return false_accept_threshold(strangers, FAR), ""
    few = f"{len(strangers)} pairs of strangers, {LEAST_PAIRS} are needed for a threshold of one's own"
    if recognizer.usual_threshold is None:
        return float("nan"), few
    return recognizer.usual_threshold, f"usual threshold ({few})"


def _group_threshold(m: Measurements, recognizer: Recognizer, members: Bools) -> float | None:
    """Return the threshold among strangers of one group, or None where there are too few."""
    rows = np.flatnonzero(members)[:GALLERY]
    people, embeddings = np.array(m.people)[rows], m.before[recognizer.name][rows]
    if _stranger_pairs(people) < LEAST_PAIRS:
        return None
    scores = recognizer.scores(embeddings, embeddings)
    return false_accept_threshold(scores[np.triu(people[:, None] != people, 1)], FAR)


def _strictest(thresholds: Sequence[float | None], *, otherwise: float) -> float:
    return max((threshold for threshold in thresholds if threshold is not None), default=otherwise)


def _delta(embeddings: Floats, strangers: Bools, recognizer: Recognizer) -> tuple[float, float]:
    """Return the mean similarity of strangers, and the share of their pairs that are below it."""
    left, right = (_some(side, DELTA_PAIRS) for side in np.nonzero(strangers))
    if not len(left):
        return float("nan"), float("nan")
    similarities = recognizer.similarity(embeddings[left], embeddings[right], originals=embeddings)
    delta = float(similarities.mean())
    return delta, float((similarities < delta).mean())


def _verification(genuine: Doubles, strangers: Doubles) -> tuple[Figure, Figure]:
    if not len(genuine) or not len(strangers):
        missing = Figure(float("nan"), note="needs several photos of one person")
        return missing, missing
    labels = np.concatenate([np.ones(len(genuine)), np.zeros(len(strangers))])
    false, true, _ = roc_curve(labels, np.concatenate([genuine, strangers]))
    few = "" if len(strangers) >= LEAST_PAIRS else f"only {len(strangers)} pairs of strangers"
    at_far = float(true[false <= FAR].max())
    # Between two points of the curve both rates run straight, and where they cross is the equal error rate.
    gap = false - (1 - true)
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    equal = float(false[after - 1] + share * (false[after] - false[after - 1]))
    return _over_pairs(at_far, len(genuine), few), _over_pairs(equal, len(genuine), few)


def _over_pairs(rate: float, count: int, note: str) -> Figure:
    low, high = rate_interval(round(rate * count), count)
    return Figure(rate, min(low, rate), max(high, rate), count, note)


def _some(items: npt.NDArray[np.generic], limit: int) -> npt.NDArray[Any]:
    """Return at most `limit` items, the same ones of arrays of one length."""
    if len(items) <= limit:
        return items
    return np.asarray(items[np.random.default_rng(0).integers(len(items), size=limit)])


def _above(values: Doubles, limits: Doubles) -> Doubles:
    """Return 1 where a value is above its limit, 0 where not, nan where either is unknown."""
    return np.where(np.isnan(values) | np.isnan(limits), np.nan, values > limits)
