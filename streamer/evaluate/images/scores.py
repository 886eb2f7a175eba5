"""From measurements to figures: of all photos, and of each group of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from streamer.evaluate.figures import Figure, mean_figure, rate_figure
from streamer.evaluate.images.identity_figures import (
    FAR,
    Reference,
    identity_columns,
    members_of,
    reference_of,
    verification_figures,
)
from streamer.evaluate.images.measurements import RATES, Measurements
from streamer.evaluate.measures.distances import frechet_figure, inception_figure, kernel_figure
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.types import Floats

Doubles = npt.NDArray[np.float64]

SMALLEST_GROUP = 20  # faces: with less, an interval is as wide as the scale
COUNTED = ("match_rate", "match_rate_any", "rank1")  # of these a reader asks whose
IDENTITY_RATES = ("match_rate", "match_rate_own_group", "de_identify_rate", "rank1", "rank5")
KEPT = {"pose": (0, 1, 2), "gaze": (3, 4), "eyes": (5, 6), "mouth": (7,)}  # columns of the traits; the rest is shape
KEPT_RESAMPLES = 500
# Figures of which more is worse; of all others less is.
LESS_IS_BETTER = frozenset(
    {"mse", "match_rate", "match_rate_any", "match_rate_own_group", "rank1", "rank5", "similarity", "nearness"}
    | {"landmarks", "pose", "gaze", "eyes", "mouth", "expression"}
)


@dataclass(frozen=True, slots=True)
class Columns:
    """One value a photo for each figure that has one, by name.

    Attributes:
        values: `(N,)` each; nan where it does not apply.
        rates: Which of them are 0 or 1.
        notes: What a reader must know beside some of them.
    """

    values: dict[str, Doubles]
    rates: frozenset[str]
    notes: dict[str, str]

    def figure(self, name: str, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> Figure:
        """Return a figure over some of the photos."""
        make = rate_figure if name in self.rates else mean_figure
        return make(self.values[name][rows], note=self.notes.get(name, ""))


def references_of(m: Measurements, recognizers: Sequence[Recognizer]) -> dict[str, Reference]:
    """Return each recogniser's thresholds, by its name; the same whatever is done to the originals of `m`."""
    return {recognizer.name: reference_of(m, recognizer) for recognizer in recognizers}


def columns_of(m: Measurements, recognizers: Sequence[Recognizer], references: dict[str, Reference]) -> Columns:
    """Return every figure that has a value a photo, such as "ssim" and "match_rate.dlib"."""
    values, rates, notes = dict(m.values), {*RATES, "match_rate_any"}, {}
    for recognizer in recognizers:
        reference, ending = references[recognizer.name], f".{recognizer.name}"
        columns = identity_columns(m, recognizer, reference)
        values |= {name + ending: column for name, column in columns.items()}
        rates |= {name + ending for name in IDENTITY_RATES}
        notes[f"match_rate{ending}"] = reference.note
    values["match_rate_any"] = _any([values[f"match_rate.{recognizer.name}"] for recognizer in recognizers])
    return Columns(values, frozenset(rates), notes)


def figures_of(
    m: Measurements,
    recognizers: Sequence[Recognizer],
    *,
    references: dict[str, Reference] | None = None,
) -> dict[str, Figure]:
    """Return every figure of all photos, by name; nan with a note where it could not be measured.

    Args:
        m: What was measured.
        recognizers: Those that it was measured with.
        references: Of the same originals, where they are known already.
    """
    references = references or references_of(m, recognizers)
    columns = columns_of(m, recognizers, references)
    figures = {name: columns.figure(name) for name in columns.values}
    for recognizer in recognizers:
        reference, name = references[recognizer.name], recognizer.name
        figures |= {f"{key}.{name}": figure for key, figure in verification_figures(m, recognizer).items()}
        figures[f"nearest.{name}"] = _largest(columns.values[f"nearness.{name}"])
        figures[f"threshold.{name}"] = Figure(reference.threshold, note=reference.note)
        figures[f"delta.{name}"] = Figure(reference.delta)
    figures |= chance_figures(m, references) | kept_figures(m)
    figures[f"frechet.{m.feature}"] = frechet_figure(m.features_before, m.features_after)
    figures[f"kernel.{m.feature}"] = kernel_figure(m.features_before, m.features_after)
    figures["fid"] = inception_figure(m.inception_before, m.inception_after)
    return figures


