"""The values an evaluation ends in: figures with intervals, tables, charts, problems. Knows no face."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.metrics import bootstrap_interval, rate_interval

Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        value: nan where it could not be measured; then `note` says why.
        low, high: Its 95 % interval; both nan where it has none.
        count: What it is taken over: pairs, faces, frames.
        note: What a reader must know beside it, such as "needs Inception weights"; "" for nothing.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    count: int = 0
    note: str = ""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return self.note or "not measured"
        text = number(self.value)
        return text if np.isnan(self.low) else f"{text} ({number(self.low)} to {number(self.high)})"


Cell = str | Figure | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a row for a method, a column for a figure.

    Attributes:
        title: Such as "Table 1. MSE, ours beside blur and mosaic".
        columns: Of which the first names the rows.
        rows: As many cells as columns each; None is a figure that does not apply.
        note: Below the table: what was measured on, whose numbers are quoted.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row of {len(wrong[0])}: {wrong[0]}")


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot, as a PNG that shows no face.

    Attributes:
        title: Above it.
        png: The file's bytes.
        text: What it shows, for readers who cannot see it.
    """

    title: str
    png: bytes = field(repr=False)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be measured.

    Attributes:
        what: Such as "no face found in the output".
        names: Every file or frame it happened to.
    """

    what: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HashedFile:
    """One file that was measured, so that nobody can exchange it afterwards.

    Attributes:
        name: As it is called in problems.
        original: The SHA-256 of the original file, in hex.
        output: The same of what was made of it; of our own output that was never written, "pixels " and that of its
            pixels; "" where there is none.
    """

    name: str
    original: str
    output: str


@dataclass(frozen=True, slots=True)
class Specimen:
    """One of the worst faces, before and after.

    Attributes:
        name: The file or frame.
        why: Such as "dlib: distance .31".
        before, after: PNGs; drawings of landmarks, unless whoever asked wanted to see faces.
    """

    name: str
    why: str
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one evaluation found; all that a report shows.

    Attributes:
        title: Of the report.
        figures: By name, such as "match_rate.dlib": what thresholds speak of. Names are stable; `glossary` says
            what each means.
        tables, charts, problems, worst: In the order of the report.
        settings: What was run on what: model, its hash, beta, versions, seeds, date.
        files: What was measured, with hashes; none where they are not kept.
        counted: By figures that are shares, the names of the files that they count: of "match_rate.dlib" those of the
            people whom dlib recognises.
    """

    title: str
    figures: dict[str, Figure]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    problems: tuple[Problem, ...] = ()
    worst: tuple[Specimen, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    files: tuple[HashedFile, ...] = ()
    counted: dict[str, tuple[str, ...]] = field(default_factory=dict)


def mean_figure(values: Values, *, note: str = "") -> Figure:
    """Return the mean of what is known of `(N,)` values, with its bootstrap interval; nan is unknown."""
    known = np.asarray(values, np.float64)[~np.isnan(values)]
    if not len(known):
        return Figure(float("nan"), note=note or "nothing to measure")
    low, high = bootstrap_interval(known, seed=0)
    return Figure(float(known.mean()), low, high, len(known), note)


def rate_figure(successes: Values, *, note: str = "") -> Figure:
    """Return the share of 1 among `(N,)` values of 0 and 1, with its Wilson interval; nan is unknown."""
    known = np.asarray(successes, np.float64)[~np.isnan(successes)]
    if not len(known):
        return Figure(float("nan"), note=note or "nothing to measure")
    low, high = rate_interval(int(known.sum()), len(known))
    return Figure(float(known.mean()), low, high, len(known), note)


def number(value: float) -> str:
    """Return a number in three significant digits: .00213 0.0213 0.213 2.13 21.3 213 2130."""
    if np.isnan(value):
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def markdown(table: Table) -> str:
    """Return the table in GitHub's markdown, with its title as a heading."""
    lines = [f"### {table.title}", "", _row(table.columns), "|" + "---|" * len(table.columns)]
    lines += [_row([cell_text(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def csv_text(table: Table) -> str:
    """Return the table as CSV: a figure has three columns, its value and the ends of its interval."""
    figured = [any(isinstance(row[i], Figure) for row in table.rows) for i in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = zip(table.columns, figured, strict=True)
    writer.writerow([n for name, f in names for n in ((name, f"{name} low", f"{name} high") if f else (name,))])
    for row in table.rows:
        cells = zip(row, figured, strict=True)
        writer.writerow([value for cell, f in cells for value in (_three(cell) if f else (cell or "",))])
    return out.getvalue()


def cell_text(cell: Cell) -> str:
    """Return what a reader sees of a cell."""
    return "" if cell is None else str(cell)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _three(cell: Cell) -> tuple[str, str, str]:
    if not isinstance(cell, Figure):
        return (cell or "", "", "")
    return tuple("" if np.isnan(v) else f"{v:.6g}" for v in (cell.value, cell.low, cell.high))  # type: ignore[return-value]
