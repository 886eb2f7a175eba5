"""What an evaluation found, for a terminal and for a script."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from streamer.evaluate.figures import Cell, Figure, Findings, Problem, cell_text, number
from streamer.evaluate.report.claims import claims
from streamer.evaluate.report.glossary import by_topic
from streamer.evaluate.report.thresholds import Verdict
from streamer.evaluate.report.which import numbers_of

NAMES_SHOWN = 3  # of a problem; the report names all
STYLE = {"pass": "bold green", "fail": "bold red", "too few": "bold yellow", "none": "bold"}


def as_dict(findings: Findings, verdict: Verdict) -> dict[str, Any]:
    """Return all but pictures for a script: plain values that JSON takes, None for what is not known."""
    return {
        "title": findings.title,
        "verdict": {
            "outcome": verdict.outcome,
            "broken": {check.threshold.name: check.broken for check in verdict.broken},
            "too_few": {check.threshold.name: check.unsettled for check in verdict.unsettled},
        },
        "thresholds": {"source": verdict.source, "sha256": verdict.sha256},
        "claims": claims(findings.figures, numbers_of(findings)),
        "counted": findings.counted,
        "files": [{"name": f.name, "original": f.original, "output": f.output} for f in findings.files],
        "figures": {name: _figure_dict(figure) for name, figure in findings.figures.items()},
        "tables": [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": [[_cell_value(cell) for cell in row] for row in table.rows],
                "note": table.note,
            }
            for table in findings.tables
        ],
        "problems": [{"what": problem.what, "names": problem.names} for problem in findings.problems],
        "worst": [{"name": specimen.name, "why": specimen.why} for specimen in findings.worst],
        "settings": findings.settings,
    }


def summary(findings: Findings, verdict: Verdict) -> Text:
    """Return what a terminal shows at the end: figures by question, problems, and the verdict last, where one looks."""
    return Text("\n").join(_lines(findings, verdict))


def _lines(findings: Findings, verdict: Verdict) -> Iterator[Text]:
    yield Text(findings.title, style="bold")
    width = max(map(len, findings.figures), default=0)
    for topic in by_topic(findings.figures):
        yield Text(f"\n{topic.title}", style="bold")
        yield from (Text(f"  {name:{width}}  {_figure_line(figure)}") for name, _, figure in topic.rows)
    yield Text()
    yield from map(_problem, findings.problems)
    for check in verdict.checks:
        if check.uncertain:
            yield Text(f"not for sure: {check.threshold.name} {check.figure}, {check.threshold}", style="yellow")
    for check in verdict.unsettled:
        yield Text(f"too few to pass: {check.threshold.name}, {check.threshold}: {check.unsettled}", style="yellow")
    for check in verdict.broken:
        yield Text(f"broken: {check.threshold.name} must be {check.threshold}: {check.broken}", style="red")
    yield Text(str(verdict), style=STYLE[verdict.outcome])


def _figure_line(figure: Figure) -> str:
    if math.isnan(figure.value):
        return str(figure)
    interval = "" if math.isnan(figure.low) else f"{number(figure.low)} to {number(figure.high)}"
    count = f"n {figure.count}" if figure.count else ""
    return f"{number(figure.value):>8}  {interval:18}  {count:8}  {figure.note}".rstrip()


def _problem(problem: Problem) -> Text:
    shown, more = ", ".join(problem.names[:NAMES_SHOWN]), ", ..." if len(problem.names) > NAMES_SHOWN else ""
    names = f": {len(problem.names)} ({shown}{more})" if problem.names else ""
    return Text(f"problem: {problem.what}{names}", style="yellow")


def _figure_dict(figure: Figure) -> dict[str, float | int | str | None]:
    value, low, high = (None if math.isnan(v) else v for v in (figure.value, figure.low, figure.high))
    return {"value": value, "low": low, "high": high, "count": figure.count, "note": figure.note}


def _cell_value(cell: Cell) -> dict[str, Any] | str:
    return _figure_dict(cell) if isinstance(cell, Figure) else cell_text(cell)