def counted(m: Measurements, columns: Columns) -> dict[str, tuple[str, ...]]:
    """Return the names of the photos that are recognised, and of those that a search has first, by figure."""
    which = {name: rows == 1 for name, rows in columns.values.items() if name.partition(".")[0] in COUNTED}
    return {name: tuple(np.array(m.names)[rows].tolist()) for name, rows in which.items()}


def chance_figures(m: Measurements, references: Mapping[str, Reference]) -> dict[str, Figure]:
    """Return what strangers would reach, for whoever reads rates and ranks.

    A search among scores that say nothing finds a person as often as the gallery shows them; the first five hits, five
    times as often. A threshold lets `FAR` of the strangers pass; how many one that is not of these photos, is unknown.
    The range is that of 95 % of all draws of so many faces (binomial): nothing within it is a success.
    """
    shown = Counter(m.people)
    first = sum(shown[person] for person in m.people) / len(m) ** 2
    known = not any(reference.note for reference in references.values())
    unknown = Figure(float("nan"), note="too few pairs of strangers")
    return {
        "match_rate_chance": by_luck(FAR, len(m)) if known else unknown,
        "match_rate_any_chance": by_luck(FAR * len(references), len(m)) if known else unknown,
        "rank1_chance": by_luck(first, len(m)),
        "rank5_chance": by_luck(min(1.0, 5 * first), len(m)),
        **{
            f"de_identify_rate_chance.{name}": unknown
            if np.isnan(each.below_delta)
            else by_luck(each.below_delta, len(m))
            for name, each in references.items()
        },
    }


def by_luck(share: float, count: int) -> Figure:
    """Return what `count` draws reach that are right with a chance of `share`, with the range of 95 % of all such."""
    low, high = binom.interval(0.95, count, share)
    return Figure(share, float(low) / count, float(high) / count, count)


def group_figures(m: Measurements, columns: Columns) -> dict[str, dict[str, Figure]]:
    """Return the figures of each group that has `SMALLEST_GROUP` faces and is not everybody, by group, then name.

    First the groups that labels tell, then those that pictures show.
    """
    members = members_of(m.groups) | members_of(m.shown)
    groups = {name: rows for name, rows in members.items() if SMALLEST_GROUP <= rows.sum() < len(m)}
    return {group: {name: columns.figure(name, rows) for name in columns.values} for group, rows in groups.items()}


def kept_figures(m: Measurements) -> dict[str, Figure]:
    """Return how much of what tells faces apart is kept: the correlation over photos of before and after.

    1 where outputs smile as much as their originals; 0 where they all do the same. Columns are those of the trait,
    each taken from its mean, and weighed by how much it varies before.
    """
    known = ~np.isnan(m.traits_after).any(axis=1)
    before, after = m.traits_before[known].astype(np.float64), m.traits_after[known].astype(np.float64)
    columns = {name: list(which) for name, which in KEPT.items()} | {"expression": list(range(8, before.shape[1]))}
    return {f"{name}.kept": correlation_figure(before[:, which], after[:, which]) for name, which in columns.items()}


def correlation_figure(before: Floats, after: Floats) -> Figure:
    """Return Pearson's correlation of `(N, T)` traits about their means, the T of them taken together."""
    if len(before) < 3:
        return Figure(float("nan"), count=len(before), note="needs 3 faces found in the outputs")
    deviation = before.std(axis=0) + 1e-9
    x, y = (before - before.mean(axis=0)) / deviation, (after - after.mean(axis=0)) / deviation
    sums = np.stack([(x * y).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1)])  # (3, N)
    rng = np.random.default_rng(0)
    resamples = [_ratio(sums[:, rng.integers(len(x), size=len(x))]) for _ in range(KEPT_RESAMPLES)]
    low, high = np.percentile(resamples, (2.5, 97.5))
    return Figure(_ratio(sums), float(low), float(high), len(x))


def _largest(values: Doubles) -> Figure:
    known = values[~np.isnan(values)]
    return Figure(float(known.max()), count=len(known)) if len(known) else Figure(float("nan"), note="no threshold")


def _any(matches: Sequence[Doubles]) -> Doubles:
    """Return where at least one of several columns of 0 and 1 is 1; nan where all are."""
    together = np.full(len(matches[0]), np.nan)
    for column in matches:
        together = np.fmax(together, column)
    return together


def _ratio(sums: Doubles) -> float:
    products, before, after = sums.sum(axis=1)
    return float(products / np.sqrt(before * after)) if before * after > 0 else 0.0
