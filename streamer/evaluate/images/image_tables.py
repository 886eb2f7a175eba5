"""The tables and charts of `veil evaluate images`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from streamer.evaluate.figures import Cell, Chart, Figure, Table, number, rate_figure
from streamer.evaluate.images.identity_figures import Reference, sample_of
from streamer.evaluate.images.measurements import Measurements
from streamer.evaluate.images.scores import LESS_IS_BETTER
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.report import charts

Groups = Mapping[str, Mapping[str, Figure]]

CHART_PAIRS = 100_000  # of strangers: a histogram shows no more


def all_figures(figures: Mapping[str, Figure]) -> Table:
    """Return every figure, with its interval and what it is taken over."""
    rows: list[tuple[Cell, ...]] = [
        (name, figure, f"{figure.count}" if figure.count else "", figure.note if not np.isnan(figure.value) else "")
        for name, figure in figures.items()
    ]
    return Table("All figures", ("figure", "value (95 %)", "taken over", "note"), tuple(rows))


def verification(figures: Mapping[str, Figure], recognizers: Sequence[Recognizer]) -> Table:
    """Return what each recogniser makes of originals, and of outputs beside originals."""
    columns = ("tar_before", "tar_after", "eer_before", "eer_after", "match_rate", "rank1", "threshold")
    return Table(
        "Verification before and after",
        ("recogniser", *columns),
        tuple((each.name, *(figures[f"{column}.{each.name}"] for column in columns)) for each in recognizers),
        note="tar: share of pairs of photos of one person that are accepted where 1 in 1,000 pairs of strangers is; "
        "eer: where as many strangers are accepted as people rejected (.5 is chance). Before: both are originals; "
        "after: an original beside the output of another photo. match_rate: a photo beside its own output.",
    )


def by_group(groups: Groups, everybody: Mapping[str, Figure]) -> Table:
    """Return every figure of every group, which group is worst, and by how much.

    Args:
        groups: Figures by group.
        everybody: The same figures of all photos.
    """
    names = [name for name in next(iter(groups.values())) if not all(np.isnan(g[name].value) for g in groups.values())]
    rows: list[tuple[Cell, ...]] = [
        (group, f"{max(figure.count for figure in figures.values())}", *(figures[name] for name in names))
        for group, figures in groups.items()
    ]
    rows.append(("worst", "", *(worst_group(groups, name) for name in names)))
    rows.append(("worst over mean", "", *(over_mean(groups, name, everybody[name]) for name in names)))
    note = (
        "Groups of at least 20 faces; with fewer the interval is as wide as the scale. Worst over mean: the figure of "
        "the worst group over that of everybody; 1 is fair. What is called measured is read from the picture, light "
        "and all."
    )
    return Table("By group", ("group", "faces", *names), tuple(rows), note)


def over_mean(groups: Groups, name: str, mean: Figure) -> str:
    """Return the figure of the worst group over everybody's; "" where there is none, or everybody's is 0."""
    worst = worst_group(groups, name)
    if not worst or not mean.value or np.isnan(mean.value):
        return ""
    return number(groups[worst][name].value / mean.value)


def worst_group(groups: Groups, name: str) -> str:
    """Return the group in which a figure is worst, of those in which it could be measured; "" without."""
    values = {group: figures[name].value for group, figures in groups.items() if not np.isnan(figures[name].value)}
    if not values or min(values.values()) == max(values.values()):
        return ""
    return (max if name.partition(".")[0] in LESS_IS_BETTER else min)(values, key=values.__getitem__)


def by_tier(m: Measurements) -> Table:
    """Return how our own pipeline covered the faces: drawn, or why not."""
    rows = tuple(
        (tier, f"{count}", rate_figure(np.array([t == tier for t in m.tiers], np.float64)))
        for tier, count in Counter(m.tiers).most_common()
    )
    note = (
        "generated: a synthetic face was drawn. Others were only covered, for the reason that stands there; doubtful: "
        "the detector was not sure that this is a face. missed: no face was found, and nothing was covered."
    )
    return Table("How faces were covered", ("cover", "faces", "share"), rows, note)


def score_chart(m: Measurements, recognizer: Recognizer, reference: Reference) -> Chart:
    """Return how one recogniser's scores are spread: one person's photos, strangers', and outputs beside originals."""
    before, after = m.before[recognizer.name], m.after[recognizer.name]
    rows = sample_of(m)
    people, scores = np.array(m.people)[rows], recognizer.scores(before[rows], before[rows])
    same, upper = people[:, None] == people, np.triu(np.ones((len(rows), len(rows)), bool), 1)
    strangers = scores[~same & upper]
    spread = {
        "two photos of one person": scores[same & upper],
        "strangers": strangers[:: -(-len(strangers) // CHART_PAIRS) or 1],
        "photo and its output": recognizer.score(before, after),
    }
    thresholds = {} if np.isnan(reference.threshold) else {"threshold": reference.threshold}
    png = charts.histograms(
        {name: values for name, values in spread.items() if len(values)},
        thresholds=thresholds,
        x_label=f"score of {recognizer.name}: higher is more alike",
    )
    text = "; ".join(f"{name}: median {np.median(v):.2f}" for name, v in spread.items() if len(v))
    return Chart(f"Scores of {recognizer.name}", png, text)


def group_chart(groups: Groups, recognizers: Sequence[Recognizer]) -> Chart:
    """Return the match rates of each group by recogniser."""
    rates = {each.name: [figures[f"match_rate.{each.name}"] for figures in groups.values()] for each in recognizers}
    png = charts.bars(list(groups), rates, y_label="recognised (less is better)", unit="share")
    worst = {name: worst_group(groups, f"match_rate.{name}") or "none" for name in rates}
    text = "; ".join(f"{name}: worst in {group}" for name, group in worst.items())
    return Chart("Recognised, by group", png, text)
