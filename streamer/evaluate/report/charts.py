"""Draws the plots of an evaluation as PNGs in one style. Knows numbers and names; the only faces are a gallery's."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, PercentFormatter

from streamer.evaluate.figures import Figure
from streamer.types import Image

Doubles = npt.NDArray[np.floating[Any]]
Unit = Literal["number", "share"]

# Okabe and Ito 2008: told apart by colour-blind readers and in grey. Ours comes first in every plot.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUOTED = "#666666"  # what others published: grey, dashed, hollow
WIDTH, HEIGHT, DPI = 7.2, 4.4, 120  # inches: legible at the width of a page and of a phone held sideways
TILE, NAME_WIDTH = 1.15, 1.5  # inches, of a gallery
LEGEND_LETTERS = 88  # that fit in a line, of which a marker takes about six
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot.

    Attributes:
        name: In the legend.
        x: Of each point.
        figures: Of each point; an interval is drawn as a band, an unknown value leaves a gap.
        origin: "quoted" from a publication, or "measured" here.
    """

    name: str
    x: tuple[float, ...]
    figures: tuple[Figure, ...]
    origin: Literal["measured", "quoted"] = "measured"


@dataclass(frozen=True, slots=True)
class Point:
    """One method in a plot of two figures.

    Attributes:
        family: Points of one family share colour and marker, and are joined in their order.
        label: Beside the point.
        x, y: Where; intervals are drawn as bars.
    """

    family: str
    label: str
    x: Figure
    y: Figure


def curves(series: Sequence[Series], *, x_label: str, y_label: str, unit: Unit = "number") -> bytes:
    """Return a PNG of lines with their 95 % bands.

    Args:
        series: Ours first.
        x_label, y_label: What the axes are, with the direction that is better.
        unit: "share" writes .2 as 20 %.
    """
    with mpl.rc_context(STYLE):
        canvas, axes = _plot(x_label, y_label)
        for index, line in enumerate(series):
            _line(axes, line, index)
        _unit(axes, unit)
        _legend(canvas, axes)
        return _png(canvas)


def trade_off(points: Sequence[Point], *, x_label: str, y_label: str) -> bytes:
    """Return a PNG in which each method is a point of two figures, such as privacy and likeness."""
    families = list(dict.fromkeys(point.family for point in points))
    with mpl.rc_context(STYLE):
        canvas, axes = _plot(x_label, y_label)
        for index, family in enumerate(families):
            _family(axes, [point for point in points if point.family == family], index)
        axes.margins(0.12)
        _legend(canvas, axes)
        return _png(canvas)


def histograms(scores: Mapping[str, Doubles], *, thresholds: Mapping[str, float], x_label: str) -> bytes:
    """Return a PNG of how scores are spread, with thresholds as upright lines.

    Args:
        scores: By name, such as "same person", "strangers", "ours": `(N,)` each; of their own scale each.
        thresholds: By name.
        x_label: What a score is.
    """
    every = np.concatenate([*scores.values(), list(thresholds.values())])
    edges = np.linspace(every.min(), every.max(), 61)
    with mpl.rc_context(STYLE):
        canvas, axes = _plot(x_label, "density of pairs")
        for index, (name, values) in enumerate(scores.items()):
            colour = PALETTE[index % len(PALETTE)]
            label = f"{name} ({len(values):,} pairs)"
            axes.hist(values, edges, density=True, color=colour, alpha=0.35)
            axes.hist(values, edges, density=True, color=colour, histtype="step", linewidth=1.6, label=label)
        for index, (name, value) in enumerate(thresholds.items()):
            axes.axvline(value, color="black", linestyle=("--", ":", "-.")[index % 3], label=f"{name}: {value:.3f}")
        _legend(canvas, axes)
        return _png(canvas)


