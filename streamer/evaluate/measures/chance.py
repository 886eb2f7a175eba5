"""How well an attacker's guesses fare against guessing blindly: ranks, intervals, permutations. Knows no face."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.evaluate.figures import Figure, mean_figure, rate_figure

Scores = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]

PERMUTATIONS = 2000  # enough for the second digit of the range's ends; the least p-value is 1 in 2,001
AT_ONCE = 50  # of them: of many people more would fill memory


@dataclass(frozen=True, slots=True)
class Success:
    """What an attacker achieved who was to name the person in each of N pictures, of M people known to be possible.

    Attributes:
        rank_one: How often the first guess was right, with its Wilson interval.
        rank_five: How often one of the first five was.
        ahead: How often the right person scored above a wrong one; blind guesses, .5. Sees a leak long before the
            first guess does.
        chance: The mean of `rank_one` over all ways to shuffle who is shown, with the range of 95 % of 2,000 of them;
            nothing within that range is a success.
        p_value: Share of shufflings that did at least as well (Phipson and Smyth 2010, eq. 2).
        ahead_each, hits: `ahead` and `rank_one` of each picture, to compare two methods picture by picture.
    """

    rank_one: Figure
    rank_five: Figure
    ahead: Figure
    chance: Figure
    p_value: float
    ahead_each: tuple[float, ...] = field(repr=False)
    hits: tuple[float, ...] = field(repr=False)


def success(scores: Scores, truth: Indices, *, seed: int) -> Success:
    """Return how well `scores` name people, beside chance.

    Args:
        scores: `(N, M)`, of each picture with each person, from M = 2; higher is more alike.
        truth: `(N,)`, the column of the person who is shown.
        seed: Of what ties are broken by, and of the shufflings.

    Raises:
        ValueError: If the shapes do not fit, or a score is no number.
    """
    if scores.ndim != 2 or scores.shape[1] < 2 or truth.shape != (len(scores),):
        raise ValueError(f"scores must be (N, M) with M from 2 and truth (N,), got {scores.shape} and {truth.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    rng = np.random.default_rng(seed)
    order = _order(scores, rng)
    ranks = (order == truth[:, None]).argmax(axis=1) + 1
    ahead = 1 - (ranks - 1) / (scores.shape[1] - 1)
    chance, p_value = _shuffled(order[:, 0], truth, rng)
    return Success(
        rate_figure((ranks == 1).astype(np.float64)),
        rate_figure((ranks <= 5).astype(np.float64)),
        mean_figure(ahead),
        chance,
        p_value,
        tuple(ahead.tolist()),
        tuple((ranks == 1).astype(float).tolist()),
    )


def best(attempts: dict[str, Scores], truth: Indices, *, seed: int) -> tuple[str, Success]:
    """Return which of an attacker's `attempts` on the same pictures did best, and how well.

    The best is chosen by what it achieves, which flatters the attacker a little: by that much the truth is safer.
    """
    found = {name: success(scores, truth, seed=seed) for name, scores in attempts.items()}
    name = max(found, key=lambda name: (found[name].rank_one.value, found[name].ahead.value))
    return name, found[name]


def _order(scores: Scores, rng: np.random.Generator) -> Indices:
    """Return the columns from the highest score to the lowest, `(N, M)`; equal scores in random order.

    A cover that makes all faces alike would otherwise be either a perfect success or none, by how ties are counted.
    """
    shuffle = np.argsort(rng.random(scores.shape), axis=1)
    shuffled = np.take_along_axis(scores, shuffle, axis=1)
    return np.asarray(np.take_along_axis(shuffle, np.argsort(-shuffled, axis=1, kind="stable"), axis=1), np.int64)


def _shuffled(guesses: Indices, truth: Indices, rng: np.random.Generator) -> tuple[Figure, float]:
    """Return the rate of right guesses when it is shuffled who is shown, and the p-value of the rate without."""
    copies = np.tile(truth, (AT_ONCE, 1))
    rates = np.concatenate(
        [(guesses == rng.permuted(copies, axis=1)).mean(axis=1) for _ in range(PERMUTATIONS // AT_ONCE)]
    )
    low, high = np.percentile(rates, (2.5, 97.5))
    reached = int((rates >= (guesses == truth).mean()).sum())
    people = 1 + max(int(guesses.max()), int(truth.max()))
    together = np.bincount(guesses, minlength=people) @ np.bincount(truth, minlength=people)
    figure = Figure(float(together) / len(truth) ** 2, float(low), float(high), len(truth))
    return figure, (1 + reached) / (1 + PERMUTATIONS)