def bars(
    groups: Sequence[str], values: Mapping[str, Sequence[Figure]], *, y_label: str, unit: Unit = "number"
) -> bytes:
    """Return a PNG of one cluster of bars a group, with 95 % intervals.

    Args:
        groups: Names along the axis.
        values: By method, one figure a group; unknown ones are marked "none".
        y_label: What the height is, with the direction that is better.
        unit: "share" writes .2 as 20 %.
    """
    with mpl.rc_context(STYLE):
        canvas, axes = _plot("", y_label)
        width = 0.8 / len(values)
        for index, (name, figures) in enumerate(values.items()):
            places = np.arange(len(groups)) + (index - (len(values) - 1) / 2) * width
            _cluster(axes, places, figures, name=name, colour=PALETTE[index % len(PALETTE)], width=width)
        turned = max(map(len, groups)) * len(groups) > 70  # letters that fit side by side
        axes.set_xticks(range(len(groups)), groups, rotation=30 if turned else 0, ha="right" if turned else "center")
        axes.grid(visible=False, axis="x")
        axes.set_ylim(bottom=min(0.0, *(f.value for row in values.values() for f in row if not np.isnan(f.value))))
        _unit(axes, unit)
        _legend(canvas, axes)
        return _png(canvas)


def gallery(rows: Mapping[str, Sequence[Image]]) -> bytes:
    """Return a PNG of pictures in rows with names; the caller answers for whose faces they show.

    Args:
        rows: By name, `(S, S, 3)` uint8 RGB each, all of one size, as many in each row.
    """
    columns = max(map(len, rows.values()))
    canvas = Canvas(figsize=(NAME_WIDTH + columns * TILE, len(rows) * TILE), dpi=DPI)
    FigureCanvasAgg(canvas)
    edge, height = NAME_WIDTH / canvas.get_figwidth(), 1 / len(rows)
    for line, (name, pictures) in enumerate(rows.items()):
        bottom = 1 - (line + 1) * height
        axes = canvas.add_axes((edge, bottom + 0.01 * height, 1 - edge, 0.98 * height))
        axes.imshow(np.concatenate(pictures, axis=1), interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        canvas.text(edge - 0.01, bottom + height / 2, textwrap.fill(name, 17), ha="right", va="center", fontsize=10)
    return _png(canvas)


def _plot(x_label: str, y_label: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return canvas, axes


def _line(axes: Axes, line: Series, index: int) -> None:
    x, y = np.array(line.x), np.array([figure.value for figure in line.figures])
    low, high = (np.array([getattr(figure, end) for figure in line.figures]) for end in ("low", "high"))
    marker = MARKERS[index % len(MARKERS)]
    if line.origin == "quoted":
        axes.plot(x, y, color=QUOTED, linestyle="--", marker=marker, markerfacecolor="white", label=line.name)
        return
    colour = PALETTE[index % len(PALETTE)]
    axes.plot(x, y, color=colour, linewidth=2, marker=marker, markersize=5, label=line.name)
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _family(axes: Axes, points: Sequence[Point], index: int) -> None:
    x, y = (np.array([getattr(point, axis).value for point in points]) for axis in "xy")
    reach = [_reach([getattr(point, axis) for point in points]) for axis in "xy"]
    colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
    axes.errorbar(
        x, y, xerr=reach[0], yerr=reach[1], color=colour, marker=marker, markersize=7,
        linestyle=":", linewidth=1, elinewidth=1, label=points[0].family,
    )  # fmt: skip
    for point in points:
        place = (point.x.value, point.y.value)
        axes.annotate(point.label, place, xytext=(7, 6), textcoords="offset points", fontsize=9, color=colour)


def _cluster(axes: Axes, places: Doubles, figures: Sequence[Figure], *, name: str, colour: str, width: float) -> None:
    heights = np.array([figure.value for figure in figures])
    axes.bar(places, heights, width * 0.92, color=colour, label=name, yerr=_reach(figures), ecolor="#333333", capsize=2)
    for place in places[np.isnan(heights)]:
        axes.annotate("none", (place, 0), rotation=90, ha="center", va="bottom", fontsize=8, color="#666666")


def _reach(figures: Sequence[Figure]) -> Doubles:
    """Return how far the intervals reach below and above, `(2, N)`; 0 where there is none."""
    ends = [(figure.value - figure.low, figure.high - figure.value) for figure in figures]
    return np.maximum(np.nan_to_num(np.array(ends, np.float64).T), 0.0)


def _unit(axes: Axes, unit: Unit) -> None:
    # Labels without a zero that says nothing, as the tables have them.
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0) if unit == "share" else plain)


def _legend(canvas: Canvas, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        columns = max(1, LEGEND_LETTERS // (6 + max(map(len, labels))))
        canvas.legend(handles, labels, loc="outside upper left", ncols=columns)


def _png(canvas: Canvas) -> bytes:
    out = io.BytesIO()
    # Neither date nor version: the same numbers give the same bytes.
    canvas.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
